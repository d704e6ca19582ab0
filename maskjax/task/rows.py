"""Values of several fields in a row: what is seen of each, and what pictures are made from."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool

from maskjax.hide import fill
from maskjax.over import Over, apart
from maskjax.over.cut import unpatchify
from maskjax.task.networks import Network
from maskjax.task.pictures import over_field


def emptied(
  values: Mapping[str, Array], hidden: Bool[Array, "b n"] | None, parts: Mapping[str, slice]
) -> dict[str, Array]:
  """The values of fields in a row with zeros where they are hidden, so that nothing reads them.

  Args:
    values: of all fields, or of the first ones.
    hidden: over the row, or over the first fields; None hides nothing.
    parts: where each field lies, as the graph offers it.

  >>> values = {"a": jnp.ones((1, 1, 2)), "b": jnp.ones((1, 2, 1))}
  >>> parts = {"a": slice(0, 1), "b": slice(1, 3)}
  >>> emptied(values, jnp.array([[False, True, False]]), parts)["b"].tolist()
  [[[0.0], [1.0]]]
  """
  if hidden is None:
    return dict(values)
  return {name: fill(x, hidden[..., parts[name]], 0.0) for name, x in values.items()}


def row_views(
  source: Mapping[str, Any],
  predictions: Mapping[str, Array],
  hidden: Bool[Array, "b n"],
  over: Over,
  **networks: Network,
) -> dict[str, Any]:
  """What pictures of several fields in a row are made from.

  Args:
    source: the fields.
    predictions: of the patches of some of them, by the same names; of labels their logits.
    hidden: over the row.
    over: what a position is, a row of patches.
    **networks: those that made fields, by the names of these, for the "colors" of labels.

  Returns:
    Of the first field "input", "seen" (NaN where hidden), "prediction" and "pasted"; "modalities"
    holds of each that is predicted its "input" and "prediction" (of labels the logits), "hidden"
    for every pixel, and the "colors" of its labels where a network knows them.
  """
  parts, shown = apart(hidden, over.parts), {}
  for name, field in over.fields.items():
    if name not in predictions:
      continue
    numbers = field.classes or field.shape[-1]
    shown[name] = {
      "input": source[name][..., 0] if field.classes else source[name],
      "prediction": painted(predictions[name], field, numbers),
      "hidden": area(parts[name], field)[..., 0],
    }
    known = networks[name](method="known") if name in networks else {}
    shown[name] |= {k: x for k, x in known.items() if k == "colors"}
  first, *_ = over.fields
  gone, image = area(parts[first], over.fields[first]), source[first]
  pictures = {"input": image, "seen": jnp.where(gone, jnp.nan, image)}
  if first in shown:
    prediction = shown[first]["prediction"]
    pictures |= {"prediction": prediction, "pasted": jnp.where(gone, prediction, image)}
  return {**pictures, "modalities": shown}


def painted(patches: Array, field: Over, numbers: int) -> Array:
  """Patches with so many numbers for every pixel, in the shape of their field."""
  made: Array = unpatchify(patches, field.cell, field.grid, numbers)
  return made


def area(hidden: Bool[Array, "b n"], field: Over) -> Bool[Array, "b *space 1"]:
  """Which pixels of a field are hidden.

  Args:
    hidden: patches of the field.
    field: what a position of it is.

  >>> from maskjax.over import patches
  >>> from maskjax.record import Record
  >>> field = patches(record=Record("image", (2, 2, 3), {}), patch=(1, 2))
  >>> area(jnp.array([[True, False]]), field)[0, :, :, 0].tolist()
  [[True, True], [False, False]]
  """
  return over_field(hidden, field)[..., None]
