"""Scores in a task: plain functions, or linen modules with parameters of their own."""

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
from jaxtyping import Array, Float, Key

from maskjax import bind
from maskjax.score import Draw

Offers = Mapping[str, Any]


class Scorer(NamedTuple):
  """How a task gets its scores.

  Attributes:
    needs: names of what `init` and `apply` may read of their offers.
    init: `(key, offers) -> params`: `{"score": …}` where the score is a module, else nothing.
    apply: `(params, offers) -> scores`, or a `Draw` of them.
  """

  needs: frozenset[str]
  init: Callable[[Key[Array, ""], Offers], Mapping[str, Any]]
  apply: Callable[[Mapping[str, Any], Offers], Float[Array, "*b n"] | Draw]


def scorer(score: functools.partial[Any], offers: Iterable[str], who: str) -> Scorer:
  """A bound score, whether a function or a linen module's class, as one pair of functions.

  A module is built from its hyperparameters and called with those of the offers that its `__call__`
  names.

  Raises:
    BadInput: the score needs what `who` does not offer.
  """
  if not (isinstance(score.func, type) and issubclass(score.func, nn.Module)):
    bind.check(score, offers, who)
    needs = frozenset(bind.needs(score))
    return Scorer(needs, lambda key, given: {}, lambda params, given: bind.call(score, given))
  module = score()
  bind.check(module.__call__, offers, who)
  taken = [name for name in bind.needs(module.__call__) if name in set(offers)]
  pick = lambda given: {name: given[name] for name in taken}
  return Scorer(
    frozenset(taken),
    lambda key, given: {"score": module.init(key, **pick(given))["params"]},
    lambda params, given: module.apply({"params": params["score"]}, **pick(given)),
  )
