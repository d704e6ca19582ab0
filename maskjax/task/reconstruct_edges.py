"""Edges of graphs: some are hidden, or all made narrower, and the network is asked for them."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from maskjax import bind, masks
from maskjax.errors import BadInput
from maskjax.keys import keys, stream
from maskjax.record import Record
from maskjax.recover import cross_entropy
from maskjax.reduce import Term
from maskjax.task.answers import offered
from maskjax.task.base import Aux, Batch, Task, Variables
from maskjax.task.scorer import scorer
from maskjax.task.strangers import strangers

OFFERS = ("keys", "grid", "unit", "step")


class Cut(NamedTuple):
  """What becomes of the edges, for each layer or for all alike.

  Attributes:
    gate: how much of a message each lets through, `[b k m]`.
    asked: which are asked for.
    weight: what `recover` is told of them: their gates, where these are soft.
  """

  gate: Float[Array, "b k m"]
  asked: Bool[Array, "b k m"]
  weight: Mapping[str, Float[Array, "b k m"]]


def reconstruct_edges(
  *,
  record: Record,
  model: Callable[..., Any],
  score: functools.partial[Float[Array, "b k m"]],
  select: functools.partial[Array],
  recover: functools.partial[Term] | Callable[..., Term] = cross_entropy,
  layerwise: bool = True,
) -> Task:
  """Scores and selects the edges of graphs, and asks a model which pairs of nodes are joined.

  A score may name `keys`, `grid` (directed edges), `unit` (the number of an edge, the same in both
  directions) and `step`; a selection may name `grid`, `allowed` (not padding), `segment` (the node
  that an edge leads to) and `segments` (how many nodes there are). A mask stops the messages along
  hidden edges and asks for these; a gate scales the messages, and asks for all edges, each weighed
  by its gate. With `layerwise` every layer of the model has a draw of its own and is asked;
  without, there is one draw, and the last layer is asked.

  `recover` is called with logits of (edge, none), classes, what is asked and, of gates, their
  `weight`. As many pairs as there are edges are drawn from those that no edge joins. All nodes of a
  batch are normalised together: the task is `coupled`.

  Terms: "edges", over what is asked of all layers, and "strangers", over pairs without an edge.
  Features: those of the model's `encode`, with nothing hidden. Views: "edges", "size", "gate"
  `[b k m]` and "prediction" `[b k m]`, the probability of each edge.

  Raises:
    BadInput: the data are no graphs, or a word needs what is not offered.
  """
  if record.kind != "graph":
    raise BadInput(f"reconstruct_edges takes graphs, the data set holds {record.kind}")
  bind.check(model, ("record_shape",), "reconstruct_edges")
  scores_of = scorer(score, OFFERS, "reconstruct_edges")
  network = model(record_shape=record.shape)
  draws = network.depth if layerwise else 1

  def graph(batch: Batch) -> tuple[Array, Array, Array]:
    return batch["nodes"], batch["edges"], batch["size"]

  def own(key: Key[Array, ""], name: str, batch: Batch, step: Any) -> Key[Array, "b"]:
    return keys(stream(key, name, step), batch["position"])

  def offers(key: Key[Array, ""], batch: Batch, step: Any) -> Mapping[str, Any]:
    drawn = jax.vmap(lambda k: jax.random.split(k, draws))(own(key, "mask", batch, step))
    unit = batch["unit"][:, None]
    return {"keys": drawn, "grid": unit.shape[2:], "unit": unit, "step": step}

  def cut(variables: Variables, key: Key[Array, ""], batch: Batch, step: Any) -> Cut:
    given = offers(key, batch, step)
    scores = scores_of.apply(variables["params"], given)
    n, to = record.shape[0], batch["edges"][:, None, :, 1]
    there = (to < n) & (batch["size"] > 0)[:, None, None]
    around = {"grid": given["grid"], "allowed": there, "segment": to, "segments": n}
    chosen = bind.call(bind.at(select, step), around, scores)
    if chosen.dtype == bool:
      return Cut(masks.to_keep(chosen).astype(jnp.float32), chosen & there, {})
    return Cut(chosen, jnp.broadcast_to(there, chosen.shape), {"weight": chosen})

  def init(key: Key[Array, ""], batch: Batch) -> Variables:
    taught = scores_of.init(stream(key, "score"), offers(key, batch, 0))
    made = network.init(stream(key, "init"), *graph(batch))
    return {**made, "params": {**made["params"], **taught}}

  def loss(
    variables: Variables, batch: Batch, key: Key[Array, ""], step: Any
  ) -> tuple[Mapping[str, Term], Aux]:
    edges, (gate, asked, weight) = batch["edges"], cut(variables, key, batch, step)
    drop = own(key, "dropout", batch, step)
    layers, new = network.apply(
      variables, *graph(batch), gate, keys=drop, train=True, mutable=["batch_stats"]
    )
    layers = layers[:, -draws:]
    apart, found = strangers(
      own(key, "strangers", batch, step), edges, batch["size"], pairs=edges.shape[1]
    )
    pairs = jnp.concatenate([edges, apart], axis=1)
    logits = network.apply(variables, layers, pairs, drop, method="decode")
    joined, free = jnp.split(logits, 2, axis=2)
    ask = bind.at(recover, step) if isinstance(recover, functools.partial) else recover
    found = jnp.broadcast_to(found[:, None], free.shape[:-1])
    return {
      "edges": ask(joined, jnp.zeros(asked.shape, jnp.int32), asked, **weight),
      "strangers": ask(free, jnp.ones(found.shape, jnp.int32), found),
    }, Aux(variables=new)

  def features(variables: Variables, batch: Batch) -> Mapping[str, Array]:
    return network.apply(variables, *graph(batch), method="encode")

  def views(variables: Variables, batch: Batch, key: Key[Array, ""]) -> Mapping[str, Array]:
    gate = cut(variables, key, batch, 0).gate
    layers = network.apply(variables, *graph(batch), gate)[:, -draws:]
    logits = network.apply(variables, layers, batch["edges"], method="decode")
    said = {"gate": gate, "prediction": jax.nn.softmax(logits)[..., 0]}
    return {"edges": batch["edges"], "size": batch["size"], **said}

  answers = offered(features=features, views=views)
  return Task(init, loss, network=network, coupled=True, answers=answers)
