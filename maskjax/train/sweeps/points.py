"""The points of a sweep: the configs that a config file's `sweep()` asks for."""

import hashlib
import os
import shlex
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from maskjax import lab
from maskjax.config_files import locate
from maskjax.errors import BadInput
from maskjax.train.run import plain
from maskjax.train.workdirs.workdir import flatten

# What changes no figure of a run: how it is carried out, written down and watched.
CARRIED_OUT = (
  "job", "seeds", "accumulate", "loader", "mesh", "checkpoint", "log", "profile", "debug",
  "eval_batch_size",
)  # fmt: skip


SECONDS = "seconds"  # what a point says in the place of a field: how long it trains


class Point(NamedTuple):
  """One run of a sweep.

  Attributes:
    number: its place in the sweep, from 0.
    place: the config that it begins from, `ID[:preset]` or `file.py[:preset]`.
    overrides: the fields that it sets, by their dotted names, and those that are set for all.
    config: what it comes to.
    seconds: how long it trains, 0 for as long as its config says.
  """

  number: int
  place: str
  overrides: dict[str, Any]
  config: ConfigDict
  seconds: float = 0.0

  @property
  def seeds(self) -> range:
    """The seeds that it trains."""
    return range(self.config.seed, self.config.seed + self.config.get("seeds", 1))

  @property
  def words(self) -> str:
    """It as words of a command line, and how long it trains where the config does not say."""
    fields = {key: value for key, value in self.overrides.items() if key != SECONDS}
    words = [shlex.quote(f"--config.{key}={value}") for key, value in fields.items()]
    lasts = [f"for {self.seconds:g} seconds"] if self.seconds else []
    return " ".join([shlex.quote(f"--config={self.place}"), *words, *lasts])

  def settings(self, seed: int) -> str:
    """A digest of all that the figures of a seed follow from; another config has another."""
    return digest({**plain(self.config), "seed": seed, SECONDS: self.seconds or None})

  def folder(self, workdir: str | os.PathLike[str]) -> str:
    """Its workdir below that of the sweep; of another config it is another one."""
    name = f"{self.number:03d}-{self.settings(self.config.seed)[:8]}"
    return f"{os.fspath(workdir).rstrip('/')}/{name}"


def points(place: str, changes: Sequence[tuple[str, str]] = ()) -> list[Point]:
  """The points of the sweep of a config file, in their order.

  `sweep()` returns a list of mappings from dotted fields to values; `config` names the config that
  a point begins from, where that is another than the file's own, and `seconds` how long it trains.

  Args:
    place: `ID[:preset…]` or `file.py[:preset…]`.
    changes: of fields, for all points: `(key, value)` as on the command line.

  Raises:
    BadInput: the file has no sweep; two points are the same run; a change of a field that is swept;
      whatever `lab.assign` refuses, with the number of the point.
  """
  path, _ = locate(place)
  sweep = getattr(lab.load(path), "sweep", None)
  if not callable(sweep):
    raise BadInput(f"{path} has no function sweep, which returns the points: lab.grid(seed=(0, 1))")
  common = {key: lab.literal(text) for key, text in changes}
  found: list[Point] = []
  seen: dict[str, int] = {}
  for number, said in enumerate(sweep()):
    if not isinstance(said, Mapping):
      raise BadInput(f"point {number} of {path} is a mapping of fields to values, got {said!r}")
    overrides = dict(said)
    own = str(overrides.pop("config", place))
    try:
      fields = {key: value for key, value in overrides.items() if key != SECONDS}
      config, seconds = configured(own, fields, changes), overrides.get(SECONDS, 0.0)
      if isinstance(seconds, bool) or not isinstance(seconds, int | float) or seconds < 0:
        raise BadInput(f"seconds is how long a point trains, a positive number, got {seconds!r}")
      point = Point(number, own, {**common, **overrides}, config, seconds)
    except BadInput as error:
      raise BadInput(f"point {number} of {path}: {error}") from error
    for seed in point.seeds:
      other = seen.setdefault(point.settings(seed), number)
      if other != number:
        raise BadInput(f"points {other} and {number} of {path} are the same run of seed {seed}")
    found.append(point)
  return found


def configured(
  place: str, overrides: Mapping[str, Any], changes: Sequence[tuple[str, str]]
) -> ConfigDict:
  """The config of a place with changes for all points, then with what one point sets."""
  config = lab.read(place)
  for key, text in changes:
    if key in overrides:
      raise BadInput(f"--config.{key}={text}, but the sweep sets {key} itself")
    lab.assign(config, key, text)
  for key, value in overrides.items():
    lab.assign(config, key, value if isinstance(value, str) else repr(value))
  return config


def digest(config: Mapping[str, Any]) -> str:
  """A digest of what the figures of a run follow from, whatever the order of fields.

  >>> same = digest({"seed": 0, "hold": None, "log": {"every": 50}, "data": {"name": "digits"}})
  >>> same == digest({"data": {"name": "digits"}, "seed": 0}), same == digest({"seed": 0})
  (True, False)
  """
  fields = {k: v for k, v in config.items() if k not in CARRIED_OUT}
  told = {k: v for k, v in flatten(fields).items() if v is not None}
  return hashlib.sha256(repr(sorted(told.items())).encode()).hexdigest()[:16]


def chosen(found: Sequence[Point], which: str) -> list[Point]:
  """The points that `--sweep=WHICH` means: a number, or "all".

  Raises:
    BadInput: neither, or no such point.
  """
  if which == "all":
    return list(found)
  if not (which.isdecimal() and int(which) < len(found)):
    raise BadInput(f"--sweep is all or the number of a point, 0 to {len(found) - 1}, got {which!r}")
  return [found[int(which)]]


def listed(found: Sequence[Point]) -> str:
  """The points, a line each: the number and what it is on a command line."""
  width = len(str(len(found)))
  return "\n".join(f"{point.number:>{width}}  {point.words}" for point in found)
