"""Data that lie in an object store, as files of this machine."""

import contextlib
import fcntl
import hashlib
import os
import pathlib
import tempfile
from collections.abc import Iterator

from maskjax.data.store import Store
from maskjax.errors import BadInput


@contextlib.contextmanager
def local(path: str) -> Iterator[str]:
  """A path itself, or for a URL the copy of the file that lies there; errors name the URL.

  A file is copied once for all processes of a machine, to `maskjax-data-USER` below `TMPDIR`, and
  stays there; one that has changed in the store is copied anew.

  Raises:
    BadInput: the store is unknown, its package is missing, it refuses, or there is no file.
    Restart: the store does not answer.
  """
  if "://" not in path:
    yield path
    return
  copy = str(_copied(Store(path.rstrip("/"))))
  try:
    yield copy
  except BadInput as error:
    raise BadInput(str(error).replace(copy, path)) from error


def _copied(store: Store) -> pathlib.Path:
  if store.ask("read", store.files.isdir, store.root):
    raise BadInput(f"{store.url} is a folder: of data in a store data.path is one file, a zip say")
  version = store.ask("read", store.files.ukey, store.root)
  digest = hashlib.sha256(f"{store.url} {version}".encode()).hexdigest()[:16]
  folder = pathlib.Path(tempfile.gettempdir(), f"maskjax-data-{os.getuid()}", digest)
  folder.mkdir(parents=True, exist_ok=True)
  path = folder / store.url.rpartition("/")[2]
  with open(folder / ".lock", "w") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    if not path.exists():
      half = folder / ".half"
      store.ask("read", store.files.get_file, store.root, str(half))
      half.replace(path)
  return path
