"""Weights for others: a tree as one safetensors file, names joined by slashes, no pickle."""

import json
import os
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy

from maskjax.errors import BadInput, unknown
from maskjax.train.checkpoints import cuts
from maskjax.train.checkpoints import leaves as lv

_DTYPES = {
  "F64": "float64",
  "F32": "float32",
  "F16": "float16",
  "BF16": "bfloat16",
  "F8_E4M3": "float8_e4m3fn",
  "F8_E5M2": "float8_e5m2",
  "I64": "int64",
  "I32": "int32",
  "I16": "int16",
  "I8": "int8",
  "U64": "uint64",
  "U32": "uint32",
  "U16": "uint16",
  "U8": "uint8",
  "BOOL": "bool",
  "C64": "complex64",
}


def export(path: str | os.PathLike[str], tree: Any) -> None:
  """Writes a tree of arrays, such as the encoder's parameters, as safetensors; whole or not at all.

  Raises:
    BadInput: where the file cannot be written, or a leaf has a dtype that safetensors lacks.
  """
  path = pathlib.Path(path)
  leaves = lv.named(tree)
  kinds = {name: lv.kind(name, leaf) for name, leaf in leaves.items()}
  keys = {name: kind.impl for name, kind in kinds.items() if kind.impl}
  temporary = path.with_name(f".{path.name}.{os.getpid()}")
  try:
    metadata = {"keys": json.dumps(keys)} if keys else None
    arrays = {name: cuts.native(cuts.data(leaf)) for name, leaf in leaves.items()}
    safetensors.numpy.save_file(arrays, temporary, metadata=metadata)
    temporary.replace(path)
  except (OSError, safetensors.SafetensorError) as error:
    raise BadInput(f"{path} cannot be written: {error}") from error
  finally:
    temporary.unlink(missing_ok=True)


def read(path: str | os.PathLike[str]) -> dict[str, Any]:
  """Reads what `export` wrote as nested dicts of numpy arrays, and typed keys.

  Raises:
    BadInput: where the file cannot be read or is not whole.
  """
  path = pathlib.Path(path)
  try:
    with safetensors.safe_open(path, framework="np") as file:
      keys = json.loads((file.metadata() or {}).get("keys", "{}"))
    tensors = dict(safetensors.deserialize(path.read_bytes()))
  except (OSError, ValueError, safetensors.SafetensorError) as error:
    raise BadInput(f"{path} cannot be read: {error}") from error
  tree: dict[str, Any] = {}
  for name, tensor in sorted(tensors.items()):
    *folders, last = name.split("/")
    inner = tree
    for folder in folders:
      inner = inner.setdefault(folder, {})
      if not isinstance(inner, dict):
        raise BadInput(f"{path} cannot be read: {name!r} lies below another array")
    inner[last] = _array(path, tensor, keys.get(name, ""))
  return tree


def is_ours(path: str | os.PathLike[str]) -> bool:
  """Whether a safetensors file names its arrays as `export` does, joined by slashes.

  Raises:
    BadInput: where the file cannot be read.
  """
  try:
    with safetensors.safe_open(path, framework="np") as file:
      return any("/" in name for name in file.keys())  # noqa: SIM118 (no dict)
  except (OSError, safetensors.SafetensorError) as error:
    raise BadInput(f"{path} cannot be read: {error}") from error


def _array(path: pathlib.Path, tensor: dict[str, Any], impl: str) -> Any:
  if tensor["dtype"] not in _DTYPES:
    raise unknown(f"dtype in {path}", tensor["dtype"], _DTYPES)
  array = np.frombuffer(tensor["data"], _DTYPES[tensor["dtype"]]).reshape(tensor["shape"])
  return jax.random.wrap_key_data(jnp.asarray(array), impl=impl) if impl else array
