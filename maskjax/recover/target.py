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
    told: what decoding takes from the true patches, in words; "" for nothing. It is said wherever
      decoded predictions are shown or measured.
  """

  encode: Callable[[Patches], Patches]
  decode: Callable[[Patches, Patches], Patches]
  told: str = ""


def pixels(*, normalise: bool = True, eps: float = 1e-6, apart: int = 1) -> Target:
  r"""Pixels of each patch, with `normalise` by the patch's own mean and unbiased deviation.

  $t = (x - \mu_x) / \sqrt{\sigma_x^2 + \epsilon}$. Decoding uses the true mean and deviation of
  each patch, so pictures of normalised targets flatter the model: it predicts only the pattern
  inside a patch. `apart` is how many channels have a mean and a deviation of their own; 1 is all
  together, as images of MAE have it, clips of VideoMAE have each apart.

  Args:
    normalise: whether each patch is normalised by its own statistics.
    eps: added to the variance.
    apart: channels that have statistics of their own.

  Returns:
    How patches become targets, and predictions pictures.

  Raises:
    BadInput: patches of a single value with `normalise`, or not of whole pixels of `apart`
      channels.

  Source: He et al. 2022 (MAE), section 3, "Reconstruction target".

  >>> x = jnp.array([[[1., 3.]]])
  >>> target = pixels()
  >>> bool(jnp.allclose(target.decode(target.encode(x), x), x))
  True
  """
  if not normalise:
    return Target(lambda patches: patches, lambda prediction, patches: prediction)

  def split(patches: Patches) -> Float[Array, "*b n m c"]:
    p = patches.shape[-1]
    if p % apart:
      raise BadInput(f"patches of {p} values are not made of pixels of {apart} channels")
    return patches.reshape(*patches.shape[:-1], p // apart, apart)

  def statistics(pixels: Array) -> tuple[Array, Array]:
    if pixels.shape[-2] < 2:
      raise BadInput("patches of one value have no deviation: set target.normalise=False")
    pixels = pixels.astype(jnp.float32)
    variance = jnp.var(pixels, axis=-2, keepdims=True, ddof=1)
    return jnp.mean(pixels, axis=-2, keepdims=True), jnp.sqrt(variance + eps)

  def encode(patches: Patches) -> Patches:
    mean, deviation = statistics(split(patches))
    return ((split(patches) - mean) / deviation).reshape(patches.shape)

  def decode(prediction: Patches, patches: Patches) -> Patches:
    mean, deviation = statistics(split(patches))
    return (split(prediction) * deviation + mean).reshape(prediction.shape)

  return Target(encode, decode, told="each patch's true mean and deviation")


def latents(*, normalise: bool = True, eps: float = 1e-5) -> Target:
  r"""Tokens of a network, a teacher's say, with `normalise` each by its own mean and deviation.

  $t = (z - \mu_z) / \sqrt{\sigma_z^2 + \epsilon}$ over the features of a token, a layer
  normalisation without weights. Decoding uses the true mean and deviation of each token.

  Args:
    normalise: whether each token is normalised by its own statistics.
    eps: added to the variance.

  Returns:
    How tokens become targets, and predictions tokens.

  Source: Baevski et al. 2022 (data2vec), section 3.3; the code of Assran et al. 2023 (I-JEPA).

  >>> latents().encode(jnp.array([[[1., 3.]]])).round(3).tolist()
  [[[-1.0, 1.0]]]
  """
  if not normalise:
    return Target(lambda tokens: tokens, lambda prediction, tokens: prediction)

  def statistics(tokens: Patches) -> tuple[Array, Array]:
    tokens = tokens.astype(jnp.float32)
    variance = jnp.var(tokens, axis=-1, keepdims=True)
    return jnp.mean(tokens, axis=-1, keepdims=True), jnp.sqrt(variance + eps)

  def encode(tokens: Patches) -> Patches:
    mean, deviation = statistics(tokens)
    return (tokens - mean) / deviation

  def decode(prediction: Patches, tokens: Patches) -> Patches:
    mean, deviation = statistics(tokens)
    return prediction * deviation + mean

  return Target(encode, decode, told="each token's true mean and deviation")
