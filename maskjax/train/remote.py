"""Workdirs in an object store, `gs://…`, `s3://…` or any other URL of fsspec.

A run knows local files only. Of a URL it gets a local copy: what the store holds is pulled first,
values of checkpoints when they are read, and what changes is pushed with every log line, with every
checkpoint before its save counts as done, and at the end. A checkpoint's sealed digest goes last
and its predecessors after it, so that the store always holds a whole one.

Object stores have no locks: that no other machine writes to the same URL is the user's to see to.
"""

import contextlib
import hashlib
import logging
import os
import pathlib
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from maskjax.errors import BadInput, Restart
from maskjax.train.pod.member import me
from maskjax.train.workdir import claim

log = logging.getLogger("maskjax")

Stamp = tuple[int, int]  # when a local file was last written, and its length

# What a run never reads back; the values of checkpoints; the files that make a checkpoint count.
WRITTEN = re.compile(r"(^|/)(tensorboard|views|profile)/")
VALUES = re.compile(r"((?:^|.*/)checkpoints/[^/]+)/(?!digest/)")
SEAL = re.compile(r"(^|/)checkpoints/[^/]+/digest/")
# Half-written: hidden files, fresh copies about to be renamed, orbax's unfinished steps.
UNFINISHED = re.compile(r"(^|/)\.|\.new$|\.orbax-checkpoint-tmp")

EXTRAS = {"gs": "gcs", "gcs": "gcs", "s3": "s3", "s3a": "s3"}

_mirrors: list["Mirror"] = []


@contextlib.contextmanager
def mirrored(
  place: str | os.PathLike[str], *, write: bool = False
) -> Iterator[str | os.PathLike[str]]:
  """The place itself where it is local, or the local copy of a URL while the block runs.

  With `write` the first process pushes what changes. Errors name the URL, not the copy.

  Raises:
    BadInput: the store is unknown, its package is missing, or it cannot be read or written.
  """
  if "://" not in (url := os.fspath(place)):
    yield place
    return
  with _scratch(url, write) as scratch:
    mirror = Mirror(url.rstrip("/"), scratch)
    mirror.pull()
    _mirrors.append(mirror)
    try:
      with contextlib.closing(mirror), _pushed_last(mirror, write and me().first):
        yield mirror.place
    except (BadInput, Restart) as error:
      if (text := told(str(error))) == str(error):
        raise
      raise type(error)(text) from error
    finally:
      _mirrors.remove(mirror)


@contextlib.contextmanager
def _pushed_last(mirror: "Mirror", writes: bool) -> Iterator[None]:
  """Pushes what is left at the end; while an error is on its way, a second one is only logged."""
  mirror.writes = writes
  try:
    yield
  except BaseException:
    try:
      mirror.push().result()
    except BadInput as late:
      log.warning("%s", late)
    raise
  mirror.push().result()


@contextlib.contextmanager
def _scratch(url: str, write: bool) -> Iterator[pathlib.Path]:
  """An empty local folder; a writer's has one name, so that a killed one leaves nothing behind."""
  if not write:
    with tempfile.TemporaryDirectory(prefix="maskjax-") as temporary:
      yield pathlib.Path(temporary)
    return
  digest = hashlib.sha256(url.encode()).hexdigest()[:12]
  name = f"maskjax-{os.getuid()}-{digest}-{me().index}"
  with claim(pathlib.Path(tempfile.gettempdir()) / name) as held:
    folder = held / "run"
    shutil.rmtree(folder, ignore_errors=True)
    try:
      yield folder
    finally:
      shutil.rmtree(folder, ignore_errors=True)


def push(path: pathlib.Path, *, wait: bool = True) -> None:
  """Brings the store of a local path up to date; does nothing where the path is no copy.

  Without `wait` a failure is only logged: the next push tries again.

  Raises:
    BadInput: the store cannot be written.
  """
  for mirror in _mirrors:
    if path.is_relative_to(mirror.folder):
      done = mirror.push()
      if wait:
        done.result()
      else:
        done.add_done_callback(_warn)


def _warn(done: Future[None]) -> None:
  if error := done.exception():
    log.warning("%s", error)


def fetch(path: pathlib.Path) -> None:
  """Gets the values of the checkpoint at a local path; does nothing where the path is no copy."""
  for mirror in _mirrors:
    if path.is_relative_to(mirror.folder):
      mirror.fetch(path)


def told(text: str) -> str:
  """A message to the user: URLs for the paths of their copies."""
  for mirror in _mirrors:
    text = text.replace(str(mirror.folder), mirror.url)
  return text


class Mirror:
  """A local copy of what lies below a URL.

  Attributes:
    place: the copy; of a URL that is one file, this file.
    writes: whether `push` does anything.
  """

  def __init__(self, url: str, scratch: pathlib.Path):
    # The last folders of a path name runs in tables and plots.
    self.url, self.folder = url, scratch / url.partition("://")[2].strip("/")
    self.folder.mkdir(parents=True)
    self.place, self.writes = self.folder, False
    self._store, self._root = _store(url)
    # What lies in the store, by its name below the URL: the local file's stamp, None if not local.
    self._there: dict[str, Stamp | None] = {}
    self._pushing = ThreadPoolExecutor(1, "push")

  def close(self) -> None:
    """Waits for the last push."""
    self._pushing.shutdown()

  def pull(self) -> None:
    """Gets everything that a run reads, but the values of checkpoints."""
    found = self._asked("read", self._found)
    if found == [""]:
      self.place = self.folder / self.url.rpartition("/")[2]
      self._asked("read", self._store.get_file, self._root, str(self.place))
      return
    self._there = {name: None for name in found if not WRITTEN.search(name)}
    self._get([name for name in self._there if not VALUES.match(name)])

  def fetch(self, path: pathlib.Path) -> None:
    """Gets what is not local yet below a local path."""
    below = f"{path.relative_to(self.folder).as_posix()}/"
    self._get([n for n, stamp in self._there.items() if stamp is None and n.startswith(below)])

  def push(self) -> Future[None]:
    """Puts what changed and takes away what is gone, after the pushes already asked for."""
    return self._pushing.submit(self._push)

  def _push(self) -> None:
    if not self.writes:
      return
    here = self._local()
    changed = [name for name, stamp in here.items() if self._there.get(name) != stamp]
    for sealing in (False, True):
      self._put([name for name in changed if bool(SEAL.search(name)) == sealing], here)
    # A checkpoint that goes stops counting before its values go.
    gone = sorted((n for n in self._there if self._is_gone(n)), key=lambda n: not SEAL.search(n))
    for name in gone:
      self._asked("written", self._store.rm_file, self._path(name))
      del self._there[name]

  def _found(self) -> list[str]:
    self._store.invalidate_cache()
    return [name[len(self._root) :].strip("/") for name in self._store.find(self._root)]

  def _local(self) -> dict[str, Stamp]:
    """The finished local files; one that another thread takes away meanwhile is not there."""
    stamps = {}
    for path in self.folder.rglob("*"):
      name = path.relative_to(self.folder).as_posix()
      with contextlib.suppress(FileNotFoundError):
        if path.is_file() and not UNFINISHED.search(name):
          stamps[name] = _stamp(path)
    return stamps

  def _is_gone(self, name: str) -> bool:
    """Whether the run took a file away; one that was never fetched goes with its checkpoint."""
    fetched, step = self._there[name] is not None, VALUES.match(name)
    known = self.folder / (name if fetched or step is None else step[1])
    return not known.exists()

  def _get(self, names: Sequence[str]) -> None:
    paths = [self.folder / name for name in names]
    for path in paths:
      path.parent.mkdir(parents=True, exist_ok=True)
    if names:
      self._asked("read", self._store.get, [self._path(n) for n in names], [str(p) for p in paths])
    self._there |= {name: _stamp(path) for name, path in zip(names, paths, strict=True)}

  def _put(self, names: Sequence[str], stamps: dict[str, Stamp]) -> None:
    """Puts files; one that is gone by now went with its checkpoint and is not missed."""
    names = [name for name in names if (self.folder / name).exists()]
    if names:
      local, there = [str(self.folder / n) for n in names], [self._path(n) for n in names]
      self._asked("written", self._store.put, local, there)
    self._there |= {name: stamps[name] for name in names}

  def _path(self, name: str) -> str:
    return f"{self._root}/{name}"

  def _asked(self, what: str, call: Callable[..., Any], *args: Any) -> Any:
    """Calls the store, whose packages raise errors of their own kinds."""
    try:
      return call(*args)
    except Exception as error:
      reason = str(error).partition("\n")[0][:200]
      raise BadInput(f"{self.url} cannot be {what}: {type(error).__name__}: {reason}") from error


def _store(url: str) -> tuple[Any, str]:
  """The file system of a URL, and the URL's path in it."""
  import fsspec

  protocol = url.partition("://")[0]
  try:
    # Buckets have no folders to be made; of the others the one for local files can make its own.
    options = {"auto_mkdir": True} if protocol in ("file", "local") else {}
    store, root = fsspec.core.url_to_fs(url, **options)
  except ImportError as error:
    extra = EXTRAS.get(protocol)
    cure = f"pip install 'maskjax[{extra}]'" if extra else str(error)
    raise BadInput(f"{protocol}:// needs a package that is not installed: {cure}") from error
  except ValueError as error:
    raise BadInput(f"unknown kind of URL {protocol}:// in {url}: {error}") from error
  return store, root.rstrip("/")


def _stamp(path: pathlib.Path) -> Stamp:
  status = path.stat()
  return status.st_mtime_ns, status.st_size
