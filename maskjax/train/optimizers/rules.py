"""Rules: values chosen for parameters by regular expressions on their slash-joined names."""

import difflib
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from maskjax.errors import BadInput

PyTree = Any
Rules = Sequence[Any]  # pairs (regular expression, value), tuples or lists


class Matched(NamedTuple):
  """What rules gave: a tree of values shaped as the parameters, and a line for each rule to log."""

  values: PyTree
  report: tuple[str, ...]


def names(params: PyTree) -> PyTree:
  """The path of every leaf, joined by slashes, in a tree shaped as `params`.

  >>> names({"encoder": {"norm": {"scale": 1.0}}, "heads": [2.0]})
  {'encoder': {'norm': {'scale': 'encoder/norm/scale'}}, 'heads': ['heads/0']}
  """
  name = lambda path, _: jax.tree_util.keystr(path, simple=True, separator="/")
  return jax.tree_util.tree_map_with_path(name, params)


def match(params: PyTree, rules: Rules, *, default: Any) -> Matched:
  """The value of the first rule whose pattern is found in a parameter's name, else `default`.

  A pattern is searched (`re.search`), not anchored: "norm" matches "encoder/norm1/scale"; write "^"
  and "$" to anchor. `params` may be abstract. `BadInput` for a pattern that matches no parameter or
  is no regular expression. A `None` in the values is a hole in the tree, as always in JAX.

  >>> params = {"head": {"bias": jnp.zeros(2), "kernel": jnp.zeros((3, 2))}}
  >>> values, report = match(params, [("bias$", 0.0)], default=1.0)
  >>> values
  {'head': {'bias': 0.0, 'kernel': 1.0}}
  >>> print(*report, sep="\\n")
  'bias$' = 0.0 → 2 parameters, 1 leaves
  otherwise 1.0 → 6 parameters, 1 leaves
  """
  paths, tree = jax.tree.flatten(names(params))
  sizes = [np.size(leaf) for leaf in jax.tree.leaves(params)]
  compiled = [_compile(rule) for rule in rules]
  for pattern, _ in compiled:
    if not any(map(pattern.search, paths)):
      close = difflib.get_close_matches(pattern.pattern, paths, n=3, cutoff=0.0)
      raise BadInput(
        f"rule {pattern.pattern!r} matches no parameter (nearest: {', '.join(close) or 'none'})"
      )
  last = len(compiled)
  chosen = [
    next((i for i, (pattern, _) in enumerate(compiled) if pattern.search(path)), last)
    for path in paths
  ]
  labels = [f"{pattern.pattern!r} = {value}" for pattern, value in compiled]
  values = [value for _, value in compiled] + [default]
  report = tuple(
    f"{label} → {sum(s for s, c in zip(sizes, chosen, strict=True) if c == i):,} parameters, "
    f"{chosen.count(i)} leaves"
    for i, label in enumerate([*labels, f"otherwise {default}"])
  )
  return Matched(jax.tree.unflatten(tree, [values[i] for i in chosen]), report)


def layerwise(
  params: PyTree,
  decay: float,
  *,
  layers: str = r"block_(\d+)",
  embeddings: str | None = r"embed|position|token",
) -> Matched:
  r"""Multipliers of the learning rate that shrink with the distance from the output.

  $\gamma^{L - i}$ for block $i = 0 \dots L - 1$, $\gamma^{L + 1}$ for the embeddings, 1 for all
  else (last norm, head). `layers` is searched first and its one group is the number of the block;
  `embeddings=None` says that there are none. `BadInput` when a pattern matches nothing, has not one
  group, or that group is no number.

  >>> params = {"embed": 0.0, "block_0": 0.0, "block_1": 0.0, "head": 0.0}
  >>> layerwise(params, 0.5).values
  {'block_0': 0.25, 'block_1': 0.5, 'embed': 0.125, 'head': 1.0}

  Bao et al., "BEiT", 2022, appendix; He et al., "Masked autoencoders", 2022, table 9.
  """
  pattern, _ = _compile((layers, None))
  if pattern.groups != 1:
    raise BadInput(f"layers pattern {layers!r} needs one group, the number of the block")
  paths, tree = jax.tree.flatten(names(params))
  blocks = [_block(pattern, path) for path in paths]
  embedded = match(params, () if embeddings is None else ((embeddings, True),), default=False)
  count = 1 + max((block for block in blocks if block is not None), default=-1)
  if count == 0:
    match(params, ((layers, None),), default=None)  # raises with the nearest names
  distances = [
    count - block if block is not None else (count + 1) * inside
    for block, inside in zip(blocks, jax.tree.leaves(embedded.values), strict=True)
  ]
  report = tuple(
    f"{what} = {decay**distance:.4g} → {distances.count(distance)} leaves"
    for what, distance in [
      ("embeddings", count + 1),
      *((f"block {i}", count - i) for i in range(count)),
      ("rest", 0),
    ]
  )
  return Matched(jax.tree.unflatten(tree, [float(decay) ** d for d in distances]), report)


def overview(params: PyTree) -> str:
  """A table of the parameters: name, shape, dtype, count, mean and deviation; then the total.

  The mean and deviation of abstract parameters are left blank.

  >>> print(overview({"head": {"bias": jnp.zeros(2), "kernel": jnp.ones((3, 2))}}))
  name         shape   dtype    count  mean  std
  head/bias    (2,)    float32      2     0    0
  head/kernel  (3, 2)  float32      6     1    0
  total                             8
  """
  leaves = jax.tree.leaves(params)
  rows = [("name", "shape", "dtype", "count", "mean", "std")]
  for name, leaf, (mean, std) in zip(
    jax.tree.leaves(names(params)), leaves, _statistics(leaves), strict=True
  ):
    leaf = leaf if hasattr(leaf, "dtype") else jnp.asarray(leaf)
    rows.append((name, str(leaf.shape), str(leaf.dtype), f"{leaf.size:,}", mean, std))
  rows.append(("total", "", "", f"{sum(np.size(leaf) for leaf in leaves):,}", "", ""))
  widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
  align = (str.ljust, str.ljust, str.ljust, str.rjust, str.rjust, str.rjust)
  lines = (
    "  ".join(pad(cell, width) for pad, cell, width in zip(align, row, widths, strict=True))
    for row in rows
  )
  return "\n".join(line.rstrip() for line in lines)


def _compile(rule: Any) -> tuple[re.Pattern[str], Any]:
  try:
    pattern, value = rule
    return re.compile(pattern), value
  except (TypeError, ValueError, re.error) as error:
    raise BadInput(f"{rule!r} is no rule (regular expression, value): {error}") from error


def _block(pattern: re.Pattern[str], path: str) -> int | None:
  found = pattern.search(path)
  if found is None:
    return None
  try:
    return int(found[1])
  except (TypeError, ValueError):
    raise BadInput(
      f"layers pattern {pattern.pattern!r} finds no number in {path!r} but {found[1]!r}"
    ) from None


def _statistics(leaves: list[Any]) -> list[tuple[str, str]]:
  """Mean and deviation of each leaf, in one compiled call: sharded parameters stay in place."""
  if any(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in leaves):
    return [("", "")] * len(leaves)
  floats = lambda leaf: jnp.asarray(leaf, jnp.float32)
  both = jax.jit(lambda leaves: [(floats(x).mean(), floats(x).std()) for x in leaves])
  return [(f"{mean:.3g}", f"{std:.3g}") for mean, std in jax.device_get(both(leaves))]
