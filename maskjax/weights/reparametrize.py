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

# Where the learned numbers lie among the parameters, and what else the masks are made of.
MASKS, STATE = "masks", "mask_state"


class Reparametrization(NamedTuple):
  """How masks are learned; pure functions of arrays. `params` are the weights.

  Attributes:
    init: `(params, key) -> learned, state`, the numbers to train and what else the masks are made
      of (those of before, what they began from), as trees of arrays without holes.
    begin: `(params, learned, given) -> learned, state` of the same shapes, once before step 0, from
      the weights that the run begins with and the statistics `given` by name.
    soft: `(params, learned, state, key, step) -> params, terms`, what the network sees in training,
      and terms that the loss gets beside its own.
    hard: `(params, learned, state) -> params`, what it sees everywhere else: hidden weights are
      zero.
    scalars: `(learned, state, step) -> {name: number}`, what the masks have come to.
    update: `(params, learned, state, step) -> state`, once after each update of the parameters.
    learns: whether the weights are trained too, by the gradient that `soft` lets through to them;
      otherwise none reaches them.
    gradients: `(gradients, learned, state, step) -> gradients` of what is learned, of the whole
      batch, before the optimiser is told of them; None leaves them.
  """

  init: Callable[..., tuple[PyTree, PyTree]]
  begin: Callable[..., tuple[PyTree, PyTree]]
  soft: Callable[..., tuple[PyTree, Mapping[str, Term]]]
  hard: Callable[..., PyTree]
  scalars: Callable[..., Mapping[str, Array]]
  update: Callable[..., PyTree] = lambda params, learned, state, step: state
  learns: bool = False
  gradients: Callable[..., PyTree] | None = None


def reparametrized(task: "Task", view: Reparametrization) -> "Task":
  """The task whose network sees its weights through masks that are learned.

  What is learned is trained like parameters, under "params/masks"; where the view does not say that
  the weights learn, no gradient reaches them, and an optimiser that decays them must be told to
  leave them alone (`rate_rules`). The masks of a step are drawn once for the whole batch, and what
  else they are made of changes once a step, after its last microbatch. Every answer sees the hard
  masks, and `final` gives variables that hold nothing but weights, of which the hidden ones are
  exactly zero; a moving average of the weights is seen through the masks of the last step.

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
    plain, learned, state = _apart(variables)
    weights = plain["params"] if view.learns else jax.lax.stop_gradient(plain["params"])
    seen, further = view.soft(weights, learned, state, stream(key, MASKS, step), step)
    terms, aux = task.loss({**plain, "params": seen}, batch, key, step)
    return {**terms, **further}, aux

  def gradients(found: PyTree, variables: Variables, step: Any) -> PyTree:
    if task.gradients is not None:
      rest = {name: part for name, part in found.items() if name != MASKS}
      found = {**task.gradients(rest, _apart(variables)[0], step), MASKS: found[MASKS]}
    if view.gradients is None:
      return found
    _, learned, state = _apart(variables)
    return {**found, MASKS: view.gradients(found[MASKS], learned, state, step)}

  def final(variables: Variables) -> Variables:
    if MASKS not in variables["params"]:
      return task.final(variables)
    plain, learned, state = _apart(variables)
    return task.final({**plain, "params": view.hard(plain["params"], learned, state)})

  def update(variables: Variables, step: Any) -> Variables:
    plain, learned, state = _apart(variables)
    state = view.update(plain["params"], learned, state, step)
    return _together(plain if task.update is None else task.update(plain, step), learned, state)

  def scalars(variables: Variables, step: Any) -> Mapping[str, Array]:
    plain, learned, state = _apart(variables)
    own = {} if task.scalars is None else task.scalars(plain, step)
    return {**own, **view.scalars(learned, state, step)}

  def read(function: Callable[..., Any], variables: Variables, *rest: Any, **named: Any) -> Any:
    return function(final(variables), *rest, **named)

  return wrapped(task, read)._replace(
    init=init,
    prepare=prepare,
    loss=loss,
    gradients=gradients if task.gradients or view.gradients else None,
    final=final,
    scalars=scalars,
    update=update,
  )


def _together(variables: "Variables", learned: PyTree, state: PyTree) -> "Variables":
  return {**variables, "params": {**variables["params"], MASKS: learned}, STATE: state}


def _apart(variables: "Variables") -> "tuple[Variables, PyTree, PyTree]":
  """The task's own variables, what is learned, and what else masks are made of."""
  params = {name: part for name, part in variables["params"].items() if name != MASKS}
  plain = {name: part for name, part in variables.items() if name != STATE}
  return {**plain, "params": params}, variables["params"][MASKS], variables[STATE]
