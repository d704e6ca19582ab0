"""Answers of a config's own: values of the graph that a caller asks for."""

import inspect
from collections.abc import Callable
from typing import Any

from maskjax.task.grammar import ANSWER

# What a caller may hand over after the batch, unless the answer says what it takes.
USUAL = ("key", "step", "hidden")


def answer_of(task: Any, name: str, takes: tuple[str, ...] | None) -> Callable[..., Any]:
  """The answer `(variables, batch, …)` that is the value `answers.NAME`, deterministic.

  Args:
    task: a `Masked`.
    name: of the answer.
    takes: what a caller hands over after the batch, in this order: "key" and "step" are those of
      the run; any other takes the place of the value of its name, None where it is not handed over.
      None: a key, the step and a mask; without key and mask nothing is drawn and nothing hidden.

  Raises:
    BadInput: the graph has no value of a name.
  """
  names = USUAL if takes is None else takes
  graph = task.parts.graph
  places = {one: graph.address(one).node for one in names if one not in ("key", "step")}
  kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
  first = [inspect.Parameter(one, kind) for one in ("variables", "batch")]
  rest = [inspect.Parameter(one, kind, default=0 if one == "step" else None) for one in names]
  signature = inspect.Signature([*first, *rest])

  def answer(*args: Any, **named: Any) -> Any:
    bound = signature.bind(*args, **named)
    bound.apply_defaults()
    told = dict(bound.arguments)
    variables, batch = told.pop("variables"), told.pop("batch")
    key, step = told.pop("key", None), told.pop("step", 0)
    if task.pairs and key is not None:
      batch = task.pair(batch, key, step)
    run, _ = task.run(variables, batch, key, step, keep=task.whole())
    reference = f"{ANSWER}{name}"
    if takes is not None:
      run.known.update({places[one]: value for one, value in told.items()})
      return run.take(reference)
    if told["hidden"] is None and key is not None:
      return run.take(reference)
    gone = run.take("nothing") if told["hidden"] is None else told["hidden"]
    return run.ask(reference, hidden=gone)

  answer.__signature__ = signature  # type: ignore[attr-defined]
  return answer
