"""A convolutional variational autoencoder: images to a small grid of latents, and back."""

from collections.abc import Sequence
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from maskjax import bind
from maskjax.errors import BadInput
from maskjax.over.cut import patch_grid, patchify, unpatchify
from maskjax.recover.likelihood import gaussian_nats

Image = Float[Array, "b *space c"]
Latent = Float[Array, "b *grid z"]


class Posterior(NamedTuple):
  """What an encoder says of each latent: a Gaussian, independent of the others."""

  mean: Latent
  log_variance: Latent

  def sample(self, keys: Key[Array, "b"]) -> Latent:
    """A draw of each example with its own key."""
    noise = jax.vmap(lambda key: jax.random.normal(key, self.mean.shape[1:], jnp.float32))(keys)
    return self.mean + jnp.exp(0.5 * self.log_variance) * noise

  def divergence(self) -> Latent:
    r"""Nats of each latent beyond N(0, 1): $\frac12 (\mu^2 + \sigma^2 - 1 - \ln \sigma^2)$.

    Source: Kingma and Welling, "Auto-Encoding Variational Bayes", 2014, appendix B.

    >>> Posterior(jnp.ones((1, 2)), jnp.zeros((1, 2))).divergence().tolist()
    [[0.5, 0.5]]
    """
    return gaussian_nats(self.mean, self.log_variance)


class Residual(nn.Module):
  """Two normalised convolutions beside a way around them, 1 x 1 where the width changes."""

  width: int
  groups: int
  dtype: str

  @nn.compact
  def __call__(self, x: Image) -> Image:
    """The same space, `width` channels."""
    axes, y = x.ndim - 2, x
    for i in (1, 2):
      y = nn.silu(nn.GroupNorm(self.groups, dtype=self.dtype, name=f"norm{i}")(y))
      y = nn.Conv(self.width, (3,) * axes, dtype=self.dtype, name=f"conv{i}")(y)
    if x.shape[-1] != self.width:
      x = nn.Conv(self.width, (1,) * axes, dtype=self.dtype, name="shortcut")(x)
    return x + y


class Middle(nn.Module):
  """Two residual blocks with one head of attention over all cells between them."""

  groups: int
  dtype: str

  @nn.compact
  def __call__(self, x: Image) -> Image:
    """The same shape."""
    width = x.shape[-1]
    x = Residual(width, self.groups, self.dtype, name="block_0")(x)
    flat = nn.GroupNorm(self.groups, dtype=self.dtype, name="norm")(x)
    flat = flat.reshape(x.shape[0], -1, width)
    q, k, v = (nn.Dense(width, dtype=self.dtype, name=name)(flat) for name in ("q", "k", "v"))
    logits = jnp.einsum("bqd,bkd->bqk", q, k).astype(jnp.float32) * width**-0.5
    seen = jnp.einsum("bqk,bkd->bqd", jax.nn.softmax(logits).astype(v.dtype), v)
    x = x + nn.Dense(width, dtype=self.dtype, name="out")(seen).reshape(x.shape)
    return Residual(width, self.groups, self.dtype, name="block_1")(x)


class Codec(nn.Module):
  """Half of the autoencoder: levels of residual blocks, each half or twice as wide in space.

  Attributes:
    widths: channels of the levels, from the images to the latents; decoding goes the other way.
    outputs: channels that come out.
    depth: residual blocks a level.
    up: whether space grows from level to level (decoder) or shrinks (encoder).
    middle: whether there is a `Middle` at the level of the latents.
    groups: of the normalisation.
    dtype: of the computation.
  """

  widths: tuple[int, ...]
  outputs: int
  depth: int
  up: bool
  middle: bool
  groups: int
  dtype: str

  @nn.compact
  def __call__(self, x: Image) -> Image:
    """In float32."""
    axes = x.ndim - 2
    conv = lambda name, width, **more: nn.Conv(
      width, (3,) * axes, **more, dtype=self.dtype, name=name
    )
    middle = Middle(self.groups, self.dtype, name="middle") if self.middle else lambda x: x
    widths = self.widths[::-1] if self.up else self.widths
    x = conv("first", widths[0])(x)
    x = middle(x) if self.up else x
    for level, width in enumerate(widths):
      for i in range(self.depth):
        x = Residual(width, self.groups, self.dtype, name=f"level_{level}_block_{i}")(x)
      if level == len(widths) - 1:
        break
      if self.up:
        for axis in range(1, 1 + axes):
          x = jnp.repeat(x, 2, axis)
        x = conv(f"level_{level}_up", width)(x)
      else:
        pad = ((0, 1),) * axes
        x = conv(f"level_{level}_down", width, strides=2, padding=pad)(x)
    x = x if self.up else middle(x)
    x = nn.silu(nn.GroupNorm(self.groups, dtype=self.dtype, name="norm")(x))
    return conv("last", self.outputs)(x).astype(jnp.float32)


class Autoencoder(nn.Module):
  """Encodes images as Gaussians on a grid of latents, decodes latents; built by `autoencoder`.

  With `patch` other than ones both ends are whole patches: space becomes channels before the first
  convolution, and comes back after the last.

  Source: Rombach et al., "High-Resolution Image Synthesis with Latent Diffusion Models", 2022,
  appendix G; the KL-regularised one.
  """

  space: tuple[int, ...]
  channels: int
  latent: int
  widths: tuple[int, ...]
  depth: int
  patch: tuple[int, ...]
  middle: bool
  groups: int
  dtype: str

  @property
  def latent_shape(self) -> tuple[int, ...]:
    """Shape of one example's latents, `(*grid, latent)`."""
    half = 2 ** (len(self.widths) - 1)
    return (*patch_grid(self.space, [half * side for side in self.patch]), self.latent)

  def setup(self):
    """Binds both halves, and a 1 x 1 convolution at each side of the latents."""
    rest = {"middle": self.middle, "groups": self.groups, "dtype": self.dtype}
    pixels, one = self.channels, (1,) * len(self.space)
    for side in self.patch:
      pixels *= side
    self.encoder = Codec(self.widths, 2 * self.latent, self.depth, up=False, **rest)
    self.to_latent = nn.Conv(2 * self.latent, one, dtype=self.dtype)
    self.from_latent = nn.Conv(self.latent, one, dtype=self.dtype)
    self.decoder = Codec(self.widths, pixels, self.depth + 1, up=True, **rest)

  @bind.examples(takes="images")
  def encode(self, images: Image) -> Posterior:
    """The Gaussian of each latent, in float32."""
    grid = patch_grid(self.space, self.patch)
    cut = patchify(images, self.patch).reshape(len(images), *grid, -1)
    both = self.to_latent(self.encoder(cut)).astype(jnp.float32)
    mean, log_variance = jnp.split(both, 2, axis=-1)
    return Posterior(mean, jnp.clip(log_variance, -30.0, 20.0))

  @bind.examples(gives="")
  def decode(self, latents: Latent) -> Image:
    """Images, in float32."""
    grid = patch_grid(self.space, self.patch)
    cut = self.decoder(self.from_latent(latents))
    return unpatchify(cut.reshape(len(cut), -1, cut.shape[-1]), self.patch, grid, self.channels)

  @bind.examples(takes="images", gives="")
  def __call__(self, images: Image) -> Image:
    """The images as they come back from the means of their latents."""
    return self.decode(self.encode(images).mean)


@bind.least(depth=1, groups=4)
def autoencoder(
  *,
  record_shape: Sequence[int],
  latent: int = 4,
  widths: Sequence[int] = (128, 256, 512, 512),
  depth: int = 2,
  patch: Sequence[int] | None = None,
  middle: bool = True,
  groups: int = 32,
  dtype: str = "float32",
) -> Autoencoder:
  """A variational autoencoder for examples of `record_shape`, `(*space, channels)`.

  The defaults are those of Stable Diffusion: latents of 4 channels, eight times smaller along each
  axis. Each of the `widths` but the first halves space once more.

  Raises:
    BadInput: space that cannot be halved so often, or widths that are no multiples of `groups`.

  >>> autoencoder(record_shape=(224, 224, 3)).latent_shape
  (28, 28, 4)
  >>> autoencoder(record_shape=(32, 32, 3), patch=(4, 4), widths=(64,), latent=8).latent_shape
  (8, 8, 8)
  """
  *space, channels = record_shape
  patch = (1,) * len(space) if patch is None else tuple(patch)
  if not widths or any(width % groups for width in widths):
    raise BadInput(f"widths {tuple(widths)} are not multiples of the {groups} groups")
  sizes = tuple(widths), depth, patch, middle, groups, dtype
  made = Autoencoder(tuple(space), channels, latent, *sizes)
  patch_grid(space, patch)
  made.latent_shape  # noqa: B018 — raises where space does not divide
  return made
