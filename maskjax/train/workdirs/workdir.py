"""A run's directory: one launch at a time, and one configuration for good."""

import contextlib
import dataclasses
import fcntl
import json
import logging
import os
import pathlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from maskjax.errors import BadInput
from maskjax.record import COUNTED, DIGESTS, MEANING, STATISTICS, Record, compared, differences

log = logging.getLogger("maskjax")

# The format of config.json: raised where what a config says changes, and runs of before it cannot
# be read as they are.
FORMAT, NUMBER = 3, "format"
_held: set[int] = set()  # descriptors of the locks that this process holds


def _let_go() -> None:
  """Closes inherited locks: a forked worker that outlives its parent must not hold on to them."""
  for descriptor in _held:
    os.close(descriptor)
  _held.clear()


os.register_at_fork(after_in_child=_let_go)


def _reason(error: OSError) -> str:
  return (error.strerror or str(error)).lower()


def _holder(descriptor: int) -> str:
  pid = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
  return f"process {pid}" if pid.isdigit() else "another process"


@contextlib.contextmanager
def claim(workdir: str | os.PathLike[str]) -> Iterator[pathlib.Path]:
  """Creates `workdir` and holds it for one launch, until the block ends or the process dies.

  The lock is the operating system's (`flock` on `workdir/.lock`), so one of a dead process is void.
  Where the block ends in `BadInput` before anything came of it, what was written to a new directory
  goes again; never a trained stage.

  Raises:
    BadInput: where the directory cannot be created or written, or another launch holds it.
  """
  path = pathlib.Path(workdir)
  there, fresh = path.exists(), not (path.is_dir() and any(path.iterdir()))
  try:
    path.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
  except OSError as error:
    raise BadInput(f"the workdir {path} cannot be written: {_reason(error)}") from error
  _held.add(descriptor)
  try:
    try:
      fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
      raise BadInput(f"the workdir {path} is in use by {_holder(descriptor)}") from None
    except OSError as error:  # some network file systems have no locks
      told = "%s: its file system has no locks (%s): make sure that nobody else uses it"
      log.warning(told, path, _reason(error))
    try:
      os.ftruncate(descriptor, 0)
      os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    except OSError as error:
      raise BadInput(f"the workdir {path} cannot be written: {_reason(error)}") from error
    try:
      yield path
    except BadInput:
      if fresh and not _worth_keeping(path):
        _clear(path, itself=not there)
      raise
  finally:
    # A forked child has closed its copy already; closing again could hit another file's number.
    if descriptor in _held:
      _held.remove(descriptor)
      os.close(descriptor)


def _worth_keeping(workdir: pathlib.Path) -> bool:
  """Whether a launch got as far as a checkpoint or a row of figures."""
  rows = workdir / "metrics.jsonl"
  return any(workdir.glob("checkpoints/[0-9]*")) or (rows.exists() and rows.stat().st_size > 0)


def _clear(workdir: pathlib.Path, *, itself: bool) -> None:
  """Takes away what a launch wrote to a new workdir: another config may have it now.

  Folders that hold a checkpoint, those of stages and further seeds, stay.
  """
  for path in workdir.iterdir():
    if path.is_dir() and any(path.rglob("checkpoints/[0-9]*")):
      continue
    if path.is_dir():
      shutil.rmtree(path, ignore_errors=True)
    else:
      path.unlink(missing_ok=True)
  if itself:
    with contextlib.suppress(OSError):
      workdir.rmdir()


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
  """Joins the keys of nested dicts by dots; an empty dict stays as a value.

  >>> flatten({"model": {"width": 192, "patch": (4, 4)}, "seed": 0, "mesh": {}})
  {'model.width': 192, 'model.patch': (4, 4), 'seed': 0, 'mesh': {}}
  """
  flat: dict[str, Any] = {}
  for key, value in config.items():
    nested = isinstance(value, Mapping) and len(value) > 0
    flat |= flatten(value, f"{prefix}{key}.") if nested else {f"{prefix}{key}": value}
  return flat


def _plain(config: Mapping[str, Any]) -> dict[str, Any]:
  """`config` as JSON gives it back: tuples are lists, keys are strings."""
  for name, value in flatten(config).items():
    try:
      json.dumps(value)
    except (TypeError, ValueError):
      kind = type(value).__name__
      raise BadInput(f"config field {name} is a {kind}, which JSON cannot hold") from None
  return json.loads(json.dumps(config))


def write_config(workdir: str | os.PathLike[str], config: Mapping[str, Any]) -> None:
  """Writes `config` to `workdir/config.json`, whole or not at all.

  Raises:
    BadInput: where a field is nothing JSON can hold, or the file cannot be written.
  """
  _write_json(pathlib.Path(workdir) / "config.json", {NUMBER: FORMAT, **_plain(config)})


def _write_json(path: pathlib.Path, value: Mapping[str, Any]) -> None:
  """Writes a JSON file, whole or not at all."""
  text = json.dumps(value, indent=2) + "\n"
  temporary = path.with_name(f".{path.name}.{os.getpid()}")
  try:
    with temporary.open("w", encoding="utf-8") as file:
      file.write(text)
      file.flush()
      os.fsync(file.fileno())
    temporary.replace(path)
  except OSError as error:
    with contextlib.suppress(OSError):
      temporary.unlink(missing_ok=True)
    raise BadInput(f"{path} cannot be written: {_reason(error)}") from error


def read_config(workdir: str | os.PathLike[str]) -> dict[str, Any] | None:
  """Reads `workdir/config.json`; None where there is none.

  Raises:
    BadInput: where the file cannot be read, is not a JSON object, or has another format.
  """
  config = any_config(workdir)
  number = (config or {NUMBER: FORMAT}).pop(NUMBER)
  if number != FORMAT:
    path = pathlib.Path(workdir) / "config.json"
    other = f"{path} is of format {number!r}, this maskjax reads format {FORMAT}"
    raise BadInput(f"{other}: begin a new run from its weights by init_from")
  return config


def any_config(workdir: str | os.PathLike[str]) -> dict[str, Any] | None:
  """As `read_config`, of whatever format, with its number."""
  path = pathlib.Path(workdir) / "config.json"
  try:
    config = json.loads(path.read_text(encoding="utf-8"))
  except (FileNotFoundError, NotADirectoryError):
    return None
  except OSError as error:
    raise BadInput(f"{path} cannot be read: {_reason(error)}") from error
  except ValueError as error:
    raise BadInput(f"{path} is damaged: {error}") from error
  if not isinstance(config, dict):
    raise BadInput(f"{path} is damaged: it holds a {type(config).__name__}, not an object")
  # Those of before there were numbers are of the first.
  return {NUMBER: 1, **config}


def check_config(
  workdir: str | os.PathLike[str],
  config: Mapping[str, Any],
  identity: Sequence[str],
  free: Sequence[str] = (),
) -> None:
  """Refuses a `config` whose identity fields differ from those of the run in `workdir`.

  `identity` names fields by dotted prefixes: "model" stands for every field below it, "data.name"
  for itself. Those of them that `free` names likewise, and all others, are free, and a workdir
  without `config.json` accepts anything. Nothing is written.

  Raises:
    BadInput: where identity fields differ; the first five are shown with both values.
  """
  before = read_config(workdir)
  if before is None:
    return
  # A field that is None says as much as one that is not there.
  was, now = (
    {k: v for k, v in flatten(c).items() if v is not None} for c in (before, _plain(config))
  )
  among = lambda name, fields: any(name == p or name.startswith(f"{p}.") for p in fields)
  of_identity = lambda name: among(name, identity) and not among(name, free)
  show = lambda fields, name: json.dumps(fields[name]) if name in fields else "absent"
  # As text NaN equals itself; as values 1 equals 1.0, which overrides on a command line mix freely.
  same = lambda n: show(was, n) == show(now, n) or (n in was and n in now and was[n] == now[n])
  names = [name for name in {**was, **now} if of_identity(name) and not same(name)]
  if names:
    shown = ", ".join(f"{n} was {show(was, n)}, is now {show(now, n)}" for n in names[:5])
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    raise BadInput(
      f"the workdir {workdir} holds a run of another config: {shown}{more}; take another workdir, "
      f"init_from={str(workdir)!r} begins there from these weights (what may change here: evals, "
      "log, checkpoint, loader, mesh, seeds)"
    )


def saved(workdir: pathlib.Path) -> bool:
  """Whether the run in `workdir` has left a checkpoint, good or not."""
  return any((workdir / "checkpoints").glob("[0-9]*"))


def write_record(workdir: str | os.PathLike[str], record: Record) -> None:
  """Keeps the data set's record beside the run: its weights can be used without the data.

  That of the first launch stays.
  """
  if known_record(workdir) is None:
    _write_json(pathlib.Path(workdir) / "record.json", dataclasses.asdict(record))


def known_record(workdir: str | os.PathLike[str]) -> Record | None:
  """The record of a run's first launch; None before there was one.

  Raises:
    BadInput: where it is damaged.
  """
  path = pathlib.Path(workdir)
  # A record alone is what a launch left that died before it wrote anything else.
  there = (path / "config.json").exists() and (path / "record.json").exists()
  return read_record(path) if there else None


def changed(workdir: str | os.PathLike[str], found: Record | None) -> list[str]:
  """What of the data is otherwise than at a run's first launch, in words."""
  known = known_record(workdir)
  if known is None or found is None:
    return []
  fields = compared(known, (*MEANING, *COUNTED, *STATISTICS, *DIGESTS))
  return list(differences(known, found, fields))


def read_record(workdir: str | os.PathLike[str]) -> Record:
  """Reads `workdir/record.json`.

  Raises:
    BadInput: where there is none or it is damaged.
  """
  path = pathlib.Path(workdir) / "record.json"
  try:
    fields = json.loads(path.read_text(encoding="utf-8"))
    tuples: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}
    return Record(**tuples)
  except (OSError, ValueError, TypeError, AttributeError) as error:
    raise BadInput(f"{path} cannot be read: {error}") from error
