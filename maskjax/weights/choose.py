"""Choosing the masks of weights: score each leaf, select in each or in all together."""

import functools
import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from maskjax import bind
from maskjax.errors import BadInput, unknown
from maskjax.keys import stream
from maskjax.weights import units as by_unit
from maskjax.weights.held import PyTree, named_leaves
from maskjax.weights.packed import Packed, pack, unpack

SCOPES = ("layer", "global")
OFFERS = ("params", "key", "step")


class Choice(NamedTuple):
  """How masks are chosen; see `hold` for what each means."""

  score: functools.partial
  select: functools.partial
  where: PyTree | Callable[[PyTree], PyTree] | None
  scope: str
  units: Any
  regrow: bool
  seed: int


def choice(
  *, score: Callable[..., Any], select: Callable[..., Any], scope: str, **rest: Any
) -> Choice:
  """A `Choice` whose parts fit together; what its score needs is for `check` to ask.

  Raises:
    BadInput: they do not.
  """
  if scope not in SCOPES:
    raise unknown("scope", scope, SCOPES)
  score, select = functools.partial(score), functools.partial(select)
  if _takes_all(select):
    select = functools.partial(select, axis=None)
  elif scope == "global":
    raise BadInput("scope 'global' wants a selection from a tree, such as top without an axis")
  bind.check(select, ("scores",), "hold")
  return Choice(score, select, scope=scope, **rest)


def nothing(choice: Choice, params: PyTree) -> PyTree:
  """Masks that hide nothing, `Packed`, of the chosen leaves; None for the others.

  Raises:
    BadInput: a tree that does not fit the parameters, or no weight to hide.
  """
  names, leaves, tree = named_leaves(params)
  chosen = _chosen(choice.where, params, names, leaves, tree)
  for name, leaf, unit in zip(names, leaves, _units(choice, params, chosen, tree), strict=True):
    if unit is not None:
      by_unit.check(unit, leaf.shape, name)
  empty = lambda leaf, has: pack(jnp.zeros(leaf.shape, jnp.bool_)) if has else None
  return jax.tree.unflatten(tree, map(empty, leaves, chosen))


def choose(
  choice: Choice,
  params: PyTree,
  hidden: PyTree,
  step: Int[Array, ""],
  given: Mapping[str, PyTree],
) -> PyTree:
  """The masks after `step` updates, from the parameters by then and the masks before, `hidden`.

  `given` are trees shaped as the parameters, gradients or statistics, by the name under which a
  score knows its leaf; those that it does not name may be anything.

  Raises:
    BadInput: one that it names has another shape.
  """
  names, leaves, tree = named_leaves(params)
  before = tree.flatten_up_to(hidden)
  units = _units(choice, params, [mask is not None for mask in before], tree)
  wanted = [name for name in bind.needs(choice.score) if name in given]
  named = {name: _like(tree, given[name], name) for name in wanted}
  offers = [dict(zip(named, parts, strict=True)) for parts in zip(*named.values(), strict=True)]
  parts = zip(names, leaves, before, units, offers or [{}] * len(leaves), strict=True)
  scores = [_score(choice, step, *part) for part in parts]
  select = bind.at(choice.select, step)
  if choice.scope == "global":
    masks = select(scores)
  else:
    masks = [value if value is None else select(value) for value in scores]
  chosen = map(_whole, masks, units, leaves)
  return jax.tree.unflatten(tree, [mask if mask is None else pack(mask) for mask in chosen])


def _score(
  choice: Choice,
  step: Int[Array, ""],
  name: str,
  leaf: Float[Array, "..."],
  before: Packed | None,
  unit: by_unit.Unit | None,
  given: Mapping[str, Any],
) -> Float[Array, "..."] | None:
  """The scores of the weights of a leaf, or of its units; None for a leaf without a mask."""
  if before is None:
    return None
  key = stream(jax.random.key(choice.seed), name)
  offers = {**given, "params": leaf, "key": key, "step": step}
  scores = bind.call(bind.at(choice.score, step), offers)
  if not choice.regrow:
    scores = jnp.where(unpack(before), jnp.inf, scores)
  return scores if unit is None else by_unit.scores_of(scores, unit)


def _whole(
  mask: Bool[Array, "..."] | None, unit: by_unit.Unit | None, leaf: Float[Array, "..."]
) -> Bool[Array, "..."] | None:
  return mask if mask is None or unit is None else by_unit.spread(mask, unit, leaf.shape)


def _takes_all(select: functools.partial) -> bool:
  """Whether the axis of a selection is not bound and may be None: all entries together."""
  axis = inspect.signature(select.func).parameters.get("axis")
  if axis is None or "axis" in select.keywords:
    return False
  return type(None) in typing.get_args(axis.annotation)


def _like(tree: Any, values: PyTree, what: str) -> list[Any]:
  try:
    return tree.flatten_up_to(values)
  except ValueError as error:
    raise BadInput(f"{what} is no tree shaped as the parameters: {error}") from error


def _chosen(
  where: Any, params: PyTree, names: list[str], leaves: list[Any], tree: Any
) -> list[bool]:
  """Which leaves have masks."""
  floating = [jnp.issubdtype(jnp.result_type(leaf), jnp.floating) for leaf in leaves]
  if where is None:
    chosen = [floats and jnp.ndim(leaf) > 1 for floats, leaf in zip(floating, leaves, strict=True)]
  else:
    chosen = list(map(bool, _like(tree, where(params) if callable(where) else where, "where")))
  for name, leaf, has, floats in zip(names, leaves, chosen, floating, strict=True):
    if has and not (floats and jnp.ndim(leaf)):
      came = f"{jnp.result_type(leaf)} of shape {jnp.shape(leaf)}"
      raise BadInput(f"hold hides weights of floating arrays; {name} is {came}")
  if not any(chosen):
    raise BadInput(f"hold has no weights to hide among {', '.join(names) or 'no leaves'}")
  return chosen


def _units(choice: Choice, params: PyTree, chosen: list[bool], tree: Any) -> list[Any]:
  """The (axis, size) of the units of each chosen leaf; None where single weights are hidden."""
  units = choice.units(params) if callable(choice.units) else choice.units
  if units is None or by_unit.is_unit(units):
    kinds = [units] * len(chosen)
  else:
    kinds = _like(tree, units, "units")
  return [kind if has else None for kind, has in zip(kinds, chosen, strict=True)]
