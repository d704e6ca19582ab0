"""What a config does, in numbers that a file can hold: the goldens of tests/golden/configs/.

A mask that depends on keys alone is the same on every machine and kept as a digest. One that comes
from a network's scores, or from weights, may differ in a bit from machine to machine: of it counts
and some bits are kept, most of which must agree.
"""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from maskjax.train.state import parameter_count
from maskjax.weights.held import named_leaves

BITS, WEIGHTS = 256, 32  # of a mask that is not exact, how many bits are kept; of each leaf
AGREE, SLACK = 0.97, 0.02  # how many of them agree; by which share of n a count may differ
RTOL, ATOL = 2e-3, 1e-4  # of terms: three updates in float32, summed in another order


def behaviour(default: Any, laptop: Any) -> dict[str, Any]:
  """Masks at the beginning, middle and end of the run, terms, and what is trained.

  Args:
    default: what the config builds, a `Built`.
    laptop: likewise its preset.
  """
  trained = laptop.trained
  named = {k: v for k, v in trained.metrics.items() if k.startswith("terms/") or k == "loss"}
  hidden = {**_leaves("held", trained.held), **_leaves("zero", trained.zero)}
  return {
    "default": {"masks": _masks(default.masks), "parameters": _parameters(default, names=False)},
    "laptop": {
      "masks": _masks(trained.masks) | hidden,
      "parameters": _parameters(laptop, names=True),
      "terms": {k: np.asarray(v, np.float64).tolist() for k, v in named.items()},
      "weights": {k: float(v) for k, v in laptop.task.weights.items()},
    },
  }


def _masks(masks: Mapping[str, Any]) -> dict[str, Any]:
  return {name: [_kept(x, BITS) for x in mask] for name, mask in masks.items()}


def _leaves(word: str, tree: Any) -> dict[str, Any]:
  if tree is None:
    return {}
  names, leaves, _ = named_leaves(tree)
  # Of small leaves a count says too little to be sure that it is the same on every machine.
  large = lambda x: x is not None and x.size >= len(x) * WEIGHTS and x.any()
  found = {n: x for n, x in zip(names, leaves, strict=True) if large(x)}
  return {f"{word} {name}": [_kept(x, WEIGHTS) for x in leaf] for name, leaf in found.items()}


def _kept(mask: np.ndarray, bits: int) -> dict[str, Any]:
  """A mask, or a gate, in a few numbers."""
  if mask.dtype != bool:
    return {"mean": float(mask.mean()), "deviation": float(mask.std())}
  # Of each example, if these are examples; a few bits from all over the mask.
  counts = mask.reshape(-1, mask.shape[-1]).sum(-1)
  picked = mask.reshape(-1)[:: max(mask.size // bits, 1)][:bits]
  return {
    "size": mask.size,
    "counts": counts.tolist() if counts.size <= 40 else [int(counts.sum())],
    "digest": hashlib.sha256(np.packbits(mask).tobytes()).hexdigest()[:16],
    "bits": "".join("01"[int(b)] for b in picked),
  }


def _parameters(made: Any, *, names: bool) -> dict[str, Any]:
  """How many numbers are trained, and of which leaves; likewise decayed."""
  tuning, shapes = made.optimizer, made.shapes["params"]
  found: dict[str, Any] = {"count": parameter_count({"params": shapes})}
  for word, tree in (("trained", tuning.rates), ("decayed", tuning.decays)):
    paths, factors, _ = named_leaves(tree)
    chosen = sorted(p for p, f in zip(paths, factors, strict=True) if f)
    rest = sorted(set(paths) - set(chosen))
    found[word] = chosen if names and len(chosen) <= len(rest) else {"all but": rest}
    if not names:
      found[word] = len(chosen)
  return found


def exact(one: Any, other: Any) -> Any:
  """A behaviour of which masks that agree with another's, of other weights, keep no bits.

  The rest, which depend on weights, keep no digest.
  """
  if isinstance(one, Mapping) and "digest" in one:
    drop = "bits" if other and one["digest"] == other["digest"] else "digest"
    return {k: v for k, v in one.items() if k != drop}
  if isinstance(one, Mapping):
    return {k: exact(v, other.get(k) if other else None) for k, v in one.items()}
  if isinstance(one, list):
    return [exact(a, other[i] if other else None) for i, a in enumerate(one)]
  return one


def differences(stored: Any, now: Any, path: str = "") -> Iterator[str]:
  """Where a behaviour is not the stored one, a line each."""
  if isinstance(stored, Mapping) and ("digest" in stored or "bits" in stored):
    yield from _mask_differences(stored, now, path)
  elif isinstance(stored, Mapping) and isinstance(now, Mapping):
    for key in sorted({*stored, *now}):
      if key not in stored or key not in now:
        yield f"{path}{key}: {'gone' if key in stored else 'new'}"
      else:
        yield from differences(stored[key], now[key], f"{path}{key}/")
  elif isinstance(stored, list) and isinstance(now, list) and len(stored) == len(now):
    for i, (a, b) in enumerate(zip(stored, now, strict=True)):
      yield from differences(a, b, f"{path}{i}/")
  elif isinstance(stored, float) and isinstance(now, float):
    if not np.isclose(now, stored, rtol=RTOL, atol=ATOL, equal_nan=True):
      yield f"{path[:-1]}: {stored} was, {now} is"
  elif stored != now:
    yield f"{path[:-1]}: {stored} was, {now} is"


def _mask_differences(stored: Mapping[str, Any], now: Mapping[str, Any], path: str) -> Any:
  if "digest" in stored:
    for key, value in stored.items():
      if now.get(key) != value:
        yield f"{path}{key}: {value} was, {now.get(key)} is"
    return
  a, b = np.array(stored["counts"]), np.array(now.get("counts", []))
  each = stored["size"] / len(a)
  if a.shape != b.shape or np.abs(a - b).max() > max(SLACK * each, 1):
    yield f"{path}counts: {a.tolist()} was, {b.tolist()} is"
  pairs = list(zip(stored["bits"], now.get("bits", ""), strict=False))
  share = sum(x == y for x, y in pairs) / len(stored["bits"])
  if share < AGREE:
    yield f"{path}bits: {share:.2f} of them agree"
