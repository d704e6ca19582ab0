"""The words of a command line, and what `--help` says of them."""

import dataclasses
from collections.abc import Sequence

from maskjax.errors import BadInput, nearest

RUN = "maskjax"
HELP = f"""maskjax: the masking methods of papers, one config each. `python -m maskjax`
and `python launch.py` are the same program.

  {RUN} --list [FAMILY] [--json]                methods, of all families or of one
  {RUN} --describe mae[:PRESET]                 one: note, figures, presets, graph
  {RUN} --config=mae:laptop --check             build everything, run nothing
  {RUN} --config=mae:laptop --workdir=runs/mae  train
  {RUN} --workdir=runs/mae                      go on with what was interrupted
  {RUN} --workdir=runs/mae --job=evaluate       or view, generate, explain
  {RUN} --config=mae --plan=v5e:16x16 [--json]  time and memory of a step there
  {RUN} --config=mine.py --sweep                points of its sweep(), numbered
  {RUN} --config=mine.py --sweep=3 --workdir=W  train one (--sweep=all: those left)

A config is the id of a method or a file.py; then :preset,key=value,… Fields are set too by
--config.select.ratio=0.6, dotted keys; a value is a Python literal, (64, 64), or plain words.
A workdir that names functions of your package needs --trust=yourpackage to be continued.

Several machines: the same command on each; --recipe=slurm prints a file to copy, --recipe all of
them. On TPU pods, under Slurm, Open MPI and in indexed jobs of Kubernetes they find each other.
Elsewhere add --coordinator=HOST:PORT --num_processes=N --process_id=I, HOST of process 0 (or set
JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID); --num_processes=1 is for a run of
its own. They meet at the next port (--rendezvous_port; in jobs of Slurm and Open MPI 32768 below)
for 300 seconds (--rendezvous_timeout).

Exit status: 0 done, 2 bad input, 75 stopped before the end (start again), 1 a bug of ours."""


@dataclasses.dataclass
class Flags:
  """A command line: each field a flag, and the `--config.key=value` pairs in their order."""

  changes: list[tuple[str, str]] = dataclasses.field(default_factory=list)
  config: str = ""
  workdir: str = ""
  job: str = ""
  trust: str = ""
  plan: str = ""
  describe: str = ""
  results: str = ""
  coordinator: str = ""
  num_processes: str = ""
  process_id: str = ""
  rendezvous_port: str = ""
  rendezvous_timeout: str = ""
  list: str | None = None  # a family, "" for all of them
  sweep: str | None = None  # the number of a point or "all", "" to list them
  recipe: str | None = None  # "" for the list of all
  check: bool = False
  json: bool = False
  help: bool = False

  @property
  def runs(self) -> bool:
    """Whether a job is to be run, which may take several processes."""
    listed = self.list is not None or self.recipe is not None or self.sweep == ""
    other = self.help or self.check or self.plan or self.describe or listed
    return bool(self.workdir) and not other


FIELDS = [field.name for field in dataclasses.fields(Flags) if field.name != "changes"]
SWITCHES = ("check", "json", "help")
ALONE = ("list", "recipe", "sweep")  # take a value or none


def parse(words: Sequence[str]) -> Flags:
  """The flags in `words`; a value follows its flag after "=" or as the next word.

  Raises:
    BadInput: an unknown flag, one without its value, or a word that belongs to none.

  >>> parse(["--config=mae:smoke", "--config.seed", "3"]).changes
  [('seed', '3')]
  >>> parse(["--list", "image_mim"]).list, parse(["--list"]).list
  ('image_mim', '')
  """
  found, rest = Flags(), list(words)
  while rest:
    flag, equals, value = rest.pop(0).partition("=")
    name = "help" if flag == "-h" else flag.removeprefix("--")
    if name == flag:
      raise BadInput(f"unexpected argument {flag!r}: flags start with --{_meant(flag)}")
    if name in SWITCHES:
      if equals:
        raise BadInput(f"{flag} takes no value, got {value!r}")
      setattr(found, name, True)
      continue
    key = name.removeprefix("config.")
    if key == name and name not in FIELDS:
      raise BadInput(f"unknown flag {flag}{nearest(name, FIELDS)}")
    if not equals:
      follows = bool(rest) and not rest[0].startswith("--")
      if not follows and name not in ALONE:
        raise BadInput(f"{flag} needs a value: {flag}=…")
      value = rest.pop(0) if follows else ""
    if key == name:
      setattr(found, name, value)
    else:
      found.changes.append((key, value))
  return found


def _meant(word: str) -> str:
  """The flag that a word without its dashes is most like."""
  return nearest(f"--{word.strip('-')}", [f"--{name}" for name in FIELDS])
