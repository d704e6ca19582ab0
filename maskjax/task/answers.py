"""Answers: what a task can be asked beside its loss, and how whoever asks says what is needed.

An answer is a function `(variables, ...) -> arrays`, found by its name in `Task.answers`; variables
are its first argument, by place. A task offers the answers that it has, under any names: nothing
else lists them. The mesh and learned weights wrap all of them alike (`wrapped`). Those below are
well known: evaluators and jobs ask for them by these names, and expect these signatures.

  features: `(variables, batch, hidden=None) -> {pooling: Float[b, d]}`, representations of whole
    examples; with a mask of the network's `grid`, of what is left to see. It may name `keep`, the
    number of positions that the mask leaves visible, and compute no others.
  predict: `(variables, batch, hidden=None) -> Float[b, classes]`, logits; `hidden` as above.
  views: `(variables, batch, key) -> {name: array}`, what pictures are made from. It may name
    `step`, 0 unless said, for what moves over a run, and `hidden`, a mask of the caller's own.
  nats: `(variables, batch, key, draws) -> Float[b]`, each example's negative log-likelihood over
    its valid positions (those "asked", where the batch says), or a bound on it averaged over
    `draws` (a static int).
  attention: `(variables, batch) -> Float[b, layers, heads, n, n]`, the weights with which each
    token reads each other one, as in the loss.
  generate: `(variables, keys, tokens, hidden) -> {"tokens": Int[b, n], "step": Int[b, n]}`, the
    hidden positions filled, and the step at which each was revealed (0 = given).
  sample: `(variables, keys, batch) -> {"image": Float[b, …], …}`, a generated example for each of
    a batch, which may tell what it is conditioned on; "step" as in `generate`, over the network's
    `grid`.
  impute: `(variables, batch) -> array`, the batch's examples with what is missing in them (not
    `valid`) predicted from all that is there, the rest as it was.
  infill: `(variables, batch, hidden) -> Float[b, n, vocabulary]`, logits of every token of a text
    of which the hidden ones are not seen.
  describe: `(variables, captions) -> Float[b, d]`, embeddings of texts, in the space of the
    features called "shared".
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from maskjax.errors import BadInput, nearest
from maskjax.record import Record
from maskjax.task.base import Answer, Task, Variables

Function = TypeVar("Function", bound=Callable[..., Any])


def offered(**functions: Answer | None) -> dict[str, Answer]:
  """The answers that a task has: the functions by name, without those that are None.

  >>> sorted(offered(features=len, sample=None))
  ['features']
  """
  return {name: function for name, function in functions.items() if function is not None}


def answer(task: Task, name: str, who: str) -> Answer:
  """The answer of a task by its name, for `who` asks.

  Raises:
    BadInput: the task has none of that name; what it offers and the nearest are named.

  >>> task = Task(init=None, loss=None, answers={"features": len})
  >>> answer(task, "features", "knn")([1, 2])
  2
  >>> answer(task, "featurs", "knn")
  Traceback (most recent call last):
  maskjax.errors.BadInput: knn needs featurs, the task offers features; did you mean 'features'?
  """
  if name not in task.answers:
    raise BadInput(f"{who} {_without(name, task.answers)}")
  return task.answers[name]


def around(function: Answer, call: Callable[..., Any]) -> Answer:
  """The function, called as `call(function, variables, *rest, **named)`; its signature stays.

  Whoever looks for an argument, such as `step`, still finds it.
  """

  @functools.wraps(function)
  def told(variables: Variables, *rest: Any, **named: Any) -> Any:
    return call(function, variables, *rest, **named)

  return told


def wrapped(task: Task, call: Callable[..., Any]) -> Task:
  """The task with a call `around` each of its answers, whatever their names."""
  return task._replace(answers={name: around(fn, call) for name, fn in task.answers.items()})


class Needs(NamedTuple):
  """What a function needs of the run that it looks at; see `needs`."""

  answers: Sequence[str] = ()
  kinds: Sequence[str] = ()
  labels: bool = False
  fields: Sequence[str] = ()

  @property
  def seen(self) -> str:
    """The kinds of data in words.

    >>> Needs(kinds=("image", "series")).seen
    'images and series'
    """
    return " and ".join(f"{kind.removesuffix('s')}s" for kind in self.kinds)


def needs(
  *answers: str, kinds: Sequence[str] = (), labels: bool = False, fields: Sequence[str] = ()
) -> Callable[[Function], Function]:
  """Declares what an evaluator or a job needs, so that a config without it is refused at once.

  Args:
    *answers: names of answers that it asks a task for.
    kinds: kinds of data that it can look at; none named means any.
    labels: whether it needs classes.
    fields: fields of `Task` that may be None and must not be.

  >>> @needs("attention", kinds=("text",))
  ... def mine(context): ...
  >>> mine.needs.answers, mine.needs.kinds
  (('attention',), ('text',))
  """
  declared = Needs(answers, tuple(kinds), labels, tuple(fields))

  def declare(function: Function) -> Function:
    function.needs = declared  # type: ignore[attr-defined]
    return function

  return declare


def needed(function: Callable[..., Any]) -> Needs:
  """What a function declared by `needs`; nothing, where it declared nothing."""
  return getattr(function, "needs", Needs())


def lacks(function: Callable[..., Any], task: Task, record: Record) -> str:
  """What a function needs that a task on data of this record has not, to follow its name.

  Empty where nothing is missing, and for a function that declares nothing.

  Args:
    function: an evaluator or a job, with or without `needs`.
    task: the task that it would look at.
    record: facts about the data set.

  >>> record = Record("text", (8,), {})
  >>> task = Task(init=None, loss=None, answers={"features": len, "nats": len})
  >>> lacks(needs("attention", kinds=("text",))(lambda context: ...), task, record)
  'needs attention, the task offers features, nats'
  """
  wanted = needed(function)
  if wanted.kinds and record.kind not in wanted.kinds:
    return f"looks at {wanted.seen}, the data set holds {record.kind}"
  for name in wanted.answers:
    if name not in task.answers:
      return _without(name, task.answers)
  for name in wanted.fields:
    if getattr(task, name) is None:
      return f"needs {name}, and the task has none"
  if wanted.labels and not record.classes:
    return "needs labels, and this data set has none"
  return ""


def require(function: Callable[..., Any], who: str, task: Task, record: Record) -> None:
  """Raises `BadInput`, in the name of `who`, where a function's needs are not met; see `needs`."""
  if lacking := lacks(function, task, record):
    raise BadInput(f"{who} {lacking}")


def _without(name: str, answers: Mapping[str, Answer]) -> str:
  """What to say of an answer that is not there, to follow the name of who needs it."""
  offers = ", ".join(sorted(answers)) or "nothing beside its loss"
  return f"needs {name}, the task offers {offers}{nearest(name, answers)}"
