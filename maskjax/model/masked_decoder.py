"""The masked autoencoder: a ViT sees the kept patches, a light decoder predicts all of them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from maskjax import bind, units
from maskjax.hide import restore
from maskjax.hide.pairs import within
from maskjax.model.dense import Dense
from maskjax.model.position import resize_table
from maskjax.model.transformer import transformer
from maskjax.model.vit import ViT, check_heads, follows, positions


class Decoded(NamedTuple):
  """What is predicted of every position, and, where a decoder predicts it, its own loss there."""

  prediction: Float[Array, "*b n p"]
  loss: Float[Array, "*b n"] | None = None


class Tower(nn.Module):
  """Blocks over all positions, `outputs` numbers at each, in float32, and their mean."""

  outputs: int
  sizes: dict[str, Any]

  @nn.compact
  def __call__(self, x: Float[Array, "*b n d"]) -> Float[Array, "*b n"]:
    """One number a position."""
    return read_out(x, self.outputs, self.sizes).mean(axis=-1)


class Decoder(nn.Module):
  """Puts encoded tokens back among mask tokens and predicts `outputs` numbers a position.

  With `bounds`, (low, high), predictions lie between them: `low + (high - low)(1 + tanh(x)) / 2`.
  With `loss_depth` a second tower of so many blocks, "losses", on the same tokens predicts how
  large the loss at each position is.
  With `window` positions see each other within windows of the grid alone, of this many along each
  axis, in every other block moved by `shift`; the class token then stays outside.
  """

  width: int
  depth: int
  heads: int
  outputs: int
  grid: tuple[int, ...]
  class_token: bool = True
  dtype: str = "float32"
  norm_eps: float = 1e-6
  remat: bool = False
  scan: bool = False
  bounds: tuple[float, float] | None = None
  loss_depth: int = 0
  window: tuple[int | None, ...] | None = None
  shift: tuple[int, ...] | None = None

  @nn.compact
  def __call__(
    self,
    tokens: Float[Array, "*b m e"],
    hidden: Bool[Array, "*b n"],
    grid: tuple[int, ...],
  ) -> Decoded:
    """Predicts every position, in float32, from the tokens of those that are not hidden."""
    extra, pairs = int(self.class_token), None
    if self.window is not None:
      tokens, extra = tokens[..., extra:, :], 0
      turns = [None, self.shift] if self.shift and any(self.shift) else [None]
      pairs = [within(units.blocks(grid, self.window, shift)) for shift in turns]
    x = among_mask_tokens(self, tokens, hidden, grid, extra)
    sizes = dict(
      depth=self.depth,
      heads=self.heads,
      mlp=4 * self.width,
      dtype=self.dtype,
      norm_eps=self.norm_eps,
      remat=self.remat,
      scan=self.scan,
      pairs=pairs,
    )
    loss = None
    if self.loss_depth:
      tower = Tower(self.outputs, {**sizes, "depth": self.loss_depth}, name="losses")
      loss = tower(x)[..., extra:]
    x = read_out(x, self.outputs, sizes)[..., extra:, :]
    if self.bounds is None:
      return Decoded(x, loss)
    low, high = self.bounds
    return Decoded(low + (high - low) * (1 + jnp.tanh(x)) / 2, loss)


def among_mask_tokens(
  module: Any,
  tokens: Float[Array, "*b m e"],
  hidden: Bool[Array, "*b n"],
  grid: tuple[int, ...],
  extra: int,
) -> Float[Array, "*b k d"]:
  """Tokens of a decoder's width at all positions, a mask token where hidden, and where they lie.

  To be called inside a compact method of the module, which has `width`, `dtype` and the `grid` of
  its position table: "embed", "mask_token" and "position" are among its variables.

  Args:
    module: the decoder.
    tokens: encoded ones, `extra` that lie nowhere and those of positions that are not hidden.
    hidden: which positions have none.
    grid: of positions.
    extra: tokens in front, which stay there.

  Returns:
    k = extra + n tokens, before the first block.
  """
  xavier = nn.initializers.xavier_uniform()
  x = Dense(module.width, dtype=module.dtype, kernel_init=xavier, name="embed")(tokens)
  token = module.param("mask_token", nn.initializers.normal(0.02), (module.width,), jnp.float32)
  full = restore(x[..., extra:, :], hidden, token.astype(x.dtype))
  table = positions(module, "sincos", module.grid, module.width, extra)
  table = resize_table(table, module.grid, grid).astype(module.dtype)
  return jnp.concatenate([x[..., :extra, :], full], axis=-2) + table


def read_out(
  x: Float[Array, "*b n d"], outputs: int, sizes: dict[str, Any]
) -> Float[Array, "*b n p"]:
  """Blocks and a dense layer, in float32; to be called inside a compact method."""
  x = transformer(x, **sizes)
  xavier = nn.initializers.xavier_uniform()
  x = Dense(outputs, dtype=sizes["dtype"], kernel_init=xavier, name="predict")(x)
  return x.astype(jnp.float32)


@bind.least(width=16, depth=1, heads=2, loss_depth=1)
def masked_decoder(
  *,
  encoder: ViT,
  outputs: int,
  width: int = 512,
  depth: int = 8,
  heads: int = 16,
  bounds: Sequence[float] | None = None,
  loss_depth: int = 0,
  window: Sequence[int | None] | None = None,
  shift: Sequence[int] | None = None,
) -> Decoder:
  """The decoder of a masked autoencoder, which follows its encoder in all but its size.

  Args:
    encoder: whose grid, class token, dtype and normalisation it has.
    outputs: numbers that are predicted at each position.
    width: of its tokens.
    depth: number of blocks.
    heads: of each block.
    bounds: (low, high) of the predictions.
    loss_depth: blocks of a second tower that predicts the loss at each position.
    window: positions of a window of attention along each axis, see `Decoder`.
    shift: of the windows of every other block, see `Decoder`.

  Raises:
    BadInput: a width that the heads do not divide.
  """
  check_heads("width", width, heads)
  return Decoder(
    width=width,
    depth=depth,
    heads=heads,
    outputs=outputs,
    class_token=encoder.class_token,
    **follows(encoder),
    bounds=None if bounds is None else (float(bounds[0]), float(bounds[1])),
    loss_depth=loss_depth,
    window=None if window is None else tuple(window),
    shift=None if shift is None else tuple(shift),
  )
