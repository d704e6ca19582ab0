"""The arrays of an npz file, or one line that says why there are none."""

import logging
import zipfile
import zlib

import numpy as np

from maskjax.data import foreign
from maskjax.data.plain import check_file
from maskjax.errors import BadInput

_log = logging.getLogger("maskjax")


def read(path: str) -> dict[str, np.ndarray]:
  """All arrays of a file by name.

  Raises:
    BadInput: no such file, another kind of file, a damaged one, or arrays of Python objects (a
      single object, such as a dictionary of notes, is passed over and told).
  """
  check_file(path)
  if not zipfile.is_zipfile(path):
    with open(path, "rb") as file:
      raise BadInput(f"{path!r} is not an npz file{foreign.why(file.read(foreign.START))}")
  notes = []
  try:
    with np.load(path, allow_pickle=False) as file:
      notes = [name for name in file.files if _is_note(file, name)]
      arrays = {name: file[name] for name in file.files if name not in notes}
  except ValueError as error:
    what = "arrays of Python objects, which are not loaded" if "pickle" in str(error) else error
    raise BadInput(f"{path!r} holds {what}") from error
  except (OSError, EOFError, zipfile.BadZipFile, zlib.error, RuntimeError) as error:
    raise BadInput(f"{path!r} is not a readable npz: {error}") from error
  if notes:
    _log.warning("%s: passed over Python objects, which are not loaded: %s", path, ", ".join(notes))
  if others := [name for name, found in arrays.items() if not isinstance(found, np.ndarray)]:
    raise BadInput(f"{path!r} is not an npz file: it holds {others[0]!r}, which is no array")
  return arrays


def _is_note(file: np.lib.npyio.NpzFile, name: str) -> bool:
  """Whether an array is a single Python object."""
  if file.zip is None or f"{name}.npy" not in file.zip.namelist():
    return False
  with file.zip.open(f"{name}.npy") as member:
    version = np.lib.format.read_magic(member)
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else None
    shape, _, dtype = (header or np.lib.format.read_array_header_2_0)(member)
  return dtype.hasobject and shape == ()
