"""Edges of graphs asked back: agreement with Bandana's public code, and what its gates do."""

import importlib
import itertools
import pathlib
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

from maskjax import score, select
from maskjax.errors import BadInput
from maskjax.model import graph_autoencoder
from maskjax.record import Record
from maskjax.task import reconstruct_edges
from maskjax.task.base import total
from maskjax.task.strangers import strangers

module = importlib.import_module("maskjax.task.reconstruct_edges")
GOLDEN = load_file(pathlib.Path(__file__).parents[1] / "golden" / "bandana.safetensors")
KEY = jax.random.key(0)
N = 12


def golden(name):
  return jnp.asarray(GOLDEN[f"golden.{name}"])


def params(prefix=""):
  """The public code's parameters, or the gradients of its loss, by our names."""
  take = lambda name: jnp.asarray(GOLDEN[prefix + name])
  found = {}
  for i in range(3):
    found[f"conv_{i}"] = {
      "linear": {"kernel": take(f"encoder.convs.{i}.lin.weight").T},
      "bias": take(f"encoder.convs.{i}.bias"),
    }
    names = {"scale": "weight", "bias": "bias"}
    found[f"norm_{i}"] = {k: take(f"encoder.bns.{i}.{v}") for k, v in names.items()}
  dense = lambda i: {
    "kernel": take(f"decoder.mlps.{i}.weight").T,
    "bias": take(f"decoder.mlps.{i}.bias"),
  }
  found["decoder_0"] = {"hidden": dense(0), "logits": dense(1)}
  return found


def make(score, select, layerwise=True, nodes=N, depth=3, **model):
  record = Record("graph", (nodes, 10), {"graph": 1})
  words = dict(width=6, depth=depth, dropout=0.0, decoder_width=5) | model
  network = partial(graph_autoencoder, **words)
  return reconstruct_edges(
    record=record, model=network, score=score, select=select, layerwise=layerwise
  )


def batch_of(edges, x, position=0):
  """A batch of one graph."""
  pairs = sorted({tuple(sorted(e)) for e in np.asarray(edges).tolist()})
  unit = np.array([pairs.index(tuple(sorted(e))) for e in np.asarray(edges).tolist()], np.int32)
  batch = {"nodes": x, "edges": edges, "unit": jnp.array(unit), "size": jnp.int32(len(x))}
  return {k: v[None] for k, v in batch.items()} | {"position": jnp.array([position])}


GRAPH = batch_of(golden("edges"), golden("x"))
bandana = partial(make, partial(score.normal), partial(select.shares, temperature=0.9))
hard = partial(make, partial(score.words), partial(select.threshold, above=0.3), layerwise=False)


def given(keys):
  """The draws of the public code: high is wide there, narrow here."""
  return -golden("noise")[None]


def test_bandwidths_loss_and_gradients_agree_with_the_public_code(monkeypatch):
  task = make(partial(given), partial(select.shares, temperature=0.7))
  apart = golden("apart")[None]
  found = jnp.ones(apart.shape[:2], bool)
  monkeypatch.setattr(module, "strangers", lambda *args, **words: (apart, found))
  state = task.init(KEY, GRAPH)
  variables = {**state, "params": params()}
  views = task.views(variables, GRAPH, KEY)
  np.testing.assert_allclose(views["gate"][0], golden("bandwidths"), rtol=1e-5, atol=1e-7)

  def objective(p):
    terms, aux = task.loss({**variables, "params": p}, GRAPH, KEY, 0)
    return total(terms, task.weights), aux

  (loss, _), slopes = jax.value_and_grad(objective, has_aux=True)(variables["params"])
  np.testing.assert_allclose(loss, golden("layer_loss").mean(), rtol=1e-5)
  compare = lambda got, expected: np.testing.assert_allclose(got, expected, rtol=2e-4, atol=2e-6)
  jax.tree.map(compare, slopes, params("gradient."))
  embedding = task.features(variables, GRAPH)["node"][0]
  np.testing.assert_allclose(embedding, golden("embedding"), rtol=1e-4, atol=1e-6)


def test_messages_flow_where_a_hard_mask_cuts_them_off():
  """The paper's point: all edges carry something, each neighbourhood one unit, edges differ."""
  task, cut = bandana(), hard()
  gates = []
  for chosen in (task, cut):
    variables = chosen.init(KEY, GRAPH)
    draw = lambda key, chosen=chosen, v=variables: chosen.views(v, GRAPH, key)["gate"][0]
    gates.append(np.asarray(jax.vmap(draw)(jax.random.split(KEY, 40))))
  soft, closed = gates
  to = np.asarray(GRAPH["edges"])[0, :, 1]
  by_node = lambda g: np.stack([g[..., to == i].sum(-1) for i in np.unique(to)], -1)
  assert soft.shape[1] == 3
  assert closed.shape[1] == 1
  assert soft.min() > 0
  np.testing.assert_allclose(by_node(soft), 1, atol=1e-5)
  assert set(np.unique(closed)) == {0, 1}
  assert abs(closed.mean() - 0.3) < 0.05
  assert (by_node(closed) == 0).any()
  # Layers draw apart, and so do the two directions of an edge; hard masks hide both.
  unit = np.asarray(GRAPH["unit"])[0]
  back = np.array([np.flatnonzero((unit == u) & (np.arange(len(unit)) != i))[0]
                   for i, u in enumerate(unit)])  # fmt: skip
  assert abs(np.corrcoef(soft[:, 0].ravel(), soft[:, 1].ravel())[0, 1]) < 0.5
  assert (soft[:, 0] != soft[:, 0][:, back]).mean() > 0.9
  assert (closed == closed[..., back]).all()


@pytest.mark.parametrize("wide", [0, 1])
def test_the_loss_weighs_an_edge_by_its_bandwidth(monkeypatch, wide):
  edges = jnp.array([[1, 0], [2, 0], [0, 1], [0, 2]])
  graph = batch_of(edges, jax.random.normal(KEY, (3, 10)))
  scores = jnp.full((1, 1, 4), 5.0).at[..., wide].set(-5.0)
  task = make(partial(lambda keys: scores), partial(select.shares), nodes=3, depth=1)
  apart = jnp.zeros((1, 4, 2), jnp.int32), jnp.zeros((1, 4), bool)
  monkeypatch.setattr(module, "strangers", lambda *args, **words: apart)
  variables = task.init(KEY, graph)
  terms, _ = task.loss(variables, graph, KEY, 0)
  layers = task.network.apply(
    variables, *(graph[k] for k in ("nodes", "edges", "size")), task.views(
      variables, graph, KEY)["gate"], train=True, mutable=["batch_stats"],
  )[0]  # fmt: skip
  logits = task.network.apply(variables, layers, edges[None], method="decode")
  nats = -jax.nn.log_softmax(logits)[0, 0, :, 0]
  # Nodes 1 and 2 have one edge each, of all the bandwidth; node 0 has a wide one and a narrow one.
  np.testing.assert_allclose(terms["edges"].sum, nats[wide] + nats[2] + nats[3], rtol=1e-3)
  assert int(terms["edges"].count) == 4
  assert int(terms["strangers"].count) == 0


def test_hard_masks_are_asked_for_and_not_heard_of():
  task = hard()
  variables = task.init(KEY, GRAPH)
  terms, aux = task.loss(variables, GRAPH, KEY, 3)
  cut = 1 - task.views(variables, GRAPH, KEY)["gate"]
  assert 0 < int(terms["edges"].count) < GRAPH["edges"].shape[1]
  assert int(terms["edges"].count) % 2 == 0
  assert cut.shape == (1, 1, GRAPH["edges"].shape[1])
  assert set(aux.variables) == {"batch_stats"}


def test_strangers_are_all_pairs_without_an_edge():
  edges = GRAPH["edges"]
  pairs, found = strangers(jax.random.split(KEY, 1), edges, jnp.array([N]), pairs=4000)
  assert found.mean() > 0.9
  drawn = set(map(tuple, np.asarray(pairs[found]).tolist()))
  joined = set(map(tuple, np.asarray(edges[0]).tolist()))
  assert drawn == {(a, b) for a, b in itertools.permutations(range(N), 2)} - joined
  complete = jnp.array([[[1, 0], [0, 1]]])
  assert not strangers(jax.random.split(KEY, 1), complete, jnp.array([2]), pairs=9)[1].any()


def test_padding_changes_neither_terms_nor_gradients():
  task, wide = bandana(), bandana(nodes=N + 3)
  more = GRAPH["edges"].shape[1] + 4
  padded = {
    **GRAPH,
    "nodes": jnp.pad(GRAPH["nodes"], ((0, 0), (0, 3), (0, 0)), constant_values=jnp.nan),
    "edges": jnp.pad(GRAPH["edges"], ((0, 0), (0, 4), (0, 0)), constant_values=N + 3),
    "unit": jnp.pad(GRAPH["unit"], ((0, 0), (0, 4)), constant_values=-1),
  }
  variables = task.init(KEY, GRAPH)
  gate = wide.views(variables, padded, KEY)["gate"]
  assert (gate[..., -4:] == 0).all()
  terms, _ = wide.loss(variables, padded, KEY, 0)
  assert int(terms["edges"].count) == 3 * (more - 4)
  slope = jax.grad(lambda p: wide.loss({**variables, "params": p}, padded, KEY, 0)[0]["edges"].sum)
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(slope(variables["params"])))
  np.testing.assert_allclose(
    wide.features(variables, padded)["node"][:, :N],
    task.features(variables, GRAPH)["node"],
    atol=1e-6,
  )


def test_graphs_of_a_batch_draw_apart_and_by_their_position():
  task = bandana()
  two = jax.tree.map(lambda x: jnp.concatenate([x, x]), GRAPH) | {"position": jnp.array([0, 1])}
  variables = task.init(KEY, GRAPH)
  both = task.views(variables, two, KEY)["gate"]
  second = task.views(variables, GRAPH | {"position": jnp.array([1])}, KEY)["gate"]
  assert (both[0] != both[1]).any()
  np.testing.assert_array_equal(both[1:], second)


def test_it_learns_which_nodes_are_joined():
  import optax

  ring = [(i, j % 20) for i in range(20) for j in (i + 1, i - 1, i + 2, i - 2)]
  edges = jnp.array(sorted(((a % 20, b) for a, b in ring), key=lambda e: (e[1], e[0])))
  graph = batch_of(edges, jnp.eye(20))
  record = Record("graph", (20, 20), {"graph": 1})
  network = partial(graph_autoencoder, width=16, depth=2, dropout=0.2, decoder_width=16)
  words = dict(score=partial(score.normal), select=partial(select.shares, temperature=0.9))
  task = reconstruct_edges(record=record, model=network, **words)
  variables, tx = task.init(KEY, graph), optax.adam(0.02)

  @jax.jit
  def step(variables, moments, i):
    def objective(p):
      terms, aux = task.loss({**variables, "params": p}, graph, KEY, i)
      return total(terms, task.weights), aux

    (loss, aux), slope = jax.value_and_grad(objective, has_aux=True)(variables["params"])
    updates, moments = tx.update(slope, moments)
    params = optax.apply_updates(variables["params"], updates)
    return {**variables, **aux.variables, "params": params}, moments, loss

  moments, losses = tx.init(variables["params"]), []
  for i in range(150):
    variables, moments, loss = step(variables, moments, i)
    losses.append(float(loss))
  assert np.mean(losses[-10:]) < 0.6 * np.mean(losses[:5])
  prediction = task.views(variables, graph, KEY)["prediction"]
  x = task.features(variables, graph)["node"][0]
  near = (x @ x.T)[edges[:, 0], edges[:, 1]].mean()
  assert near > (x @ x.T).mean() + 0.1
  assert prediction.shape == (1, 2, 80)


def test_other_data_and_words_are_refused():
  record = Record("table", (3, 1), {"train": 1})
  words = dict(score=partial(score.normal), select=partial(select.shares))
  with pytest.raises(BadInput, match="takes graphs"):
    reconstruct_edges(record=record, model=partial(graph_autoencoder), **words)
  with pytest.raises(BadInput, match="needs logits"):
    make(partial(score.entropy), partial(select.shares))
