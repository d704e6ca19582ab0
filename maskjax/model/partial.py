"""Layers that carry masks: each takes and returns `(x, hidden)`, None hides nothing.

With `hidden=None` every layer is the plain one, bit for bit. Otherwise what stands at hidden
positions, NaN too, changes neither output nor gradient, and what comes out there is zero. `hidden`
is `[*b, *space]`, or of fewer leading axes for a mask that examples share.
"""

import math
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from maskjax import masks, reduce
from maskjax.errors import BadInput
from maskjax.hide import neighbours

Carried = tuple[Float[Array, "..."], Bool[Array, "..."] | None]


class PartialConv(nn.Module):
  r"""Convolution over the visible positions, as strong as if the whole window were visible.

  $y = \frac{\mathrm{size}}{\mathrm{visible}} W (x \odot \mathrm{kept}) + b$; a window that sees
  nothing gives zero and stays hidden, all others come out visible. Parameters and attributes are
  those of `nn.Conv`, in any number of space axes.

  Source: Liu et al., "Image Inpainting for Irregular Holes Using Partial Convolutions", 2018,
  section 3.1. Deviation: `size` counts the positions of a window that lie inside the picture, so
  that nothing hidden is the plain convolution; the authors' code counts padding among the hidden.
  """

  features: int
  kernel_size: int | Sequence[int]
  strides: int | Sequence[int] | None = 1
  padding: Any = "SAME"
  kernel_dilation: int | Sequence[int] | None = 1
  feature_group_count: int = 1
  use_bias: bool = True
  dtype: Any = None
  kernel_init: Any = nn.linear.default_kernel_init
  bias_init: Any = nn.initializers.zeros

  def setup(self) -> None:
    """Makes a convolution whose kernel is this module's own."""
    groups, init = self.feature_group_count, self.kernel_init
    self.conv = self._conv(
      self.features, feature_group_count=groups, dtype=self.dtype, kernel_init=init
    )
    nn.share_scope(self, self.conv)

  @nn.compact
  def __call__(
    self, x: Float[Array, "*b_space c"], hidden: Bool[Array, "..."] | None = None
  ) -> Carried:
    """`[*b, *space, c]` to `[*b, *space', features]` and the hidden of `space'`."""
    if hidden is None:
      return self._add_bias(self.conv(x)), None
    x, hidden = _cut(x, hidden, 0)
    inside, visible = self._count(jnp.ones_like(hidden)), self._count(~hidden)
    y = self.conv(x)
    scale = inside / jnp.maximum(visible, 1)
    y = self._add_bias((y.astype(jnp.float32) * scale).astype(y.dtype))
    return jnp.where(visible > 0, y, 0), visible[..., 0] == 0

  def _conv(self, features: int, **others: Any) -> nn.Conv:
    size = self.kernel_size
    window = dict(strides=self.strides, padding=self.padding, kernel_dilation=self.kernel_dilation)
    # Without a parent: `setup` adopts the one that it keeps, the one that counts stands alone.
    return nn.Conv(features, size, use_bias=False, parent=None, **window, **others)

  def _count(self, where: Bool[Array, "..."]) -> Float[Array, "... 1"]:
    """How many positions of each window are True."""
    ones = {"params": {"kernel": jnp.ones((*self._sides(), 1, 1))}}
    # Rounded: fast convolutions of some machines are off by an ulp, and 0 must be 0.
    count: Any = self._conv(1).apply(ones, where[..., None].astype(jnp.float32))
    return jnp.round(count)

  def _sides(self) -> tuple[int, ...]:
    sides = self.kernel_size
    return (sides,) if isinstance(sides, int) else tuple(sides)

  def _add_bias(self, y: Float[Array, "... c"]) -> Float[Array, "... c"]:
    if not self.use_bias:
      return y
    return y + self.param("bias", self.bias_init, (self.features,), jnp.float32).astype(y.dtype)


class NeighbourConv(PartialConv):
  """Convolution of a picture whose hidden part is filled in from its border, ring by ring.

  As many rings as a window that sees something can reach, each the mean of the neighbours that are
  known (`hide.neighbours`), through which no gradient flows. A window that sees nothing gives zero
  and stays hidden, all others come out visible. Beyond the picture there is the plain convolution's
  padding.

  Source: Balasubramanian and Feizi, "Towards Improved Input Masking for Convolutional Neural
  Networks", 2023, section 3.
  """

  @nn.compact
  def __call__(
    self, x: Float[Array, "*b_space c"], hidden: Bool[Array, "..."] | None = None
  ) -> Carried:
    """`[*b, *space, c]` to `[*b, *space', features]` and the hidden of `space'`."""
    if hidden is None:
      return self._add_bias(self.conv(x)), None
    x, hidden = _cut(x, hidden, 0)
    sides, dilation = self._sides(), np.broadcast_to(self.kernel_dilation or 1, len(self._sides()))
    grid = hidden.shape[-len(sides) :]
    reach = max((side - 1) * int(d) for side, d in zip(sides, dilation, strict=True))
    flat = x.reshape(*x.shape[: -len(sides) - 1], -1, x.shape[-1])
    gone = hidden.reshape(flat.shape[:-1])
    fills = neighbours(jax.lax.stop_gradient(flat), gone, grid=grid, steps=reach)
    filled = jnp.where(gone[..., None], fills, flat)
    y = self._add_bias(self.conv(filled.reshape(x.shape)))
    seen = self._count(~hidden) > 0
    return jnp.where(seen, y, 0), ~seen[..., 0]


class MaskedNorm(nn.BatchNorm):
  """Batch normalisation whose statistics are those of the visible positions.

  Couples the examples of a batch, those of all devices where `reduce.axis()` says that each holds a
  part. Where a whole batch is hidden the statistics are zero.
  """

  def __call__(  # type: ignore[override]
    self,
    x: Float[Array, "... c"],
    hidden: Bool[Array, "..."] | None = None,
    use_running_average: bool | None = None,
  ) -> Carried:
    """Normalises what is visible; `BadInput` for `hidden` with an `axis_name` or another `axis`.

    Over an `axis_name` of its own linen averages the devices' means, whatever number each of them
    saw; `reduce.across` weighs them by that.
    """
    running = self.use_running_average or use_running_average
    parted = reduce.axis() is not None and not running and not self.is_initializing()
    if hidden is None and not parted:
      return super().__call__(x, use_running_average), None
    if self.axis_name is not None or self.axis not in (-1, x.ndim - 1):
      raise BadInput(
        "hidden positions are normalised over all axes but the last, with no axis_name"
      )
    if hidden is None:
      return self._over_devices(x, jnp.ones((1,) * x.ndim, jnp.bool_)), None
    x, hidden = _cut(x, hidden, 0)
    seen = ~hidden[..., None]
    if parted:
      return jnp.where(seen, self._over_devices(x, seen), 0), hidden
    y = super().__call__(x, use_running_average, mask=seen | ~jnp.any(seen))
    return jnp.where(seen, y, 0), hidden

  def _over_devices(
    self, x: Float[Array, "... c"], seen: Bool[Array, "... #c"]
  ) -> Float[Array, "... c"]:
    """Normalises by the statistics of all devices' parts of a batch, weighed by what each saw."""
    axes, wide = tuple(range(x.ndim - 1)), x.astype(jnp.float32)
    seen = jnp.broadcast_to(seen, x.shape)
    sums = reduce.sum(wide, seen, axes), reduce.sum(wide * wide, seen, axes)
    (sums, squares), count = reduce.combine(jax.lax.psum, (sums, reduce.count(seen, axes)))
    mean, square = sums / jnp.maximum(count, 1), squares / jnp.maximum(count, 1)
    var = jnp.maximum(square - mean * mean, 0)
    for name, value in (("mean", mean), ("var", var)):
      moved = self.momentum * self.get_variable("batch_stats", name) + (1 - self.momentum) * value
      self.put_variable("batch_stats", name, moved)
    scale, bias = (self.get_variable("params", *pair) for pair in (("scale", 1), ("bias", 0)))
    y = (wide - mean) * (jax.lax.rsqrt(var + self.epsilon) * scale) + bias
    return y.astype(self.dtype or jnp.promote_types(x.dtype, self.param_dtype))


class GroupNorm(nn.Module):
  """Normalisation of groups of channels over an example's visible positions; couples no examples.

  32 groups, fewer where they would have less than two channels.

  Source: Wu and He, "Group Normalization", 2018, section 3.1.
  """

  epsilon: float
  dtype: str
  scale_init: Any

  @nn.compact
  def __call__(
    self, x: Float[Array, "*b h w c"], hidden: Bool[Array, "*b h w"] | None = None
  ) -> Carried:
    """Normalises what is visible; what comes out where it is hidden is zero."""
    groups = math.gcd(32, x.shape[-1])
    groups = groups // 2 if 1 < groups == x.shape[-1] else groups
    norm = nn.GroupNorm(
      groups,
      epsilon=self.epsilon,
      dtype=self.dtype,
      scale_init=self.scale_init,
      reduction_axes=(-3, -2, -1),
      name="groups",
    )
    if hidden is None:
      return norm(x), None
    seen = jnp.broadcast_to(~hidden[..., None], x.shape)
    nothing = ~jnp.any(seen, axis=(-3, -2, -1), keepdims=True)
    return jnp.where(seen, norm(jnp.where(seen, x, 0), mask=seen | nothing), 0), hidden


def max_pool(
  x: Float[Array, "*b_space c"],
  hidden: Bool[Array, "..."] | None = None,
  *,
  window: Sequence[int],
  strides: Sequence[int] | None = None,
  padding: Any = "VALID",
) -> Carried:
  """The maximum of what is visible in each window; a window that sees nothing stays hidden."""
  if hidden is None:
    return nn.max_pool(x, tuple(window), strides, padding), None
  x, hidden = _cut(x, hidden, -jnp.inf)
  y = nn.max_pool(x, tuple(window), strides, padding)
  seen = (~hidden[..., None]).astype(jnp.float32)
  saw = nn.max_pool(seen, tuple(window), strides, padding) > 0
  return jnp.where(saw, y, 0), ~saw[..., 0]


def global_average_pool(
  x: Float[Array, "*b_space c"], hidden: Bool[Array, "..."] | None = None, *, axes: int = 2
) -> Float[Array, "*b c"]:
  """The mean over the last `axes` axes before the channels, in float32; 0 where all is hidden.

  >>> x = jnp.array([[[1.], [3.], [jnp.nan]]])
  >>> global_average_pool(x, jnp.array([[False, False, True]]), axes=1).tolist()
  [[2.0]]
  """
  over = tuple(range(-axes - 1, -1))
  if hidden is None:
    return jnp.mean(x, axis=over, dtype=jnp.float32)
  x, hidden = _cut(x, hidden, 0)
  return reduce.mean(x, ~hidden[..., None], axis=over)


def _cut(
  x: Float[Array, "... c"], hidden: Bool[Array, "..."], value: float
) -> tuple[Float[Array, "... c"], Bool[Array, "..."]]:
  """`x` with `value` where hidden, and `hidden` of its full shape."""
  masks.check(hidden=hidden)
  hidden = jnp.broadcast_to(hidden, x.shape[:-1])
  return jnp.where(hidden[..., None], jnp.asarray(value, x.dtype), x), hidden
