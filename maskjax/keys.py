"""Random keys: one run key, folded by stream, step and position in the global batch."""

import hashlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key


def stream(key: Key[Array, ""], name: str, step: int | Int[Array, ""] = 0) -> Key[Array, ""]:
  """The key of one named stream of draws at one step.

  `fold_in(fold_in(key, hash(name)), step)`. The hash is that of the name's bytes, the same in every
  process and version of Python: a resumed or distributed run draws what the first one would have.

  Args:
    key: of the run, typed.
    name: of the stream.
    step: of the run.

  Raises:
    TypeError: `key` is not typed.

  >>> a, b = (stream(jax.random.key(0), name, step=3) for name in ("mask", "noise"))
  >>> bool(jnp.all(jax.random.key_data(a) == jax.random.key_data(b)))
  False
  """
  _check_typed(key)
  digest = hashlib.blake2s(name.encode(), digest_size=4).digest()
  return jax.random.fold_in(jax.random.fold_in(key, int.from_bytes(digest, "little")), step)


def keys(key: Key[Array, ""], positions: int | Int[Array, "*b"]) -> Key[Array, "*b"]:
  """One key per example, from its position in the global batch; an int `n` means 0 to n - 1.

  An example's key depends on nothing but `key` and its own position: 1, 4 or 8 devices or
  microbatches draw the same noise for it.

  Raises:
    TypeError: `key` is not typed, or the positions are no integers.
    ValueError: positions that are known, not traced, and outside [0, 2³¹): they would share keys.

  >>> whole = keys(jax.random.key(0), 8)
  >>> half = keys(jax.random.key(0), jnp.arange(4, 8))
  >>> bool(jnp.all(jax.random.key_data(whole[4:]) == jax.random.key_data(half)))
  True
  """
  _check_typed(key)
  if isinstance(positions, int):
    if positions < 0:
      raise ValueError(f"the number of examples must not be negative, got {positions}")
    positions = jnp.arange(positions)
  elif not isinstance(positions, jax.Array):
    positions = np.asarray(positions)
    if positions.size and not 0 <= positions.min() <= positions.max() < 2**31:
      raise ValueError(f"positions lie in [0, 2³¹), got {positions.min()} … {positions.max()}")
  if not jnp.issubdtype(positions.dtype, jnp.integer):
    raise TypeError(f"positions are integers, got an array of {positions.dtype}")
  fold = lambda position: jax.random.fold_in(key, position)
  return jax.vmap(fold)(jnp.asarray(positions).reshape(-1)).reshape(positions.shape)


def of_views(
  key: Key[Array, ""], position: int | Int[Array, "*b"], *, views: int
) -> Key[Array, "v *b"]:
  """Keys of each example for each of several views, none of them those of another stream.

  Args:
    key: of a stream and a step.
    position: of the examples in the global batch, as in `keys`.
    views: v, how many.

  Returns:
    `keys(stream(key, "view", v), position)` for each view, which lead.

  Raises:
    TypeError, ValueError: see `keys`.

  >>> of_views(jax.random.key(0), jnp.arange(4), views=2).shape
  (2, 4)
  """
  return jax.vmap(lambda view: keys(stream(key, "view", view), position))(jnp.arange(views))


def _check_typed(key: Any) -> None:
  dtype = getattr(key, "dtype", type(key).__name__)
  if not jnp.issubdtype(dtype, jax.dtypes.prng_key):
    raise TypeError(f"keys are typed (jax.random.key), got {dtype}")
