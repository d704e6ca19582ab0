"""A map of an image (edges, a segmentation by colour) as a network that is fitted, not trained."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from maskjax import bind
from maskjax.modalities import Modality

FITTED = "fitted"  # the collection of what a network was told of the training data


class ImageMap(nn.Module):
  """Makes a map of an image; what it knows of the training images lies in "fitted".

  Attributes:
    modality: how.
    mean: of each channel, as the data were normalised.
    std: likewise, the deviation.
    examples: training images that it is fitted to.
  """

  modality: Modality
  mean: tuple[float, ...]
  std: tuple[float, ...]
  examples: int = 1024

  @nn.compact
  def __call__(self, image: Float[Array, "b h w c"]) -> Any:
    """The map of each normalised image: values `[b h w d]`, labels `[b h w 1]`."""
    first = self.modality.unfitted(image.shape[-1])
    known = {
      k: self.variable(FITTED, k, lambda x=x: jnp.asarray(x)).value for k, x in first.items()
    }
    plain = jnp.clip(image * jnp.asarray(self.std) + jnp.asarray(self.mean), 0, 1)
    made = self.modality.make(known, plain)
    return made[..., None] if self.modality.classes else made

  def known(self) -> dict[str, Array]:
    """What it knows of the training images, by name: of a palette its "colors"."""
    return dict(self.variables.get(FITTED, {}))

  def fit(self, images: np.ndarray) -> Mapping[str, Array]:
    """What it has to know of normalised training images, to stand in "fitted"."""
    scale, shift = np.asarray(self.std, np.float32), np.asarray(self.mean, np.float32)
    found = self.modality.fit(np.clip(images * scale + shift, 0, 1))
    return {name: jnp.asarray(x) for name, x in found.items()}


@bind.least(examples=8)
def image_map(
  *,
  modality: Callable[[], Modality],
  mean: Sequence[float],
  std: Sequence[float],
  examples: int = 1024,
) -> ImageMap:
  """A map of images, fitted to training images before step 0.

  Args:
    modality: makes the `Modality`: a function of `maskjax.modalities`, bound.
    mean: of each channel, as the data were normalised.
    std: likewise, the deviation.
    examples: training images to fit to.

  >>> from maskjax.modalities import edges
  >>> made = image_map(modality=edges, mean=(0.5,), std=(0.25,))
  >>> made.init_with_output({}, jnp.zeros((1, 4, 6, 1)))[0].shape
  (1, 4, 6, 1)
  """
  return ImageMap(modality(), tuple(mean), tuple(std), examples)
