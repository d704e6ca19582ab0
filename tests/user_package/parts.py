"""Functions and networks of a user, named in configs as "user_package.parts:NAME"."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from maskjax import bind, hide, reduce
from maskjax.model.autoencoder import Posterior
from maskjax.model.partial import PartialConv
from maskjax.over.cut import patchify, unpatchify


def agree(a, b):
  """How far the means of two looks are from each other."""
  gap = jnp.square(a.mean(axis=-2) - jax.lax.stop_gradient(b.mean(axis=-2))).mean(axis=-1)
  return reduce.term(gap, jnp.ones(gap.shape, bool))


def mean(x):
  """The mean of a value, as a loss."""
  return reduce.term(x, jnp.ones(x.shape, bool))


def match(tokens, features):
  """The squared distance of one layer's tokens to features."""
  return mean(jnp.square(getattr(tokens, "tokens", tokens) - features))


class Stages(nn.Module):
  """Two strided convolutions that carry the mask of what they do not see."""

  @nn.compact
  def __call__(self, x, hidden):
    """Features of both stages, each with its mask."""
    found = []
    for i in range(2):
      x, hidden = PartialConv(4, (2, 2), (2, 2), name=f"stage_{i}")(x, hidden)
      found.append((x, hidden))
    return found


def stages():
  """The network of `Stages`."""
  return Stages()


def carried(network, seen, grid):
  """The stages of an image of pixels, with the mask that each carries."""
  shape = (len(seen.values), *grid)
  return network(seen.values.reshape(*shape, -1), seen.hidden.reshape(shape))


def visible_energy(stages):
  """The mean square of what the last stage sees, over what it does not hide."""
  x, hidden = stages[-1]
  return reduce.term(jnp.square(x).mean(axis=-1), ~hidden)


class Normed(nn.Module):
  """Classes of images, normalised over a batch; whether it says so is a field of its own."""

  coupled: bool

  @nn.compact
  def __call__(self, image, hidden=None, *, train=False):
    """Logits; hidden pixels are zero."""
    x = image if hidden is None else hide.fill(image, hidden, 0.0)
    x = nn.BatchNorm(use_running_average=not train)(x.reshape(len(x), -1))
    return nn.Dense(2, name="head")(x)


def normed(coupled=True):
  """The network of `Normed`."""
  return Normed(coupled)


@bind.coupled
def seen_before(state):
  """How many steps there were, a state of the method."""
  count = jnp.int32(0) if state is None else state
  return count, count + 1


class Critic(nn.Module):
  """A number for each example."""

  @nn.compact
  def __call__(self, x):
    """Large for what looks real."""
    return nn.Dense(1, name="out")(x.mean(axis=-2))[..., 0]


def critic():
  """The network of `Critic`."""
  return Critic()


def judged(critic, prediction, values):
  """How much more the critic believes in values than in what is predicted."""
  return mean(critic(values) - critic(prediction))


def gate_of(importance, count=1):
  """Keeps all heads but the `count` least important ones."""
  order = jnp.argsort(jnp.argsort(importance, axis=-1), axis=-1)
  return (order >= count).astype(jnp.float32)


def importance(graph, ones):
  """How much each head matters: the slope of the loss with all open, by its gate."""
  loss = lambda gate: graph("open.losses.recover", **{"open.gate": gate}).sum
  return jnp.abs(jax.grad(loss)(ones)).sum(axis=0)


def ones(position, heads=2):
  """A gate of heads that keeps all."""
  return jnp.ones((len(position), heads))


def first_head(position):
  """A gate of two heads that keeps the first."""
  return jnp.broadcast_to(jnp.asarray([1.0, 0.0]), (len(position), 2))


@bind.coupled
def queue(out, state, size=8):
  """The means of the last examples seen, the oldest first; then those of this step as well."""
  now = jax.lax.stop_gradient(out.tokens.mean(axis=-2))
  before = jnp.zeros((size, now.shape[-1])) if state is None else state
  return before, jnp.concatenate([before, now])[-size:]


def errors(prediction, target, state):
  """The error at each position in the step before, 0 in the first; then that of this step."""
  now = jax.lax.stop_gradient(((prediction - target) ** 2).mean((0, -1)))
  before = jnp.zeros(now.shape) if state is None else state
  return before, now if state is not None else before


def worst(states, grid, position):
  """Positions of large errors first, which depend on what was hidden then."""
  last = states["errors"] if "errors" in states else jnp.zeros(grid[0] * grid[1])
  return jnp.broadcast_to(last, (len(position), *last.shape))


def apart_from(out, queue):
  """How near examples are to those in the queue."""
  return mean(out.tokens.mean(axis=-2) @ queue.T)


class RowNetwork(nn.Module):
  """Words and patches in one row, one layer of attention over what is seen of both."""

  words: int

  @nn.compact
  def __call__(self, values, hidden, allowed, parts):
    """A prediction for each field."""
    made = {
      "image": nn.Dense(8, name="patches")(values["image"]),
      "words": nn.Embed(self.words, 8, name="words")(values["words"]),
    }
    x = jnp.concatenate([made[name] for name in parts], axis=-2)
    x = jnp.where(hidden[..., None], 0, x)
    seen = (allowed & ~hidden)[:, None, None]
    x = x + nn.MultiHeadDotProductAttention(2, name="mix")(x, mask=seen)
    heads = {"image": values["image"].shape[-1], "words": self.words}
    return {name: nn.Dense(heads[name], name=f"head_{name}")(x[:, parts[name]]) for name in parts}


def row_network(vocabulary):
  """The network of `RowNetwork`."""
  return RowNetwork(vocabulary)


def of_row(network, seen, allowed, parts):
  """The predictions of the fields in a row."""
  return network(seen.values, seen.hidden, allowed, parts)


class OwnGates(nn.Module):
  """A mask that is learned for each example of the data, by its position in them."""

  examples: int
  n: int

  @nn.compact
  def __call__(self, position):
    """Gates in (0, 1)."""
    table = self.param("table", nn.initializers.zeros, (self.examples, self.n))
    return nn.sigmoid(table[position % self.examples])


def few(gate):
  """How much is kept."""
  return mean(gate)


def merged(graph, values, grid, parts=4):
  """Every position as predicted by a run in which it is hidden, over disjoint masks."""
  place = jnp.arange(values.shape[-2]) % parts
  found = jnp.zeros_like(values)
  for i in range(parts):
    hidden = jnp.broadcast_to(place == i, values.shape[:-1])
    found = hide.fill(found, hidden, graph("prediction", hidden=hidden))
  return found


def gap(a, b):
  """How far the means of two looks are from each other; both learn."""
  gap = jnp.square(a.mean(axis=-2) - b.mean(axis=-2)).mean(axis=-1)
  return reduce.term(gap, jnp.ones(gap.shape, bool))


def of_two(two):
  """A network that another one is needed for."""
  return two


def of_one(one):
  """The other one."""
  return one


class Wanted(nn.Module):
  """A score for each place, learned: the same for every example, with noise."""

  @nn.compact
  def __call__(self, values, keys):
    """What is wanted to be hidden."""
    wanted = self.param("wanted", nn.initializers.zeros, (values.shape[-2],))
    noise = jax.vmap(lambda key: jax.random.gumbel(key, wanted.shape))(keys)
    return wanted + noise


class Rotation(nn.Module):
  """An exact codec of images 8 x 8: one orthogonal matrix turns each cell of 2 x 2 pixels."""

  def setup(self):
    """The matrix."""
    self.turn = self.param("turn", nn.initializers.orthogonal(), (4, 4))

  def encode(self, images):
    """Latents, as the mean of a Gaussian."""
    cells = patchify(images, (2, 2)) @ self.turn
    mean = cells.reshape(len(images), 4, 4, 4)
    return Posterior(mean, jnp.full_like(mean, -30.0))

  def decode(self, latents):
    """Pixels."""
    cells = latents.reshape(len(latents), 16, 4) @ self.turn.T
    return unpatchify(cells, (2, 2), (4, 4), 1)

  def __call__(self, images):
    """There and back."""
    return self.decode(self.encode(images).mean)


def rotation():
  """The network of `Rotation`."""
  return Rotation()


def scaled(x, by=2.0):
  """A value times a number."""
  return by * x


class Linear(nn.Module):
  """As little of a classifier as there can be."""

  classes: int

  @nn.compact
  def __call__(self, image, hidden=None, *, train=False):
    """Logits."""
    return nn.Dense(self.classes)(jnp.tanh(image.reshape(len(image), -1)))

  def encode(self, image, hidden=None):
    """Features: the pixels themselves."""
    return {"mean": image.reshape(len(image), -1)}


def linear(record_shape, classes):
  """The network of `Linear`."""
  return Linear(classes)


def evenly(scores, ratio):
  """A gate that lets the same share of every position through."""
  return jnp.broadcast_to(1 - ratio[:, None], scores.shape)


def blend(x, gate, other):
  """Both at once, each as strong as its share, as in MixUp."""
  return hide.gate(x, gate) + hide.gate(other, 1 - gate)
