"""How well each modality is recovered: by the task's own masks, and from one other alone."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from maskjax import reduce
from maskjax.errors import BadInput
from maskjax.keys import stream
from maskjax.recover import nll
from maskjax.task.answers import answer, needs
from maskjax.train.evaluators.context import first_of
from maskjax.view import modalities as pictures
from maskjax.view.reconstruction import pick, spaced


@needs("views", kinds=("image",))
def modalities(
  context: Any,
  *,
  train: str = "train",
  test: str = "test",
  batch_size: int = 256,
  examples: int = 2048,
  pictured: int = 8,
) -> dict[str, float]:
  r"""What hidden patches of each modality cost, over what the best guess without a model costs.

  Values by squared error, $\sum_h (\hat x - x)^2 / \sum_h (\bar x - x)^2$ over the hidden positions
  h, where $\bar x$ is the mean of the training images, position by position; labels by nats,
  against those of the shares of the labels there. Of the first `examples` of both splits. Every
  example gets one mask, the same at every step of a run. A target that is normalised per patch is
  shown with each patch's true mean and deviation, which flatters.

  Args:
    context: what the training loop hands over.
    train: split of the best guess without a model.
    test: split that is predicted.
    batch_size: examples at a time.
    examples: of both splits at most.
    pictured: examples that are drawn.

  Returns:
    "own/NAME" by the task's own masks; "SOURCE/NAME" with all of one modality shown and nothing
    else; "shown/NAME", the share that the task's masks show of a modality, and "spread/NAME", the
    deviation of that share over the examples. Draws input, what is seen, and prediction of each
    modality of `pictured` evenly spaced examples.

  Raises:
    BadInput: the task has no views of modalities, or the devices do not divide the batch size.
  """
  views = answer(context.task, "views", "modalities")
  context.mesh.check(batch_size, 1)
  n = int(np.prod(context.task.network.grid))

  @jax.jit
  def means(variables, batch, key):
    seen = views(variables, batch, key)["modalities"]
    valid = batch["valid"]
    return {name: reduce.sum(_wide(x), valid[:, None, None, None], 0) for name, x in seen.items()}

  @jax.jit
  def own(variables, batch, key, guesses):
    seen = views(variables, batch, key)["modalities"]
    shown = {name: 1 - x["hidden"].mean(axis=(1, 2)) for name, x in seen.items()}
    return {name: _costs(x, guesses[name], batch["valid"]) for name, x in seen.items()}, shown

  @jax.jit
  def alone(variables, batch, key, guesses, hidden):
    seen = views(variables, batch, key, hidden=hidden, keep=n)["modalities"]
    return {name: _costs(x, guesses[name], batch["valid"]) for name, x in seen.items()}

  with jax.debug_nans(False):
    first = next(first_of(context, test, batch_size, examples))
    shapes = jax.eval_shape(views, context.variables, first, context.key)
    if "modalities" not in shapes:
      raise BadInput("modalities: this task has one modality alone")
    names = sorted(shapes["modalities"])
    order = tuple(getattr(context.task.network, "modalities", names))
    totals: dict[str, Any] = {}
    count = 0
    for i, batch in enumerate(first_of(context, train, batch_size, examples)):
      placed, key = context.mesh.put_whole(batch), stream(context.key, "batch", i)
      found = context.mesh.get(means(context.variables, placed, key))
      totals = {name: totals.get(name, 0) + found[name] for name in names}
      count += int(batch["valid"].sum())
    guesses = {name: np.asarray(x / count, np.float32) for name, x in totals.items()}
    hides = {s: np.arange(n * len(order)) // n != order.index(s) for s in order if len(order) > 1}
    costs: dict[str, np.ndarray] = {}
    shares: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for i, batch in enumerate(first_of(context, test, batch_size, examples)):
      placed, key = context.mesh.put_whole(batch), stream(context.key, "batch", i)
      given = context.variables, placed, key, guesses
      found, shown = context.mesh.get(own(*given))
      pairs = {f"own/{name}": found[name] for name in names}
      for source, hidden in hides.items():
        found = context.mesh.get(alone(*given, hidden[None]))
        pairs |= {f"{source}/{name}": found[name] for name in names if name != source}
      costs = {name: costs.get(name, 0) + np.array(pair, float) for name, pair in pairs.items()}
      for name in names:
        shares[name].append(shown[name][batch["valid"]])
    batch = pick(context.examples(test, batch_size), spaced(context.record.sizes[test], pictured))
    drawn = context.mesh.get(jax.jit(views)(context.variables, batch, context.key))["modalities"]
  context.picture("modalities", pictures.rows(drawn, order, context.record))
  every = {name: np.concatenate(parts) for name, parts in shares.items()}
  return {
    **{name: float(ours / guess) for name, (ours, guess) in costs.items()},
    **{f"shown/{name}": float(x.mean()) for name, x in every.items()},
    **{f"spread/{name}": float(x.std()) for name, x in every.items()},
  }


def _wide(view: Mapping[str, Array]) -> Float[Array, "b h w d"]:
  """Values as they are, labels as one share of each class."""
  x = view["input"]
  if not jnp.issubdtype(x.dtype, jnp.integer):
    return x
  return jax.nn.one_hot(x, view["prediction"].shape[-1])


def _costs(view: Mapping[str, Array], guess: Array, valid: Array) -> tuple[Array, Array]:
  """What the prediction costs at the hidden positions, and what `guess` does."""
  truth, asked = view["input"], view["hidden"] & valid[:, None, None]
  if jnp.issubdtype(truth.dtype, jnp.integer):
    logits = jnp.broadcast_to(jnp.log(jnp.maximum(guess, 1e-4)), view["prediction"].shape)
    cost = lambda x: reduce.sum(nll(x, truth, asked), asked)
    return cost(view["prediction"]), cost(logits)
  square = lambda x: reduce.sum(((x - truth) ** 2).mean(axis=-1), asked)
  return square(view["prediction"]), square(guess)
