"""How often a classifier is right once its weights are pruned, beside as it is."""

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from maskjax.task.answers import needs
from maskjax.train.evaluators.accuracy import accuracy
from maskjax.train.evaluators.context import labelled
from maskjax.train.optimizers.rules import match
from maskjax.weights.held import named_leaves


@needs("predict", labels=True)
def pruned_accuracy(
  context: Any,
  *,
  masks: Callable[[Mapping[str, Array]], Mapping[str, Bool[Array, "..."]]],
  where: Any,
  split: str = "test",
  batch_size: int = 512,
) -> dict[str, float]:
  """Top-1 accuracy of the run's classifier with weights hidden at once, and of it as it is.

  Hidden weights are zero; nothing is trained, and batch normalisation keeps its statistics.

  Args:
    context: what the training loop hands over.
    masks: `{name: leaf} -> {name: hidden}`, such as `partial(weights.selected_masks, select=…)`.
    where: rules, (pattern, bool) pairs: which leaves have masks.
    split: that is classified.
    batch_size: examples at a time.

  Returns:
    {"accuracy": with weights hidden, "loss": its mean cross-entropy, "dense": accuracy without}.

  Raises:
    BadInput: see `accuracy`; a pattern that matches no parameter.

  Zhu and Gupta, "To prune, or not to prune", 2017 (accuracy at a sparsity).
  """
  labelled(context, "pruned_accuracy")
  params = context.variables["params"]
  pruned = {**context.variables, "params": _pruned(params, masks, where)}
  look = partial(accuracy, split=split, batch_size=batch_size)
  dense = look(context)["accuracy"]
  return {**look(dataclasses.replace(context, variables=pruned)), "dense": dense}


def _pruned(params: Any, masks: Callable[..., Any], where: Any) -> Any:
  """The parameters, those that masks hide at zero."""
  names, leaves, tree = named_leaves(params)
  own = jax.tree.leaves(match(params, where, default=False).values)
  hidden = masks({n: x for n, x, has in zip(names, leaves, own, strict=True) if has})
  zero = lambda name, x: jnp.where(hidden[name], 0, x) if name in hidden else x
  return jax.tree.unflatten(tree, map(zero, names, leaves))
