"""Answers of a config's own: values of the graph that a caller asks for."""

import inspect
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from maskjax.errors import unknown
from maskjax.over import rest_hidden
from maskjax.task.grammar import ANSWER, OF_RUN
from maskjax.task.node import MAIN
from maskjax.task.reader import Parts

# What a caller may hand over, unless the answer says what it takes; of answers that are well known
# to evaluators, see `maskjax.task.answers`, what these hand over by place.
USUAL = ("batch", "key", "step", "hidden", "keep")
KNOWN = {"features": ("batch", "hidden"), "predict": ("batch", "hidden")}


def answer_of(task: Any, name: str, takes: tuple[str, ...] | None) -> Callable[..., Any]:
  """The answer `(variables, …)` that is the value `answers.NAME`, deterministic.

  Args:
    task: a `Masked`.
    name: of the answer.
    takes: what a caller hands over after the variables, in this order: "batch", "key" and "step"
      are those of the run, "keys" those of the answer's own value, one for each example; any other
      takes the place of the value of its name, None where it is not handed over. "keep" promises
      that no more positions are visible. None: a batch, a key, the step, a mask and "keep" (of
      features and of what is predicted a batch and a mask); without key and mask nothing is drawn
      and nothing hidden. Of a row a mask may be of its first fields.

  Raises:
    BadInput: the answer depends on no value of a name.
  """
  names = KNOWN.get(name, USUAL) if takes is None else takes
  reference = f"{ANSWER}{name}"
  places = {one: task.parts.graph.whole(one) for one in names if one not in OF_RUN}
  own = task.parts.graph.address(reference).node
  for one, place in places.items():
    if takes is not None and own not in task.parts.graph.dependents([place]):
      others = [known for known in task.parts.graph.names() if known != one]
      raise unknown(f"value that the answer {name!r} is made from", one, others)
  kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
  first = inspect.Parameter("variables", kind)
  # What stands before something that every caller hands over, every caller hands over too.
  needed = max((i for i, one in enumerate(names) if one in ("batch", "keys")), default=-1)
  rest = [
    inspect.Parameter(one, kind, **({} if i <= needed else _unsaid(one)))
    for i, one in enumerate(names)
  ]
  signature = inspect.Signature([first, *rest])

  def answer(*args: Any, **named: Any) -> Any:
    bound = signature.bind(*args, **named)
    bound.apply_defaults()
    told = dict(bound.arguments)
    # Without a batch, as many examples as there are of what is handed over first.
    batch = told["batch"] if "batch" in told else {"position": jnp.arange(len(told[names[0]]))}
    key, step = told.get("key"), told.get("step", 0)
    if task.pairs and key is not None:
      batch = task.pair(batch, key, step)
    # What the task itself hides fits its own buckets, a caller's mask any number.
    own_mask = "hidden" in names and told["hidden"] is None and key is not None
    keep = task.whole() if told.get("keep") is None and not own_mask else told.get("keep")
    run, _ = task.run(told["variables"], batch, key, step, keep=keep)
    if takes is not None:
      run.known.update({place: told[one] for one, place in places.items()})
      run.drawn.update({own: told["keys"]} if "keys" in told else {})
      return run.take(reference)
    if told["hidden"] is None and key is not None:
      return run.take(reference)
    gone, parts = told["hidden"], task.parts.over.parts
    if gone is None:
      gone = run.take("nothing")
    elif parts:
      gone = jnp.broadcast_to(rest_hidden(gone, parts), run.take("nothing").shape)
    return run.ask(reference, hidden=gone)

  answer.__signature__ = signature  # type: ignore[attr-defined]
  return answer


def _unsaid(name: str) -> dict[str, Any]:
  """What an argument is where a caller does not say."""
  return {"default": 0 if name == "step" else None}


def told(parts: Parts) -> str:
  """What predictions are given of the truth on their way into `views`, in words.

  It is nothing where views are made otherwise, or no target is decoded for them.
  """
  shown = f"{ANSWER}views" if "views" in parts.answers else "pictures"
  source, graph = (MAIN, "predicted_values"), parts.graph
  if parts.aim is None or source not in graph.nodes:
    return ""
  return parts.aim.told if (MAIN, shown) in graph.dependents([source]) else ""
