import functools
import math
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.flax
from safetensors.numpy import load_file, save_file
from toy_mae import masked_autoencoder

from maskjax.errors import BadInput
from maskjax.model import published
from maskjax.model.position import resize_table
from maskjax.model.published_names import LAYOUTS
from maskjax.over.cut import patchify
from maskjax.recover import pixels, squared_error

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "vit_mae.safetensors"
TINY = {
  "width": 24,
  "depth": 2,
  "heads": 3,
  "decoder_width": 16,
  "decoder_depth": 2,
  "decoder_heads": 2,
  "norm_eps": 1e-3,
}


@functools.cache
def shaped(record_shape, patch, **changes):
  """A small autoencoder and the shapes of its variables."""
  model = masked_autoencoder(record_shape=record_shape, patch=patch, **{**TINY, **changes})
  n, p = math.prod(model.encoder.grid), math.prod(patch) * record_shape[-1]
  init = functools.partial(model.init, keep=n)
  inputs = jax.ShapeDtypeStruct((1, n, p), jnp.float32), jax.ShapeDtypeStruct((1, n), bool)
  return model, jax.eval_shape(init, jax.random.key(0), *inputs)


def build(record_shape=(24, 24, 3), patch=(6, 6), **changes):
  model, shapes = shaped(record_shape, patch, **changes)
  # Every leaf, biases and tables too, gets numbers that no other leaf has.
  rng = np.random.default_rng(0)
  draw = lambda leaf: rng.normal(size=leaf.shape).astype(np.float32)
  where = {"patch": model.encoder.patch, "grid": model.encoder.grid}
  return model, jax.tree.map(draw, shapes), where


def equal(a, b):
  jax.tree.map(np.testing.assert_array_equal, a, b)


def test_loss_prediction_and_features_equal_the_public_implementation():
  model, variables, where = build()
  variables, report = published.load(GOLDEN, variables, **where)
  golden = {k[7:]: v for k, v in load_file(GOLDEN).items() if k.startswith("golden.")}
  assert not report.missing
  assert all(name.startswith("golden.") for name in report.unused)
  rank = np.argsort(np.argsort(golden["noise"], axis=1), axis=1)
  hidden = rank >= 4  # the lowest noise is kept
  np.testing.assert_array_equal(hidden, golden["mask"] == 1)

  @jax.jit
  def run(variables, image):
    patches = patchify(image, (6, 6))
    target = pixels(normalise=True).encode(patches)
    seen = [
      model.apply(variables, patches, jnp.asarray(hidden), keep=keep, exact=exact)
      for keep, exact in ((4, True), (7, False))
    ]
    costs = [squared_error(prediction, target, jnp.asarray(hidden)) for prediction in seen]
    return list(zip(seen, costs, strict=True)), model.apply(variables, patches, method="encode")

  predictions, features = jax.device_get(run(variables, golden["pixels"]))
  for prediction, term in predictions:
    np.testing.assert_allclose(prediction, golden["prediction"], atol=1e-4)
    np.testing.assert_allclose(term.sum / term.count, golden["loss"], rtol=1e-4)
  np.testing.assert_allclose(features["class"], golden["features"][:, 0], atol=1e-4)
  np.testing.assert_allclose(features["tokens"], golden["features"][:, 1:], atol=1e-4)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
  "changes",
  [
    {},
    {"record_shape": (4, 18, 1), "patch": (2, 3), "depth": 12, "decoder_depth": 1},
    {"record_shape": (4, 4, 8, 2), "patch": (2, 2, 4), "class_token": False},
  ],
)
def test_round_trip_keeps_every_bit(tmp_path, layout, changes):
  _, variables, where = build(**changes)
  path = tmp_path / "w.safetensors"
  published.save(path, variables, layout=layout, **where)
  blank = jax.tree.map(np.zeros_like, variables)
  loaded, report = published.load(path, blank, **where)
  equal(loaded, variables)
  assert (report.layout, report.missing, report.unused) == (layout, (), ())
  assert [file.name for file in tmp_path.iterdir()] == ["w.safetensors"]


def test_a_public_file_written_again_is_the_same(tmp_path):
  _, variables, where = build()
  loaded, _ = published.load(GOLDEN, variables, **where)
  published.save(tmp_path / "w.safetensors", loaded, layout="huggingface", **where)
  ours, theirs = load_file(tmp_path / "w.safetensors"), load_file(GOLDEN)
  theirs = {k: v for k, v in theirs.items() if not k.startswith("golden.")}
  theirs = {k.replace("decoder_encoder.layer", "decoder_layers"): v for k, v in theirs.items()}
  assert ours.keys() == theirs.keys()
  equal(ours, theirs)


def test_facebook_names_and_shapes(tmp_path):
  _, variables, where = build(depth=1, decoder_depth=1)
  published.save(tmp_path / "w.safetensors", variables, **where)
  shapes = {k: v.shape for k, v in load_file(tmp_path / "w.safetensors").items()}
  block = {
    "norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias", "attn.qkv.weight",
    "attn.qkv.bias", "attn.proj.weight", "attn.proj.bias", "mlp.fc1.weight", "mlp.fc1.bias",
    "mlp.fc2.weight", "mlp.fc2.bias",
  }  # fmt: skip
  stems = ("patch_embed.proj", "norm", "decoder_embed", "decoder_norm", "decoder_pred")
  assert set(shapes) == {
    *("cls_token", "pos_embed", "mask_token", "decoder_pos_embed"),
    *(f"{stem}.{end}" for stem in stems for end in ("weight", "bias")),
    *(f"{prefix}.0.{name}" for prefix in ("blocks", "decoder_blocks") for name in block),
  }
  assert shapes["patch_embed.proj.weight"] == (24, 3, 6, 6)
  assert shapes["blocks.0.attn.qkv.weight"] == (72, 24)
  assert shapes["pos_embed"] == (1, 17, 24)
  assert shapes["cls_token"] == (1, 1, 24)


def test_the_patch_kernel_is_the_convolution(tmp_path):
  _, variables, where = build()
  published.save(tmp_path / "w.safetensors", variables, **where)
  weight = load_file(tmp_path / "w.safetensors")["patch_embed.proj.weight"]
  image = np.random.default_rng(1).normal(size=(6, 6, 3)).astype(np.float32)
  kernel = variables["params"]["encoder"]["embed"]["kernel"]
  ours = patchify(jnp.asarray(image), (6, 6))[0] @ kernel
  np.testing.assert_allclose(ours, np.einsum("hwc,dchw->d", image, weight), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_encoder_alone_leaves_the_decoder_as_it_is(tmp_path, layout):
  _, variables, where = build()
  encoder = {k: {"encoder": v["encoder"]} for k, v in variables.items()}
  path = tmp_path / "w.safetensors"
  published.save(path, encoder, layout=layout, **where)
  if layout == "huggingface":  # an encoder saved by itself there has no prefix
    save_file({k.removeprefix("vit."): v for k, v in load_file(path).items()}, path)
  blank = jax.tree.map(np.zeros_like, variables)
  loaded, report = published.load(path, blank, **where)
  for collection in loaded:
    equal(loaded[collection]["encoder"], variables[collection]["encoder"])
    equal(loaded[collection]["decoder"], blank[collection]["decoder"])
  assert report.missing
  assert all("/decoder/" in name for name in report.missing)


def test_positions_of_another_grid_are_resized():
  _, variables, where = build(record_shape=(30, 42, 3))
  loaded, report = published.load(GOLDEN, variables, **where)
  tables = (
    ("encoder", "vit.embeddings.position_embeddings"),
    ("decoder", "decoder.decoder_pos_embed"),
  )
  for side, name in tables:
    table, stored = loaded["buffers"][side]["position"], load_file(GOLDEN)[name][0]
    np.testing.assert_array_equal(table[0], stored[0])
    np.testing.assert_array_equal(table, resize_table(jnp.asarray(stored), (4, 4), (5, 7)))
  assert str(report).count("resized from (4, 4) to (5, 7)") == 2


def test_the_grid_of_a_file_can_be_said(tmp_path):
  _, variables, where = build(record_shape=(12, 48, 3))
  path = tmp_path / "w.safetensors"
  published.save(path, variables, **where)
  equal(published.load(path, variables, **where)[0], variables)
  save_file(load_file(path), path)  # without the note, 16 positions look like a square
  assert "resized" in str(published.load(path, variables, **where)[1])
  equal(published.load(path, variables, file_grid=(2, 8), **where)[0], variables)
  with pytest.raises(BadInput, match="do not fit the grids"):
    published.load(path, variables, file_grid=(3, 5), **where)


def test_learned_positions_and_no_class_token(tmp_path):
  _, variables, where = build(class_token=False)
  loaded, report = published.load(GOLDEN, variables, **where)
  stored = load_file(GOLDEN)["vit.embeddings.position_embeddings"][0]
  np.testing.assert_array_equal(loaded["buffers"]["encoder"]["position"], stored[1:])
  assert "vit.embeddings.cls_token" in report.unused
  table = variables["buffers"]["encoder"].pop("position")
  variables["params"]["encoder"]["position"] = table
  loaded, _ = published.load(GOLDEN, variables, **where)
  np.testing.assert_array_equal(loaded["params"]["encoder"]["position"], stored[1:])


def test_bfloat16_files_are_read(tmp_path):
  _, variables, where = build()
  path = tmp_path / "w.safetensors"
  published.save(path, variables, **where)
  half = {k: jnp.asarray(v.astype(jnp.bfloat16)) for k, v in load_file(path).items()}
  safetensors.flax.save_file(half, path)
  loaded, _ = published.load(path, variables, **where)
  expected = jax.tree.map(lambda x: x.astype(jnp.bfloat16).astype(np.float32), variables)
  equal(loaded, expected)


def test_the_report_names_everything():
  _, variables, where = build(depth=3, decoder_depth=1)
  text = str(published.load(GOLDEN, variables, **where)[1])
  assert text.startswith("huggingface: ")
  assert "missing  params/encoder/block_02/mlp/up/kernel" in text
  assert "vit.encoder.layer.1.attention.attention.query.weight + " in text
  unused = [line.split()[1] for line in text.splitlines() if line.startswith("unused")]
  assert "decoder.decoder_layers.1.output.dense.bias" in unused


def test_bad_input(tmp_path):
  _, variables, where = build()
  good = tmp_path / "w.safetensors"
  published.save(good, variables, **where)
  for ending in (".pth", ".bin"):
    with pytest.raises(BadInput, match=r"is a pickle, .* torch.load\('w.*weights_only=True"):
      published.load(tmp_path / f"w{ending}", variables, **where)
  with pytest.raises(BadInput, match="no weights at"):
    published.load(tmp_path / "absent.safetensors", variables, **where)
  cut = tmp_path / "cut.safetensors"
  cut.write_bytes(good.read_bytes()[:-10])
  with pytest.raises(BadInput, match="not a whole safetensors file"):
    published.load(cut, variables, **where)
  with pytest.raises(BadInput, match="unknown layout 'facebok'; did you mean 'facebook'"):
    published.load(good, variables, layout="facebok", **where)
  with pytest.raises(BadInput, match="nothing in this file"):
    published.load(good, variables, layout="huggingface", **where)
  other = tmp_path / "other.safetensors"
  save_file({"fc.weight": np.zeros((2, 2), np.float32)}, other)
  with pytest.raises(BadInput, match=r"not a published network that we know: .*fc.weight"):
    published.load(other, variables, **where)
  with pytest.raises(BadInput, match=r"written as \.safetensors"):
    published.save(tmp_path / "w.pth", variables, **where)
  with pytest.raises(BadInput, match="params/head has no place"):
    published.save(good, {"params": {"head": np.zeros(3)}}, **where)


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"patch": (3, 12)}, r"patch_embed.proj.weight \(24, 3, 6, 6\) does not fit .*\(3, 12\)"),
    ({"width": 48}, r"pos_embed \(1, 17, 24\) does not fit buffers/encoder/position \(17, 48\)"),
    ({"mlp": 48}, r"blocks.0.mlp.fc\d.\w+ \(.*\) does not fit params/encoder/block_00/mlp/"),
  ],
)
def test_a_shape_that_does_not_fit_is_named(tmp_path, changes, message):
  _, variables, where = build()
  path = tmp_path / "w.safetensors"
  published.save(path, variables, **where)
  _, others, elsewhere = build(**changes)
  with pytest.raises(BadInput, match=message):
    published.load(path, others, **elsewhere)
