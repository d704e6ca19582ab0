"""The dual encoder: what the authors' own code answers, and what neither side may see."""

import pathlib
import runpy
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict
from safetensors.numpy import load_file

from maskjax.errors import BadInput
from maskjax.hide import drop
from maskjax.model import dual_encoder
from maskjax.model.position import sincos
from maskjax.recover import info_nce, patchify
from maskjax.recover.contrastive import l2_normalize

close = runpy.run_path(str(pathlib.Path(__file__).parents[1] / "closeness.py"))["close"]
STORED = load_file(pathlib.Path(__file__).parents[1] / "golden" / "flip.safetensors")
GOLDEN = {k.removeprefix("golden."): v for k, v in STORED.items() if k.startswith("golden.")}
SIZES = dict(
  record_shape=(8, 8, 3), patch=(2, 2), vocabulary=11, caption=5, width=16, depth=2, heads=2,
  text_width=12, text_depth=2, text_heads=2, shared=6,
)  # fmt: skip
NETWORK = dual_encoder(**SIZES)
PATCHES = patchify(jnp.asarray(GOLDEN["image"]), (2, 2))
HIDDEN = jnp.asarray(GOLDEN["hidden"] == 1)
TEXT = jnp.asarray(GOLDEN["txt"])
# Two blocks of six products, an embedding and the map into the shared space.
SUMS = dict(depth=2 * 6 + 2, terms=64)
SIDES = {"encoder": "img_encoder", "text": "txt_encoder"}
TOPS = {"log_scale": "logit_scale", "project_image": "img_mlp1", "project_text": "txt_mlp1"}
PARTS = {
  "class_token": "cls",
  "position": "posembed_encoder/pos_embedding",
  "norm": "Transformer/encoder_norm",
  "norm1": "LayerNorm_0",
  "norm2": "LayerNorm_1",
  "mlp": "MlpBlock_0",
  "up": "Dense_0",
  "down": "Dense_1",
  "attention": "MultiHeadDotProductAttention_0",
}


def public(name):
  """The authors' name of a parameter of ours."""
  side, *rest = name.split("/")
  if side in TOPS:
    return "/".join([TOPS[side], *rest])
  embed = {"embed": {"encoder": "embedding", "text": "token_embedding"}[side]}
  words = [{**PARTS, **embed}.get(part, part) for part in rest]
  return "/".join([SIDES[side], *words]).replace("/block_", "/Transformer/encoderblock_")


def theirs(name, like):
  """The authors' values of a parameter of ours."""
  if "qkv" in name:
    parts = [STORED[public(name.replace("qkv", part))] for part in ("query", "key", "value")]
    return np.concatenate(parts, axis=-1)
  return STORED[public(name)].reshape(like.shape)


@pytest.fixture(scope="module")
def variables():
  made = jax.eval_shape(NETWORK.init, jax.random.key(0), PATCHES, TEXT)
  flat = flatten_dict(made["params"], sep="/")
  params = unflatten_dict({k: theirs(k, like) for k, like in flat.items()}, sep="/")
  # The fixed table is in no file.
  grid, width = NETWORK.encoder.grid, NETWORK.encoder.width
  table = np.pad(sincos(grid, width), ((1, 0), (0, 0)))
  buffers = jax.tree.map(lambda like: table.reshape(like.shape), made["buffers"])
  return {"params": params, "buffers": buffers}


def left(patches, **options):
  """What is left to see, as the network takes it."""
  seen = drop(patches, HIDDEN, **options)
  return {"patches": seen.values, "index": seen.index, "valid": seen.valid}


def cost(params, buffers):
  """The mean loss of the batch with the authors' masks."""
  variables = {"params": params, "buffers": buffers}
  a, b = NETWORK.apply(variables, caption=TEXT, **left(PATCHES, keep=8, exact=True))
  temperature = NETWORK.apply(variables, method="learned_temperature")
  term = info_nce(a, b, temperature=temperature)
  return term.sum / term.count


@pytest.fixture(scope="module")
def found(variables):
  """All that is asked of the network with the authors' parameters, in one program."""
  broken = jnp.where(HIDDEN[..., None], jnp.nan, PATCHES)
  short = TEXT.at[:, 3:].set(-1)
  image = partial(NETWORK.apply, method="image")

  @jax.jit
  def run(v):
    texts = {}
    for pool in ("first", "mean", "last"):
      read = partial(NETWORK.clone(pool=pool).apply, v, method="read")
      texts[pool] = [read(text) for text in (TEXT, short, TEXT[:, :3])]
    return {
      "image": NETWORK.apply(v, PATCHES, method="encode")["shared"],
      "texts": texts,
      "unit": l2_normalize(texts["first"][0]),
      "temperature": NETWORK.apply(v, method="learned_temperature"),
      "loss": jax.value_and_grad(cost)(v["params"], v["buffers"]),
      "exact": image(v, **left(PATCHES, keep=8, exact=True)),
      "features": NETWORK.apply(v, **left(broken, keep=10), method="encode")["shared"],
    }

  padded = jax.jit(lambda v, patches: image(v, **left(patches, keep=10)))
  sides = {"padded": padded(variables, PATCHES), "broken": padded(variables, broken)}
  return jax.device_get({**run(variables), **sides})


def test_places_are_those_of_the_authors_code(found):
  np.testing.assert_allclose(found["image"], GOLDEN["z_img"], atol=2e-5)
  np.testing.assert_allclose(found["unit"], GOLDEN["z_txt"], atol=2e-5)
  np.testing.assert_allclose(found["temperature"], GOLDEN["tau"][0], rtol=1e-6)


def test_the_loss_and_its_slopes_are_those_of_the_authors_code(found):
  loss, slope = found["loss"]
  np.testing.assert_allclose(loss, GOLDEN["loss"][0], rtol=1e-5)
  flat = {public(k): v for k, v in flatten_dict(slope, sep="/").items()}
  for name in ("img_encoder/embedding/kernel", "txt_encoder/token_embedding/embedding"):
    want = GOLDEN[f"slope.{name}"]
    np.testing.assert_allclose(flat[name].reshape(want.shape), want, atol=2e-5)
  np.testing.assert_allclose(flat["logit_scale"], GOLDEN["slope.logit_scale"][0], rtol=1e-4)


def test_the_paper_counts_as_many_parameters():
  network = dual_encoder(
    record_shape=(224, 224, 3), patch=(16, 16), vocabulary=30_523, caption=32, size="L",
    text_width=768, text_depth=12, text_heads=12, shared=768,
  )  # fmt: skip
  some = jnp.zeros((1, 196, 768)), jnp.zeros((1, 32), int)
  made = jax.eval_shape(lambda: network.init(jax.random.key(0), *some))
  found = sum(x.size for x in jax.tree.leaves(made["params"]))
  assert found == GOLDEN["parameters_of_large"][0]


def test_what_is_hidden_is_not_seen(found):
  np.testing.assert_array_equal(found["broken"], found["padded"])
  close(found["padded"], found["exact"], **SUMS)
  length = np.linalg.norm(found["exact"], axis=-1, keepdims=True)
  close(found["features"], found["exact"] / length, **SUMS)


@pytest.mark.parametrize("pool", ["first", "mean", "last"])
def test_padding_of_captions_is_not_seen(found, pool):
  whole, padded, short = found["texts"][pool]
  close(padded, short, **SUMS)
  assert np.abs(padded - whole).max() > 1e-3


def test_the_temperature_stays_above_a_hundredth(variables):
  of = lambda v: NETWORK.apply({**variables, "params": v}, method="learned_temperature")
  each = jax.jit(lambda logs: [of({**variables["params"], "log_scale": x}) for x in logs])
  got = each(np.float32([9.0, -1.0, 0.7]))
  np.testing.assert_allclose(got, [0.01, 1.0, np.exp(-0.7)], rtol=1e-5)


@pytest.mark.parametrize(
  ("given", "says"),
  [
    (dict(pool="middle"), "unknown pool"),
    (dict(image_pool="last"), "unknown image_pool"),
    (dict(image_pool="first", class_token=False), "set class_token=True"),
    (dict(activation="gelo"), "unknown activation 'gelo'"),
    (dict(text_positions=4), "captions of 5 tokens want as many positions"),
    (dict(text_heads=5), "text_width 12 is not divisible by 5 heads"),
    (dict(temperature=2.0), "the first temperature lies in"),
  ],
)
def test_what_cannot_work_is_said(given, says):
  with pytest.raises(BadInput, match=says):
    dual_encoder(**{**SIZES, **given})


def test_data_without_captions_have_no_reader():
  network = dual_encoder(**{**SIZES, "caption": 0})
  made = jax.eval_shape(lambda: network.init(jax.random.key(0), PATCHES))
  assert sorted(made["params"]) == ["encoder", "log_scale", "project_image"]
  with pytest.raises(BadInput, match="no encoder of texts"):
    jax.eval_shape(partial(network.apply, method="read"), made, TEXT)
