r"""Scores of the cells of a table that go missing, by mechanisms that look at its values.

A score is the logit of a cell's probability to be missing plus logistic noise: above 0 with that
probability, $P(z_{ij} > 0) = \sigma(a_{ij} + b_j)$. So `select.threshold(above=0)` draws each cell
by itself. The intercept $b_j$ gives column j the wanted mean probability. White noise is the third
mechanism, missing completely at random.

Source: Muzellec et al., "Missing Data Imputation using Optimal Transport", 2020, and the
simulators of HyperImpute (Jarrett et al., 2022).
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from maskjax.errors import BadInput

_HALVINGS = 40  # of the interval that holds an intercept: to the last bit of float32
_FAR = 50.0  # logits at which a probability is 0 or 1 in float32


def logistic(
  keys: Key[Array, "*b"],
  values: Float[Array, "*b rows columns"],
  *,
  ratio: float,
  inputs: float = 0.5,
  hide_inputs: bool = False,
) -> Float[Array, "*b n"]:
  r"""Missing at random: whether a cell is missing depends on other columns, which are complete.

  A share `inputs` of the columns (rounded down, at least one) is drawn as inputs; another column is
  missing by a logistic model of them, $a_{ij} = w_j \cdot x_i$, with weights from U[0, 1) that are
  scaled to make $a_j$ of unit deviation over the rows. Inputs score $-\infty$, never missing; with
  `hide_inputs` they are missing completely at random, by `ratio` too, and the mechanism is one not
  at random. One key a table; values are finite; cells in row-major order, `n = rows · columns`.

  Args:
    keys: typed, one a table.
    values: finite.
    ratio: mean probability to be missing, of each column that can be, in (0, 1).
    inputs: share of the columns that the others depend on, in [0, 1).
    hide_inputs: whether these go missing too.

  Returns:
    Logits plus logistic noise: above 0 is missing.

  Raises:
    BadInput: a ratio outside (0, 1), or no column beside the inputs.

  >>> table = jax.random.normal(jax.random.key(1), (200, 4))
  >>> hidden = logistic(jax.random.key(0), table, ratio=0.3).reshape(200, 4) > 0
  >>> sorted((hidden.mean(0) > 0).tolist())
  [False, False, True, True]
  """
  _check(ratio)
  columns = values.shape[-1]
  seen = max(int(inputs * columns), 1)
  if not 0 <= inputs < 1 or seen >= columns:
    raise BadInput(f"logistic: inputs={inputs} of {columns} columns leaves none to go missing")

  def draw(key, x):
    which, weights, noise = jax.random.split(key, 3)
    given = jax.random.permutation(which, columns) < seen
    w = jax.random.uniform(weights, (columns, columns)) * given[:, None]
    logits = _calibrated(jnp.matmul(x, w, precision="highest"), ratio)
    rest = math.log(ratio / (1 - ratio)) if hide_inputs else -jnp.inf
    return jnp.where(given, rest, logits) + jax.random.logistic(noise, x.shape)

  return _each(draw, keys, values)


def self_masked(
  keys: Key[Array, "*b"], values: Float[Array, "*b rows columns"], *, ratio: float
) -> Float[Array, "*b n"]:
  r"""Missing not at random: the larger a value among those of its column, the likelier it is gone.

  $a_{ij} = x_{ij} / \sigma_j$, the value in deviations of its column over the rows. One key a
  table; values are finite; cells in row-major order, `n = rows · columns`.

  Args:
    keys: typed, one a table.
    values: finite.
    ratio: mean probability of each column to be missing, in (0, 1).

  Returns:
    Logits plus logistic noise: above 0 is missing.

  Raises:
    BadInput: a ratio outside (0, 1).

  >>> table = jax.random.normal(jax.random.key(1), (200, 4))
  >>> hidden = self_masked(jax.random.key(0), table, ratio=0.3).reshape(200, 4) > 0
  >>> bool(table[hidden].mean() > 0.4)
  True
  """
  _check(ratio)

  def draw(key, x):
    return _calibrated(x, ratio) + jax.random.logistic(key, x.shape)

  return _each(draw, keys, values)


def _check(ratio: float) -> None:
  if not 0 < ratio < 1:
    raise BadInput(f"the ratio of missing cells must lie in (0, 1), got {ratio}")


def _calibrated(logits: Float[Array, "r c"], ratio: float) -> Float[Array, "r c"]:
  """Logits of unit deviation in each column, moved so that the mean probability is `ratio`."""
  # Not by a deviation of 0: the mean of equal numbers may be another by its rounding.
  equal = jnp.max(logits, axis=0) == jnp.min(logits, axis=0)
  logits = logits - jnp.mean(logits, axis=0)
  logits = jnp.where(equal, 0, logits / jnp.where(equal, 1, jnp.std(logits, axis=0)))

  def halve(_, bounds):
    low, high = bounds
    middle = (low + high) / 2
    much = jnp.mean(jax.nn.sigmoid(logits + middle), axis=0) > ratio
    return jnp.where(much, low, middle), jnp.where(much, middle, high)

  start = jnp.zeros_like(logits[0])
  low, high = jax.lax.fori_loop(0, _HALVINGS, halve, (start - _FAR, start + _FAR))
  return logits + (low + high) / 2


def _each(draw: Callable[[Array, Array], Array], keys: Array, values: Array) -> Array:
  """The scores of every table of a batch of any rank."""
  *batch, rows, columns = values.shape
  scores = jax.vmap(draw)(keys.reshape(-1), values.reshape(-1, rows, columns))
  return scores.reshape(*batch, rows * columns)
