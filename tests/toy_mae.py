"""A masked autoencoder by hand: what a graph of encoder, hider and decoder comes to."""

import math
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from maskjax import reduce
from maskjax.hide import drop, fill
from maskjax.model.masked_decoder import Decoded, Decoder, masked_decoder
from maskjax.model.vit import ViT, check_heads, vit


class MaskedAutoencoder(nn.Module):
  """Encodes what is kept, decodes everything; built by `masked_autoencoder`.

  Source: He et al., "Masked Autoencoders Are Scalable Vision Learners", 2022, section 3.
  """

  encoder: ViT
  decoder: Decoder

  @property
  def grid(self) -> tuple[int, ...]:
    """Patches along each axis."""
    return self.encoder.grid

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
  bounds: Sequence[float] | None = None,
  loss_depth: int = 0,
  **sizes: Any,
) -> MaskedAutoencoder:
  """A masked autoencoder for examples of `record_shape`, `(*space, channels)`.

  `sizes` that begin with "decoder_" are those of `masked_decoder`, as `bounds` and `loss_depth`
  are; the others those of `vit`. `BadInput` as these say.

  >>> masked_autoencoder(record_shape=(32, 48, 3), patch=(4, 8), size="Ti").encoder.grid
  (8, 6)
  """
  own = {name: x for name, x in sizes.items() if not name.startswith("decoder_")}
  rest = {name.removeprefix("decoder_"): sizes[name] for name in {*sizes} - {*own}}
  check_heads("decoder_width", rest.get("width", 512), rest.get("heads", 16))
  encoder = vit(record_shape=record_shape, patch=patch, **own)
  outputs = record_shape[-1] * math.prod(patch)
  more = {"outputs": outputs, "bounds": bounds, "loss_depth": loss_depth, **rest}
  return MaskedAutoencoder(encoder, masked_decoder(encoder=encoder, **more))
