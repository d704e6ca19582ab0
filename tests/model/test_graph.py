import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maskjax.errors import BadInput
from maskjax.model import graph_autoencoder
from maskjax.model.graph import drop_out, propagate

EDGES = np.array([[1, 0], [2, 0], [0, 1], [0, 2], [3, 2], [2, 3]])
KEY = jax.random.key(0)


def small(**words):
  return graph_autoencoder(record_shape=(5, 4), width=6, depth=2, decoder_width=3, **words)


def test_propagation_is_that_of_the_normalised_matrix():
  rng = np.random.default_rng(0)
  x, gate = rng.normal(size=(5, 4)), rng.random(6)
  a = np.eye(5)
  a[EDGES[:, 1], EDGES[:, 0]] += gate
  scale = np.diag(a.sum(1) ** -0.5)
  got = propagate(jnp.array(x, jnp.float32), jnp.array(EDGES), jnp.array(gate, jnp.float32))
  np.testing.assert_allclose(got, scale @ a @ scale @ x, rtol=1e-5, atol=1e-6)


def test_a_closed_gate_hides_values_and_gradients():
  x = jnp.ones((5, 4)).at[3].set(jnp.nan)
  gate = jnp.ones(6).at[4].set(0)  # from 3 to 2
  heard = lambda x: propagate(x, jnp.array(EDGES), gate)[:3]
  assert np.isfinite(heard(x)).all()
  slope = jax.grad(lambda x: heard(x).sum())(x)
  assert (slope[3] == 0).all()
  assert np.isfinite(slope).all()


def test_padding_changes_nothing():
  network, rng = small(), np.random.default_rng(0)
  nodes = jnp.array(rng.normal(size=(1, 5, 4)), jnp.float32)
  edges, size = jnp.array(EDGES)[None], jnp.array([5])
  gates = jnp.array(rng.random((1, 2, 6)), jnp.float32)
  variables = network.init(KEY, nodes, edges, size)
  more_nodes = jnp.concatenate([nodes, jnp.full((1, 3, 4), jnp.nan)], 1)
  more_edges = jnp.concatenate([edges, jnp.full((1, 4, 2), 8)], 1)
  more_gates = jnp.concatenate([gates, jnp.full((1, 2, 4), 0.5)], 2)
  run = lambda *args: network.apply(variables, *args, train=True, mutable=["batch_stats"])
  plain, stats = run(nodes, edges, size, gates)
  padded, more_stats = run(more_nodes, more_edges, size, more_gates)
  np.testing.assert_allclose(padded[..., :5, :], plain, atol=1e-6)
  assert (padded[..., 5:, :] == 0).all()
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), stats, more_stats)


def test_features_are_those_of_all_layers():
  network = small()
  args = jnp.ones((2, 5, 4)), jnp.array([EDGES] * 2), jnp.array([5, 5])
  variables = network.init(KEY, *args)
  layers = network.apply(variables, *args)
  found = network.apply(variables, *args, method="encode")
  assert found["node"].shape == (2, 5, 12)
  norms = jnp.linalg.norm(found["node"], axis=-1)
  np.testing.assert_allclose(norms, 1, rtol=1e-5)
  joined = jnp.concatenate([layers[:, 0], layers[:, 1]], -1)
  expected = joined / jnp.linalg.norm(joined, axis=-1, keepdims=True)
  np.testing.assert_allclose(found["node"], expected, rtol=1e-5)
  np.testing.assert_allclose(found["mean"], expected.mean(1), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("each", [False, True])
def test_decoders_are_one_for_all_layers_or_one_each(each):
  network = small(decoder_each=each)
  args = jnp.ones((1, 5, 4)), jnp.array([EDGES]), jnp.array([5])
  variables = network.init(KEY, *args)
  count = sum(name.startswith("decoder") for name in variables["params"])
  assert count == (2 if each else 1)
  same = jnp.broadcast_to(jax.random.normal(KEY, (1, 1, 5, 6)), (1, 2, 5, 6))
  run = lambda layers: network.apply(variables, layers, args[1], method="decode")
  first, last = run(same)[0]
  assert bool((first == last).all()) != each
  np.testing.assert_array_equal(run(same[:, :1])[0, 0], last)


def test_what_drops_out_depends_on_the_example_alone():
  keys = jax.random.split(KEY, 4)
  whole = drop_out(jnp.ones((4, 50, 40)), keys, 0.8)
  np.testing.assert_array_equal(whole[2:], drop_out(jnp.ones((2, 50, 40)), keys[2:], 0.8))
  assert set(np.unique(whole)) == {0, np.float32(1 / (1 - 0.8))}
  assert abs((np.asarray(whole) == 0).mean() - 0.8) < 0.02


@pytest.mark.parametrize(
  "words", [dict(record_shape=(3, 3, 3)), dict(record_shape=(5, 4), dropout=1.0)]
)
def test_what_cannot_be_is_told(words):
  with pytest.raises(BadInput):
    graph_autoencoder(**words)
