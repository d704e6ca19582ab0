"""Masks by scores that are learned: a number for each weight, trained straight through the mask."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from maskjax import bind, hide
from maskjax import select as selects
from maskjax.errors import BadInput
from maskjax.reduce import Term
from maskjax.weights.choose import OFFERS, choice, choose, nothing, outer
from maskjax.weights.held import PyTree
from maskjax.weights.leaves import chosen, flat, shown, tree_of
from maskjax.weights.packed import unpack
from maskjax.weights.reparametrize import Reparametrization
from maskjax.weights.score import magnitude


def learned_scores(
  *,
  select: Callable[..., Any],
  score: Callable[..., Any] = magnitude,
  where: PyTree | Callable[[PyTree], PyTree] | None = None,
  scope: str = "layer",
  within: Callable[..., Any] | None = None,
  gap: float = 0.01,
  change: float | bind.Moving = 1.0,
  learns: bool = False,
  seed: int = 0,
) -> Reparametrization:
  r"""A number $s$ of each weight, high = keep; of each leaf the highest are kept, as many as first.

  The network sees $w$ where it is kept and 0 where not; the identity passes the gradient straight
  through the mask to all numbers, hidden ones too: $\partial L / \partial s = w\,\partial L /
  \partial \hat w$. The first mask is chosen from the weights, and the numbers begin with it: 1
  where it keeps and 1 - `gap` where it hides. After each update the mask follows the numbers by
  `select.limited`: of the exchanges that they ask for a share is made.

  Args:
    select: of the first mask, see `hold`.
    score: of the first mask, see `maskjax.weights.score`; it may name statistics by `given`.
    where: see `hold`: which leaves have masks.
    scope: of the first mask, see `hold`; afterwards each leaf keeps its count.
    within: see `hold`: masks of leaves by name; what they hide stays hidden.
    gap: between the first numbers of kept and of hidden weights; at 0 the first mask stays wherever
      numbers are equal.
    change: share of the wanted exchanges that is made at each update, rounded up. May move.
    learns: whether the weights are trained too, those that are seen.
    seed: of the keys that a random first score draws from.

  Raises:
    BadInput: an argument that cannot work; on `init`, a tree that does not fit the parameters.

  Figures: "kept_of_first", the share of the weights that the first mask kept which are kept still.

  Ramanujan et al., "What's Hidden in a Randomly Weighted Neural Network?", 2020, section 3; Zhang
  et al., "Lottery Jackpots Exist in Pre-trained Models", 2023, section 3.
  """
  if not 0 <= gap < 1:
    raise BadInput(f"gap must lie in [0, 1), got {gap}")
  how = choice(
    score=score, select=select, where=where, scope=scope, units=None, regrow=True, seed=seed,
    within=within,
  )  # fmt: skip

  def init(params: PyTree, key: Key[Array, ""]) -> tuple[PyTree, PyTree]:
    masks = nothing(how, params)
    return _begun(params, masks, masks)

  def begin(params: PyTree, learned: PyTree, given: Mapping[str, PyTree]) -> tuple[PyTree, PyTree]:
    bind.check(how.score, (*OFFERS, *given), "learned_scores")
    none, ever, step = nothing(how, params), outer(how, params), jnp.zeros((), jnp.int32)
    masks = choose(how, params, none, step, given, ever)
    return _begun(params, masks, none if ever is None else ever)

  def _begun(params: PyTree, masks: PyTree, ever: PyTree) -> tuple[PyTree, PyTree]:
    rows = {name: unpack(mask) for name, _, mask in chosen(params, masks)}
    outside = {name: unpack(mask) for name, _, mask in chosen(params, ever)}
    numbers = {name: 1 - jnp.float32(gap) * hidden for name, hidden in rows.items()}
    state = {"hidden": rows, "first": rows, "outer": outside}
    return tree_of(numbers), {name: tree_of(part) for name, part in state.items()}

  def seen(
    params: PyTree, learned: PyTree, state: PyTree, key: Any = None, step: Any = None
  ) -> PyTree:
    hidden = flat(state["hidden"])

    def mask(name: str, leaf: Float[Array, "..."], numbers: Float[Array, "..."]) -> Array:
      gate = selects.straight_through(numbers.astype(leaf.dtype), hidden[name])
      return hide.gate(leaf[..., None], gate)[..., 0]

    return shown(mask, params, learned)

  def soft(*arguments: Any) -> tuple[PyTree, dict[str, Term]]:
    return seen(*arguments), {}

  def update(params: PyTree, learned: PyTree, state: PyTree, step: Any) -> PyTree:
    wished = jax.tree.map(jnp.negative, learned)
    inside = jax.tree.map(jnp.logical_not, state["outer"])
    share = bind.now(change, step)
    hidden = selects.limited(wished, state["hidden"], ratio=share, allowed=inside, axis=None)
    return {**state, "hidden": hidden}

  def scalars(learned: PyTree, state: PyTree, step: Any) -> dict[str, Array]:
    now, first = jax.tree.leaves(state["hidden"]), jax.tree.leaves(state["first"])
    count = lambda masks: sum(jnp.sum(mask, dtype=jnp.int32) for mask in masks)
    both = count(~was & ~mask for was, mask in zip(first, now, strict=True))
    return {"kept_of_first": both / jnp.maximum(count(~mask for mask in first), 1)}

  return Reparametrization(init, begin, soft, seen, scalars, update, learns)
