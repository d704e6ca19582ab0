"""How well hidden tokens are told from the rest, by masks that do not depend on the run."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from maskjax import reduce, score, select
from maskjax.errors import BadInput
from maskjax.keys import keys, stream
from maskjax.recover import nll
from maskjax.task.answers import answer, needs


@needs("infill", kinds=("text",))
def infilling(
  context: Any,
  *,
  split: str = "test",
  ratio: float = 0.15,
  whole: bool = False,
  draws: int = 1,
  batch_size: int = 32,
) -> dict[str, float]:
  """Loss and accuracy at hidden tokens of a split, whatever a run itself hides while training.

  Of every window the `ratio` of its tokens is hidden, each masked, in `draws` draws that are the
  same for all runs: tokens at random, or with `whole` the data's units (collocations, words) one
  after another, the last of them in part. Of equal logits the lower token counts.

  Args:
    context: what the training loop hands over.
    split: whose windows are measured.
    ratio: hidden share of a window's tokens, in [0, 1].
    whole: whether units of the data are hidden, not single tokens.
    draws: masks a window.
    batch_size: windows at a time.

  Returns:
    {"accuracy": share of hidden tokens that come first, "loss": nats a hidden token}.

  Raises:
    BadInput: a task that fills nothing in, units that the data do not tell, or a batch size that
      the devices do not divide.
  """
  infill = answer(context.task, "infill", "infilling")
  context.mesh.check(batch_size, 1)

  totals = np.zeros(3)
  for i, batch in enumerate(context.examples(split, batch_size)):
    position = i * batch_size + np.arange(batch_size, dtype=np.int32)
    placed = context.mesh.put_whole({**batch, "position": position})
    for draw in range(draws):
      told = _tally(infill, context.variables, placed, draw, ratio=ratio, whole=whole)
      totals += np.array(context.mesh.get(told), np.float64)
  right, nats, count = totals
  if not count:
    raise BadInput(f"infilling: of {split!r} no tokens are hidden with ratio={ratio}")
  return {"accuracy": float(right / count), "loss": float(nats / count)}


# By the task's own function, so that all evaluations of a run share one compilation.
@partial(jax.jit, static_argnames=("infill", "ratio", "whole"))
def _tally(
  infill: Callable[..., Float[Array, "b n v"]],
  variables: Any,
  batch: Mapping[str, Array],
  draw: int,
  *,
  ratio: float,
  whole: bool,
) -> tuple[Array, Array, Array]:
  """How many hidden tokens are told right, what they cost in nats, and how many there are."""
  if whole and "unit" not in batch:
    raise BadInput("infilling of whole units: set data.collocations")
  drawn = keys(stream(jax.random.key(0), "infilling", draw), batch["position"])
  tokens, valid = batch["tokens"], batch["valid"]
  scores = score.words(drawn, batch["unit"]) if whole else score.uniform(drawn, tokens.shape[1:])
  hidden = select.top(scores, ratio=ratio, allowed=valid)
  logits = infill(variables, batch, hidden)
  right = reduce.count((jnp.argmax(logits, axis=-1) == tokens) & hidden)
  return right, nll(logits, tokens, hidden).sum(), reduce.count(hidden)
