"""The state of an optimiser that holds weights: its masks, and what they say of a tree."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from maskjax.errors import BadInput
from maskjax.weights import packed
from maskjax.weights.packed import Packed, unpack

PyTree = Any


class Held(NamedTuple):
  """The state of an optimiser that `hold` wraps, or `update_only`.

  Attributes:
    step: number of updates made.
    hidden: a tree shaped as the parameters: a `Packed` mask, or None for a leaf without one.
    inner: the state of the optimiser itself.
    outer: like `hidden`, what is hidden from before the first step on and for good; None where
      masks are not given so.
  """

  step: Int[Array, ""]
  hidden: PyTree
  inner: Any
  outer: PyTree = None


class Passing(Held):
  """Of `update_only` where what its masks hide is not held for good, and so stays averaged."""


def masks(state: Any) -> PyTree:
  """The masks of an optimiser's state: Bool, or None for leaves without one.

  True = held: at zero by `hold`, where it was by `update_only`.

  Raises:
    BadInput: `state` contains not exactly one `Held`.
  """
  return jax.tree.map(unpack, _held(state).hidden, is_leaf=_is_packed)


def zero(tree: PyTree, state: Any) -> PyTree:
  """Zeros in a tree shaped as the parameters, such as gradients, wherever `state` holds them.

  Raises:
    BadInput: `state` contains not exactly one `Held`.
  """
  clear = lambda leaf, mask: leaf if mask is None else jnp.where(mask, 0, leaf)
  return jax.tree.map(clear, tree, masks(state))


def begun(params: PyTree, state: Any) -> PyTree:
  """The parameters as they are before the first step: zero what is hidden from then on.

  Args:
    params: the parameters from which `state` was made.
    state: of an optimiser; one that holds nothing so leaves them as they are.
  """
  for held in _find(state):
    if held.outer is not None:
      params = zero(params, held._replace(hidden=held.outer))
  return params


def forgotten(inner: Any, params: PyTree, grown: PyTree) -> Any:
  """The state of an optimiser with zeros in all that it keeps of the weights that are `grown`.

  An array belongs to the parameter whose path its own ends with, of the same shape: moments,
  traces, accumulated gradients.

  Args:
    inner: the state.
    params: the parameters.
    grown: a tree like them: Bool, or None for a leaf of which nothing is forgotten.
  """
  paths, tree = jax.tree_util.tree_flatten_with_path(params)
  each = tree.flatten_up_to(grown)  # type: ignore[attr-defined]
  masks = {path: mask for (path, _), mask in zip(paths, each, strict=True)}

  def clear(path: tuple[Any, ...], leaf: Any) -> Any:
    owner = next((path[i:] for i in range(len(path)) if path[i:] in masks), None)
    mask = None if owner is None else masks[owner]
    return leaf if mask is None or jnp.shape(leaf) != mask.shape else jnp.where(mask, 0, leaf)

  return jax.tree_util.tree_map_with_path(clear, inner)


def settle(average: PyTree, params: PyTree, state: Any) -> PyTree:
  """An average of the parameters, and wherever `state` holds them the parameters themselves.

  What is not held for good stays averaged, see `Passing`.

  Args:
    average: of the parameters, a tree like them.
    params: the parameters.
    state: of the optimiser, with its `Held`.

  Raises:
    BadInput: `state` contains not exactly one `Held`.
  """
  if isinstance(_held(state), Passing):
    return average
  same = lambda a, p, mask: a if mask is None else jnp.where(mask, p, a)
  return jax.tree.map(same, average, params, masks(state))


def sparsity(tree: PyTree) -> dict[str, float]:
  """The share of weights that are zero in each leaf, and in "total" of all; for logs, not for jit.

  Of an optimiser's state with `hold` or `update_only`: the share that is hidden, in leaves with
  masks. Of any other tree: the share that is exactly zero, in all leaves.

  >>> sparsity({"kernel": jnp.array([[0.0, 1.0], [0.0, 2.0]]), "bias": jnp.ones(4)})
  {'bias': 0.0, 'kernel': 0.5, 'total': 0.25}
  """
  found = _find(tree)
  names, leaves, _ = named_leaves(_held(tree).hidden if found else tree)
  if found:
    sizes = [math.prod(leaf.bits.shape[:-1]) * leaf.size for leaf in leaves]
    counts = [packed.count(leaf) for leaf in leaves]
  else:
    sizes = [jnp.size(leaf) for leaf in leaves]
    counts = [jnp.sum(leaf == 0, dtype=jnp.int32) for leaf in leaves]
  zeros = [int(count) for count in jax.device_get(counts)]
  shares = {name: z / max(s, 1) for name, z, s in zip(names, zeros, sizes, strict=True)}
  return {**shares, "total": sum(zeros) / max(sum(sizes), 1)}


def named_leaves(tree: PyTree) -> tuple[list[str], list[Any], Any]:
  """Names, leaves and structure of a tree; a packed mask is a leaf.

  >>> named_leaves({"encoder": [1, None, {"bias": 2}]})[:2]
  (['encoder/0', 'encoder/2/bias'], [1, 2])
  """
  pairs, structure = jax.tree_util.tree_flatten_with_path(tree, is_leaf=_is_packed)
  name = lambda path: jax.tree_util.keystr(path, simple=True, separator="/")
  return [name(path) for path, _ in pairs], [leaf for _, leaf in pairs], structure


def _is_packed(node: Any) -> bool:
  return isinstance(node, Packed)


def _find(state: Any) -> list[Held]:
  is_held = lambda node: isinstance(node, Held)
  return [node for node in jax.tree.leaves(state, is_leaf=is_held) if is_held(node)]


def _held(state: Any) -> Held:
  found = _find(state)
  if len(found) != 1:
    raise BadInput(f"a state of one optimiser with hold is wanted, got one with {len(found)}")
  return found[0]
