"""Residual networks for images, which carry a mask of pixels through all their layers."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from maskjax import bind
from maskjax.errors import BadInput, unknown
from maskjax.model.partial import (
  Carried,
  GroupNorm,
  MaskedNorm,
  NeighbourConv,
  PartialConv,
  global_average_pool,
  max_pool,
)
from maskjax.model.places import Places

# Blocks of each stage, by the number of layers with weights; from 50 on they are bottlenecks.
STAGES = {
  18: (2, 2, 2, 2),
  34: (3, 4, 6, 3),
  50: (3, 4, 6, 3),
  101: (3, 4, 23, 3),
  152: (3, 8, 36, 3),
}
NORMS = ("batch", "group")
STEMS = ("auto", "small", "imagenet")
# How masks are carried: the convolution, and whether a sum is hidden where either part of it is.
CARRIES = {"partial": (PartialConv, False), "neighbours": (NeighbourConv, True)}
SMALL = 64  # images with a side below this get the small stem

he_normal = nn.initializers.variance_scaling(2.0, "fan_out", "normal")


class Block(nn.Module):
  """A residual block: `relu(shortcut(x) + layers(x))`.

  Two 3 x 3 convolutions, or as `bottleneck` 1 x 1, 3 x 3 and 1 x 1 with four times the channels;
  the first 3 x 3 one has the strides. Where the shape changes, the shortcut is a 1 x 1 convolution
  if `project`, else every strides-th pixel with channels of zeros added.

  With `preact` it is `shortcut(y) + layers(x)`: norm and rectifier come before each convolution,
  and the shortcut, also one that changes nothing, begins at y, after the first of them.

  Pixels of the sum are hidden where both parts are (`carry` "partial") or either ("neighbours").
  Of the places of `maskjax.model.layers` there are input, hidden, before the last convolution, and
  output.

  Source: He et al., "Deep Residual Learning for Image Recognition", 2016, sections 3.2 and 4.1; the
  place of the bottleneck's strides is torchvision's. `preact`: the networks of
  github.com/ecs-vlc/FMix; in He et al., "Identity Mappings in Deep Residual Networks", 2016, figure
  1b, shortcuts that change nothing begin at x.
  """

  width: int
  strides: int
  bottleneck: bool
  project: bool
  preact: bool
  norm: str
  zero_init: bool
  dtype: str
  carry: str

  @nn.compact
  def __call__(
    self, x: Float[Array, "*b h w c"], hidden: Bool[Array, "*b h w"] | None, train: bool
  ) -> Carried:
    """Images to images with the pixels of theirs that saw nothing."""
    plain = [(3, self.strides, self.width), (3, 1, self.width)]
    neck = [(1, 1, self.width), (3, self.strides, self.width), (1, 1, 4 * self.width)]
    layers = neck if self.bottleneck else plain
    at = Places(self, x, axes=2)
    x = at("input", x)
    if self.preact:
      y, unseen = self._preactivated(x, hidden, layers, train, at)
      return at("output", y), unseen
    y, unseen = x, hidden
    for i, (side, strides, width) in enumerate(layers, 1):
      last = i == len(layers)
      y = at("hidden", y) if last else y
      y, unseen = self._conv(width, side, strides, f"conv{i}")(y, unseen)
      norm = _norm(self.norm, train, self.dtype, f"norm{i}", zero=last and self.zero_init)
      y, unseen = norm(y, unseen)
      y = y if last else nn.relu(y)
    x, hidden = self._shortcut(x, hidden, y.shape[-1], train)
    return at("output", nn.relu(x + y)), self._joined(hidden, unseen)

  def _preactivated(
    self,
    x: Float[Array, "*b h w c"],
    hidden: Any,
    layers: list[tuple[int, int, int]],
    train: bool,
    at: Places,
  ) -> Carried:
    y, unseen = x, hidden
    for i, (side, strides, width) in enumerate(layers, 1):
      y, unseen = _norm(self.norm, train, self.dtype, f"norm{i}")(y, unseen)
      y = nn.relu(y)
      if i == 1:
        x, hidden = self._shortcut(y, unseen, layers[-1][2], train)
      y = at("hidden", y) if i == len(layers) else y
      y, unseen = self._conv(width, side, strides, f"conv{i}")(y, unseen)
    return x + y, self._joined(hidden, unseen)

  def _conv(self, width: int, side: int, strides: int, name: str) -> PartialConv:
    return _conv(width, side, strides, self.dtype, name, self.carry)

  def _joined(self, hidden: Any, unseen: Any) -> Any:
    if hidden is None or unseen is None:
      return None
    return hidden | unseen if CARRIES[self.carry][1] else hidden & unseen

  def _keeps(self, x: Float[Array, "*b h w c"], channels: int) -> bool:
    return self.strides == 1 and x.shape[-1] == channels

  def _shortcut(
    self, x: Float[Array, "*b h w c"], hidden: Any, channels: int, train: bool
  ) -> Carried:
    if self._keeps(x, channels):
      return x, hidden
    if self.project:
      x, hidden = self._conv(channels, 1, self.strides, "shortcut")(x, hidden)
      if self.preact:
        return x, hidden
      return _norm(self.norm, train, self.dtype, "shortcut_norm")(x, hidden)
    every = slice(None, None, self.strides)
    more = [(0, 0)] * (x.ndim - 1) + [(0, channels - x.shape[-1])]
    x = jnp.pad(x[..., every, every, :], more)
    return x, None if hidden is None else hidden[..., every, every]


class ResNet(nn.Module):
  """The convolutions of a residual network: images to maps of features; see `resnet`.

  Attributes:
    stages: blocks of each stage; every stage but the first halves the sides.
    width: channels of the first stage's 3 x 3 convolutions, doubled by each further stage.
    bottleneck, project, preact, norm, zero_init, dtype, carry: see `Block`.
    small: whether the stem is one 3 x 3 convolution, not 7 x 7 with strides and a pool.
  """

  stages: tuple[int, ...]
  width: int
  bottleneck: bool
  project: bool
  small: bool
  preact: bool = False
  norm: str = "batch"
  zero_init: bool = False
  dtype: str = "float32"
  carry: str = "partial"

  @nn.compact
  def __call__(
    self,
    image: Float[Array, "*b h w c"],
    hidden: Bool[Array, "*b h w"] | None = None,
    *,
    train: bool = False,
  ) -> Carried:
    """The last maps, and those of their pixels that saw nothing but what was hidden."""
    side, strides = (3, 1) if self.small else (7, 2)
    x, hidden = _conv(self.width, side, strides, self.dtype, "embed", self.carry)(image, hidden)
    x, hidden = _norm(self.norm, train, self.dtype, "embed_norm")(x, hidden)
    x = nn.relu(x)
    if not self.small:
      x, hidden = max_pool(x, hidden, window=(3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))
    kind, form = (self.bottleneck, self.project, self.preact), (self.norm, self.zero_init)
    firsts = [sum(self.stages[:stage]) for stage in range(1, len(self.stages))]
    for i in range(sum(self.stages)):
      width = self.width * 2 ** sum(i >= first for first in firsts)
      strides, name = 2 if i in firsts else 1, f"block_{i:02d}"
      block = Block(width, strides, *kind, *form, self.dtype, self.carry, name=name)
      x, hidden = block(x, hidden, train)
    return x, hidden


class ResNetClassifier(nn.Module):
  """A residual network, the mean of its last maps and a linear head; built by `resnet`.

  `grid` says what the positions of `hidden` are: the pixels.
  """

  encoder: ResNet
  classes: int
  grid: tuple[int, ...]

  @property
  def coupled(self) -> bool:
    """Whether training normalises over all examples of a batch."""
    return self.encoder.norm == "batch"

  @property
  def dtype(self) -> str:
    """Of the computation."""
    return self.encoder.dtype

  def setup(self) -> None:
    """Binds the head, which is small at first (Goyal et al., 2017, section 5.1)."""
    self.head = nn.Dense(self.classes, kernel_init=nn.initializers.normal(0.01))

  def __call__(
    self,
    image: Float[Array, "*b h w c"],
    hidden: Bool[Array, "*b h w"] | None = None,
    *,
    train: bool = False,
  ) -> Float[Array, "*b classes"]:
    """Logits in float32; hidden pixels, NaN too, change neither them nor a gradient.

    With `train` batch normalisation uses the statistics of the batch and updates "batch_stats".
    """
    return self.head(self.encode(image, hidden, train=train)["mean"])

  def encode(
    self,
    image: Float[Array, "*b h w c"],
    hidden: Bool[Array, "*b h w"] | None = None,
    *,
    train: bool = False,
  ) -> dict[str, Float[Array, "*b d"]]:
    """Features in float32: "mean" over all pixels of the last maps that saw something."""
    return {"mean": global_average_pool(*self.encoder(image, hidden, train=train))}

  def maps(
    self,
    image: Float[Array, "*b h w c"],
    hidden: Bool[Array, "*b h w"] | None = None,
    *,
    train: bool = False,
  ) -> Carried:
    """The last maps, and which of their pixels saw nothing, for heads that predict pixels."""
    return self.encoder(image, hidden, train=train)


@bind.least(depth=8, width=4)
def resnet(
  *,
  record_shape: Sequence[int],
  classes: int,
  depth: int = 50,
  width: int | None = None,
  norm: str = "batch",
  stem: str = "auto",
  project: bool | None = None,
  preact: bool = False,
  zero_init: bool = False,
  dtype: str = "float32",
  carry: str = "partial",
) -> ResNetClassifier:
  """A residual network of `depth` layers with weights, for images `(h, w, c)` of any shape.

  Depths 18, 34 (basic blocks), 50, 101 and 152 (bottlenecks) are those for ImageNet, four stages
  from `width` 64; any other 6n + 2, n blocks in each of three stages from `width` 16, those for
  CIFAR. What is None follows the paper: the latter's shortcuts do not `project`. The stem is
  "imagenet", 7 x 7 with strides and a pool, or "small", 3 x 3; "auto" makes it small for the CIFAR
  depths and for images with a side below 64. `zero_init` begins with blocks that are shortcuts
  only. With `preact` nothing follows the last block but the mean, as in the networks of
  github.com/ecs-vlc/FMix. Masks are carried by convolutions that weigh the visible pixels
  of a window up ("partial") or fill hidden ones in from their border ("neighbours"). `BadInput` for
  an unknown depth, norm, stem or carry, data that are no images, or `zero_init` with `preact`,
  whose blocks end in no norm.

  >>> resnet(record_shape=(32, 48, 3), classes=10, depth=20).encoder.stages
  (3, 3, 3)

  Source: He et al., 2016, table 1 and section 4.2; zero_init: Goyal et al., 2017, section 5.1.
  """
  if len(record_shape) != 3:
    raise BadInput(f"resnet takes images (h, w, c), the data have shape {tuple(record_shape)}")
  named = ("norm", norm, NORMS), ("stem", stem, STEMS), ("carry", carry, CARRIES)
  for what, name, choices in named:
    if name not in choices:
      raise unknown(what, name, choices)
  if preact and zero_init:
    raise BadInput("zero_init is about the norm at the end of a block: with preact there is none")
  cifar = depth not in STAGES
  if cifar and (depth < 8 or depth % 6 != 2):
    raise BadInput(f"resnet depth {depth} is neither one of {sorted(STAGES)} nor 6n + 2")
  grid = tuple(record_shape[:2])
  encoder = ResNet(
    stages=(depth // 6,) * 3 if cifar else STAGES[depth],
    width=(16 if cifar else 64) if width is None else width,
    bottleneck=not cifar and depth >= 50,
    project=not cifar if project is None else project,
    small=cifar or min(grid) < SMALL if stem == "auto" else stem == "small",
    preact=preact,
    norm=norm,
    zero_init=zero_init,
    dtype=dtype,
    carry=carry,
  )
  return ResNetClassifier(encoder, classes, grid)


def _conv(width: int, side: int, strides: int, dtype: str, name: str, carry: str) -> PartialConv:
  return CARRIES[carry][0](
    width,
    (side, side),
    (strides, strides),
    # Alike on both sides, as in PyTorch; "SAME" is not where there are strides.
    padding=[(side // 2, side // 2)] * 2,
    use_bias=False,
    dtype=dtype,
    kernel_init=he_normal,
    name=name,
  )


def _norm(
  kind: str, train: bool, dtype: str, name: str, *, zero: bool = False
) -> MaskedNorm | GroupNorm:
  """Normalisation with torchvision's numbers, its scales 0 at first if `zero`.

  Running variances are the mean squares themselves, where PyTorch multiplies by N / (N - 1).
  """
  scale = nn.initializers.zeros if zero else nn.initializers.ones
  make: dict[str, Any] = dict(epsilon=1e-5, dtype=dtype, scale_init=scale, name=name)
  if kind == "group":
    return GroupNorm(**make)
  return MaskedNorm(use_running_average=not train, momentum=0.9, **make)
