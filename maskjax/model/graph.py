"""Graph convolutions whose messages pass through gates, and a decoder of pairs of nodes."""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from maskjax import bind
from maskjax.errors import BadInput
from maskjax.keys import stream
from maskjax.model.partial import MaskedNorm

Nodes = Float[Array, "*b n d"]
Pairs = Int[Array, "*b p 2"]


def propagate(
  x: Float[Array, "n d"], edges: Int[Array, "m 2"], gate: Float[Array, "m"]
) -> Float[Array, "n d"]:
  r"""What nodes hear of each other along gated edges, and of themselves, normalised by degree.

  $y_i = \frac{x_i}{d_i} + \sum_{j \to i} \frac{g_{ji}}{\sqrt{d_j d_i}} x_j$ with
  $d_i = 1 + \sum_{j \to i} g_{ji}$. What stands behind a closed gate, NaN too, is not heard; edges
  to a node that is not there lead nowhere.

  >>> x, edges = jnp.array([[1.], [3.], [jnp.nan]]), jnp.array([[1, 0], [2, 0]])
  >>> round(propagate(x, edges, jnp.array([1., 0.]))[0].item(), 4)
  2.6213

  Source: Kipf and Welling, "Semi-Supervised Classification with Graph Convolutional Networks",
  2017, equation 2, with gates as weights of the edges.
  """
  n = len(x)
  origin, end = jnp.minimum(edges[:, 0], n - 1), edges[:, 1]
  gate = jnp.where(end < n, gate, 0)
  degree = 1 + jax.ops.segment_sum(gate, end, n)
  scale = jax.lax.rsqrt(degree)
  weight = gate * scale[origin] * scale[jnp.minimum(end, n - 1)]
  # What a closed gate lets through is nothing, not zero times what may be no number.
  heard = jnp.where(weight[:, None] == 0, 0, x[origin]) * weight[:, None]
  return x / degree[:, None] + jax.ops.segment_sum(heard, end, n)


class GraphConv(nn.Module):
  """A linear map of every node, spread by `propagate`, and a bias."""

  width: int

  @nn.compact
  def __call__(
    self, x: Nodes, edges: Int[Array, "*b m 2"], gate: Float[Array, "*b m"]
  ) -> Float[Array, "*b n width"]:
    """`[*b, n, d]` to `[*b, n, width]`."""
    glorot = nn.initializers.glorot_uniform()
    x = nn.Dense(self.width, use_bias=False, kernel_init=glorot, name="linear")(x)
    spread = jnp.vectorize(propagate, signature="(n,d),(m,e),(m)->(n,d)")
    return spread(x, edges, gate) + self.param(
      "bias", nn.initializers.zeros, (self.width,), jnp.float32
    )


class PairDecoder(nn.Module):
  """Two layers on the product of two nodes' features: logits of an edge, and of none."""

  width: int
  dropout: float

  @nn.compact
  def __call__(
    self, x: Nodes, pairs: Pairs, keys: Key[Array, "*b"] | None
  ) -> Float[Array, "*b p 2"]:
    """Logits of the pairs; a pair with a node that is not there is decoded as one with the last."""
    places = jnp.minimum(pairs, x.shape[-2] - 1)
    meet = lambda x, at: x[at[:, 0]] * x[at[:, 1]]
    met = jnp.vectorize(meet, signature="(n,d),(p,e)->(p,d)")(x, places)
    hidden = nn.relu(nn.Dense(self.width, name="hidden")(drop_out(met, keys, self.dropout)))
    return nn.Dense(2, name="logits")(hidden)


class GraphAutoencoder(nn.Module):
  """Graph convolutions, all of one width, with a decoder of pairs; built by `graph_autoencoder`.

  Training normalises over all nodes of a batch: it is `coupled`.
  """

  coupled = True

  width: int
  depth: int
  dropout: float
  decoder_width: int
  decoder_dropout: float
  decoders: int
  unit: bool

  def setup(self) -> None:
    """Makes the layers."""
    self.convs = [GraphConv(self.width, name=f"conv_{i}") for i in range(self.depth)]
    make = lambda i: MaskedNorm(momentum=0.9, epsilon=1e-5, name=f"norm_{i}")
    self.norms = [make(i) for i in range(self.depth)]
    make_decoder = lambda i: PairDecoder(
      self.decoder_width, self.decoder_dropout, name=f"decoder_{i}"
    )
    self.pair_decoders = [make_decoder(i) for i in range(self.decoders)]

  def __call__(
    self,
    nodes: Nodes,
    edges: Int[Array, "*b m 2"],
    size: Int[Array, "*b"],
    gates: Float[Array, "*b k m"] | None = None,
    *,
    keys: Key[Array, "*b"] | None = None,
    train: bool = False,
  ) -> Float[Array, "*b depth n width"]:
    """What every layer says of every node; zero for those that are not there, from `size` on.

    Args:
      nodes: their features.
      edges: (from, to); those with a node beyond the last lead nowhere.
      size: how many nodes are there.
      gates: of the edges, for each layer or one for all; None lets every message through.
      keys: one per example, of what drops out; None drops nothing.
      train: whether normalisation uses the statistics of the batch, all its graphs, and keeps them.
    """
    if gates is None:
      gates = jnp.ones((*edges.shape[:-2], 1, edges.shape[-2]))
    gone = jnp.arange(nodes.shape[-2]) >= size[..., None]
    x, layers = jnp.where(gone[..., None], 0, nodes), []
    for i, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
      x = drop_out(x, None if keys is None else _each(keys, f"layer {i}"), self.dropout)
      x = conv(x, edges, gates[..., min(i, gates.shape[-2] - 1), :])
      x = jnp.where(gone[..., None], 0, nn.elu(norm(x, gone, use_running_average=not train)[0]))
      layers.append(x)
    if self.is_initializing():
      self.decode(jnp.stack(layers, axis=-3), edges[..., :1, :])
    return jnp.stack(layers, axis=-3)

  def decode(
    self,
    layers: Float[Array, "*b k n width"],
    pairs: Pairs,
    keys: Key[Array, "*b"] | None = None,
  ) -> Float[Array, "*b k p 2"]:
    """Logits of (edge, none) for pairs of nodes from each layer, the last if there are fewer."""
    found, count = [], layers.shape[-3]
    for i in range(count):
      decoder = self.pair_decoders[max(self.decoders - count + i, 0)]
      own = None if keys is None else _each(keys, f"decoder {i}")
      found.append(decoder(layers[..., i, :, :], pairs, own))
    return jnp.stack(found, axis=-3)

  def encode(
    self, nodes: Nodes, edges: Int[Array, "*b m 2"], size: Int[Array, "*b"]
  ) -> dict[str, Float[Array, "..."]]:
    """Features with nothing hidden: of each "node" `[*b n depth·width]`, and their "mean".

    "last" `[*b n width]` are those of the last layer, as they are.
    """
    layers = jnp.moveaxis(self(nodes, edges, size), -3, -2)
    x = layers.reshape(*layers.shape[:-2], -1)
    if self.unit:
      x = x / jnp.maximum(jnp.linalg.norm(x, axis=-1, keepdims=True), 1e-12)
    mean = x.sum(axis=-2) / jnp.maximum(size, 1)[..., None]
    return {"node": x, "mean": mean, "last": layers[..., -1, :]}


def drop_out(
  x: Float[Array, "*b n d"], keys: Key[Array, "*b"] | None, rate: float
) -> Float[Array, "*b n d"]:
  """Zero with probability `rate`, each example by its own key, what stays grown by 1/(1 - rate)."""
  if keys is None or rate == 0:
    return x
  shape = x.shape[keys.ndim :]
  draw = lambda key: jax.random.bernoulli(key, 1 - rate, shape)
  kept = jax.vmap(draw)(keys.reshape(-1)).reshape(x.shape)
  return jnp.where(kept, x / (1 - rate), 0)


def _each(keys: Key[Array, "*b"], name: str) -> Key[Array, "*b"]:
  named = jax.vmap(lambda key: stream(key, name))
  return named(keys.reshape(-1)).reshape(keys.shape)


@bind.least(width=8, decoder_width=8)
def graph_autoencoder(
  *,
  record_shape: Sequence[int],
  width: int = 256,
  depth: int = 3,
  dropout: float = 0.8,
  decoder_width: int = 256,
  decoder_dropout: float = 0.0,
  decoder_each: bool = False,
  unit: bool = True,
) -> GraphAutoencoder:
  """An encoder of graphs with records of `(nodes, features)` and a decoder of their edges.

  Each of `depth` layers drops out of its input, convolves, normalises over all nodes of the batch
  and applies an ELU. The decoder is one for all layers, or `decoder_each` has its own. Features of
  nodes are those of all layers, with `unit` scaled to length 1.

  Raises:
    BadInput: data of another shape, or a number out of range.

  Source: Zhao et al. 2024 (Bandana) and the code of MaskGAE (Li et al. 2023).
  """
  if len(record_shape) != 2:
    raise BadInput(f"graph_autoencoder takes graphs, (nodes, features), got {tuple(record_shape)}")
  if min(width, depth, decoder_width) < 1 or min(dropout, decoder_dropout) < 0:
    raise BadInput(f"graph_autoencoder: {width=}, {depth=}, {decoder_width=}, {dropout=}")
  if max(dropout, decoder_dropout) >= 1:
    raise BadInput(f"dropout is a share below 1, got {dropout=}, {decoder_dropout=}")
  decoders = depth if decoder_each else 1
  return GraphAutoencoder(width, depth, dropout, decoder_width, decoder_dropout, decoders, unit)
