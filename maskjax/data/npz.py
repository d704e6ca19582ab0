"""The arrays of an npz file, or one line that says why there are none."""

import os
import zipfile
import zlib

import numpy as np

from maskjax.errors import BadInput


def read(path: str) -> dict[str, np.ndarray]:
  """All arrays of a file by name.

  Raises:
    BadInput: no such file, another kind of file, a damaged one, or arrays of Python objects.
  """
  if not path or not os.path.isfile(path):
    raise BadInput(f"data.path={path!r} does not exist or is no file")
  if not zipfile.is_zipfile(path):
    raise BadInput(f"{path!r} is not an npz file")
  try:
    with np.load(path, allow_pickle=False) as file:
      arrays = {name: file[name] for name in file.files}
  except ValueError as error:
    what = "arrays of Python objects, which are not loaded" if "pickle" in str(error) else error
    raise BadInput(f"{path!r} holds {what}") from error
  except (OSError, EOFError, zipfile.BadZipFile, zlib.error, RuntimeError) as error:
    raise BadInput(f"{path!r} is not a readable npz: {error}") from error
  if foreign := [name for name, found in arrays.items() if not isinstance(found, np.ndarray)]:
    raise BadInput(f"{path!r} is not an npz file: it holds {foreign[0]!r}, which is no array")
  return arrays
