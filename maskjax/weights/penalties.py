"""Sparsity by regularisation: penalties of weights that pull small ones towards zero."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from maskjax import bind
from maskjax import select as selects
from maskjax.errors import BadInput
from maskjax.reduce import Term
from maskjax.select.top import count_of
from maskjax.weights.choose import choice, nothing
from maskjax.weights.held import PyTree
from maskjax.weights.leaves import chosen
from maskjax.weights.score import magnitude

if TYPE_CHECKING:
  from maskjax.task.base import Aux, Batch, Task, Variables

Leaves = Mapping[str, Float[Array, "..."]]
PENALTY = "penalty"
# Where the third derivative of the hyperbolic tangent is zero, artanh(1 / √3), as the public code
# of HyperSparse rounds it: its slope falls fastest there.
KNEE = 0.6585


def l1_penalty(leaves: Leaves) -> Float[Array, ""]:
  r"""The sum of the absolute values of all weights, $\sum_i |w_i|$; no gradient where one is zero.

  >>> l1_penalty({"a": jnp.array([1.0, -2.0]), "b": jnp.array([3.0])}).item()
  6.0

  Tibshirani, "Regression Shrinkage and Selection via the Lasso", 1996.
  """
  return _sum(list(map(_size, leaves.values())))


def tanh_penalty(leaves: Leaves, *, ratio: float) -> Float[Array, ""]:
  r"""An L1 penalty reweighted by the slope of a tanh: small weights are pulled, large ones are not.

  Its value is zero, what it gives is a gradient:
  $\partial_i = \mathrm{sign}(w_i)\,\frac{\sum_j |w_j|}{\sum_j \tanh(s |w_j|)}\,s\,(1 -
  \tanh^2(s |w_i|))$.

  All leaves together are one vector. $s$ puts the knee of the tanh, where its third derivative is
  zero, at the weight of rank $\lfloor \kappa n \rfloor$ by absolute value, from 0; no gradient
  passes through it or through the two sums.

  Args:
    leaves: the weights, by name.
    ratio: $\kappa$, the share that is to be small, in [0, 1).

  Returns:
    0. Where the weight of that rank is zero itself there is no gradient.

  Raises:
    BadInput: a ratio outside [0, 1).

  >>> slope = jax.grad(lambda w: tanh_penalty({"a": w}, ratio=0.5))
  >>> [round(x, 2) for x in slope(jnp.array([-0.1, 0.2, 1.0, 8.0])).tolist()]
  [-3.44, 3.39, 2.3, 0.0]

  Glandorf, Kaiser, Rosenhahn, "HyperSparse Neural Networks: Shifting Exploration to Exploitation
  through Adaptive Regularization", 2023, section 3.
  """
  if not 0 <= ratio < 1:
    raise BadInput(f"tanh_penalty: ratio must lie in [0, 1), got {ratio}")
  sizes = list(map(_size, leaves.values()))
  fixed = jax.lax.stop_gradient(sizes)
  count = count_of(sum(x.size for x in sizes), ratio=ratio, rounding="down") + 1
  # As `select.top` would hide them: the knee lies at the largest of these.
  small = selects.top([magnitude(x) for x in fixed], count=count, axis=None)
  largest = lambda x, mask: jnp.max(jnp.where(mask, x, 0), initial=0.0)
  at = jnp.max(jnp.stack(list(map(largest, fixed, small))))
  scale = jnp.where(at > 0, KNEE / jnp.where(at > 0, at, 1), 0)
  value = _sum([jnp.tanh(scale * x) for x in sizes])
  whole = jax.lax.stop_gradient(value)
  factor = _sum(fixed) / jnp.where(whole > 0, whole, 1)
  return factor * (value - whole)


def penalized(
  task: "Task",
  penalty: Callable[[Leaves], Float[Array, ""]],
  *,
  where: PyTree | Callable[[PyTree], PyTree] | None = None,
  scale: float | bind.Moving = 1.0,
) -> "Task":
  r"""The task whose loss gets a penalty of its weights: $L + \lambda\,P(w)$, the term "penalty".

  Args:
    task: without it.
    penalty: of weights by name, such as `l1_penalty` or `partial(tanh_penalty, ratio=0.9)`.
    where: see `hold`: which parameters it is of; None means those with two axes or more.
    scale: $\lambda$; may move.

  Returns:
    The task; only its loss is another.

  Raises:
    BadInput: once its loss is asked, `where` that does not fit the parameters.

  Tibshirani, "Regression Shrinkage and Selection via the Lasso", 1996 (the penalty as a term).
  """
  how = choice(
    score=magnitude, select=selects.top, where=where, scope="layer", units=None, regrow=True, seed=0
  )

  def loss(
    variables: "Variables", batch: "Batch", key: Key[Array, ""], step: Any
  ) -> tuple[Mapping[str, Term], "Aux"]:
    terms, aux = task.loss(variables, batch, key, step)
    if PENALTY in terms:
      raise BadInput(f"the task has a loss that is called {PENALTY!r}, as that of its weights is")
    params = variables["params"]
    leaves = {name: leaf for name, leaf, _ in chosen(params, nothing(how, params))}
    value = bind.now(scale, step) * penalty(leaves)
    return {**terms, PENALTY: Term(value, jnp.float32(1))}, aux

  return task._replace(loss=loss)


def _size(leaf: Float[Array, "..."]) -> Float[Array, "..."]:
  """The absolute values, with no slope at zero, where that of `jnp.abs` is 1."""
  leaf = leaf.astype(jnp.float32)
  return leaf * jax.lax.stop_gradient(jnp.sign(leaf))


def _sum(leaves: list[Float[Array, "..."]]) -> Float[Array, ""]:
  return jnp.sum(jnp.stack([jnp.sum(leaf) for leaf in leaves]))
