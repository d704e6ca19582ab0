"""The leaves of a tree on their way to disk and back: names, what they are, digests."""

import concurrent.futures
import hashlib
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from maskjax.errors import BadInput
from maskjax.train.pod.threads import cores

Arrays = dict[str, np.ndarray]


class Spec(NamedTuple):
  """What a leaf is, apart from its values.

  >>> print(spec("kernel", np.zeros((3, 4), np.float32)))
  float32[3,4]
  """

  dtype: str
  shape: tuple[int, ...]

  def __str__(self) -> str:
    """Writes the dtype and the shape."""
    return f"{self.dtype}[{','.join(map(str, self.shape))}]"


def is_key(leaf: Any) -> bool:
  """True for a typed key, or a `ShapeDtypeStruct` of one."""
  return hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def spec(name: str, leaf: Any) -> Spec:
  """The `Spec` of an array, a scalar, a typed key or a `ShapeDtypeStruct`.

  Raises:
    BadInput: for a leaf that is no number, such as a string.
  """
  if is_key(leaf):
    return Spec(str(leaf.dtype), tuple(leaf.shape))
  leaf = leaf if hasattr(leaf, "dtype") else np.asarray(leaf)
  dtype = np.dtype(leaf.dtype)
  if dtype.kind in "OSUMm" or dtype.names:
    raise BadInput(f"leaf {name!r} holds {dtype}, which a checkpoint cannot hold")
  return Spec(dtype.name, tuple(leaf.shape))


class Kind(NamedTuple):
  """What the data of a leaf does not tell: its `Spec` as text, and the generator of a key."""

  spec: str
  impl: str


def kind(name: str, leaf: Any) -> Kind:
  """The `Kind` of a leaf that holds values.

  >>> kind("key", jax.random.key(0))
  Kind(spec='key<fry>[]', impl='threefry2x32')
  """
  return Kind(str(spec(name, leaf)), str(jax.random.key_impl(leaf)) if is_key(leaf) else "")


def named(tree: Any) -> dict[str, Any]:
  """The leaves of a tree by their path, joined by slashes.

  >>> named({"encoder": (1, {"bias": 2})})
  {'encoder/0': 1, 'encoder/1/bias': 2}
  """
  leaves = jax.tree_util.tree_leaves_with_path(tree)
  names = [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in leaves]
  if len(set(names)) < len(names):
    twice = next(name for name in names if names.count(name) > 1)
    raise BadInput(f"two leaves of the tree are called {twice!r}")
  return {name: leaf for name, (_, leaf) in zip(names, leaves, strict=True)}


def place(array: np.ndarray, like: Any, impl: str) -> Any:
  """Gives a host array the kind of `like`: scalar, numpy, jax on its sharding, key of `impl`.

  For a `Spec` it stays a host array, a key its data.
  """
  if isinstance(like, bool | int | float | complex) and not isinstance(like, np.generic):
    return type(like)(array.item())
  if isinstance(like, np.generic):
    return array[()]
  # JAX narrows 64-bit values unless told otherwise: a position of 2**40 must not.
  narrowed = not impl and jax.dtypes.canonicalize_dtype(array.dtype) != array.dtype
  if isinstance(like, np.ndarray | Spec) or narrowed:
    return array
  if not getattr(like, "sharding", None) or like.sharding.is_fully_addressable:
    value = jax.random.wrap_key_data(jnp.asarray(array), impl=impl) if impl else array
  else:
    # Every process has the whole: each puts its part, without asking whether all have the same.
    value = jax.make_array_from_callback(array.shape, like.sharding, lambda part: array[part])
    return jax.random.wrap_key_data(value, impl=impl) if impl else value
  return jax.device_put(value, like.sharding if getattr(like, "committed", True) else None)


def _digest(array: np.ndarray) -> str:
  digest = hashlib.blake2b(str(spec("", array)).encode(), digest_size=32)
  digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
  return digest.hexdigest()


def digests(arrays: Arrays) -> dict[str, str]:
  """BLAKE2b of each array's dtype, shape and bytes, on all cores."""
  with concurrent.futures.ThreadPoolExecutor(cores()) as threads:
    return dict(zip(arrays, threads.map(_digest, arrays.values()), strict=True))


def seal(record: Mapping[str, Any]) -> str:
  """BLAKE2b of a record's canonical JSON."""
  return hashlib.blake2b(json.dumps(record, sort_keys=True).encode(), digest_size=32).hexdigest()
