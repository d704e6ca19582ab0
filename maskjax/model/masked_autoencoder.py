"""The masked autoencoder: a ViT sees the kept patches, a light decoder predicts all of them."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from maskjax import bind, reduce, units
from maskjax.hide import drop, fill, restore, within
from maskjax.model.position import resize_table
from maskjax.model.transformer import transformer
from maskjax.model.vit import ViT, check_heads, positions, vit


class Decoded(NamedTuple):
  """What is predicted of every position, and, where a decoder foresees it, its own loss there."""

  prediction: Float[Array, "*b n p"]
  loss: Float[Array, "*b n"] | None = None


class Tower(nn.Module):
  """Blocks over all positions, `outputs` numbers at each, in float32, and their mean."""

  outputs: int
  sizes: dict[str, Any]

  @nn.compact
  def __call__(self, x: Float[Array, "*b n d"]) -> Float[Array, "*b n"]:
    """One number a position."""
    return _read_out(x, self.outputs, self.sizes).mean(axis=-1)


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
    xavier = nn.initializers.xavier_uniform()
    x = nn.Dense(self.width, dtype=self.dtype, kernel_init=xavier, name="embed")(tokens)
    mask_token = self.param("mask_token", nn.initializers.normal(0.02), (self.width,))
    full = restore(x[..., extra:, :], hidden, mask_token.astype(x.dtype))
    table = positions(self, "sincos", self.grid, self.width, extra)
    table = resize_table(table, self.grid, grid).astype(self.dtype)
    x = jnp.concatenate([x[..., :extra, :], full], axis=-2) + table
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
    x = _read_out(x, self.outputs, sizes)[..., extra:, :]
    if self.bounds is None:
      return Decoded(x, loss)
    low, high = self.bounds
    return Decoded(low + (high - low) * (1 + jnp.tanh(x)) / 2, loss)


def _read_out(
  x: Float[Array, "*b n d"], outputs: int, sizes: dict[str, Any]
) -> Float[Array, "*b n p"]:
  """Blocks and a dense layer, in float32; to be called inside a compact method."""
  x = transformer(x, **sizes)
  xavier = nn.initializers.xavier_uniform()
  x = nn.Dense(outputs, dtype=sizes["dtype"], kernel_init=xavier, name="predict")(x)
  return x.astype(jnp.float32)


class MaskedAutoencoder(nn.Module):
  """Encodes what is kept, decodes everything; built by `masked_autoencoder`.

  Source: He et al., "Masked Autoencoders Are Scalable Vision Learners", 2022, section 3.
  """

  encoder: ViT
  channels: int
  decoder_width: int = 512
  decoder_depth: int = 8
  decoder_heads: int = 16
  bounds: tuple[float, float] | None = None
  loss_depth: int = 0
  decoder_window: tuple[int | None, ...] | None = None
  decoder_shift: tuple[int, ...] | None = None

  @property
  def grid(self) -> tuple[int, ...]:
    """Patches along each axis."""
    return self.encoder.grid

  def setup(self):
    """Binds the decoder, which follows the encoder in all but its size."""
    encoder = self.encoder
    outputs = self.channels * math.prod(encoder.patch)
    self.decoder = masked_decoder(
      encoder=encoder,
      outputs=outputs,
      width=self.decoder_width,
      depth=self.decoder_depth,
      heads=self.decoder_heads,
      bounds=self.bounds,
      loss_depth=self.loss_depth,
      window=self.decoder_window,
      shift=self.decoder_shift,
    )

  def __call__(
    self,
    patches: Float[Array, "*b n p"],
    hidden: Bool[Array, "*b n"],
    *,
    keep: int,
    exact: bool = False,
    grid: tuple[int, ...] | None = None,
  ) -> Float[Array, "*b n p"]:
    """Predicts all patches from those that are not hidden, whose content never enters.

    At most `keep` patches are seen; where an example has fewer, the rest is padding outside
    attention. `exact` promises that every example has exactly `keep`, which needs no such mask.
    """
    return self.foresee(patches, hidden, keep=keep, exact=exact, grid=grid).prediction

  def foresee(
    self,
    patches: Float[Array, "*b n p"],
    hidden: Bool[Array, "*b n"],
    *,
    keep: int,
    exact: bool = False,
    grid: tuple[int, ...] | None = None,
  ) -> Decoded:
    """The prediction and, with `loss_depth`, how large its loss is foreseen to be at each patch."""
    seen = drop(patches, hidden, keep=keep)
    valid = None if exact else seen.valid
    tokens = self.encoder(seen.values, index=seen.index, valid=valid, grid=grid)
    return self.decoder(tokens, hidden, self.encoder.grid if grid is None else tuple(grid))

  def embed(self, patches: Float[Array, "*b n p"]) -> Float[Array, "*b n d"]:
    """The encoder's tokens before positions and attention, each of its patch alone."""
    return self.encoder.embed(patches)

  def encode(
    self,
    patches: Float[Array, "*b n p"],
    *,
    valid: Bool[Array, "*b n"] | None = None,
    grid: tuple[int, ...] | None = None,
  ) -> dict[str, Float[Array, "..."]]:
    """Features with nothing hidden, all float32 and after the last normalisation.

    "tokens" `[*b n d]`, their "mean" `[*b d]`, and where there is a class token "class" `[*b d]`.
    Patches that are not `valid` are missing: no other token sees them, and the mean leaves them
    out.
    """
    if valid is not None:
      patches = fill(patches, ~valid, 0.0)
    x = self.encoder(patches, valid=valid, grid=grid).astype(jnp.float32)
    extra = int(self.encoder.class_token)
    tokens = x[..., extra:, :]
    mean = tokens.mean(axis=-2)
    if valid is not None:
      mean = reduce.mean(tokens, valid[..., None], axis=-2)
    features = {"mean": mean, "tokens": tokens}
    return {**features, "class": x[..., 0, :]} if extra else features


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
    width, depth, heads: of its blocks.
    bounds: (low, high) of the predictions.
    loss_depth: blocks of a second tower that predicts the loss at each position.
    window, shift: see `Decoder`.

  Raises:
    BadInput: a width that the heads do not divide.
  """
  check_heads("width", width, heads)
  return Decoder(
    width=width,
    depth=depth,
    heads=heads,
    outputs=outputs,
    grid=encoder.grid,
    class_token=encoder.class_token,
    dtype=encoder.dtype,
    norm_eps=encoder.norm_eps,
    remat=encoder.remat,
    scan=encoder.scan,
    bounds=None if bounds is None else (float(bounds[0]), float(bounds[1])),
    loss_depth=loss_depth,
    window=None if window is None else tuple(window),
    shift=None if shift is None else tuple(shift),
  )


@bind.least(
  width=16, depth=1, heads=2, decoder_width=16, decoder_depth=1, decoder_heads=2, loss_depth=1
)
def masked_autoencoder(
  *,
  record_shape: Sequence[int],
  patch: Sequence[int],
  size: str = "B",
  width: int | None = None,
  depth: int | None = None,
  heads: int | None = None,
  mlp: int | None = None,
  class_token: bool = True,
  decoder_width: int = 512,
  decoder_depth: int = 8,
  decoder_heads: int = 16,
  dtype: str = "float32",
  norm_eps: float = 1e-6,
  remat: bool = False,
  scan: bool = False,
  bounds: Sequence[float] | None = None,
  loss_depth: int = 0,
  decoder_window: Sequence[int | None] | None = None,
  decoder_shift: Sequence[int] | None = None,
) -> MaskedAutoencoder:
  """A masked autoencoder for examples of `record_shape`, `(*space, channels)`.

  `size` names a row of `SIZES`; `width`, `depth`, `heads` and `mlp` (4 · width unless said)
  override it. `bounds`, (low, high), are those of the target, `decoder_window` and `decoder_shift`
  the windows of the `Decoder`. With `loss_depth` the decoder has a second tower, of so many blocks,
  that foresees the loss at each patch. `BadInput` if the size is unknown, the shape not divisible
  by the patch, or a width not by its heads.

  >>> masked_autoencoder(record_shape=(32, 48, 3), patch=(4, 8), size="Ti").encoder.grid
  (8, 6)
  """
  check_heads("decoder_width", decoder_width, decoder_heads)
  encoder = vit(
    record_shape=record_shape,
    patch=patch,
    size=size,
    width=width,
    depth=depth,
    heads=heads,
    mlp=mlp,
    class_token=class_token,
    dtype=dtype,
    norm_eps=norm_eps,
    remat=remat,
    scan=scan,
  )
  limits = None if bounds is None else (float(bounds[0]), float(bounds[1]))
  window = None if decoder_window is None else tuple(decoder_window)
  shift = None if decoder_shift is None else tuple(decoder_shift)
  sizes = decoder_width, decoder_depth, decoder_heads, limits, loss_depth, window, shift
  return MaskedAutoencoder(encoder, record_shape[-1], *sizes)
