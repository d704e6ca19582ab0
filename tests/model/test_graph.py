import pathlib
import runpy

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maskjax.errors import BadInput
from maskjax.model import graph_autoencoder
from maskjax.model.graph import drop_out, propagate

EDGES = np.array([[1, 0], [2, 0], [0, 1], [0, 2], [3, 2], [2, 3]])
KEY = jax.random.key(0)
close = runpy.run_path(str(pathlib.Path(__file__).parents[1] / "closeness.py"))["close"]


def small(**words):
  return graph_autoencoder(record_shape=(5, 4), width=6, depth=2, decoder_width=3, **words)


def filled(network, *args):
  """Variables of a network by their shapes, every leaf drawn, variances above zero."""
  rng, shapes = np.random.default_rng(3), jax.eval_shape(network.init, KEY, *args)

  def draw(path, leaf):
    low = 0.5 if path[-1].key in ("var", "scale") else -1
    return rng.uniform(low, 1.5, leaf.shape).astype(np.float32)

  return jax.tree_util.tree_map_with_path(draw, shapes)


def test_propagation_is_that_of_the_normalised_matrix():
  rng = np.random.default_rng(0)
  x, gate = rng.normal(size=(5, 4)), rng.random(6)
  a = np.eye(5)
  a[EDGES[:, 1], EDGES[:, 0]] += gate
  scale = np.diag(a.sum(1) ** -0.5)
  got = jax.jit(propagate)(np.float32(x), EDGES, np.float32(gate))
  np.testing.assert_allclose(got, scale @ a @ scale @ x, rtol=1e-5, atol=1e-6)


def test_a_closed_gate_hides_values_and_gradients():
  x, gate = np.ones((5, 4), np.float32), np.ones(6, np.float32)
  x[3], gate[4] = np.nan, 0  # from 3 to 2

  def heard(x):
    out = propagate(x, jnp.asarray(EDGES), gate)[:3]
    return out.sum(), out

  slope, out = jax.jit(jax.grad(heard, has_aux=True))(x)
  assert np.isfinite(out).all()
  assert (slope[3] == 0).all()
  assert np.isfinite(slope).all()


def test_padding_changes_nothing():
  network, rng = small(), np.random.default_rng(0)
  nodes = rng.normal(size=(1, 5, 4)).astype(np.float32)
  edges, size = EDGES[None], np.array([5])
  gates = rng.random((1, 2, 6)).astype(np.float32)
  variables = filled(network, nodes, edges, size)
  more_nodes = np.concatenate([nodes, np.full((1, 3, 4), np.nan, np.float32)], 1)
  more_edges = np.concatenate([edges, np.full((1, 4, 2), 8)], 1)
  more_gates = np.concatenate([gates, np.full((1, 2, 4), 0.5, np.float32)], 2)
  run = lambda *args: network.apply(variables, *args, train=True, mutable=["batch_stats"])
  later = gates.copy()
  later[:, 1] = 1 - later[:, 1]
  plain, padded = (nodes, edges, size), (more_nodes, more_edges, size)
  every = lambda plain, padded, *g: (run(*plain, g[0]), run(*padded, g[1]), run(*plain, g[2]))
  found = jax.device_get(jax.jit(every)(plain, padded, gates, more_gates, later))
  (plain, stats), (padded, more_stats), (other, _) = found
  # In each of two layers a linear map, what is heard, and the moments of all nodes.
  sums = dict(depth=8, terms=5, axis=None)
  close(padded[..., :5, :], plain, **sums)
  assert (padded[..., 5:, :] == 0).all()
  close(more_stats, stats, **sums)
  # Every layer has gates of its own.
  close(other[:, 0], plain[:, 0], **sums)
  assert np.abs(other[:, 1] - plain[:, 1]).max() > 1e-3


def test_features_are_those_of_all_layers():
  network = small()
  args = np.random.default_rng(1).normal(size=(2, 5, 4)), np.array([EDGES] * 2), np.array([5, 5])
  args = np.float32(args[0]), *args[1:]
  variables = filled(network, *args)
  both = jax.jit(lambda v, *x: (network.apply(v, *x), network.apply(v, *x, method="encode")))
  layers, found = jax.device_get(both(variables, *args))
  assert found["node"].shape == (2, 5, 12)
  norms = np.linalg.norm(found["node"], axis=-1)
  np.testing.assert_allclose(norms, 1, rtol=1e-5)
  joined = np.concatenate([layers[:, 0], layers[:, 1]], -1)
  expected = joined / np.linalg.norm(joined, axis=-1, keepdims=True)
  np.testing.assert_allclose(found["node"], expected, rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(found["mean"], expected.mean(1), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("each", [False, True])
def test_decoders_are_one_for_all_layers_or_one_each(each):
  network, rng = small(decoder_each=each), np.random.default_rng(2)
  args = np.ones((1, 5, 4), np.float32), EDGES[None], np.array([5])
  variables = filled(network, *args)
  count = sum(name.startswith("decoder") for name in variables["params"])
  assert count == (2 if each else 1)
  same = np.broadcast_to(rng.normal(size=(1, 1, 5, 6)).astype(np.float32), (1, 2, 5, 6))
  run = lambda layers: network.apply(variables, layers, args[1], method="decode")
  both, alone = jax.device_get(jax.jit(lambda x: (run(x), run(x[:, :1])))(same))
  first, last = both[0]
  assert bool((first == last).all()) != each
  np.testing.assert_array_equal(alone[0, 0], last)


def test_what_drops_out_depends_on_the_example_alone():
  keys = jax.random.split(KEY, 4)
  x = np.ones((4, 50, 40), np.float32)
  drop = jax.jit(lambda x, keys: drop_out(x, keys, 0.8))
  whole = np.asarray(drop(x, keys))
  np.testing.assert_array_equal(whole[2:], drop(x[:2], keys[2:]))
  assert set(np.unique(whole)) == {0, np.float32(1 / (1 - 0.8))}
  assert abs((whole == 0).mean() - 0.8) < 0.02


@pytest.mark.parametrize(
  "words", [dict(record_shape=(3, 3, 3)), dict(record_shape=(5, 4), dropout=1.0)]
)
def test_what_cannot_be_is_told(words):
  with pytest.raises(BadInput):
    graph_autoencoder(**words)
