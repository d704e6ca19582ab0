"""Workdirs in an object store, `gs://…`, `s3://…` or any other URL of fsspec.

A run knows local files only. Of a URL it gets a local copy: what the store holds is pulled first,
values of checkpoints when they are read, and what changes is pushed with every log line (of the
figures what is new, see `parts`), with every checkpoint before its save counts as done, and at the
end. Of several processes each pushes its part of a checkpoint, the first all else. A checkpoint's
sealed digest goes last, when all parts are there, and its predecessors after it, so that the store
always holds a whole one. A store that does not answer is asked again for half a minute, see
`store`.

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
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from maskjax.errors import BadInput, Restart
from maskjax.train.pod.member import me
from maskjax.train.workdirs.names import LATER, PARTS, SEAL, UNFINISHED, VALUES, WRITTEN
from maskjax.train.workdirs.parts import GROWING, PART, Growing
from maskjax.train.workdirs.store import EXTRAS, Store
from maskjax.train.workdirs.workdir import claim

log = logging.getLogger("maskjax")

Stamp = tuple[int, int]  # when a local file was last written, and its length
UNKNOWN: Stamp = (-1, -1)  # no local file's: what lies in the store may be anything

# A URL that went through pathlib, which takes two slashes for one.
SWALLOWED = re.compile(rf"({'|'.join((*EXTRAS, 'memory', 'file'))}):/(?!/)")

_mirrors: list["Mirror"] = []


@contextlib.contextmanager
def mirrored(
  place: str | os.PathLike[str], *, write: bool = False
) -> Iterator[str | os.PathLike[str]]:
  """The place itself where it is local, or the local copy of a URL while the block runs.

  With `write` each process pushes what changes and is its own. Errors name the URL, not the copy.

  Raises:
    BadInput: the store is unknown, its package is missing, it refuses, or nothing is there; a URL
      given as a path of pathlib.
    Restart: the store does not answer.
  """
  if SWALLOWED.match(url := os.fspath(place)):
    raise BadInput(f"{url!r} was a URL before pathlib took a slash: give it as text, ://")
  if "://" not in url:
    yield place
    return
  with _scratch(url, write) as scratch:
    mirror = Mirror(url.rstrip("/"), scratch)
    mirror.pull()
    _mirrors.append(mirror)
    try:
      with contextlib.closing(mirror), _pushed_last(mirror, write):
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
    except (BadInput, Restart) as late:
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

  Without `wait` it is for those who watch: of figures what is new, and a failure is only logged,
  since the next push tries again.

  Raises:
    BadInput: the store refuses to be written.
    Restart: it does not answer.
  """
  for mirror in _mirrors:
    if path.is_relative_to(mirror.folder):
      done = mirror.push(whole=wait)
      if wait:
        done.result()
      else:
        done.add_done_callback(_warn)


def _warn(done: Future[None]) -> None:
  if error := done.exception():
    log.warning("%s", error)


def fetch(path: pathlib.Path, below: Sequence[str]) -> None:
  """Gets what lies in parts of a checkpoint at a local path, unless the path is no copy.

  Args:
    path: of the checkpoint.
    below: how names of what is needed begin there; the empty one for all.
  """
  for mirror in _mirrors:
    if path.is_relative_to(mirror.folder):
      mirror.fetch(path, below)


def apart(path: pathlib.Path) -> bool:
  """Whether a local path is a copy of this process' own, of what lies in a store."""
  return any(path.is_relative_to(mirror.folder) for mirror in _mirrors)


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
    self._store = Store(url)
    # What lies in the store, by its name below the URL: the local file's stamp, None if not local.
    self._there: dict[str, Stamp | None] = {}
    self._growing: dict[str, Growing] = {}
    self._pushing = ThreadPoolExecutor(1, "push")
    self._watched: Future[None] | None = None  # the last push that nobody waits for

  def close(self) -> None:
    """Waits for the last push."""
    self._pushing.shutdown()

  def pull(self) -> None:
    """Gets everything that a run reads, but the values of checkpoints."""
    found = self._store.ask("read", self._found)
    if found == [""]:
      self.place = self.folder / self.url.rpartition("/")[2]
      self._store.ask("read", self._store.files.get_file, self._store.root, str(self.place))
      return
    parts = [match for name in found if (match := PART.fullmatch(name))]
    names = [name for name in found if not (WRITTEN.search(name) or PART.fullmatch(name))]
    self._there = dict.fromkeys(names)
    self._get([name for name in names if not VALUES.match(name)])
    for name in {*filter(GROWING.search, names), *(match[1] for match in parts)}:
      self._grown(name).pull(self.folder / name, [m[0] for m in parts if m[1] == name])

  def fetch(self, path: pathlib.Path, below: Sequence[str]) -> None:
    """Gets what begins so below a local path and is not local yet, put by other processes too."""
    place = f"{path.relative_to(self.folder).as_posix()}/"
    names = [f"{place}{name}" for name in self._store.ask("read", self._found, place)]
    wanted = [name for name in names if name.startswith(tuple(place + start for start in below))]
    self._get([name for name in wanted if self._there.get(name) is None])

  def push(self, *, whole: bool = True) -> Future[None]:
    """Puts what changed and takes away what is gone, after the pushes already asked for.

    Without `whole` growing files are put in parts, and one push that has not begun serves for all.
    """
    last = self._watched
    if not whole and last is not None and not (last.running() or last.done()):
      return last
    asked = self._pushing.submit(self._push, whole)
    if not whole:
      self._watched = asked
    return asked

  def _push(self, whole: bool) -> None:
    if not self.writes:
      return
    here = {name: stamp for name, stamp in self._local().items() if self._own(name)}
    changed = [name for name, stamp in here.items() if self._there.get(name) != stamp]
    if not whole:
      changed = [name for name in changed if not LATER.search(name)]
    left = {name for name, growing in self._growing.items() if whole and growing.parts}
    for name in sorted({*filter(GROWING.search, changed), *(left & here.keys())}):
      growing = self._grown(name)
      if whole or not growing.append(self.folder / name):
        growing.put(self.folder / name)
        self._there[name] = here[name]
    changed = [name for name in changed if not GROWING.search(name)]
    for sealing in (False, True):
      self._put([name for name in changed if bool(SEAL.search(name)) == sealing], here)
    # A checkpoint that goes stops counting before its values go.
    gone = sorted(
      (name for name in self._there if self._own(name) and self._is_gone(name)),
      key=lambda name: not SEAL.search(name),
    )
    for name in gone:
      self._store.remove(self._path(name))
      del self._there[name]

  def _own(self, name: str) -> bool:
    """Whether this process puts a file: the first all that it has, the others their parts."""
    found = PARTS.search(name)
    return me().first or (found is not None and int(found[1]) == me().index)

  def _grown(self, name: str) -> Growing:
    return self._growing.setdefault(name, Growing(self._store, name))

  def _found(self, below: str = "") -> list[str]:
    """The names of what lies in the store, or in a folder of it."""
    files, root = self._store.files, f"{self._store.root}/{below}".rstrip("/")
    files.invalidate_cache()
    return [name[len(root) :].strip("/") for name in files.find(root)]

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
      there = [self._path(name) for name in names]
      self._store.ask("read", self._store.files.get, there, [str(path) for path in paths])
    self._there |= {name: _stamp(path) for name, path in zip(names, paths, strict=True)}

  def _put(self, names: Sequence[str], stamps: dict[str, Stamp]) -> None:
    """Puts files; one that is gone by now went with its checkpoint and is not missed."""

    def put() -> None:
      left = [name for name in names if (self.folder / name).exists()]
      # From now on each may lie there, and is taken away when its checkpoint goes.
      self._there |= dict.fromkeys(left, UNKNOWN)
      if left:
        local, there = [str(self.folder / n) for n in left], [self._path(n) for n in left]
        self._store.files.put(local, there)
      self._there |= {name: stamps[name] for name in left}

    self._store.ask("written", put)

  def _path(self, name: str) -> str:
    return f"{self._store.root}/{name}"


def _stamp(path: pathlib.Path) -> Stamp:
  status = path.stat()
  return status.st_mtime_ns, status.st_size
