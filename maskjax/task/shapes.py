"""Whether the arguments of a value's function have the shapes that its annotations name."""

import inspect
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any

from jaxtyping import AbstractArray, Shaped, jaxtyped

from maskjax.errors import BadInput


def check(name: str, fn: Callable[..., Any], told: Mapping[str, Any]) -> None:
  """Makes sure that arguments fit each other, before arithmetic broadcasts or refuses them.

  A prediction of 16 numbers at each position has no error beside a target of 768, and one of a
  single number has a wrong one. Dtypes are the function's own business.

  Args:
    name: of the value, or "losses.NAME".
    fn: a function, or one bound to some arguments; what it does not annotate is not looked at.
    told: its arguments by name.

  Raises:
    BadInput: saying what the function takes and what it got.

  >>> import jax.numpy as jnp
  >>> from maskjax.recover import squared_error
  >>> told = dict(prediction=jnp.ones((2, 4)), target=jnp.ones((2, 3)), asked=jnp.ones(2, bool))
  >>> check("losses.recover", squared_error, told)  # doctest: +NORMALIZE_WHITESPACE
  Traceback (most recent call last):
  maskjax.errors.BadInput: losses.recover: recover.squared_error takes prediction [*b n d], target
  [*b n d], asked [*b n], and was given prediction (2, 4), target (2, 3), asked (2,)
  """
  function = inspect.unwrap(getattr(fn, "func", fn))
  annotated = getattr(function, "__annotations__", {})
  forms = {k: form for k in told if (form := _forms(annotated.get(k)))}
  arrays = {k: told[k] for k in forms if hasattr(told[k], "shape")}
  with jaxtyped("context"):
    # Each argument binds the sizes that its axes name for those after it.
    fits = all(_fits(x, forms[k]) for k, x in arrays.items())
  if not fits:
    takes = ", ".join(f"{k} {' or '.join(f'[{d}]' for d in forms[k])}" for k in arrays)
    got = ", ".join(f"{k} {tuple(x.shape)}" for k, x in arrays.items())
    raise BadInput(f"{name}: {_called(function)} takes {takes}, and was given {got}")


def _fits(x: Any, forms: list[str]) -> bool:
  return any(isinstance(x, Shaped[Any, form]) for form in forms)  # type: ignore[arg-type]


def _forms(annotation: Any) -> list[str]:
  """The axes that an annotation of an array names, one string for each that it allows."""
  if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union:
    return [form for one in typing.get_args(annotation) for form in _forms(one)]
  known = isinstance(annotation, type) and issubclass(annotation, AbstractArray)
  return [annotation.dim_str] if known else []


def _called(function: Any) -> str:
  """A function as configs name it: by its package, of other people's by the file too."""
  package, *inner = function.__module__.split(".")
  if package == "maskjax" and inner:
    return f"{inner[0]}.{function.__qualname__}"
  return f"{function.__module__}:{function.__qualname__}"
