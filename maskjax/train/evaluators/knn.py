"""Weighted k-nearest-neighbour classification of frozen features."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from maskjax.errors import BadInput
from maskjax.task.answers import needs
from maskjax.train.evaluators.context import Context, features, labelled


@needs("features", labels=True)
def knn(
  context: Context,
  *,
  train: str = "train",
  test: str = "test",
  pooling: str = "mean",
  k: int = 20,
  temperature: float = 0.07,
  batch_size: int = 1024,
) -> dict[str, float]:
  """Accuracy on `test` of a vote of the `k` training features nearest by cosine.

  With s_i the cosine similarity of a test feature to training feature i, class c gets
  Σ exp(s_i / temperature) over those of its k nearest whose label is c; the most votes win.

  Protocol: features of unmasked, not augmented images, each scaled to unit length (a zero feature
  stays zero), no other normalisation; f32; every example of `train` is a neighbour, none is fitted.
  Neighbours that tie for the last place, and votes that tie, go to the lower class, so the order of
  the training examples does not matter.

  Args:
    context: what the training loop hands over.
    train: split that votes.
    test: split that is classified.
    pooling: "mean" of the patch tokens or "class" token.
    k: number of neighbours.
    temperature: similarity over which a vote falls by e.
    batch_size: test examples at a time; memory is batch_size times len(train) floats.

  Returns:
    {"accuracy": share of test examples classified right}.

  Raises:
    BadInput: no labels, k outside [1, len(train)], temperature not positive.

  Source: Wu et al., 2018, "Unsupervised feature learning via non-parametric instance
  discrimination", section 3.4; k = 20 and temperature = 0.07 as in DINO (Caron et al., 2021).
  """
  classes = labelled(context, "knn")
  x, y = features(context, train, pooling)
  queries, labels = features(context, test, pooling)
  if not 1 <= k <= len(x):
    raise BadInput(f"knn: k is {k}, allowed is 1 to {len(x)}, the examples of split {train!r}")
  if temperature <= 0:
    raise BadInput(f"knn: temperature is {temperature}, it must be positive")
  bank = _unit(jnp.asarray(x))
  vote = functools.partial(_vote, classes=classes, k=k)
  right = 0
  for start in range(0, len(queries), batch_size):
    chunk = queries[start : start + batch_size]
    padded = np.pad(chunk, ((0, batch_size - len(chunk)), (0, 0)))
    predicted = np.asarray(vote(padded, bank, jnp.asarray(y), temperature))[: len(chunk)]
    right += int((predicted == labels[start : start + batch_size]).sum())
  return {"accuracy": right / len(queries)}


@functools.partial(jax.jit, static_argnames=("classes", "k"))
def _vote(
  queries: Float[Array, "b d"],
  bank: Float[Array, "n d"],
  labels: Int[Array, "n"],
  temperature: float,
  *,
  classes: int,
  k: int,
) -> Int[Array, "b"]:
  similarity = jnp.matmul(_unit(queries), bank.T, precision="highest")
  # Behind the barrier, XLA's CPU compiler sees a plain top_k and selects; merged with the slices
  # below it would sort every row, which made a vote 40 times slower.
  nearest, index = jax.lax.optimization_barrier(jax.lax.top_k(similarity, k))
  # Relative to the nearest, so that a small temperature does not overflow.
  weight = jnp.exp((nearest - nearest[:, :1]) / temperature)
  member = jax.nn.one_hot(labels[index], classes)
  return jnp.argmax((weight[..., None] * member).sum(1), axis=-1)


def _unit(x: Float[Array, "n d"]) -> Float[Array, "n d"]:
  # Scaled by the largest entry first: squares of large or small features leave the range of f32.
  x = x / jnp.maximum(jnp.abs(x).max(-1, keepdims=True), jnp.finfo(x.dtype).tiny)
  return x / jnp.maximum(jnp.linalg.norm(x, axis=-1, keepdims=True), 1e-12)
