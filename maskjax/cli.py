"""The command line: flags to jobs, errors to one line and an exit status."""

import contextlib
import hashlib
import io
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
from ml_collections import ConfigDict

from maskjax import bind, catalogue, lab
from maskjax.config_files import CONFIGS
from maskjax.errors import BadInput, Restart, unknown
from maskjax.flags import HELP, Flags, parse
from maskjax.recipes import recipe
from maskjax.train.pod import find, member, threads

DONE, BUG, BAD_INPUT, RESTART, UNREAD = 0, 1, 2, 75, 141
EXAMPLE = "--config=mae:laptop --workdir=runs/mae"


def main(argv: Sequence[str] | None = None) -> int:
  """Runs a command line, `argv[0]` being the program; returns the exit status.

  0 done; 2 bad input, said in one line; 75 stopped before the end, to be started again; 141 nobody
  read what was printed, as of a shell's program that SIGPIPE ends (a run that is done is done). A
  bug raises, ours as well as one in a config file. Of several processes each runs this in a child,
  whose parent hears how it ended.
  """
  argv = sys.argv if argv is None else argv
  for stream in (sys.stdout, sys.stderr):  # one that is not UTF-8 gets ? for what it lacks
    if isinstance(stream, io.TextIOWrapper):
      stream.reconfigure(errors="replace")
  status = BUG
  try:
    status = attempt(argv)
  except Exception as error:
    if not member.me().ours:
      raise
    name = f"{type(error).__name__}: {one_line(error)}"
    member.me().end(BUG, name, said=False, trace=traceback.format_exc())
  member.part(status)
  return status


def attempt(argv: Sequence[str]) -> int:
  """Does what a command line says, or says why not; returns the exit status."""
  try:
    given = parse(argv[1:])
    if given.runs:
      join(given, argv)
    text = command(given)
    return DONE if printed(text) or given.runs else UNREAD
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


def printed(text: str) -> bool:
  """Prints what there is; False where the reader has left, as `head` does after some lines."""
  try:
    if text:
      print(text, flush=True)
  except BrokenPipeError:
    # What is left in the buffer goes nowhere, or Python would raise once more when it ends.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return False
  return True


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


def command(given: Flags) -> str:
  """Does what the flags say and returns what to print."""
  if given.help or given == Flags():
    return HELP
  if given.list is not None:
    return listed(given.list, given.json)
  if given.recipe is not None:
    return recipe(given.recipe)
  if given.describe:
    from maskjax.page import page

    return page(given.describe, configured(given, lab.read(given.describe)))
  if given.json and not given.plan:
    raise BadInput("--json goes with --list or --plan")
  swept = given.sweep is not None
  if given.results and not swept:
    raise BadInput("--results goes with --sweep")
  if not given.config and (given.plan or swept or not given.workdir):
    again = "" if given.plan or swept else ", or --workdir=DIR to continue what is there"
    raise BadInput(f"--config is needed, for example {EXAMPLE}{again}")
  if swept and given.plan:
    raise BadInput("--plan is of one config: --sweep lists the points as such")
  if not (given.workdir or given.plan or given.check or given.sweep == ""):
    raise BadInput(f"--workdir is needed, for example {EXAMPLE}, or --check to run nothing")
  # What is heavier than jax loads only when something is to be run.
  if given.plan:
    from maskjax.train.plan import plan

    config = configured(given, lab.read(given.config))
    return plan(config.to_dict(), lab.note(given.config), given.plan, given.json)
  speak(logging.INFO if given.runs and member.me().first else logging.WARNING)
  threads.enough()  # before a config file can make jax begin
  workdir = os.path.expanduser(given.workdir)
  if swept:
    return sweep(given, workdir)
  with contextlib.ExitStack() as stack:
    if given.config:
      config = lab.read(given.config)
    else:
      from maskjax.train.workdirs.continued import continued

      config = continued(workdir)
      # Whoever wrote the workdir chose what its functions are called.
      stack.enter_context(bind.trusting(("optax", *given.trust.split(","))))
    return work(configured(given, config), workdir, given.check)


def sweep(given: Flags, workdir: str) -> str:
  """Lists the points of a sweep, trains those that are asked for, or does another job of them."""
  from maskjax.train.sweeps import points, run

  found = points.points(given.config, given.changes)
  if given.sweep == "":
    return points.listed(found)
  taken = points.chosen(found, str(given.sweep))
  if given.check or given.job not in ("", "train"):
    for point in taken:
      point.config.job = given.job or point.config.get("job", "train")
    places = [point.folder(workdir) if workdir else "" for point in taken]
    done = zip(taken, places, strict=True)
    said = [work(point.config, place, given.check) for point, place in done]
    return "\n\n".join(filter(None, said))  # of several processes the first has something to say
  keep_compiled()
  return run.run(taken, workdir, os.path.expanduser(given.results))


def work(config: ConfigDict, workdir: str, check: bool) -> str:
  """Does a config's job in a workdir, or builds everything that it needs and runs nothing."""
  keep_compiled()
  if check:
    from maskjax.train.plan.check import check as built

    return built(config, workdir)
  from maskjax.train.run import run

  return run(config, workdir)


def keep_compiled() -> None:
  """Has jax keep compiled programs between launches, where nobody said already that it should."""
  if not jax.config.jax_compilation_cache_dir:  # type: ignore[attr-defined]
    jax.config.update("jax_compilation_cache_dir", str(compile_cache()))
    # A start compiles hundreds of programs, each in less than the second from which jax keeps them.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def configured(given: Flags, config: ConfigDict) -> ConfigDict:
  """The config with what the flags change of it."""
  if given.job:
    config.job = given.job
  for key, value in given.changes:
    lab.assign(config, key, value)
  return config


def listed(family: str, as_json: bool) -> str:
  """The catalogue, of one family where it is named.

  Raises:
    BadInput: no such family; the nearest is named.
  """
  entries = catalogue.entries(CONFIGS)
  if family:
    families = {entry["family"] for entry in entries}
    if family not in families:
      raise unknown("family", family, families)
    entries = [entry for entry in entries if family in entry["families"]]
  return json.dumps(entries, indent=2) if as_json else catalogue.table(entries, family)


class Said(logging.StreamHandler):
  """Says what is logged on standard error as it is now: a moving line stays below it."""

  def __init__(self) -> None:
    logging.Handler.__init__(self)

  @property
  def stream(self) -> Any:
    """Where a terminal's moving line has put itself in the place of `sys.stderr`, that."""
    return sys.stderr


def speak(level: int = logging.INFO) -> None:
  """Lets the "maskjax" log be seen."""
  log = logging.getLogger("maskjax")
  if not log.handlers:
    log.addHandler(Said())
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
