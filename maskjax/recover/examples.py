"""Losses meaned over examples: each example weighs the same, however much is asked of it."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from maskjax import reduce
from maskjax.recover.likelihood import cross_entropy


def per_example(
  prediction: Float[Array, "*b n _"],
  target: Any,
  asked: Bool[Array, "*b n"],
  *,
  loss: Callable[..., reduce.Term] | functools.partial[reduce.Term],
) -> reduce.Term:
  r"""The mean over examples of each one's own: $\sum_b S_b / C_b$, counted where $C_b > 0$.

  Args:
    prediction: of n positions.
    target: what `loss` compares it with.
    asked: True where the loss counts.
    loss: `(prediction, target, asked) -> Term`, of one example.

  Returns:
    The sum of the examples' means, and the number of examples with anything asked.

  Source: the public code of Bachmann et al. 2022 (MultiMAE).

  >>> from maskjax.recover import squared_error
  >>> asked = jnp.array([[True, True], [True, False], [False, False]])
  >>> error = jnp.array([[1.0, 3.0], [4.0, 9.0], [9.0, 9.0]])[..., None] ** 0.5
  >>> t = per_example(error, 0 * error, asked, loss=squared_error)
  >>> round(float(t.sum), 4), int(t.count)
  (6.0, 2)
  """
  lead = asked.ndim - 1
  flat = lambda x: x.reshape(-1, *x.shape[lead:])
  each = jax.vmap(loss)(flat(prediction), flat(target), flat(asked))
  return reduce.term(each.sum / jnp.maximum(each.count, 1), each.count > 0)


def patch_cross_entropy(
  prediction: Float[Array, "*b n q"], target: Int[Array, "*b n p"], asked: Bool[Array, "*b n"]
) -> reduce.Term:
  r"""Cross-entropy of the labels inside patches, each of which has logits of its own.

  $\sum_{i\,\mathrm{asked}} \sum_j -\log \mathrm{softmax}(y_{ij})_{t_{ij}}$, the count that of
  the labels.

  Args:
    prediction: the logits of all p labels of a patch in a row, q = p · classes.
    target: the labels.
    asked: which patches are asked.

  >>> asked = jnp.array([True, False])
  >>> t = patch_cross_entropy(jnp.zeros((2, 6)), jnp.zeros((2, 3), int), asked)
  >>> round(float(t.sum), 4), int(t.count)
  (2.0794, 3)
  """
  logits = prediction.reshape(*target.shape, -1)
  return cross_entropy(logits, target, jnp.broadcast_to(asked[..., None], target.shape))
