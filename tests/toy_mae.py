"""A masked autoencoder by hand: what a graph of encoder, hider and decoder comes to."""

import math
from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from maskjax import reduce
from maskjax.hide import drop, fill
from maskjax.model.masked_decoder import Decoded, masked_decoder
from maskjax.model.vit import ViT, check_heads, vit


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
    """The prediction and, with `loss_depth`, its predicted loss at each patch."""
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
  that predicts the loss at each patch. `BadInput` if the size is unknown, the shape not divisible
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
