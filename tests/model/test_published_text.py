"""Published language models: transformers' logits from its names and weights, and back."""

import functools
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
from maskjax.model import published
from maskjax.model.text import text_transformer
from maskjax.train.setup import initial

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"
MAKE = runpy.run_path(str(GOLDEN / "make_published_text.py"))
STORED = json.loads((GOLDEN / "published_text.json").read_text())
IDS = np.array(MAKE["IDS"])
SIZES = dict(record_shape=(6,), vocabulary=11, width=16, depth=2, heads=4, mlp=24)
LAYERS = dict(gated=False, learned=8, tied=True)
ARGUMENTS = {
  "llama": dict(causal=True, kv_heads=2, norm_eps=1e-5, base=500_000.0),
  "gpt2": dict(LAYERS, causal=True, mlp=64, norm_eps=1e-5, activation="gelu_tanh"),
  "bert": dict(LAYERS, norm_eps=1e-12, post_norm=True, head=True),
}


def built(name, **changes):
  """A network and the shapes of its variables."""
  network = text_transformer(**{**SIZES, **ARGUMENTS[name], **changes})
  return network, jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((1, 6), jnp.int32))


def file(tmp_path, name, **changes):
  tensors = MAKE["weights"](STORED[name]["shapes"])
  path = tmp_path / f"{name}.safetensors"
  save_file({changes.get(n, n): x for n, x in tensors.items()}, path)
  return path, tensors


@functools.cache
def logits_of(name):
  network, _ = built(name)
  return jax.jit(network.apply)


@pytest.mark.parametrize("name", STORED)
def test_logits_are_those_of_transformers_and_weights_go_back(tmp_path, name):
  path, tensors = file(tmp_path, name)
  _, shapes = built(name)
  blank = jax.tree.map(lambda leaf: np.full(leaf.shape, 7, np.float32), shapes)
  variables, report = published.load(path, blank)
  assert (report.layout, report.missing, report.unused) == (name, (), ())
  assert any("1 further rows kept" in note for _, _, note in report.mapped)
  np.testing.assert_allclose(logits_of(name)(variables, IDS), STORED[name]["logits"], atol=2e-4)
  published.save(tmp_path / "back.safetensors", variables, layout=name)
  back = load_file(tmp_path / "back.safetensors")
  assert set(back) == set(tensors)
  again, _ = published.load(tmp_path / "back.safetensors", blank)
  jax.tree.map(np.testing.assert_array_equal, again, variables)
  for key, value in back.items():
    theirs = tensors[key]
    if "position_embeddings" in key:
      theirs = theirs + tensors[published.SEGMENTS][0]
    if key != published.SEGMENTS:
      np.testing.assert_array_equal(value[: len(theirs)], theirs, key)


def test_bare_networks_old_names_and_parts_are_read(tmp_path):
  _, tensors = file(tmp_path, "gpt2")
  _, shapes = built("gpt2")
  blank = jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), shapes)
  bare = {name.removeprefix("transformer."): x for name, x in tensors.items()}
  half = len(bare) // 2
  for i, part in enumerate((dict([*bare.items()][:half]), dict([*bare.items()][half:])), 1):
    save_file(part, tmp_path / f"m-0000{i}-of-00002.safetensors")
  whole, _ = published.load(tmp_path / "gpt2.safetensors", blank)
  parts, report = published.load(tmp_path / "m-00001-of-00002.safetensors", blank)
  assert not report.missing
  jax.tree.map(np.testing.assert_array_equal, parts, whole)
  (tmp_path / "m-00002-of-00002.safetensors").unlink()
  with pytest.raises(BadInput, match="1 of its 2 parts are there"):
    published.load(tmp_path / "m-00001-of-00002.safetensors", blank)
  old = {n: n.replace("LayerNorm.weight", "LayerNorm.gamma") for n in STORED["bert"]["shapes"]}
  path, _ = file(tmp_path, "bert", **old)
  _, shapes = built("bert")
  blank = jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), shapes)
  assert not published.load(path, blank)[1].missing


def test_learned_masks_begin_from_published_weights(tmp_path):
  """As MaskLLM's of Llama: `init_from` fills the weights, and what is learned stays as drawn."""
  path, tensors = file(tmp_path, "llama")
  network, shapes = built("llama")
  blank = jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), shapes)
  blank["params"]["masks"] = {"block_00": {"mlp": {"up": {"kernel": np.ones(3, np.float32)}}}}
  parts = types.SimpleNamespace(
    config={}, task=types.SimpleNamespace(network=network, learned=dict)
  )
  found = initial.given(path, blank, parts)["params"]
  np.testing.assert_array_equal(found["masks"]["block_00"]["mlp"]["up"]["kernel"], 1)
  up = tensors["model.layers.0.mlp.up_proj.weight"]
  np.testing.assert_array_equal(found["block_00"]["mlp"]["up"]["kernel"], up.T)


def test_another_shape_is_refused(tmp_path):
  path, _ = file(tmp_path, "llama")
  _, shapes = built("llama", kv_heads=4)
  blank = jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), shapes)
  with pytest.raises(BadInput, match=r"k_proj.weight .* does not fit"):
    published.load(path, blank)
  _, shapes = built("llama", vocabulary=9)
  blank = jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), shapes)
  with pytest.raises(BadInput, match=r"embed_tokens.weight \(11, 16\) does not fit"):
    published.load(path, blank)


@pytest.mark.parametrize(
  ("given", "says"),
  [
    (dict(activation="gelo"), "unknown activation 'gelo'"),
    (dict(post_norm=True), "set gated=False"),
    (dict(gated=False, learned=4), "want as many positions, got learned=4"),
  ],
)
def test_arguments_that_do_not_go_together_are_refused(given, says):
  with pytest.raises(BadInput, match=says):
    text_transformer(**SIZES, **given)
