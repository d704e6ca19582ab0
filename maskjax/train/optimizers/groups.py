"""Groups of parameters with optimisers of their own: rules, rates, a sign, and how often."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from maskjax.errors import BadInput, unknown
from maskjax.train.optimizers.optimizer import Optimizer, optimizer
from maskjax.train.optimizers.rules import PyTree, match

OWN = ("match", "ascend", "every")  # what a group says beside arguments of `optimizer`
COMMON = frozenset(inspect.signature(optimizer).parameters)  # arguments that all rules share


class Every(NamedTuple):
  """How many steps have been seen, and the state of the optimiser that takes every k-th."""

  seen: Any
  inner: Any


def grouped(
  params: PyTree, groups: Sequence[Mapping[str, Any]], *, total_steps: int, **section: Any
) -> Optimizer:
  """An optimiser whose groups of parameters move by rules of their own.

  Args:
    params: the parameters, or their shapes.
    groups: of each `match`, a pattern or several of the names of its parameters; `ascend`, whether
      its loss grows; `every`, of how many steps it takes one; and arguments of `optimizer` that are
      otherwise than in the section, whose hyperparameters another `fn` does not have. The
      first group that matches a parameter has it; what none
      matches moves by the section alone.
    total_steps: steps of the run; a group that takes every k-th has a k-th of them.
    **section: arguments of `optimizer`.

  Raises:
    BadInput: a group without a pattern, of one that matches nothing, or of other rates by rules.
  """
  if not groups:
    return optimizer(params, total_steps=total_steps, **section)
  taken: list[tuple[str, float]] = []
  made: list[Optimizer] = []
  for i, group in enumerate(groups):
    patterns = group.get("match") or ()
    patterns = (patterns,) if isinstance(patterns, str) else tuple(patterns)
    if not patterns:
      raise BadInput(f"optimizer.groups.{i} says which parameters are its own: match=PATTERN")
    own = {k: v for k, v in group.items() if k not in OWN}
    if "rate_rules" in own:
      raise unknown(f"field of optimizer.groups.{i}", "rate_rules", (*OWN, "learning_rate"))
    every = int(group.get("every", 1))
    if every < 1:
      raise BadInput(f"optimizer.groups.{i}.every is at least 1, got {every}")
    rules = (*taken, *((pattern, 1.0) for pattern in patterns), (".*", 0.0))
    steps = max(total_steps // every, 1)
    # Hyperparameters of the section are those of its rule.
    shared = {k: v for k, v in section.items() if k in COMMON or "fn" not in own}
    whole = {**shared, **own, "rate_rules": rules, "total_steps": steps}
    whole["warmup_steps"] = min(whole.get("warmup_steps", 0) // every, steps)
    one = optimizer(params, **whole)
    tx = optax.chain(optax.scale(-1.0), one.tx) if group.get("ascend", False) else one.tx
    report = tuple(f"group {i}: {line}" for line in one.report)
    made.append(one._replace(tx=tx if every == 1 else sometimes(tx, every), report=report))
    taken += [(pattern, 0.0) for pattern in patterns]
  rules = (*taken, *section.get("rate_rules", ()))
  if any(jax.tree.leaves(match(params, rules, default=1.0).values)):
    made.append(optimizer(params, **{**section, "rate_rules": rules, "total_steps": total_steps}))
  rates = jax.tree.map(lambda *each: sum(each), *(one.rates for one in made))
  decays = jax.tree.map(
    lambda *pairs: next((decay for rate, decay in pairs if rate), 0.0),
    *(jax.tree.map(lambda r, d: (r, d), one.rates, one.decays) for one in made),
    is_leaf=lambda x: isinstance(x, tuple),
  )
  report = tuple(line for one in made for line in one.report)
  return made[-1]._replace(
    tx=together([one.tx for one in made]), report=report, rates=rates, decays=decays
  )


def together(parts: Sequence[optax.GradientTransformation]) -> optax.GradientTransformation:
  """Optimisers of different parameters, each of which leaves all others as they are."""

  def init(params: PyTree) -> tuple[Any, ...]:
    return tuple(part.init(params) for part in parts)

  def update(grads: PyTree, state: Any, params: PyTree = None) -> tuple[PyTree, Any]:
    found = [part.update(grads, own, params) for part, own in zip(parts, state, strict=True)]
    updates = jax.tree.map(lambda *each: sum(each[1:], each[0]), *(one for one, _ in found))
    return updates, tuple(own for _, own in found)

  return optax.GradientTransformation(init, update)  # type: ignore[arg-type]


def sometimes(tx: optax.GradientTransformation, every: int) -> optax.GradientTransformation:
  """Takes the last of every `every` steps, with its gradient alone, and sits out the others.

  >>> tx = sometimes(optax.sgd(1.0), 2)
  >>> state, moved = tx.init(jnp.zeros(())), []
  >>> for _ in range(4):
  ...   update, state = tx.update(jnp.ones(()), state)
  ...   moved.append(float(update))
  >>> moved
  [-0.0, -1.0, -0.0, -1.0]
  """

  def init(params: PyTree) -> Every:
    return Every(jnp.zeros((), jnp.int32), tx.init(params))

  def update(grads: PyTree, state: Every, params: PyTree = None) -> tuple[PyTree, Every]:
    due = state.seen % every == every - 1
    updates, inner = tx.update(grads, state.inner, params)
    # Minus zero is the one number whose addition leaves every float as it is.
    updates = jax.tree.map(lambda u: jnp.where(due, u, jnp.full_like(u, -0.0)), updates)
    inner = jax.tree.map(lambda new, old: jnp.where(due, new, old), inner, state.inner)
    return updates, Every(state.seen + 1, inner)

  return optax.GradientTransformation(init, update)  # type: ignore[arg-type]
