"""An object store in memory, and local copies, for tests of workdirs that lie in one."""

import tempfile

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from maskjax.data import store as stores


@pytest.fixture
def scratch(tmp_path, monkeypatch):
  """Local copies of its own: their folders are named by the URL, which others test with too."""
  monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
  (tmp_path / "scratch").mkdir()


@pytest.fixture
def store():
  """An empty store, the only one of its process."""
  MemoryFileSystem.store.clear()
  MemoryFileSystem.pseudo_dirs[:] = [""]
  yield MemoryFileSystem()
  MemoryFileSystem.store.clear()


@pytest.fixture
def names(store):
  """The names of the objects below the URL."""
  return lambda: {path.removeprefix("/bucket/runs/one/") for path in store.find("/bucket/runs/one")}


@pytest.fixture
def waits(monkeypatch):
  """Seconds that were waited for a store, without waiting."""
  waited = []
  monkeypatch.setattr(stores.time, "sleep", waited.append)
  return waited
