"""Workdirs in an object store, `gs://…`, `s3://…` or any other URL of fsspec.

A run knows local files, and arrays by `values`. Of a URL it gets a local copy of all but the arrays
of checkpoints: what the store holds is pulled first, and what changes is pushed with every log line
(of the figures what is new, see `parts`), with every checkpoint before its save counts as done, and
at the end. Arrays go straight to the store and back where tensorstore can, see `direct`; of other
stores they are copied when they are read, and pushed. Of several processes each writes its part of
a checkpoint, the first all else. A checkpoint's sealed digest goes last, when all parts are there,
and its predecessors after it, so that the store always holds a whole one. A store that does not
answer is asked again for half a minute, see `maskjax.data.store`.

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
from concurrent.futures import Future

from maskjax.data.store import EXTRAS
from maskjax.errors import BadInput, Restart
from maskjax.train.pod.member import me
from maskjax.train.workdirs import direct
from maskjax.train.workdirs.mirror import Mirror
from maskjax.train.workdirs.workdir import claim

log = logging.getLogger("maskjax")

# A URL that went through pathlib, which takes two slashes for one.
SWALLOWED = re.compile(rf"({'|'.join((*EXTRAS, 'memory', 'file'))}):/(?!/)")

_mirrors: list[Mirror] = []


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
def _pushed_last(mirror: Mirror, writes: bool) -> Iterator[None]:
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


def _of(path: pathlib.Path) -> Mirror | None:
  """The copy in which a local path lies, if any."""
  return next((mirror for mirror in _mirrors if path.is_relative_to(mirror.folder)), None)


def push(path: pathlib.Path, *, wait: bool = True) -> None:
  """Brings the store of a local path up to date; does nothing where the path is no copy.

  Without `wait` it is for those who watch: of figures what is new, and a failure is only logged,
  since the next push tries again.

  Raises:
    BadInput: the store refuses to be written.
    Restart: it does not answer.
  """
  if mirror := _of(path):
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
  if mirror := _of(path):
    mirror.fetch(path, below)


def apart(path: pathlib.Path) -> bool:
  """Whether a local path is a copy of this process' own, of what lies in a store."""
  return _of(path) is not None


def values(path: pathlib.Path) -> direct.Place:
  """Where the arrays at a local path lie: there, unless they go straight to a store."""
  mirror = _of(path)
  return mirror.values(path) if mirror and mirror.direct else path


def seen(path: pathlib.Path) -> bool:
  """Whether all processes see the arrays that one writes at a local path."""
  mirror = _of(path)
  return mirror is None or mirror.direct is not None


def answered(path: pathlib.Path, what: str) -> contextlib.AbstractContextManager[None]:
  """Says which errors with the arrays at a local path are their store's; see `direct`."""
  mirror = _of(path)
  return direct.answered(mirror.url, what) if mirror else contextlib.nullcontext()


def rename(path: pathlib.Path, to: pathlib.Path) -> None:
  """Gives a checkpoint another name, of a copy in the store too."""
  if mirror := _of(path):
    mirror.rename(path, to)
  else:
    path.rename(to)


def sweep(path: pathlib.Path) -> None:
  """Takes arrays out of the store that no whole checkpoint in a local folder names."""
  if mirror := _of(path):
    mirror.sweep(path)


def told(text: str) -> str:
  """A message to the user: URLs for the paths of their copies."""
  for mirror in _mirrors:
    text = text.replace(str(mirror.folder), mirror.url)
  return text
