"""A local copy of what lies below a URL."""

import contextlib
import pathlib
import shutil
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from maskjax.data.store import Store
from maskjax.errors import BadInput
from maskjax.train.pod.member import me
from maskjax.train.workdirs import direct
from maskjax.train.workdirs.names import (
  LATER,
  PARTS,
  SEAL,
  TEMPORARY,
  UNFINISHED,
  VALUES,
  WRITTEN,
)
from maskjax.train.workdirs.parts import GROWING, PART, Growing

Stamp = tuple[int, int]  # when a local file was last written, and its length
LISTED = 5  # times that a store is listed where files go before they are read
UNKNOWN: Stamp = (-1, -1)  # no local file's: what lies in the store may be anything


class Mirror:
  """A local copy of what lies below a URL.

  Attributes:
    place: the copy; of a URL that is one file, this file.
    writes: whether `push` does anything.
    direct: where values of checkpoints lie for those who read and write them without this copy;
      None where they have to be copied.
  """

  def __init__(self, url: str, scratch: pathlib.Path):
    # The last folders of a path name runs in tables and plots.
    self.url, self.folder = url, scratch / url.partition("://")[2].strip("/")
    self.folder.mkdir(parents=True)
    self.place, self.writes = self.folder, False
    self._store = Store(url)
    self.direct = direct.place(self._store)
    # What lies in the store, by its name below the URL: the local file's stamp, None if not local.
    self._there: dict[str, Stamp | None] = {}
    self._growing: dict[str, Growing] = {}
    self._pushing = ThreadPoolExecutor(1, "push")
    self._watched: Future[None] | None = None  # the last push that nobody waits for

  def close(self) -> None:
    """Waits for the last push."""
    self._pushing.shutdown()

  def pull(self) -> None:
    """Gets everything that a run reads, but the values of checkpoints.

    A run that writes there puts files together and lets checkpoints go: what went between being
    listed and being read is looked for anew.
    """
    for again in reversed(range(LISTED)):
      found = self._store.ask("read", self._found)
      try:
        self._pull(found)
      except BadInput as error:
        if not (again and isinstance(error.__cause__, FileNotFoundError)):
          raise
        shutil.rmtree(self.folder)
        self.folder.mkdir()
        self._there, self._growing = {}, {}
      else:
        return

  def _pull(self, found: Sequence[str]) -> None:
    if found == [""]:
      self.place = self.folder / self.url.rpartition("/")[2]
      self._store.ask("read", self._store.files.get_file, self._store.root, str(self.place))
      return
    parts = [match for name in found if (match := PART.fullmatch(name))]
    passed = lambda name: self.direct is not None and VALUES.match(name)
    kept = lambda name: not (WRITTEN.search(name) or PART.fullmatch(name) or passed(name))
    names = [name for name in found if kept(name)]
    self._there = dict.fromkeys(names)
    self._get([name for name in names if not VALUES.match(name)])
    for name in {*filter(GROWING.search, names), *(match[1] for match in parts)}:
      self._grown(name).pull(self.folder / name, [m[0] for m in parts if m[1] == name])

  def fetch(self, path: pathlib.Path, below: Sequence[str]) -> None:
    """Gets what begins so below a local path and is not local yet, put by other processes too."""
    if self.direct is not None:  # what is read array by array is not listed as often
      below = [start for start in below if start.startswith("digest/")]
    if not below:
      return
    place = f"{path.relative_to(self.folder).as_posix()}/"
    names = [f"{place}{name}" for name in self._store.ask("read", self._found, place)]
    wanted = [name for name in names if name.startswith(tuple(place + start for start in below))]
    self._get([name for name in wanted if self._there.get(name) is None])

  def values(self, path: pathlib.Path) -> direct.Place:
    """Where what belongs at a local path lies in the store, under its name once it is whole."""
    assert self.direct is not None
    name = path.relative_to(self.folder).as_posix().replace(TEMPORARY, "")
    place = self.direct
    return place / name if isinstance(place, pathlib.Path) else direct.below(place, name)

  def rename(self, path: pathlib.Path, to: pathlib.Path) -> None:
    """Gives a folder another name, here and then there, its seal first."""
    path.rename(to)
    self.push().result()
    if self.direct is not None and self.writes:
      old, new = (self._path(p.relative_to(self.folder).as_posix()) for p in (path, to))
      self._store.remove(f"{new}/state", recursive=True)

      def move() -> None:
        with contextlib.suppress(FileNotFoundError):  # of a step whose values are lost
          self._store.files.mv(f"{old}/state", f"{new}/state", recursive=True)

      self._store.ask("written", move)

  def sweep(self, path: pathlib.Path) -> None:
    """Takes values away that no seal in a local folder of checkpoints makes count."""
    if self.direct is None or not self.writes or not me().first:
      return
    place = f"{path.relative_to(self.folder).as_posix()}/"
    there = self._store.ask("read", self._found, place)
    for step in sorted({name.partition("/")[0] for name in there}):
      if step.isdecimal() and not (path / step / "digest" / "metadata").exists():
        self._store.remove(self._path(place + step), recursive=True)

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
