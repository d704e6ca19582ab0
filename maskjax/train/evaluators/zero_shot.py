"""Zero-shot classification: the class whose descriptions lie nearest to an image."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float, Int

from maskjax.data import captions
from maskjax.errors import BadInput
from maskjax.task.answers import answer, needs
from maskjax.train.evaluators.context import Context, features, labelled

TEMPLATES = (
  "a photo of a {name}.",
  "a picture of the {name}.",
  "a bright photo of a {name}.",
  "a dark photo of a {name}.",
  "a plain image of a {name}.",
)


@needs("describe", "features", kinds=("image",), labels=True)
def zero_shot(
  context: Context,
  *,
  split: str = "test",
  limit: int | None = None,
  templates: Sequence[str] = TEMPLATES,
) -> dict[str, float]:
  """Top-1 accuracy by the descriptions of the classes alone, without any training on labels.

  Each class is described by every template, which may name {name}. Descriptions are brought to
  length 1 and averaged over the templates; of the classes that whose mean, at length 1, has the
  largest cosine with the whole image is predicted, the lower one of equal ones. Words that
  training did not know are `tokens.UNKNOWN`. With `limit` only so many evenly spaced images are
  looked at. Radford et al., 2021 (CLIP), section 3.1.4.

  Args:
    context: what the training loop hands over.
    split: that is classified.
    limit: examples at most; None: all.
    templates: descriptions of a class called {name}.

  Returns:
    "accuracy" with all templates, "one" with the first alone.

  Raises:
    BadInput: no labels, no captions to learn from, an unknown or empty split, no templates, or one
      that names something else.
  """
  classes, record = labelled(context, "zero_shot"), context.record
  describe = answer(context.task, "describe", "zero_shot")
  if not templates or any(set(captions.fields(template)) != {"name"} for template in templates):
    raise BadInput(f"zero_shot wants templates that name {{name}} alone, got {tuple(templates)}")
  names = [captions.spoken(name) for name in record.class_names]
  texts = [captions.fill_in(template, name=name) for name in names for template in templates]
  ids = captions.encode(texts, record, record.caption)
  batch = context.mesh.put_everywhere({"text": ids})
  placed = context.mesh.get(_place(describe, context.variables, batch))
  means = np.asarray(placed, np.float64).reshape(classes, len(templates), -1)
  image, label = features(context, split, "shared", limit)
  means = _unit(means)
  right = lambda described: float((np.argmax(image @ described.T, axis=-1) == label).mean())
  return {"accuracy": right(_unit(means.mean(axis=1))), "one": right(means[:, 0])}


# By the task's own function, so that all evaluations of a run share one compilation.
@partial(jax.jit, static_argnames="describe")
def _place(
  describe: Callable[..., Float[Array, "n d"]], variables: Any, batch: dict[str, Int[Array, "n m"]]
) -> Float[Array, "n d"]:
  """Where texts lie."""
  return describe(variables, batch["text"])


def _unit(x: Float[np.ndarray, "... d"]) -> Float[np.ndarray, "... d"]:
  """At length 1."""
  return x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-12)
