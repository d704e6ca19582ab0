"""The command line: flags to jobs, errors to one line and an exit status."""

import dataclasses
import hashlib
import json
import logging
import os
import pathlib
import platform
import sys
import traceback
from collections.abc import Sequence
from typing import Any

import jax

from maskjax import catalogue, lab
from maskjax.errors import BadInput, Restart, nearest
from maskjax.train.pod import find, member, threads

DONE, BUG, BAD_INPUT, RESTART = 0, 1, 2, 75
EXAMPLE = "--config=configs/image_mim/mae.py:laptop --workdir=runs/mae"


@dataclasses.dataclass
class Flags:
  """A command line: each field a flag, and the `--config.key=value` pairs in their order."""

  changes: list[tuple[str, str]] = dataclasses.field(default_factory=list)
  config: str = ""
  workdir: str = ""
  plan: str = ""
  describe: str = ""
  coordinator: str = ""
  num_processes: str = ""
  process_id: str = ""
  roll_port: str = ""
  roll_timeout: str = ""
  list: bool = False
  json: bool = False
  help: bool = False


SWITCHES, NEEDED = ("list", "json", "help"), ("config", "workdir")
VALUES = (*NEEDED, "plan", "describe", *find.FLAGS, "roll_port", "roll_timeout")


def main(
  argv: Sequence[str], *, configs: pathlib.Path = pathlib.Path("configs"), usage: str = ""
) -> int:
  """Runs a command line, `argv[0]` being the program; returns the exit status.

  0 done; 2 bad input, said in one line; 75 stopped before the end, to be started again. A bug
  raises, ours as well as one in a config file. `configs` is what `--list` lists. Of several
  processes each runs this in a child, whose parent hears how it ended.
  """
  status = BUG
  try:
    status = attempt(argv, configs, usage)
  except Exception as error:
    if not member.me().ours:
      raise
    name = f"{type(error).__name__}: {one_line(error)}"
    member.me().end(BUG, name, said=False, trace=traceback.format_exc())
  member.part(status)
  return status


def attempt(argv: Sequence[str], configs: pathlib.Path, usage: str) -> int:
  """Does what a command line says, or says why not; returns the exit status."""
  try:
    given = parse(argv[1:])
    if runs(given):
      join(given, argv)
    if text := command(given, configs, usage):
      print(text)
    return DONE
  except BadInput as error:
    status, word, line = BAD_INPUT, "error", one_line(error)
  except Restart as error:
    status, word, line = RESTART, "stopped", one_line(error)
  except KeyboardInterrupt:
    status, word = RESTART, "stopped"
    line = "interrupted outside training, where nothing is lost"
  print(f"{word}: {line}", file=sys.stderr)
  member.me().end(status, line, said=True)
  return status


def join(given: Flags, argv: Sequence[str]) -> None:
  """Makes this process the one of several that it is; of a program their parent, not returning.

  Where somebody initialised jax's distributed service this process is what that says.

  Raises:
    BadInput: see `find.find` and `find.become_parent`; flags that say otherwise than jax.
  """
  if member.join().ours:
    return
  if jax.distributed.is_initialized():
    if flags := [f"--{name}" for name in find.FLAGS if getattr(given, name)]:
      me = member.me()
      said = f"jax is initialised already, as process {me.index} of {me.count}"
      raise BadInput(f"{' and '.join(flags)} given, but {said}: leave them out")
  elif where := find.find(vars(given)):
    find.become_parent(where, argv)
  else:
    member.alone()


def parse(words: Sequence[str]) -> Flags:
  """The flags in `words`; a value follows its flag after "=" or as the next word.

  Raises:
    BadInput: an unknown flag, one without its value, or a word that belongs to none.

  >>> parse(["--config=mae.py:smoke", "--config.seed", "3"]).changes
  [('seed', '3')]
  """
  found, rest = Flags(), list(words)
  while rest:
    flag, equals, value = rest.pop(0).partition("=")
    name = flag.removeprefix("--")
    if name == flag:
      raise BadInput(f"unexpected argument {flag!r}: flags start with --")
    if name in SWITCHES:
      if equals:
        raise BadInput(f"{flag} takes no value, got {value!r}")
      setattr(found, name, True)
      continue
    key = name.removeprefix("config.")
    if key == name and name not in VALUES:
      raise BadInput(f"unknown flag {flag}{nearest(name, (*VALUES, *SWITCHES))}")
    if not equals:
      if not rest or rest[0].startswith("--"):
        raise BadInput(f"{flag} needs a value: {flag}=…")
      value = rest.pop(0)
    if key == name:
      setattr(found, name, value)
    else:
      found.changes.append((key, value))
  return found


def command(given: Flags, configs: pathlib.Path, usage: str) -> str:
  """Does what the flags say and returns what to print."""
  if given.help:
    return usage.strip()
  if given.list:
    entries = catalogue.entries(configs)
    return json.dumps(entries, indent=2) if given.json else catalogue.table(entries)
  if given.describe:
    from maskjax.train.plan.describe import describe

    place = catalogue.place(given.describe, configs)
    config = lab.read(place)
    for key, value in given.changes:
      lab.assign(config, key, value)
    return describe(config.to_dict(), note(place))
  if given.json and not given.plan:
    raise BadInput("--json goes with --list or --plan")
  for name in NEEDED:
    if not getattr(given, name) and not (name == "workdir" and given.plan):
      raise BadInput(f"--{name} is needed, for example {EXAMPLE}")
  if not given.plan:
    speak(logging.INFO if member.me().first else logging.WARNING)
    threads.enough()  # before a config file can make jax begin
  config = lab.read(given.config)
  for key, value in given.changes:
    lab.assign(config, key, value)
  # What is heavier than jax loads only when something is to be run.
  if given.plan:
    from maskjax.train.plan import plan

    return plan(config.to_dict(), note(given.config), given.plan, given.json)
  if not jax.config.jax_compilation_cache_dir:  # type: ignore[attr-defined]
    jax.config.update("jax_compilation_cache_dir", str(compile_cache()))
  from maskjax.train.run import run

  return run(config, os.path.expanduser(given.workdir))


def runs(given: Flags) -> bool:
  """Whether a command line runs a job, which may take several processes."""
  return bool(given.config and given.workdir) and not (
    given.help or given.list or given.plan or given.describe
  )


def note(place: str) -> dict[str, Any]:
  """The NOTE of the config file that `--config` names; empty where it has none."""
  path = pathlib.Path(place.partition(".py")[0] + ".py").expanduser()
  return dict(getattr(lab.load(path), "NOTE", {}))


def speak(level: int = logging.INFO) -> None:
  """Lets the "maskjax" log be seen."""
  log = logging.getLogger("maskjax")
  if not log.handlers:
    log.addHandler(logging.StreamHandler())
    log.propagate = False  # absl's root handler would say everything twice
  log.setLevel(level)


def compile_cache() -> pathlib.Path:
  """Where compiled programs are kept between launches.

  One folder for each kind of processor: a home may be shared by machines of several kinds, and jax
  does not tell them apart in what it stores for CPUs.
  """
  base = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
  try:
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    features = next(line for line in lines if line.startswith(("flags", "Features")))
  except (OSError, StopIteration):
    features = platform.processor()
  kind = hashlib.sha256(features.encode()).hexdigest()[:8]
  return pathlib.Path(base) / "maskjax" / f"{platform.machine()}-{kind}"


def one_line(error: BaseException) -> str:
  """An error's message on one line."""
  return " ".join(str(error).split()) or type(error).__name__
