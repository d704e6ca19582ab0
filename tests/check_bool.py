"""Every function that takes a mask refuses integers; check_sharded.py runs this in its process."""

import jax.numpy as jnp

from maskjax import hide, recover, reduce, select


def check_refusals():
  """Masks that are not bool are refused by the functions themselves: no hook checks types there."""
  x, ints = jnp.ones((3, 2)), jnp.array([1, 0, 1])
  takers = {
    "top": lambda: select.top(x[:, 0], count=1, allowed=ints),
    "limited": lambda: select.limited(x[:, 0], ints),
    "limited among": lambda: select.limited(x[:, 0], x[:, 0] > 0, allowed=ints),
    "threshold": lambda: select.threshold(x[:, 0], above=0.5, allowed=ints),
    "top_up": lambda: select.top_up(x[:, 0], count=1, allowed=ints),
    "per_axis": lambda: select.per_axis(x[:, 0], grid=(3,), counts=(1,), allowed=ints),
    "drop": lambda: hide.drop(x, ints, keep=1),
    "restore": lambda: hide.restore(x, ints, 0.0),
    "fill": lambda: hide.fill(x, ints, 0.0),
    "mix": lambda: hide.mix(x, ints, x),
    "noise": lambda: hide.noise(x, ints, None, alpha=0.5),
    "project": lambda: hide.project(x, ints, ints, ints > 0),
    "signs": lambda: hide.project(x, ints > 0, ints, ints),
    "smooth_l1": lambda: recover.smooth_l1(x, x, ints),
    "average": lambda: hide.mean(x, ints),
    "blur": lambda: hide.blur(x, ints, grid=(3,), sigma=1.0),
    "carry": lambda: hide.carry(x, ints),
    "neighbours": lambda: hide.neighbours(x, ints, grid=(3,)),
    "squared_error": lambda: recover.squared_error(x, x, ints),
    "absolute_error": lambda: recover.absolute_error(x, x, ints),
    "shares": lambda: select.shares(x[:, 0], segment=ints, segments=2, allowed=ints),
    "harden": lambda: select.harden(x[:, 0], allowed=ints),
    "straight_through": lambda: select.straight_through(x[:, 0], ints),
    "softmax over patterns": lambda: select.softmax(x[0], patterns=jnp.eye(2, dtype=jnp.int32)),
    "token": lambda: hide.token(ints, ints, 0),
    "corrupt": lambda: hide.corrupt(ints, ints, None, vocabulary=2, mask_id=0),
    "info_nce": lambda: recover.info_nce(x, x, valid=ints),
    "negative_si_snr": lambda: recover.negative_si_snr(x, x, ints),
    "serving": lambda: recover.best_permutation(x, x, ints),
    "policy_gradient": lambda: recover.policy_gradient(x[:, 0], x[:, 0], ints),
    "pairwise_ranking": lambda: recover.pairwise_ranking(x[:, 0], x[:, 0], ints),
    "count": lambda: reduce.count(ints),
    "sum": lambda: reduce.sum(x[:, 0], ints),
    "mean": lambda: reduce.mean(x[:, 0], ints),
    "var": lambda: reduce.var(x[:, 0], ints),
    "softmax": lambda: reduce.softmax(x[:, 0], ints),
    "term": lambda: reduce.term(x[:, 0], ints),
  }
  for name, take in takers.items():
    said = ""
    try:
      take()
    except TypeError as error:
      said = str(error)
    if "is a mask of bool, got an array of int32" not in said:
      raise SystemExit(f"{name} takes a mask of integers: {said}")
  print("all refuse", flush=True)
