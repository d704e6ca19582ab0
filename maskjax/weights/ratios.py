"""How a budget of weights is shared out among layers: densities by a rule that knows only shapes.

A rule is `(shapes, *, density, …) -> densities`, by the names of the leaves. What all of them keep
is `density` of all weights; no layer keeps more than it has: one that would is left dense, and the
others are solved again for what is then left of the budget.
"""

import math
import re
from collections.abc import Mapping, Sequence

from maskjax.errors import BadInput, unknown

Shapes = Mapping[str, tuple[int, ...]]
Densities = dict[str, float]


def uniform(shapes: Shapes, *, density: float) -> Densities:
  """The same share of every layer: $d_l = d$.

  Args:
    shapes: of the leaves, by name.
    density: $d$, the share of all weights that is kept, in [0, 1].

  Returns:
    The share that is kept of each leaf.

  Raises:
    BadInput: a density outside [0, 1].

  >>> uniform({"a": (2, 2), "b": (8, 8)}, density=0.5)
  {'a': 0.5, 'b': 0.5}
  """
  return _solved(shapes, dict.fromkeys(shapes, 1.0), density)


def erk(shapes: Shapes, *, density: float) -> Densities:
  r"""Erdős-Rényi-Kernel: $d_l \propto \sum_i s_{l,i} / \prod_i s_{l,i}$ of a leaf's axes.

  Args:
    shapes: of the leaves, by name.
    density: the share of all weights that is kept, in [0, 1].

  Returns:
    The share that is kept of each leaf.

  Raises:
    BadInput: a density outside [0, 1].

  >>> erk({"a": (4, 4), "b": (8, 8)}, density=0.5)
  {'a': 0.8333333333333334, 'b': 0.4166666666666667}

  Evci et al., "Rigging the Lottery: Making All Tickets Winners", 2020, section 3.
  """
  return _solved(shapes, {k: sum(s) / math.prod(s) for k, s in shapes.items()}, density)


def balanced(shapes: Shapes, *, density: float) -> Densities:
  r"""The same number of weights of every layer: $d_l \propto 1 / n_l$.

  Args:
    shapes: of the leaves, by name.
    density: the share of all weights that is kept, in [0, 1].

  Returns:
    The share that is kept of each leaf.

  Raises:
    BadInput: a density outside [0, 1].

  >>> balanced({"a": (4, 4), "b": (8, 8)}, density=0.5)
  {'a': 1.0, 'b': 0.375}

  Gadhikar, Mukherjee, Burkholz, "Why Random Pruning Is All We Need to Start Sparse", 2023,
  section 4.
  """
  return _solved(shapes, {k: 1 / math.prod(s) for k, s in shapes.items()}, density)


def pyramidal(shapes: Shapes, *, density: float, order: Sequence[str] = ()) -> Densities:
  r"""Ever less with depth: $d_l = r^l$ of the layers $l = 1, 2, …$, with $r$ from the budget.

  $r$ in (0, 1) is the root of $\sum_l n_l r^l = d \sum_l n_l$.

  Args:
    shapes: of the leaves, by name.
    density: $d$, the share of all weights that is kept, in [0, 1].
    order: patterns of names (`re.search`) from the first layer to the last; leaves of the same
      pattern are ordered by name. Empty: all by name.

  Returns:
    The share that is kept of each leaf.

  Raises:
    BadInput: a density outside [0, 1], or a leaf that no pattern of `order` names.

  >>> layers = {"last": (4, 4), "first": (4, 4)}
  >>> found = pyramidal(layers, density=0.375, order=("first", "last"))
  >>> {name: round(share, 6) for name, share in found.items()}
  {'last': 0.25, 'first': 0.5}

  Gadhikar, Mukherjee, Burkholz, "Why Random Pruning Is All We Need to Start Sparse", 2023,
  section 4.
  """
  _check(density)
  depth = sorted(shapes, key=lambda name: (_rank(name, order), name))
  sizes = [math.prod(shapes[name]) for name in depth]
  kept = lambda r: sum(n * r**level for level, n in enumerate(sizes, start=1))
  low, high = 0.0, 1.0
  while low < (r := (low + high) / 2) < high:  # until no float lies between them
    low, high = (r, high) if kept(r) < density * sum(sizes) else (low, r)
  return {name: low ** (1 + depth.index(name)) for name in shapes}


def _rank(name: str, order: Sequence[str]) -> int:
  found = [i for i, pattern in enumerate(order) if re.search(pattern, name)]
  if order and not found:
    raise unknown("layer for the order of layers", name, order)
  return found[0] if found else 0


def _check(density: float) -> None:
  if not 0 <= density <= 1:
    raise BadInput(f"density must lie in [0, 1], got {density}")


def _solved(shapes: Shapes, wanted: Densities, density: float) -> Densities:
  """Densities in the ratios that are `wanted`, at most 1, which add up to the budget."""
  _check(density)
  sizes = {name: math.prod(shape) for name, shape in shapes.items()}
  dense: set[str] = set()
  while len(dense) < len(sizes):
    budget = density * sum(sizes.values()) - sum(sizes[name] for name in dense)
    scale = budget / sum(sizes[name] * wanted[name] for name in sizes if name not in dense)
    # The furthest beyond first: with less left for the others, those near 1 may be below it.
    name = max((name for name in sizes if name not in dense), key=wanted.__getitem__)
    if scale * wanted[name] < 1:
      return {name: 1.0 if name in dense else scale * wanted[name] for name in sizes}
    dense.add(name)
  return dict.fromkeys(sizes, 1.0)
