"""A network that separates mixtures: an encoder of frames, scores for each source, a decoder."""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from maskjax import bind
from maskjax.errors import BadInput, unknown
from maskjax.spectrogram import frames, istft, overlap_add, stft

Signal = Float[Array, "*b n"]
Content = Float[Array, "*b t f d"]
Frames = Float[Array, "*b t c"]
EPS = 1e-8


class FrameNorm(nn.Module):
  """Normalisation over frames and channels: over all frames, or those that have been (`causal`).

  The global and the cumulative layer norm of the paper's section II.C, with a gain and a bias for
  every channel; statistics in float32.
  """

  causal: bool

  @nn.compact
  def __call__(self, x: Frames) -> Frames:
    """`[*b t c]` to the same, each example by itself."""
    scale = self.param("scale", nn.initializers.ones, x.shape[-1:], jnp.float32)
    bias = self.param("bias", nn.initializers.zeros, x.shape[-1:], jnp.float32)
    wide = x.astype(jnp.float32)
    if self.causal:
      mean, variance = _sofar(wide)
    else:
      mean = wide.mean((-2, -1), keepdims=True)
      variance = jnp.square(wide - mean).mean((-2, -1), keepdims=True)
    return ((wide - mean) * jax.lax.rsqrt(variance + EPS) * scale + bias).astype(x.dtype)


def _sofar(x: Float[Array, "*b t c"]) -> tuple[Float[Array, "*b t 1"], Float[Array, "*b t 1"]]:
  """Mean and variance over channels and the frames up to each.

  By Welford's sums of squares, none of which is negative: a mean that is large beside the deviation
  would drown a difference of the mean square and the squared mean.
  """
  frame = x.mean(-1, keepdims=True)
  count = jnp.arange(1, x.shape[-2] + 1, dtype=x.dtype)[:, None]
  first = frame[..., :1, :]
  mean = first + jnp.cumsum(frame - first, axis=-2) / count
  before = jnp.concatenate([first, mean[..., :-1, :]], axis=-2)
  moved = (count - 1) / count * jnp.square(frame - before)
  inside = jnp.square(x - frame).mean(-1, keepdims=True)
  return mean, jnp.cumsum(inside + moved, axis=-2) / count


class DilatedDepthwise(nn.Module):
  """A convolution over time of every channel by itself, its taps `dilation` frames apart."""

  taps: int
  dilation: int
  causal: bool

  @nn.compact
  def __call__(self, x: Frames) -> Frames:
    """`[*b t c]` to the same; beyond the ends lie zeros."""
    init = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform", in_axis=0, out_axis=())
    kernel = self.param("kernel", init, (self.taps, x.shape[-1]), jnp.float32).astype(x.dtype)
    bias = self.param("bias", nn.initializers.zeros, x.shape[-1:], jnp.float32).astype(x.dtype)
    reach, length = (self.taps - 1) * self.dilation, x.shape[-2]
    before = reach if self.causal else reach // 2
    padded = jnp.pad(x, [(0, 0)] * (x.ndim - 2) + [(before, reach - before), (0, 0)])
    # Sums of shifted frames: as grouped convolutions these are many times slower on a CPU.
    for i in range(self.taps):
      bias = bias + kernel[i] * padded[..., i * self.dilation : i * self.dilation + length, :]
    return bias


class Block(nn.Module):
  """One dilated block: widen, convolve over time, narrow twice: to go on, and to be summed."""

  hidden: int
  skip: int
  taps: int
  dilation: int
  causal: bool
  last: bool
  dtype: jnp.dtype

  @nn.compact
  def __call__(self, x: Frames) -> tuple[Frames, Frames]:
    """What the next block sees, and this one's part of the sum."""
    dense = lambda width, name: nn.Dense(width, dtype=self.dtype, name=name)
    y = nn.PReLU(negative_slope_init=0.25, name="slope_in")(dense(self.hidden, "widen")(x))
    y = FrameNorm(self.causal, name="norm_in")(y)
    y = DilatedDepthwise(self.taps, self.dilation, self.causal, name="depthwise")(y)
    y = FrameNorm(self.causal, name="norm_out")(
      nn.PReLU(negative_slope_init=0.25, name="slope_out")(y)
    )
    # What the last block would pass on, nobody sees.
    return x if self.last else x + dense(x.shape[-1], "onward")(y), dense(self.skip, "skip")(y)


class Separator(nn.Module):
  """Encoder, dilated convolutions and decoder of a number of sources; built by `separator`."""

  sources: int
  basis: str
  filters: int
  size: int
  hop: int
  width: int
  hidden: int
  skip: int
  taps: int
  depth: int
  repeats: int
  causal: bool
  dtype: jnp.dtype = jnp.float32

  def setup(self) -> None:
    """Makes the layers."""
    if self.basis == "learned":
      shape, init = (self.size, self.filters), nn.initializers.glorot_normal()
      self.analysis = self.param("analysis", init, shape, jnp.float32)
      self.synthesis = self.param("synthesis", init, shape, jnp.float32)
    self.norm = FrameNorm(self.causal)
    self.bottleneck = nn.Dense(self.width, dtype=self.dtype)
    last = self.repeats * self.depth - 1
    options = (self.hidden, self.skip, self.taps)
    self.blocks = [
      Block(*options, 2 ** (i % self.depth), self.causal, i == last, self.dtype, name=f"block_{i}")
      for i in range(last + 1)
    ]
    self.slope = nn.PReLU(negative_slope_init=0.25)
    self.head = nn.Dense(self.sources * self.filters, dtype=self.dtype)

  def encode(self, mixture: Signal) -> Content:
    """What stands at every time and filter: a number, or real and imaginary part of a frequency."""
    before, after = self._room(mixture.shape[-1])
    padded = jnp.pad(mixture, [(0, 0)] * (mixture.ndim - 1) + [(before, after)])
    if self.basis == "learned":
      cut = frames(padded, size=self.size, hop=self.hop)
      return jnp.matmul(cut.astype(self.dtype), self.analysis.astype(self.dtype))[..., None]
    found = stft(padded, size=self.size, hop=self.hop, fft=self.size, centre=False, emphasis=0.0)
    return jnp.stack([found.real, found.imag], axis=-1)

  def scores(self, content: Content) -> Float[Array, "*b k t f"]:
    """How much each source would hide of what stands where; of frequencies it sees the level."""
    if self.basis == "learned":
      x = content[..., 0]
    else:
      x = jnp.log(jnp.sqrt(jnp.square(content).sum(-1) + EPS) + 1e-3)
    x = self.bottleneck(self.norm(x.astype(self.dtype)))
    total: Frames | float = 0.0
    for block in self.blocks:
      x, part = block(x)
      total = total + part
    scores = self.head(self.slope(total)).astype(jnp.float32)
    scores = scores.reshape(*scores.shape[:-1], self.sources, self.filters)
    return jnp.moveaxis(scores, -2, -3)

  def decode(self, content: Content, length: int) -> Signal:
    """Signals of `length` samples from what stands at every time and filter."""
    if self.basis == "learned":
      laid = jnp.matmul(content[..., 0].astype(self.dtype), self.synthesis.astype(self.dtype).T)
      padded = jnp.asarray(overlap_add(laid.astype(jnp.float32), hop=self.hop))
    else:
      whole = jax.lax.complex(content[..., 0], content[..., 1])
      padded = jnp.asarray(istft(whole, size=self.size, hop=self.hop))
    before, _ = self._room(length)
    return padded[..., before : before + length]

  def peaks(self) -> Float[Array, "f"]:
    """Where the spectrum of each filter of the decoder is highest, as a share of half the rate."""
    if self.basis != "learned":
      return jnp.arange(self.filters) / max(self.filters - 1, 1)
    level = jnp.abs(jnp.fft.rfft(self.synthesis.astype(jnp.float32), n=256, axis=0))
    return jnp.argmax(level, axis=0) / 128

  def _room(self, length: int) -> tuple[int, int]:
    """Zeros before and after a signal, so that frames overlap alike at every sample of it."""
    before = self.size - self.hop if self.basis == "learned" else self.size
    return before, before + -(length + 2 * before - self.size) % self.hop


@bind.least(filters=16, width=8, hidden=16, depth=2, repeats=1)
def separator(
  *,
  record_shape: Sequence[int],
  basis: str = "learned",
  filters: int = 512,
  size: int = 16,
  hop: int | None = None,
  width: int = 128,
  hidden: int = 512,
  skip: int | None = None,
  taps: int = 3,
  depth: int = 8,
  repeats: int = 3,
  causal: bool = False,
  dtype: str = "float32",
) -> Separator:
  """Conv-TasNet for records of `(sources, samples)`.

  The paper's N is `filters`, L `size`, B `width`, H `hidden`, Sc `skip`, P `taps`, X `depth`, R
  `repeats`. The `basis` on which gates are put is "learned", `filters` of `size` samples every
  `hop` (half of that unless said), or "fourier", the short-time Fourier transform with
  `size // 2 + 1` frequencies, of which the network sees the logarithm of the magnitude. `repeats`
  times `depth` blocks convolve over time with dilations of 1, 2, 4, …; `skip` channels of each are
  summed (`width` unless said). `causal`: nothing looks ahead by more than a frame.

  Raises:
    BadInput: data of another shape, an unknown basis, or a number out of range.

  Source: Luo and Mesgarani, "Conv-TasNet", 2019, sections II and III.
  """
  if len(record_shape) != 2:
    raise BadInput(f"separator takes mixtures, (sources, samples), got {tuple(record_shape)}")
  if basis not in ("learned", "fourier"):
    raise unknown("basis of a separator", basis, ("learned", "fourier"))
  hop, skip = size // 2 if hop is None else hop, width if skip is None else skip
  filters = filters if basis == "learned" else size // 2 + 1
  if min(filters, width, hidden, skip, taps, depth, repeats) < 1 or not 0 < hop <= size:
    raise BadInput(
      f"separator: {size=}, {hop=}, {filters=}, {width=}, {hidden=}, {skip=}, {depth=}"
    )
  options = (width, hidden, skip, taps, depth, repeats, causal)
  return Separator(record_shape[0], basis, filters, size, hop, *options, jnp.dtype(dtype))
