"""Plain convolutional networks for images: pairs of convolutions, pools, dense layers."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from maskjax import bind
from maskjax.errors import BadInput, unknown
from maskjax.model.partial import Carried, PartialConv, max_pool

ACTIVATIONS = {"relu": nn.relu, "elu": nn.elu}
glorot_normal = nn.initializers.glorot_normal()


def signed_constant(
  key: Key[Array, ""], shape: tuple[int, ...], dtype: Any = jnp.float32, *, scale: float = 2.0
) -> Float[Array, "..."]:
  r"""Weights of one size with random signs: $\pm\sqrt{\mathrm{scale} / \mathrm{fan}_{in}}$.

  Args:
    key: for the signs.
    shape: of the kernel, the inputs on axis -2 and the window before it.
    dtype: of the weights.
    scale: the variance of a weight times the number of inputs.

  Returns:
    The weights.

  >>> jnp.unique(jnp.abs(signed_constant(jax.random.key(0), (3, 3, 6, 5), scale=6.0))).tolist()
  [0.3333333432674408]

  Ramanujan et al., "What's Hidden in a Randomly Weighted Neural Network?", 2020, section 4.2;
  with a scale of 6 the initialisation ELUS of Koster et al., "Signing the Supermask", 2022.
  """
  size = jnp.asarray((scale / math.prod(shape[:-1])) ** 0.5, dtype)
  return jax.random.rademacher(key, shape, dtype) * size


class ConvNet(nn.Module):
  """Pairs of 3 x 3 convolutions with a 2 x 2 pool after each, dense layers, a linear head.

  Attributes:
    widths: channels of each pair.
    dense: widths of the dense layers.
    classes: of the head.
    grid: what the positions of `hidden` are: the pixels.
    activation: after every layer but the head, "relu" or "elu".
    use_bias: whether layers have biases.
    kernel_init: of all kernels.
    dtype: of the computation.

  Source: Frankle and Carbin, "The Lottery Ticket Hypothesis", 2019, figure 2 (Conv-2 to Conv-6).
  """

  widths: tuple[int, ...]
  dense: tuple[int, ...]
  classes: int
  grid: tuple[int, ...]
  activation: str = "relu"
  use_bias: bool = True
  kernel_init: Callable[..., Any] = glorot_normal
  dtype: str = "float32"
  coupled = False

  def setup(self) -> None:
    """Makes the layers."""
    given: dict[str, Any] = dict(use_bias=self.use_bias, kernel_init=self.kernel_init)
    twice = [width for width in self.widths for _ in range(2)]
    self.convs = [
      PartialConv(width, (3, 3), dtype=self.dtype, name=f"conv_{i:02d}", **given)
      for i, width in enumerate(twice)
    ]
    self.layers = [
      nn.Dense(width, dtype=self.dtype, name=f"dense_{i:02d}", **given)
      for i, width in enumerate(self.dense)
    ]
    self.head = nn.Dense(self.classes, **given)

  def __call__(
    self,
    image: Float[Array, "*b h w c"],
    hidden: Bool[Array, "*b h w"] | None = None,
    *,
    train: bool = False,
  ) -> Float[Array, "*b classes"]:
    """Logits in float32; hidden pixels, NaN too, change neither them nor a gradient."""
    return self.head(self.encode(image, hidden, train=train)["dense"].astype(jnp.float32))

  def encode(
    self,
    image: Float[Array, "*b h w c"],
    hidden: Bool[Array, "*b h w"] | None = None,
    *,
    train: bool = False,
  ) -> dict[str, Float[Array, "*b d"]]:
    """What the head reads."""
    x, _ = self.maps(image, hidden, train=train)
    x = x.reshape(*x.shape[:-3], -1)
    for layer in self.layers:
      x = ACTIVATIONS[self.activation](layer(x))
    return {"dense": x}

  def maps(
    self,
    image: Float[Array, "*b h w c"],
    hidden: Bool[Array, "*b h w"] | None = None,
    *,
    train: bool = False,
  ) -> Carried:
    """The last maps, and which of their pixels saw nothing."""
    x = image
    for i, conv in enumerate(self.convs):
      x, hidden = conv(x, hidden)
      x = ACTIVATIONS[self.activation](x)
      if i % 2:
        x, hidden = max_pool(x, hidden, window=(2, 2), strides=(2, 2), padding="SAME")
    return x, hidden


@bind.least(widths=(4,), dense=(8,))
def conv_net(
  *,
  record_shape: Sequence[int],
  classes: int,
  widths: Sequence[int] = (64,),
  dense: Sequence[int] = (256, 256),
  activation: str = "relu",
  use_bias: bool = True,
  kernel_init: Callable[..., Any] = glorot_normal,
  dtype: str = "float32",
) -> ConvNet:
  """Conv-2, with `widths` (64, 128) Conv-4, with (64, 128, 256) Conv-6, (64, 128, 256, 512) Conv-8.

  Args:
    record_shape: `(h, w, c)` of an image.
    classes: how many.
    widths: channels of each pair of convolutions.
    dense: widths of the dense layers after them.
    activation: "relu" or "elu".
    use_bias: whether layers have biases.
    kernel_init: of all kernels, see `signed_constant`.
    dtype: of the computation.

  Returns:
    The network.

  Raises:
    BadInput: data that are no images, an unknown activation.

  >>> conv_net(record_shape=(8, 8, 1), classes=10).widths
  (64,)

  Frankle and Carbin, "The Lottery Ticket Hypothesis", 2019, figure 2.
  """
  if len(record_shape) != 3:
    raise BadInput(f"conv_net takes images (h, w, c), the data have shape {tuple(record_shape)}")
  if activation not in ACTIVATIONS:
    raise unknown("activation", activation, ACTIVATIONS)
  return ConvNet(
    tuple(widths),
    tuple(dense),
    classes,
    grid=tuple(record_shape[:2]),
    activation=activation,
    use_bias=use_bias,
    kernel_init=kernel_init,
    dtype=dtype,
  )
