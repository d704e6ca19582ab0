"""Published dual encoders: transformers' answers from CLIP's names and weights, and back."""

import json
import pathlib
import runpy
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from maskjax.errors import BadInput
from maskjax.model import dual_encoder, published
from maskjax.recover import info_nce, patchify
from maskjax.recover.contrastive import l2_normalize
from maskjax.train.setup import initial

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"
MAKE = runpy.run_path(str(GOLDEN / "make_published_clip.py"))
STORED = json.loads((GOLDEN / "published_clip.json").read_text())
IDS = np.array(MAKE["IDS"])
# What comes after the first end of a text is padding here.
CAPTIONS = np.where(np.cumsum(np.cumsum(IDS == 12, 1), 1) > 1, -1, IDS)
SIZES = dict(
  record_shape=(8, 8, 3), patch=(4, 4), vocabulary=14, caption=6, width=16, depth=2, heads=4,
  text_width=12, text_depth=2, text_heads=2, shared=6,
)  # fmt: skip
CLIP = dict(
  position="learned", activation="quick_gelu", embed_bias=False, embed_norm=True,
  image_pool="first", norm_eps=1e-5, text_causal=True, text_positions=7, pool="last",
)  # fmt: skip


def blank(**changes):
  network = dual_encoder(**{**SIZES, **CLIP, **changes})
  patches = jnp.zeros((1, network.grid[0] * network.grid[1], 48))
  made = jax.eval_shape(network.init, jax.random.key(0), patches, jnp.zeros((1, 6), jnp.int32))
  return network, jax.tree.map(lambda leaf: np.full(leaf.shape, 7, np.float32), made)


@pytest.fixture
def file(tmp_path):
  tensors = MAKE["weights"](STORED["shapes"])
  save_file(tensors, tmp_path / "clip.safetensors")
  return tmp_path / "clip.safetensors", tensors


def test_answers_are_those_of_transformers_and_weights_go_back(file, tmp_path):
  path, tensors = file
  network, empty = blank()
  variables, report = published.load(path, empty, patch=(4, 4), grid=network.grid)
  assert (report.layout, report.missing, report.unused) == ("clip", (), ())
  assert [note for _, _, note in report.mapped if note] == ["1 further rows kept"]

  @jax.jit
  def run(v):
    a, b = network.apply(v, patchify(jnp.asarray(MAKE["images"]()), (4, 4)), jnp.asarray(CAPTIONS))
    temperature = network.apply(v, method="learned_temperature")
    unit = l2_normalize(a), l2_normalize(b)
    return *unit, unit[0] @ unit[1].T / temperature, info_nce(a, b, temperature=temperature)

  image, text, logits, term = run(variables)
  np.testing.assert_allclose(image, STORED["image"], atol=2e-5)
  np.testing.assert_allclose(text, STORED["text"], atol=2e-5)
  np.testing.assert_allclose(logits, STORED["logits"], atol=1e-4)
  np.testing.assert_allclose(term.sum / term.count, STORED["loss"], rtol=2e-5)
  back = tmp_path / "back.safetensors"
  published.save(back, variables, patch=(4, 4), grid=network.grid, layout="clip")
  found = load_file(back)
  assert {n: x.shape for n, x in found.items()} == {
    n: (14, 12) if "token_embedding" in n else tuple(shape) for n, shape in STORED["shapes"].items()
  }
  for name, value in tensors.items():
    np.testing.assert_array_equal(found[name][: len(value)] if value.ndim else found[name], value)


def test_a_run_begins_from_it_on_another_grid(file):
  """`init_from`: positions are resized from the file's square, the rest is the file's."""
  path, tensors = file
  network, empty = blank(record_shape=(8, 12, 3))
  parts = types.SimpleNamespace(
    config={}, task=types.SimpleNamespace(network=network, learned=dict)
  )
  found = initial.given(path, empty, parts)["params"]
  first = tensors["vision_model.embeddings.position_embedding.weight"][0]
  assert found["encoder"]["position"].shape == (7, 16)
  np.testing.assert_allclose(found["encoder"]["position"][0], first, atol=1e-6)
  np.testing.assert_array_equal(found["log_scale"], np.float32(1.5))


def test_another_network_is_refused(file, tmp_path):
  path, _ = file
  _, empty = blank(text_positions=0)
  with pytest.raises(BadInput, match=r"text_model.*position_embedding.weight \(7, 12\) does not"):
    published.load(path, empty, patch=(4, 4), grid=(2, 2))
  _, empty = blank(embed_bias=True)
  with pytest.raises(BadInput, match="encoder/embed/bias has no place"):
    published.save(tmp_path / "x.safetensors", empty, patch=(4, 4), layout="clip")
