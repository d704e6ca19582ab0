"""Edges of graphs asked back: agreement with Bandana's public code, and what its gates do."""

import functools
import itertools
import pathlib
import runpy
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree
from safetensors.numpy import load_file

from maskjax.errors import BadInput
from maskjax.record import Record
from maskjax.task.base import total
from maskjax.task.edge_values import Negatives
from maskjax.task.negatives import sample_negatives

HERE = pathlib.Path(__file__).parent
GOLDEN = load_file(HERE.parent / "golden" / "bandana.safetensors")
begun = runpy.run_path(str(HERE / "toy_weights.py"))["begun"]
task_of = runpy.run_path(str(HERE / "toy_configs.py"))["task_of"]
KEY = jax.random.key(0)
N = 12


def golden(name):
  return GOLDEN[f"golden.{name}"]


def params(prefix=""):
  """The public code's parameters, or the gradients of its loss, by our names."""
  take = lambda name: GOLDEN[prefix + name]
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


def make(preset="bandana", record=None, given=False, temperature=0.9, **model):
  """The task of a preset with a small network, of draws that are drawn or of the batch."""

  def change(c):
    c.model.update({**dict(width=6, depth=3, dropout=0.0, decoder_width=5), **model})
    if c.select.fn == "select.shares":
      c.select.temperature = temperature
    # An answer of the test's own: gates alone, without what the network makes of them.
    c.answers.gates = c.answers.views.of.gate
    if given:
      c.score, c.let.negatives = "batch.noise", "batch.negatives"

  return task_of(preset, record or Record("graph", (N, 10), {"graph": 1}), change)


bandana, hard = partial(make, "bandana"), partial(make, "bandana:hard")


def batch_of(edges, x, position=0):
  """A batch of one graph."""
  pairs = sorted({tuple(sorted(e)) for e in np.asarray(edges).tolist()})
  unit = np.array([pairs.index(tuple(sorted(e))) for e in np.asarray(edges).tolist()], np.int32)
  batch = {"nodes": x, "edges": edges, "unit": unit, "size": np.int32(len(x))}
  batch = {k: np.asarray(v)[None] for k, v in batch.items()}
  return jax.device_put(batch | {"position": np.array([position])})


def begin(task, graph):
  """Variables that training begins with."""
  return begun(jax.eval_shape(task.init, KEY, graph))


GRAPH = batch_of(golden("edges"), golden("x"))


def test_bandwidths_loss_and_gradients_agree_with_the_public_code():
  task = bandana(given=True, temperature=0.7)
  apart = jnp.asarray(golden("apart"))[None]
  # High is wide there, narrow here.
  noise = -jnp.asarray(golden("noise"))[None]
  graph = GRAPH | {"noise": noise, "negatives": Negatives(apart, jnp.ones(apart.shape[:2], bool))}

  @jax.jit
  def run(variables):
    def objective(p):
      terms, aux = task.loss({**variables, "params": p}, graph, KEY, 0)
      return total(terms, task.weights), aux

    (loss, _), slopes = jax.value_and_grad(objective, has_aux=True)(variables["params"])
    views = task.answers["views"](variables, graph, KEY)
    return loss, slopes, views["gate"][0], task.answers["features"](variables, graph)["node"][0]

  loss, slopes, gate, embedding = run({**begin(task, graph), "params": params()})
  np.testing.assert_allclose(gate, golden("bandwidths"), rtol=1e-5, atol=1e-7)
  np.testing.assert_allclose(loss, golden("layer_loss").mean(), rtol=1e-5)
  compare = lambda got, expected: np.testing.assert_allclose(got, expected, rtol=2e-4, atol=2e-6)
  jax.tree.map(compare, slopes, params("gradient."))
  np.testing.assert_allclose(embedding, golden("embedding"), rtol=1e-4, atol=1e-6)


@functools.cache
def found():
  """Gates of many draws, terms under hard masks, and a graph with padding, in one program."""
  task, cut = bandana(depth=2), hard(depth=2)
  wide = bandana(record=Record("graph", (N + 3, 10), {"graph": 1}), depth=2)
  pad = lambda x, *widths, value: np.pad(np.asarray(x), widths, constant_values=value)
  padded = {
    **GRAPH,
    "nodes": pad(GRAPH["nodes"], (0, 0), (0, 3), (0, 0), value=np.nan),
    "edges": pad(GRAPH["edges"], (0, 0), (0, 4), (0, 0), value=N + 3),
    "unit": pad(GRAPH["unit"], (0, 0), (0, 4), value=-1),
  }
  variables = begin(task, GRAPH)

  @jax.jit
  def run(variables, padded):
    keys = jax.random.split(KEY, 40)
    two = jax.tree.map(lambda x: jnp.concatenate([x, x]), GRAPH)

    def draw(key, position):
      return task.answers["gates"](variables, two | {"position": position}, key)

    places = jnp.array([[1, 0]] + [[0, 1]] * 40)
    soft = jax.vmap(draw)(jnp.concatenate([keys[:1], keys]), places)

    def cost(p):
      terms, _ = wide.loss({**variables, "params": p}, padded, KEY, 0)
      return terms["edges"].sum, terms

    # What a hard mask leaves, and what the last layer says of the edges then.
    left = cut.answers["gates"](variables, GRAPH, KEY, 3)
    given = *(GRAPH[name] for name in ("nodes", "edges", "size")), left
    apply = partial(cut.network.apply, variables)
    layers = apply(*given, train=True, mutable=["batch_stats"])[0]
    said = apply(layers[:, -1:], GRAPH["edges"], method="decode")

    return {
      "soft": soft,
      "nats": jnp.where(left == 0, -jax.nn.log_softmax(said)[..., 0], 0).sum(),
      "views": task.answers["views"](variables, two | {"position": places[1]}, keys[0]),
      "closed": jax.vmap(lambda key: cut.answers["gates"](variables, GRAPH, key)[0])(keys),
      "hard": cut.loss(variables, GRAPH, KEY, 3),
      "padded": jax.grad(cost, has_aux=True)(variables["params"]),
      "gate": wide.answers["gates"](variables, padded, KEY),
      "features": (
        wide.answers["features"](variables, padded),
        task.answers["features"](variables, GRAPH),
      ),
    }

  assert task.coupled
  return jax.tree.map(np.asarray, run(variables, jax.device_put(padded)))


def test_messages_flow_where_a_hard_mask_cuts_them_off():
  """The paper's point: all edges carry something, each neighbourhood one unit, edges differ."""
  soft, closed = found()["soft"][1:, 0], found()["closed"]
  to = np.asarray(GRAPH["edges"])[0, :, 1]
  by_node = lambda g: np.stack([g[..., to == i].sum(-1) for i in np.unique(to)], -1)
  assert soft.shape[1] == 2
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


def test_the_loss_weighs_an_edge_by_its_bandwidth():
  edges = np.array([[1, 0], [2, 0], [0, 1], [0, 2]])
  graph = batch_of(edges, np.random.default_rng(0).normal(size=(3, 10)).astype(np.float32))
  apart = Negatives(jnp.zeros((1, 4, 2), jnp.int32), jnp.zeros((1, 4), bool))
  record = Record("graph", (3, 10), {"graph": 1})
  task = bandana(record=record, given=True, temperature=1.0, depth=1)
  scores = jnp.stack([jnp.full((1, 1, 4), 5.0).at[..., w].set(-5) for w in (0, 1)])

  @jax.jit
  def run(variables):
    def one(noise):
      here = graph | {"noise": noise, "negatives": apart}
      terms, _ = task.loss(variables, here, KEY, 0)
      gate = task.answers["views"](variables, here, KEY)["gate"]
      given = *(graph[k] for k in ("nodes", "edges", "size")), gate
      apply = partial(task.network.apply, variables)
      layers = apply(*given, train=True, mutable=["batch_stats"])[0]
      logits = apply(layers, graph["edges"], method="decode")
      return terms, -jax.nn.log_softmax(logits)[0, 0, :, 0]

    return jax.lax.map(one, scores)

  terms, nats = run(begin(task, graph | {"noise": scores[0], "negatives": apart}))
  for wide in (0, 1):
    # Nodes 1 and 2 have one edge each, of all the bandwidth; node 0 a wide one and a narrow one.
    expected = nats[wide, wide] + nats[wide, 2] + nats[wide, 3]
    np.testing.assert_allclose(terms["edges"].sum[wide], expected, rtol=1e-3)
    assert int(terms["edges"].count[wide]) == 4
    assert int(terms["negatives"].count[wide]) == 0


def test_hard_masks_are_asked_for_and_not_heard_of():
  terms, aux = found()["hard"]
  assert 0 < int(terms["edges"].count) < GRAPH["edges"].shape[1]
  assert int(terms["edges"].count) % 2 == 0
  # Of the last layer alone.
  np.testing.assert_allclose(terms["edges"].sum, found()["nats"], rtol=1e-5)
  assert found()["closed"].shape[1:] == (1, GRAPH["edges"].shape[1])
  assert set(aux.variables) == {"batch_stats"}


def test_negative_samples_are_all_pairs_without_an_edge():
  edges, complete = GRAPH["edges"], np.array([[[1, 0], [0, 1]]])

  @jax.jit
  def run(edges, complete):
    keys = jax.random.split(KEY, 1)
    some = sample_negatives(keys, edges, jnp.array([N]), pairs=4000)
    return some, sample_negatives(keys, complete, jnp.array([2]), pairs=9)[1]

  (pairs, there), none = jax.tree.map(np.asarray, run(edges, complete))
  assert there.mean() > 0.9
  drawn = set(map(tuple, pairs[there].tolist()))
  joined = set(map(tuple, np.asarray(edges[0]).tolist()))
  assert drawn == {(a, b) for a, b in itertools.permutations(range(N), 2)} - joined
  assert not none.any()


def test_padding_changes_neither_terms_nor_gradients():
  slope, terms = found()["padded"]
  assert (found()["gate"][..., -4:] == 0).all()
  assert int(terms["edges"].count) == 2 * GRAPH["edges"].shape[1]
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(slope))
  wide, plain = (features["node"] for features in found()["features"])
  np.testing.assert_allclose(wide[:, :N], plain, atol=1e-6)


def test_graphs_of_a_batch_draw_apart_and_by_their_position():
  turned, both = found()["soft"][:2]
  views = found()["views"]
  assert set(views) == {"edges", "size", "gate", "prediction"}
  assert views["prediction"].shape == both.shape == (2, 2, GRAPH["edges"].shape[1])
  assert ((views["prediction"] > 0) & (views["prediction"] < 1)).all()
  np.testing.assert_allclose(views["gate"], both, rtol=1e-6)
  assert (both[0] != both[1]).any()
  np.testing.assert_array_equal(turned, both[::-1])


def test_it_learns_which_nodes_are_joined():
  ring = [(i, j % 20) for i in range(20) for j in (i + 1, i - 1, i + 2, i - 2)]
  edges = np.array(sorted(((a % 20, b) for a, b in ring), key=lambda e: (e[1], e[0])))
  graph = batch_of(edges, np.eye(20, dtype=np.float32))
  model = dict(width=16, depth=2, dropout=0.2, decoder_width=16)
  task, tx = bandana(record=Record("graph", (20, 20), {"graph": 1}), **model), optax.adam(0.02)

  def step(carry, i):
    variables, moments = carry

    def objective(p):
      terms, aux = task.loss({**variables, "params": p}, graph, KEY, i)
      return total(terms, task.weights), aux

    (loss, aux), slope = jax.value_and_grad(objective, has_aux=True)(variables["params"])
    # As one vector: leaf after leaf the optimiser would be most of the program.
    slope, apart = ravel_pytree(slope)
    updates, moments = tx.update(slope, moments)
    params = jax.tree.map(jnp.add, variables["params"], apart(updates))
    return ({**variables, **aux.variables, "params": params}, moments), loss

  @jax.jit
  def run(variables):
    start = variables, tx.init(ravel_pytree(variables["params"])[0])
    (variables, _), losses = jax.lax.scan(step, start, jnp.arange(150))
    return losses, task.answers["features"](variables, graph)["node"][0]

  losses, x = map(np.asarray, run(begin(task, graph)))
  assert losses[-10:].mean() < 0.6 * losses[:5].mean()
  near = (x @ x.T)[edges[:, 0], edges[:, 1]].mean()
  assert near > (x @ x.T).mean() + 0.1


def test_other_data_and_words_are_refused():
  table = bandana(record=Record("table", (3, 1), {"train": 1, "graph": 1}))
  cells = {"table": jnp.zeros((1, 3, 1)), "position": jnp.arange(1)}
  with pytest.raises(BadInput, match="unit"):
    jax.eval_shape(table.init, KEY, cells)

  def entropy(c):
    c.score = dict(fn="score.entropy")

  with pytest.raises(BadInput, match="needs logits"):
    task_of("bandana", Record("graph", (N, 10), {"graph": 1}), entropy)
