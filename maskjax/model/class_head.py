"""A linear classifier on pooled features, for networks that are trained for other things too."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from maskjax.errors import BadInput


class ClassHead(nn.Module):
  """Logits of classes in float32, $y = W x + b$; built by `class_head`."""

  classes: int

  @nn.compact
  def __call__(self, x: Float[Array, "*b d"]) -> Float[Array, "*b classes"]:
    """Logits of features."""
    first = nn.initializers.normal(0.01)
    return nn.Dense(self.classes, kernel_init=first, name="predict")(x.astype(jnp.float32))


def class_head(*, classes: int) -> ClassHead:
  """A linear classifier of features, begun as that of `vit_classifier`.

  Args:
    classes: of the data.

  Raises:
    BadInput: data without labels.

  >>> class_head(classes=10).classes
  10
  """
  if not classes:
    raise BadInput("model.class_head needs labels, and this data set has none")
  return ClassHead(classes)
