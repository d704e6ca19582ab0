"""Masked reductions: the one place where a sum is divided by a count (contract 8).

`where` is True where a value counts, and broadcasts to the values. Values that do not count, NaN
and infinity included, reach neither the result nor any gradient; a reduction over nothing gives the
value that its docstring names instead of NaN. A `where` that is not bool raises TypeError.
"""

import contextlib
import contextvars
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Num

from maskjax import masks

Axis = int | tuple[int, ...] | None
_mapped: contextvars.ContextVar[str | None] = contextvars.ContextVar("mapped", default=None)


class Term(NamedTuple):
  """One term of a loss: a sum and the count to divide it by.

  Both are added up over microbatches and devices before the division.
  """

  sum: Float[Array, ""]
  count: Num[Array, ""]  # type: ignore[assignment]


def term(values: Num[Array, "..."], where: Bool[Array, "..."]) -> Term:
  """The sum of the values that count, in float32, and their number.

  >>> t = term(jnp.array([1., 2., jnp.nan]), jnp.array([True, True, False]))
  >>> float(t.sum), int(t.count)
  (3.0, 2)
  """
  masks.check(where=where)
  where = jnp.broadcast_to(where, values.shape)
  return Term(sum(values, where), count(where))


@contextlib.contextmanager
def across(name: str) -> Iterator[None]:
  """Says while a function is traced that its batch is one device's part, mapped over axis `name`.

  Under `jit` a batch is whole whatever devices it lies on, and nothing needs to be said.
  """
  token = _mapped.set(name)
  try:
    yield
  finally:
    _mapped.reset(token)


def axis() -> str | None:
  """The mapped axis that cuts the batch of the function being traced, None where it is whole."""
  return _mapped.get()


def combine(op: Callable[[Any, str], Any], tree: Any) -> Any:
  """`op(tree, axis())`, say `jax.lax.psum`, where devices hold parts of the batch, else `tree`.

  Whatever looks at a batch as a whole goes through here: sums and maxima over it, and the examples
  themselves, by `partial(jax.lax.all_gather, tiled=True)`.

  >>> total = lambda x: combine(jax.lax.psum, jnp.sum(x))
  >>> float(total(jnp.arange(4.))), jax.vmap(across("i")(total), axis_name="i")(jnp.eye(2)).tolist()
  (6.0, [2.0, 2.0])
  """
  name = axis()
  return tree if name is None else op(tree, name)


def count(
  where: Bool[Array, "..."], axis: Axis = None, keepdims: bool = False
) -> Int[Array, "..."]:
  """The number of True entries, an exact int32.

  Args:
    where: True where a value counts.
    axis: over which; None: all.
    keepdims: whether these axes stay, with size 1.
  """
  masks.check(where=where)
  return jnp.sum(where, axis=axis, keepdims=keepdims, dtype=jnp.int32)


def sum(
  x: Num[Array, "..."], where: Bool[Array, "..."], axis: Axis = None, keepdims: bool = False
) -> Float[Array, "..."]:
  """The sum of the values that count, accumulated in float32; 0 over nothing.

  Args:
    x: values.
    where: True where a value counts; broadcasts to `x`.
    axis: over which; None: all.
    keepdims: whether these axes stay, with size 1.
  """
  masks.check(where=where)
  where = jnp.broadcast_to(where, x.shape)
  return jnp.sum(jnp.where(where, x.astype(jnp.float32), 0), axis=axis, keepdims=keepdims)


def mean(
  x: Num[Array, "..."], where: Bool[Array, "..."], axis: Axis = None, keepdims: bool = False
) -> Float[Array, "..."]:
  """The mean of the values that count; 0 over nothing.

  Args:
    x: values.
    where: True where a value counts; broadcasts to `x`.
    axis: over which; None: all.
    keepdims: whether these axes stay, with size 1.

  >>> float(mean(jnp.array([1., 3., jnp.nan]), jnp.array([True, True, False])))
  2.0
  """
  masks.check(where=where)
  where = jnp.broadcast_to(where, x.shape)
  return sum(x, where, axis, keepdims) / jnp.maximum(count(where, axis, keepdims), 1)


def var(
  x: Num[Array, "..."],
  where: Bool[Array, "..."],
  axis: Axis = None,
  keepdims: bool = False,
  ddof: int = 0,
) -> Float[Array, "..."]:
  r"""The variance $\sum (x - \bar x)^2 / (N - \mathrm{ddof})$ of the values that count.

  0 where N ≤ ddof.

  Args:
    x: values.
    where: True where a value counts; broadcasts to `x`.
    axis: over which; None: all.
    keepdims: whether these axes stay, with size 1.
    ddof: 1 for the unbiased estimate.

  >>> float(var(jnp.array([1., 3., jnp.nan]), jnp.array([True, True, False]), ddof=1))
  2.0
  """
  masks.check(where=where)
  where = jnp.broadcast_to(where, x.shape)
  # Cut before the square: the slope of a square at NaN is NaN, and 0 · NaN too.
  centred = jnp.where(where, x.astype(jnp.float32) - mean(x, where, axis, keepdims=True), 0)
  free = count(where, axis, keepdims) - ddof
  squares = jnp.sum(centred * centred, axis=axis, keepdims=keepdims)
  return jnp.where(free > 0, squares, 0) / jnp.maximum(free, 1)


def softmax(
  x: Float[Array, "..."], where: Bool[Array, "..."], axis: int = -1
) -> Float[Array, "..."]:
  """Softmax over the entries that count, in float32; 0 for the others, and in rows of none.

  Entries of +inf share everything equally, without a gradient.

  Args:
    x: logits.
    where: True where an entry counts; broadcasts to `x`.
    axis: along which the shares add up to 1.

  >>> two, none = jnp.array([True, True, False]), jnp.array([False] * 3)
  >>> softmax(jnp.array([[0., 0., jnp.nan], [1., 2., 3.]]), jnp.stack([two, none])).tolist()
  [[0.5, 0.5, 0.0], [0.0, 0.0, 0.0]]
  """
  masks.check(where=where)
  where = jnp.broadcast_to(where, x.shape)
  x = jnp.where(where, x.astype(jnp.float32), -jnp.inf)
  top = jax.lax.stop_gradient(jnp.max(x, axis=axis, keepdims=True))
  x = jnp.where(top == jnp.inf, jnp.where(x == jnp.inf, 0, -jnp.inf), x)
  weight = jnp.where(where, jnp.exp(x - jnp.where(jnp.isfinite(top), top, 0)), 0)
  total = jnp.sum(weight, axis=axis, keepdims=True)
  return weight / jnp.where(total > 0, total, 1)
