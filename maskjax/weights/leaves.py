"""Leaves of a tree by name, for what is kept beside the weights of some of them."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
from jaxtyping import Array

from maskjax.weights.held import PyTree, named_leaves


def shown(mask: Callable[..., Array], params: PyTree, learned: PyTree) -> PyTree:
  """The parameters, those with something learned as `mask(name, leaf, learned)` shows them."""
  names, leaves, tree = named_leaves(params)
  own = flat(learned)
  seen = lambda name, leaf: mask(name, leaf, own[name]) if name in own else leaf
  return jax.tree.unflatten(tree, [seen(*pair) for pair in zip(names, leaves, strict=True)])


def chosen(params: PyTree, masks: PyTree) -> Iterator[tuple[str, Array, Any]]:
  """Name, weights and packed mask of every leaf that has one."""
  names, leaves, tree = named_leaves(params)
  rows = zip(names, leaves, tree.flatten_up_to(masks), strict=True)
  return (row for row in rows if row[-1] is not None)


def flat(tree: PyTree) -> dict[str, Array]:
  """The leaves by name."""
  names, leaves, _ = named_leaves(tree)
  return dict(zip(names, leaves, strict=True))


def tree_of(leaves: Mapping[str, Array]) -> PyTree:
  """Nested dicts of leaves by name, which `flat` undoes.

  >>> tree_of({"a/b": 1, "a/c": 2})
  {'a': {'b': 1, 'c': 2}}
  """
  tree: dict[str, Any] = {}
  for name, leaf in leaves.items():
    *above, last = name.split("/")
    node = tree
    for part in above:
      node = node.setdefault(part, {})
    node[last] = leaf
  return tree
