"""Masks by a threshold of numbers that are learned: how many weights are hidden is learned too."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from maskjax import bind, hide
from maskjax import select as selects
from maskjax.errors import BadInput
from maskjax.keys import stream
from maskjax.reduce import Term
from maskjax.weights.choose import choice, nothing
from maskjax.weights.held import PyTree
from maskjax.weights.leaves import chosen, flat, shown, tree_of
from maskjax.weights.reparametrize import Reparametrization


def uniform_numbers(
  key: Key[Array, ""], shape: tuple[int, ...], *, low: float, high: float
) -> Float[Array, "..."]:
  """Numbers drawn uniformly between `low` and `high`.

  Args:
    key: for the draw.
    shape: of the weights.
    low: the least.
    high: what all lie below.

  Returns:
    The numbers.

  >>> numbers = uniform_numbers(jax.random.key(0), (2, 3), low=-0.02, high=0.5)
  >>> bool(((-0.02 <= numbers) & (numbers < 0.5)).all())
  True
  """
  return jax.random.uniform(key, shape, minval=low, maxval=high)


def glorot_numbers(key: Key[Array, ""], shape: tuple[int, ...]) -> Float[Array, "..."]:
  r"""Numbers drawn uniformly in $\pm\sqrt{6 / (\mathrm{fan}_{in} + \mathrm{fan}_{out})}$.

  >>> bool(jnp.abs(glorot_numbers(jax.random.key(0), (3, 3, 8, 16))).max() < (6 / 216) ** 0.5)
  True

  Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks",
  2010, equation 16.
  """
  return jax.nn.initializers.glorot_uniform()(key, shape)


def thresholded_scores(
  *,
  start: Callable[..., Any],
  threshold: float,
  of_largest: bool = False,
  signed: bool = False,
  where: PyTree | Callable[[PyTree], PyTree] | None = None,
  learns: bool = False,
  cost: float | bind.Moving = 0.0,
  per_feature: bool = False,
) -> Reparametrization:
  r"""A number $s$ of each weight, trained straight through a threshold: kept is what is above it.

  The network sees $\hat w = w\,[s > t]$; with `signed`, $\hat w = w\,\mathrm{sign}(s)\,[|s| > t]$:
  the weight as it is, with its sign turned, or zero. The identity passes the gradient on to all
  numbers, those of hidden weights too: $\partial L / \partial s = w\,\partial L / \partial \hat w$.
  How many weights are hidden follows from the numbers: no share is given.

  Args:
    start: `(key, shape) -> numbers` of a leaf, see `uniform_numbers` and `glorot_numbers`.
    threshold: $t$; strictly above it a weight is kept.
    of_largest: whether $t$ is a share of the largest first number of the leaf, by absolute value,
      fixed before step 0.
    signed: whether a number below $-t$ keeps the weight with its sign turned.
    where: see `hold`: which leaves have masks.
    learns: whether the weights are trained too, those that are seen.
    cost: $\lambda$ of each weight that is kept: the loss gets $\lambda\,\sum [s > t]$, of which the
      identity passes $\lambda$ on to all numbers, hidden ones too. May move.
    per_feature: whether the gradient of the numbers of each output feature (the last axis of linen
      kernels) is divided by its root mean square, that of the whole batch, before the cost's is
      added; where it is zero it stays so.

  Raises:
    BadInput: an argument that cannot work; on `init`, a tree that does not fit the parameters.

  Figures: "changed", the share of the weights whose gate is another than before step 0; "turned",
  the share of those kept whose sign is turned. Term: "connections", the cost, where there is one.

  Mallya et al., "Piggyback: Adapting a Single Network to Multiple Tasks by Learning to Mask
  Weights", 2018, section 3.1; Koster et al., "Signing the Supermask: Keep, Hide, Invert", 2022,
  section 3.1; Tang et al., "Automatic Sparse Connectivity Learning for Neural Networks", 2022
  (`cost`, `per_feature`).
  """
  if (signed or of_largest) and threshold < 0:
    raise BadInput(f"a threshold of absolute values is not negative, got {threshold}")
  start = partial(start)
  bind.check(start, ("key", "shape"), "thresholded_scores")
  whole = choice(
    score=lambda params: params, select=partial(selects.top, ratio=0.0), where=where,
    scope="layer", units=None, regrow=True, seed=0,
  )  # fmt: skip

  def side(numbers: Float[Array, "..."]) -> Float[Array, "..."]:
    """The sign that a kept weight is seen with; 1 at 0, where the gradient passes as well."""
    turned = jnp.where(numbers < 0, -1, 1) if signed else jnp.ones_like(numbers)
    return turned.astype(numbers.dtype)

  def kept(numbers: Float[Array, "..."], limit: Float[Array, ""]) -> Float[Array, "..."]:
    size = side(numbers) * numbers
    return selects.straight_through(size, size <= limit)

  def gate(numbers: Float[Array, "..."], limit: Float[Array, ""]) -> Float[Array, "..."]:
    return side(numbers) * kept(numbers, limit)

  def gates(learned: PyTree, state: PyTree) -> list[Array]:
    limits = flat(state["threshold"])
    return [gate(numbers, limits[name]).astype(jnp.int8) for name, numbers in flat(learned).items()]

  def init(params: PyTree, key: Key[Array, ""]) -> tuple[PyTree, PyTree]:
    leaves = [(name, leaf.shape) for name, leaf, _ in chosen(params, nothing(whole, params))]
    learned = {name: start(key=stream(key, name), shape=shape) for name, shape in leaves}
    return _begun(tree_of(learned))

  def begin(params: PyTree, learned: PyTree, given: Mapping[str, PyTree]) -> tuple[PyTree, PyTree]:
    return _begun(learned)

  def _begun(learned: PyTree) -> tuple[PyTree, PyTree]:
    most = lambda x: threshold * jnp.max(jnp.abs(x)) if of_largest else jnp.float32(threshold)
    state = {"threshold": jax.tree.map(most, learned)}
    first = dict(zip(flat(learned), gates(learned, state), strict=True))
    return learned, {**state, "first": tree_of(first)}

  def seen(
    params: PyTree, learned: PyTree, state: PyTree, key: Any = None, step: Any = None
  ) -> PyTree:
    limits = flat(state["threshold"])

    def mask(name: str, leaf: Float[Array, "..."], numbers: Float[Array, "..."]) -> Array:
      factor = gate(numbers, limits[name]).astype(leaf.dtype)
      return hide.gate(jnp.asarray(leaf)[..., None], factor)[..., 0]

    return shown(mask, params, learned)

  costs = isinstance(cost, bind.Moving) or cost != 0

  def soft(
    params: PyTree, learned: PyTree, state: PyTree, key: Any, step: Any
  ) -> tuple[PyTree, dict[str, Term]]:
    if not costs:
      return seen(params, learned, state), {}
    limits = flat(state["threshold"])
    # With `per_feature` it pulls when the gradients of the whole batch are known.
    numbers = jax.lax.stop_gradient(learned) if per_feature else learned
    count = sum(jnp.sum(kept(x, limits[name])) for name, x in flat(numbers).items())
    connections = Term(bind.now(cost, step) * count, jnp.float32(1))
    return seen(params, learned, state), {"connections": connections}

  def gradients(found: PyTree, learned: PyTree, state: PyTree, step: Any) -> PyTree:
    worth = bind.now(cost, step)
    even = lambda slope, numbers: by_feature(slope) + worth * side(numbers)
    return jax.tree.map(even, found, learned)

  def scalars(learned: PyTree, state: PyTree, step: Any) -> dict[str, Array]:
    now, first = gates(learned, state), jax.tree.leaves(state["first"])
    count = lambda masks: sum(jnp.sum(mask, dtype=jnp.int32) for mask in masks)
    other = count(a != b for a, b in zip(now, first, strict=True))
    found = {"changed": jnp.asarray(other / sum(x.size for x in now))}
    if signed:
      found["turned"] = count(x < 0 for x in now) / jnp.maximum(count(x != 0 for x in now), 1)
    return found

  own = gradients if per_feature else None
  return Reparametrization(init, begin, soft, seen, scalars, learns=learns, gradients=own)


def by_feature(gradient: Float[Array, "... out"]) -> Float[Array, "... out"]:
  r"""A gradient over its root mean square in each output feature: $g / \sqrt{\overline{g^2}}$.

  Args:
    gradient: of a kernel, output features last.

  Returns:
    That of unit scale in each feature; zeros where all of a feature are zero.

  >>> by_feature(jnp.array([[3.0, 0.0], [-3.0, 0.0]])).tolist()
  [[1.0, 0.0], [-1.0, 0.0]]

  Tang et al., "Automatic Sparse Connectivity Learning for Neural Networks", 2022.
  """
  inputs = tuple(range(gradient.ndim - 1))
  # The largest first: squares of small gradients would be zero.
  most = jnp.max(jnp.abs(gradient), axis=inputs, keepdims=True)
  scaled = gradient / jnp.where(most > 0, most, 1)
  scale = jnp.sqrt(jnp.mean(jnp.square(scaled), axis=inputs, keepdims=True))
  return scaled / jnp.where(scale > 0, scale, 1)
