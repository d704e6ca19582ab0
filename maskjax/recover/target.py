"""What is asked back: a target made from patches, whose prediction can be shown as patches."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from maskjax.errors import BadInput

Patches = Float[Array, "*b n p"]


class Target(NamedTuple):
  """What is asked back.

  Attributes:
    encode: `patches -> target`, what the loss compares a prediction with.
    decode: `(prediction, patches) -> patches`, a prediction as something to look at; `patches` are
      the true ones, for what the prediction leaves out.
  """

  encode: Callable[[Patches], Patches]
  decode: Callable[[Patches, Patches], Patches]


def pixels(*, normalise: bool = True, eps: float = 1e-6) -> Target:
  r"""Pixels of each patch, with `normalise` by the patch's own mean and unbiased deviation.

  $t = (x - \mu_x) / \sqrt{\sigma_x^2 + \epsilon}$. Decoding uses the true mean and deviation of
  each patch, so pictures of normalised targets flatter the model: it predicts only the pattern
  inside a patch.

  Raises:
    BadInput: patches of a single value with `normalise`.

  Source: He et al. 2022 (MAE), section 3, "Reconstruction target".

  >>> x = jnp.array([[[1., 3.]]])
  >>> target = pixels()
  >>> bool(jnp.allclose(target.decode(target.encode(x), x), x))
  True
  """
  if not normalise:
    return Target(lambda patches: patches, lambda prediction, patches: prediction)

  def statistics(patches: Patches) -> tuple[Array, Array]:
    if patches.shape[-1] < 2:
      raise BadInput("patches of one value have no deviation: set target.normalise=False")
    patches = patches.astype(jnp.float32)
    variance = jnp.var(patches, axis=-1, keepdims=True, ddof=1)
    return jnp.mean(patches, axis=-1, keepdims=True), jnp.sqrt(variance + eps)

  def encode(patches: Patches) -> Patches:
    mean, deviation = statistics(patches)
    return (patches - mean) / deviation

  def decode(prediction: Patches, patches: Patches) -> Patches:
    mean, deviation = statistics(patches)
    return prediction * deviation + mean

  return Target(encode, decode)
