"""How good the networks are that lie on a line between two runs."""

import dataclasses
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from maskjax.errors import BadInput
from maskjax.task.answers import needs
from maskjax.train.checkpoints.load import masked
from maskjax.train.evaluators.accuracy import accuracy
from maskjax.train.evaluators.context import labelled
from maskjax.train.workdirs import remote


@needs("predict", labels=True)
def between(
  context: Any, *, other: str, points: int = 11, split: str = "test", batch_size: int = 512
) -> dict[str, float]:
  r"""Accuracy along the line from the run's weights to another run's, of the same network.

  At $(1 - t)\,\theta + t\,\theta'$, learned masks applied at both ends. Running statistics are
  mixed as weights are.

  Args:
    context: what the training loop hands over.
    other: workdir of the other run, of a network with the same variables.
    points: how many on the line, evenly, both ends among them.
    split: that is classified.
    batch_size: examples at a time.

  Returns:
    "lowest", the least accuracy on the line, and "at/T" at each t.

  Raises:
    BadInput: fewer than two points, another network there, and see `accuracy`.

  Source: Frankle et al., "Linear Mode Connectivity and the Lottery Ticket Hypothesis", 2020,
  section 2.
  """
  labelled(context, "between")
  if points < 2:
    raise BadInput(f"between: a line has at least two points, got {points=}")
  with remote.mirrored(other) as place:
    theirs = masked(pathlib.Path(place))
  ours = context.task.final(context.variables)
  shapes = lambda tree: jax.tree.map(jnp.shape, dict(tree))
  if shapes(ours) != shapes(theirs):
    raise BadInput(f"between: {other} is a network with other variables")
  mix = jax.jit(lambda t: jax.tree.map(lambda a, b: _mixed(a, b, t), ours, theirs))
  found = {}
  for t in np.linspace(0, 1, points):
    there = dataclasses.replace(context, variables=mix(np.float32(t)))
    found[f"at/{t:.2f}"] = accuracy(there, split=split, batch_size=batch_size)["accuracy"]
  return {"lowest": min(found.values()), **found}


def _mixed(a: jax.Array, b: jax.Array, t: jax.Array) -> jax.Array:
  """Of what is no float the first."""
  return (1 - t) * a + t * b if jnp.issubdtype(jnp.result_type(a), jnp.floating) else a
