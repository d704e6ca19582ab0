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
from maskjax.select.each import counted, each
from maskjax.select.limited import share_of
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
  within: Callable[[Mapping[str, Array]], Mapping[str, Array]] | None = None
  drop: Any = 0.0
  grow: functools.partial | None = None


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
  how = Choice(score, select, scope=scope, **rest)
  if how.units is not None and (how.within or how.grow):
    raise BadInput("units are hidden whole: neither within given masks nor dropped and grown")
  if (how.grow is None) != (not isinstance(how.drop, bind.Moving) and how.drop == 0):
    raise BadInput(f"drop and grow go together, got drop={how.drop!r} and grow={how.grow!r}")
  return how


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


def outer(choice: Choice, params: PyTree) -> PyTree:
  """The masks that `within` gives, `Packed`, of the chosen leaves; None where nothing is given.

  Raises:
    BadInput: a mask for another leaf, or none for one of them.
  """
  empty = nothing(choice, params)
  if choice.within is None:
    return None
  names, leaves, tree = named_leaves(params)
  chosen = [mask is not None for mask in tree.flatten_up_to(empty)]
  mine = {name: leaf for name, leaf, has in zip(names, leaves, chosen, strict=True) if has}
  found = choice.within(mine)
  if set(found) != set(mine):
    raise BadInput(f"masks are wanted of {sorted(mine)}, got some of {sorted(found)}")
  return jax.tree.unflatten(tree, [pack(found[n]) if n in mine else None for n in names])


def choose(
  choice: Choice,
  params: PyTree,
  hidden: PyTree,
  step: Int[Array, ""],
  given: Mapping[str, PyTree],
  outer: PyTree = None,
) -> PyTree:
  """The masks after `step` updates, from the parameters by then and the masks before, `hidden`.

  `given` are trees shaped as the parameters, gradients or statistics, by the name under which a
  score knows its leaf; those that it does not name may be anything. What `outer` hides stays so.

  Raises:
    BadInput: one that it names has another shape.
  """
  names, leaves, tree = named_leaves(params)
  before = tree.flatten_up_to(hidden)
  units = _units(choice, params, [mask is not None for mask in before], tree)
  ever = [None] * len(before) if outer is None else tree.flatten_up_to(outer)
  asked = {**bind.needs(choice.score), **(bind.needs(choice.grow) if choice.grow else {})}
  wanted = [name for name in asked if name in given]
  named = {name: _like(tree, given[name], name) for name in wanted}
  offers = [dict(zip(named, parts, strict=True)) for parts in zip(*named.values(), strict=True)]
  offers = offers or [{}] * len(leaves)
  parts = zip(names, leaves, before, ever, units, offers, strict=True)
  scores = [_score(choice, step, *part) for part in parts]
  select = bind.at(choice.select, step)
  if choice.scope == "global":
    masks = select(scores)
  else:
    masks = [value if value is None else select(value) for value in scores]
  chosen = list(map(_whole, masks, units, leaves))
  both = zip(chosen, ever, strict=True)
  chosen = [m if m is None or o is None else m | unpack(o) for m, o in both]
  if choice.grow is not None:
    rows = list(zip(names, leaves, chosen, scores, ever, offers, strict=True))
    chosen = _regrown(choice, step, rows)
  return jax.tree.unflatten(tree, [mask if mask is None else pack(mask) for mask in chosen])


def _regrown(choice: Choice, step: Int[Array, ""], rows: list[tuple[Any, ...]]) -> list[Any]:
  """As many hidden as before: a share of the living is dropped, the same number comes back.

  `rows` are name, weights, mask, scores, outer mask and offers of each leaf.
  """
  own = [row for row in rows if row[2] is not None]
  counts, wanted = [], []
  for name, leaf, hidden, _, _, given in own:
    counts.append(share_of(counted(~hidden, None), bind.now(choice.drop, step)))
    key = stream(stream(jax.random.key(choice.seed), name), "grow", step)
    offers = {**given, "params": leaf, "key": key, "step": step}
    wanted.append(-bind.call(bind.at(choice.grow, step), offers))  # type: ignore[arg-type]
  least = each([row[3] for row in own], [~row[2] for row in own], counts, None)
  dropped = [row[2] | gone for row, gone in zip(own, least, strict=True)]
  room = [x if row[4] is None else x & ~unpack(row[4]) for row, x in zip(own, dropped, strict=True)]
  back = each(wanted, room, counts, None)
  after = iter(x & ~b for x, b in zip(dropped, back, strict=True))
  return [None if row[2] is None else next(after) for row in rows]


def _score(
  choice: Choice,
  step: Int[Array, ""],
  name: str,
  leaf: Float[Array, "..."],
  before: Packed | None,
  ever: Packed | None,
  unit: by_unit.Unit | None,
  given: Mapping[str, Any],
) -> Float[Array, "..."] | None:
  """The scores of the weights of a leaf, or of its units; None for a leaf without a mask."""
  if before is None:
    return None
  key = stream(jax.random.key(choice.seed), name)
  offers = {**given, "params": leaf, "key": key, "step": step}
  scores = bind.call(bind.at(choice.score, step), offers)
  last = ever if choice.regrow else before
  if last is not None:
    scores = jnp.where(unpack(last), jnp.inf, scores)
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
