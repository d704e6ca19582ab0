"""Masks that are learned through the forward pass: a task whose network sees its weights masked."""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
from jaxtyping import Array, Key

from maskjax.errors import BadInput
from maskjax.extras import needs
from maskjax.keys import stream
from maskjax.reduce import Term

if TYPE_CHECKING:
  from maskjax.task.base import Task, Variables

PyTree = Any

# Where the learned numbers lie among the parameters, and what they began from beside them.
MASKS, BEFORE = "masks", "before"


class Reparametrization(NamedTuple):
  """How masks are learned; pure functions of arrays. `params` are the weights, which stay as given.

  Attributes:
    init: `(params, key) -> learned, before`, the numbers to train, as a tree of arrays without
      holes, and what they begin from, which nothing changes.
    begin: `(params, learned, given) -> learned, before` of the same shapes, once before step 0,
      from the weights that the run begins with and the statistics `given` by name.
    soft: `(params, learned, key, step) -> params, terms`, what the network sees in training, and
      terms that the loss gets beside its own.
    hard: `(params, learned) -> params`, what it sees everywhere else: hidden weights are zero.
    scalars: `(learned, before, step) -> {name: number}`, what the masks have come to.
  """

  init: Callable[..., tuple[PyTree, PyTree]]
  begin: Callable[..., tuple[PyTree, PyTree]]
  soft: Callable[..., tuple[PyTree, Mapping[str, Term]]]
  hard: Callable[..., PyTree]
  scalars: Callable[..., Mapping[str, Array]]


def reparametrized(task: "Task", view: Reparametrization) -> "Task":
  """The task with masks over its weights that are learned, the weights being constants.

  What is learned is trained like parameters, under "params/masks"; no gradient reaches the weights,
  and an optimiser that decays them must be told to leave them alone (`rate_rules`). The masks of a
  step are drawn once for the whole batch. Every answer sees the hard masks, and `final` gives
  variables that hold nothing but weights, of which the hidden ones are exactly zero.

  Raises:
    BadInput: a network with a part that is called "masks".
  """
  with needs("train", "weights.reparametrized"):
    from maskjax.task.answers import wrapped
    from maskjax.task.base import Aux, Batch, Variables
    from maskjax.task.prepare import PREPARED

  def init(key: Key[Array, ""], batch: Batch) -> Variables:
    variables = task.init(key, batch)
    if MASKS in variables["params"]:
      raise BadInput(f"the network has a part called {MASKS!r}, where learned masks lie")
    return _together(variables, *view.init(variables["params"], stream(key, MASKS)))

  def prepare(variables: Variables, batches: Iterable[Batch]) -> Variables:
    plain, learned, _ = _apart(variables)
    if task.prepare is not None:
      plain = task.prepare(plain, batches)
    given = plain.get(PREPARED, {})
    return _together(plain, *jax.jit(view.begin)(plain["params"], learned, given))

  def loss(
    variables: Variables, batch: Batch, key: Key[Array, ""], step: Any
  ) -> tuple[Mapping[str, Term], Aux]:
    plain, learned, _ = _apart(variables)
    weights = jax.lax.stop_gradient(plain["params"])
    seen, further = view.soft(weights, learned, stream(key, MASKS, step), step)
    terms, aux = task.loss({**plain, "params": seen}, batch, key, step)
    return {**terms, **further}, aux

  def final(variables: Variables) -> Variables:
    if MASKS not in variables["params"]:
      return task.final(variables)
    plain, learned, _ = _apart(variables)
    return task.final({**plain, "params": view.hard(plain["params"], learned)})

  def update(variables: Variables, step: Any) -> Variables:
    plain, learned, before = _apart(variables)
    return _together(task.update(plain, step), learned, before)  # type: ignore[misc]

  def scalars(variables: Variables, step: Any) -> Mapping[str, Array]:
    plain, learned, before = _apart(variables)
    own = {} if task.scalars is None else task.scalars(plain, step)
    return {**own, **view.scalars(learned, before, step)}

  def read(function: Callable[..., Any], variables: Variables, *rest: Any, **named: Any) -> Any:
    return function(final(variables), *rest, **named)

  return wrapped(task, read)._replace(
    init=init,
    prepare=prepare,
    loss=loss,
    final=final,
    scalars=scalars,
    update=update if task.update is not None else None,
  )


def _together(variables: "Variables", learned: PyTree, before: PyTree) -> "Variables":
  return {**variables, "params": {**variables["params"], MASKS: learned}, BEFORE: before}


def _apart(variables: "Variables") -> "tuple[Variables, PyTree, PyTree]":
  """The task's own variables, what is learned, and what that began from."""
  params = {name: part for name, part in variables["params"].items() if name != MASKS}
  plain = {name: part for name, part in variables.items() if name != BEFORE}
  return {**plain, "params": params}, variables["params"][MASKS], variables[BEFORE]
