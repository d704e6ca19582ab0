"""Parameters as a few long vectors: without hundreds of leaves a train step is a small program."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

# Each number by itself, but for one norm that clips all.
RULES = ("adamw", "sgd")


class Vectors(NamedTuple):
  """How parameters lie in vectors, one for each rate, decay and dtype.

  Attributes:
    join: `params -> {name: vector}`.
    split: `{name: vector} -> params`.
    rules: what a config says of its optimiser, for the vectors: each number has the rate and the
      decay that it has in its leaf.
  """

  join: Callable[[Any], dict[str, Any]]
  split: Callable[[Mapping[str, Any]], Any]
  rules: Mapping[str, Any]


def vectors(shapes: Any, rates: Any, decays: Any) -> Vectors:
  """Vectors for parameters of these shapes, with what multiplies the rate and decay of each."""
  leaves, structure = jax.tree.flatten(shapes)
  multipliers, dtypes = map(jax.tree.leaves, (rates, decays)), [str(x.dtype) for x in leaves]
  kinds = list(zip(*multipliers, dtypes, strict=True))
  names = {kind: f"kind{i}" for i, kind in enumerate(sorted(set(kinds)))}

  def join(tree: Any) -> dict[str, Any]:
    parts: dict[str, list[Any]] = {name: [] for name in names.values()}
    for kind, leaf in zip(kinds, jax.tree.leaves(tree), strict=True):
      parts[names[kind]].append(leaf.reshape(-1))
    return {name: jnp.concatenate(part) for name, part in parts.items()}

  def split(whole: Mapping[str, Any]) -> Any:
    begun, parts = dict.fromkeys(whole, 0), []
    for kind, leaf in zip(kinds, leaves, strict=True):
      begin = begun[name := names[kind]]
      begun[name] = end = begin + leaf.size
      parts.append(whole[name][begin:end].reshape(leaf.shape))
    return jax.tree.unflatten(structure, parts)

  # The slope of many slices would be a sum of as many vectors, mostly of zeros.
  sliced = jax.custom_vjp(split)
  sliced.defvjp(lambda whole: (split(whole), None), lambda _, slopes: (join(slopes),))
  rate, decay = ([(f"^{n}$", kind[i]) for kind, n in names.items()] for i in (0, 1))
  return Vectors(join, sliced, {"rate_rules": rate, "decay_rules": decay, "layer_decay": 1.0})
