"""An encoder and a decoder over the codes of images: masks are seen, dropped codes are not."""

import math
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from maskjax import bind, reduce
from maskjax.errors import BadInput
from maskjax.hide import restore
from maskjax.model.dense import Dense
from maskjax.model.transformer import transformer
from maskjax.model.vit import check_heads, sized, with_first


class Stack(nn.Module):
  """A transformer over tokens that know where they stand, the first of them outside the grid.

  With `normed` they are normalised before the first block.
  """

  depth: int
  heads: int
  mlp: int
  places: int
  normed: bool
  dtype: str
  norm_eps: float
  remat: bool
  scan: bool

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "b k d"],
    index: Int[Array, "b k"] | None = None,
    valid: Bool[Array, "b k"] | None = None,
  ) -> Float[Array, "b k d"]:
    """Normalised tokens of those given; `index` says where they stand, 0 is outside the grid."""
    shape = (self.places, x.shape[-1])
    table = self.param("position", nn.initializers.normal(0.02), shape, jnp.float32).astype(
      self.dtype
    )
    x = x.astype(self.dtype) + (table if index is None else table[index])
    if self.normed:
      x = nn.LayerNorm(epsilon=self.norm_eps, dtype=self.dtype, name="embed_norm")(x)
    return transformer(
      x,
      valid,
      depth=self.depth,
      heads=self.heads,
      mlp=self.mlp,
      dtype=self.dtype,
      norm_eps=self.norm_eps,
      remat=self.remat,
      scan=self.scan,
    )


class CodeAutoencoder(nn.Module):
  """Predicts hidden codes; built by `code_autoencoder`.

  Ids are the codes, the mask, "no label" and the labels, in this order. The token of the label
  comes first and is never hidden; where something is hidden, the decoder begins from what the
  encoder made of that token. Codes are predicted by the embeddings that they are read with, which
  learn nothing from that.

  Attributes:
    codes, classes: numbers of ids.
    grid: codes along each axis.
    encoder, decoder: transformers.
    width, decoder_width: of their tokens.

  Source: Li et al., "MAGE: MAsked Generative Encoder to Unify Representation Learning and Image
  Synthesis", 2023, section 3.
  """

  codes: int
  classes: int
  grid: tuple[int, ...]
  encoder: Stack
  decoder: Stack
  width: int
  decoder_width: int
  project: int = 0

  def setup(self) -> None:
    """Binds the embedding and the layers around the decoder."""
    dense = lambda width: Dense(
      width, dtype=self.encoder.dtype, kernel_init=nn.initializers.xavier_uniform()
    )
    ids = self.codes + 2 + self.classes
    self.embed = nn.Embed(ids, self.width, embedding_init=nn.initializers.normal(0.02))
    self.widen = dense(self.decoder_width)
    self.head = dense(self.width)
    self.head_norm = nn.LayerNorm(epsilon=1e-5, dtype=self.encoder.dtype)
    self.bias = self.param("bias", nn.initializers.zeros, (self.codes,), jnp.float32)
    if self.project:
      self.project_in, self.project_out = dense(self.project), dense(self.project)

  def look(self, seen: Any, label: Int[Array, "b"] | None = None) -> Float[Array, "b k d"]:
    """What the encoder makes of the label's token, first, and of the ids that are seen.

    Args:
      seen: a `hide.Seen` of ids; where hidden ones are seen as masks, `codes` is the id of these.
      label: of each example; below 0, none.
    """
    return self._encoded(seen.values, seen.index, seen.valid, label)

  def _encoded(self, ids: Any, index: Any, valid: Any, label: Any) -> Float[Array, "b k d"]:
    label = jnp.full(len(ids), -1) if label is None or not self.classes else label
    first = self.embed(self.codes + 2 + label)[:, None]
    x = jnp.concatenate([first, self.embed(ids)], axis=1)
    index = None if index is None else jnp.pad(index + 1, ((0, 0), (1, 0)))
    return self.encoder(x, index, with_first(valid))

  def recover(
    self, encoded: Float[Array, "b k d"], hidden: Bool[Array, "b n"], dropped: Bool[Array, "b n"]
  ) -> Float[Array, "b n v"]:
    """Logits of every code, in float32, from what the encoder made of those it saw.

    Args:
      encoded: the label's token first, then the codes that are seen.
      hidden: which codes are predicted from that token.
      dropped: which of them the encoder did not see, not even as masks.
    """
    x = self.widen(encoded)
    first = x[:, :1]
    full = jnp.where(hidden[..., None], first, restore(x[:, 1:], dropped, first))
    x = self.decoder(jnp.concatenate([first, full], axis=1))[:, 1:]
    x = self.head_norm(nn.gelu(self.head(x), approximate=False)).astype(jnp.float32)
    words = jax.lax.stop_gradient(self.embed.embedding[: self.codes])
    return jnp.einsum("...d,vd->...v", x, words) + self.bias

  def encode(
    self, tokens: Int[Array, "b n"], hidden: Bool[Array, "b n"] | None = None
  ) -> dict[str, Float[Array, "..."]]:
    """Features in float32, without label: "tokens", their "mean", and "class".

    Codes that are `hidden` are seen as masks.
    """
    ids = tokens if hidden is None else jnp.where(hidden, self.codes, tokens)
    x = self._encoded(ids, None, None, None).astype(jnp.float32)
    return {"mean": x[:, 1:].mean(axis=1), "tokens": x[:, 1:], "class": x[:, 0]}

  def contrasted(
    self, encoded: Float[Array, "b k d"], dropped: Bool[Array, "b n"]
  ) -> Float[Array, "b p"]:
    """What is contrasted of an example: two layers on the mean of its encoded codes.

    Raises:
      BadInput: the network has no such layers.
    """
    if not self.project:
      raise BadInput("to contrast, the model needs layers for it: set project, their width")
    codes = encoded[:, 1:]
    slots = jnp.arange(codes.shape[1]) < reduce.count(~dropped, axis=-1, keepdims=True)
    x = reduce.mean(codes, slots[..., None], axis=1)
    return self.project_out(nn.relu(self.project_in(x)))


@bind.least(width=16, depth=1, heads=2, decoder_width=16, decoder_depth=1, decoder_heads=2)
def code_autoencoder(
  *,
  codes: int,
  grid: Sequence[int],
  classes: int = 0,
  conditional: bool = False,
  size: str = "B",
  width: int | None = None,
  depth: int | None = None,
  heads: int | None = None,
  mlp: int | None = None,
  decoder_width: int | None = None,
  decoder_depth: int = 8,
  decoder_heads: int = 16,
  project: int = 0,
  dtype: str = "float32",
  norm_eps: float = 1e-6,
  remat: bool = False,
  scan: bool = False,
) -> CodeAutoencoder:
  """An encoder and a decoder over a `grid` of `codes`; if `conditional`, one of `classes` is told.

  `size` names a row of `SIZES`; `width`, `depth`, `heads` and `mlp` (4 · width unless said)
  override it. The decoder is as wide as the encoder unless said. `project` is the width of what a
  contrastive loss compares, 0 for none.

  Raises:
    BadInput: an unknown size, no labels to be told, or a width not divisible by its heads.

  >>> code_autoencoder(codes=512, grid=(8, 8), size="Ti", decoder_heads=3).decoder_width
  192
  """
  if conditional and not classes:
    raise BadInput("model.conditional needs labels, and this data set has none")
  width, depth, mlp, heads = sized(size, width=width, depth=depth, heads=heads, mlp=mlp)
  decoder_width, places = width if decoder_width is None else decoder_width, math.prod(grid) + 1
  check_heads("decoder_width", decoder_width, decoder_heads)
  rest = dtype, norm_eps, remat, scan
  encoder = Stack(depth, heads, mlp, places, True, *rest)
  decoder = Stack(decoder_depth, decoder_heads, 4 * decoder_width, places, False, *rest)
  told = classes if conditional else 0
  return CodeAutoencoder(codes, told, tuple(grid), encoder, decoder, width, decoder_width, project)
