"""Values of graphs: gates of messages, what layers say of nodes, and logits of pairs of nodes."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key, Shaped

from maskjax import masks
from maskjax.task.negatives import sample_negatives
from maskjax.task.networks import Network


class Pairs(NamedTuple):
  """Logits of (edge, none) for the edges of a graph and for pairs without one, with their classes.

  Attributes:
    edges, negatives: logits `[b k p 2]`.
    edge, none: the classes, 0 and 1 throughout, `[b k p]`.
    found: which pairs without an edge there are.
  """

  edges: Float[Array, "b k m 2"]
  negatives: Float[Array, "b k p 2"]
  edge: Int[Array, "b k m"]
  none: Int[Array, "b k p"]
  found: Bool[Array, "b k p"]


class Negatives(NamedTuple):
  """Pairs of nodes that no edge joins, and which of them were found."""

  pairs: Int[Array, "b p 2"]
  found: Bool[Array, "b p"]


def stream_keys(keys: Key[Array, "b"], *, views: int = 0) -> Key[Array, "..."]:
  """The keys of a stream as a value, for several values that draw from the same.

  Args:
    keys: one for each example.
    views: how many of each example, `[b views]`; 0, the keys themselves.

  >>> stream_keys(jax.random.split(jax.random.key(0), 3), views=2).shape
  (3, 2)
  """
  return jax.vmap(lambda key: jax.random.split(key, views))(keys) if views else keys


def per_view(x: Shaped[Array, "b *n"]) -> Shaped[Array, "b 1 *n"]:
  """A value that all views of an example share, with an axis for them.

  >>> per_view(jnp.zeros((2, 5))).shape
  (2, 1, 5)
  """
  return x[:, None]


def broadcast_like(x: Shaped[Array, "..."], other: Shaped[Array, "..."]) -> Shaped[Array, "..."]:
  """A value repeated along the axes of another one.

  >>> broadcast_like(jnp.zeros((2, 1, 5)), jnp.zeros((2, 3, 5))).shape
  (2, 3, 5)
  """
  return jnp.broadcast_to(x, other.shape)


def open_gate(hidden: Bool[Array, "*b n"]) -> Float[Array, "*b n"]:
  """A mask as gates: 0 where hidden, 1 elsewhere.

  >>> open_gate(jnp.array([True, False])).tolist()
  [0.0, 1.0]
  """
  return masks.to_keep(hidden).astype(jnp.float32)


def edge_ends(batch: Mapping[str, Any]) -> Int[Array, "b 1 m"]:
  """The node that each edge leads to, for all views."""
  ends: Int[Array, "b 1 m"] = batch["edges"][:, None, :, 1]
  return ends


def node_layers(
  network: Network,
  batch: Mapping[str, Any],
  gate: Float[Array, "b k m"],
  dropout: Key[Array, "b"] | None,
  train: bool,
) -> Float[Array, "b k n d"]:
  """What the last k layers of a graph network say of every node, each along messages of its gates.

  Args:
    network: called as `network(nodes, edges, size, gate, keys=…, train=…)`.
    batch: with "nodes", "edges" and "size".
    gate: of every edge, for each of k layers or one for all.
    dropout: keys of what drops out; None drops nothing.
    train: whether statistics are those of the batch.
  """
  graph = batch["nodes"], batch["edges"], batch["size"]
  layers: Float[Array, "b k n d"] = network(*graph, gate, keys=dropout, train=train)
  return layers[:, -gate.shape[1] :]


def negative_pairs(keys: Key[Array, "b"], batch: Mapping[str, Any]) -> Negatives:
  """As many pairs without an edge as a graph has edges: negative sampling.

  Args:
    keys: one for each graph.
    batch: with "edges" and "size".
  """
  edges = batch["edges"]
  return Negatives(*sample_negatives(keys, edges, batch["size"], pairs=edges.shape[1]))


def pair_logits(
  network: Network,
  layers: Float[Array, "b k n d"],
  batch: Mapping[str, Any],
  negatives: Negatives,
  dropout: Key[Array, "b"] | None,
) -> Pairs:
  """What each layer says of the edges of a graph, and of pairs without one.

  Args:
    network: called as `decode(layers, pairs, keys)`.
    layers: of nodes.
    batch: with "edges".
    negatives: pairs without an edge.
    dropout: keys of what drops out; None drops nothing.
  """
  pairs = jnp.concatenate([batch["edges"], negatives.pairs], axis=1)
  logits = network(layers, pairs, dropout, method="decode")
  joined, free = jnp.split(logits, 2, axis=2)
  found = jnp.broadcast_to(negatives.found[:, None], free.shape[:-1])
  edge = jnp.zeros(joined.shape[:-1], jnp.int32)
  return Pairs(joined, free, edge, jnp.ones(found.shape, jnp.int32), found)


def edge_views(
  network: Network, batch: Mapping[str, Any], gate: Float[Array, "b k m"]
) -> Mapping[str, Array]:
  """What pictures of gated edges are made from: "edges", "size", "gate" and "prediction".

  The prediction is the probability of each edge by each layer, nothing dropped out.
  """
  layers = node_layers(network, batch, gate, None, train=False)
  said = jax.nn.softmax(network(layers, batch["edges"], method="decode"))[..., 0]
  return {"edges": batch["edges"], "size": batch["size"], "gate": gate, "prediction": said}
