"""Networks that compile in no time, for tests of what goes on around them."""

from types import SimpleNamespace

import flax.linen as nn
import jax.numpy as jnp

PATCH, SIDE = 2, 4


class Network(nn.Module):
  """Every patch is made from the mean of those that are seen and from its own, if it is."""

  width: int

  encoder = SimpleNamespace(patch=(PATCH, PATCH), grid=(SIDE, SIDE))

  def setup(self):
    """Three layers."""
    self.embed, self.mix = nn.Dense(self.width), nn.Dense(self.width)
    self.out = nn.Dense(PATCH * PATCH)

  def predict(self, patches, hidden):
    """Predicts all patches."""
    seen = jnp.where(hidden[..., None], 0, self.embed(patches))
    return self.out(nn.tanh(self.mix(seen + seen.mean(axis=-2, keepdims=True))))

  def encode(self, patches):
    """Features of patches that are all seen; the first stands for a class token."""
    tokens = nn.tanh(self.mix(self.embed(patches)))
    return {"tokens": tokens, "mean": tokens.mean(axis=-2), "class": tokens[..., 0, :]}


def small(*, record_shape, width):
  """The network for grey pictures of eight by eight."""
  assert record_shape == (PATCH * SIDE, PATCH * SIDE, 1)
  return Network(width)


class Encoder(nn.Module):
  """A layer with running statistics."""

  width: int

  @nn.compact
  def __call__(self, image, train):
    """Features of a picture."""
    x = nn.Dense(self.width)(image.reshape(*image.shape[:-3], -1))
    return nn.tanh(nn.BatchNorm(use_running_average=not train)(x))


class Classifier(nn.Module):
  """An encoder and a head, as the graph of `supervised` calls them; nothing may be hidden."""

  coupled = True

  encoder: Encoder
  classes: int

  def setup(self):
    """The head, which is small at first."""
    self.head = nn.Dense(self.classes, kernel_init=nn.initializers.normal(0.01))

  def __call__(self, image, hidden=None, *, train=False):
    """Logits."""
    assert hidden is None
    return self.head(self.encoder(image, train))

  def encode(self, image, hidden=None):
    """Features."""
    return {"mean": self.encoder(image, False)}


def classifier(*, record_shape, classes, width):
  """The network for pictures of any size."""
  return Classifier(Encoder(width), classes)
