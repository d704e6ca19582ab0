"""What config files are made with: presets, and `key=value` after the colon."""

import ast
import functools
import importlib.util
import inspect
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from maskjax import sections, smoke
from maskjax.config_files import CONFIGS, locate, nearest_file
from maskjax.errors import BadInput, nearest, unknown
from maskjax.experiment import Experiment, of_module
from maskjax.experiment import common as common  # what config files without a base begin with
from maskjax.experiment import grid as grid  # what sweeps are made with
from maskjax.experiment import preset as preset  # what config files mark their presets with

SMOKE = "smoke"
TWO_STEPS = "Two steps of `laptop` on tiny data, at the least widths and depths."
DATA = ("scale", "laptop")  # the fields of a NOTE that say what its data are
Presets = Mapping[str, Callable[[ConfigDict], None]]


def load(path: pathlib.Path) -> ModuleType:
  """The module in a config file; what goes wrong inside it is raised as it is.

  Raises:
    BadInput: no such file, no Python file, one with neither `method` nor `get_config` nor `sweep`,
      or a preset "smoke", which every config has from `smoke.of_experiment`.
  """
  spec = importlib.util.spec_from_file_location(path.stem, path)
  if not path.is_file():
    raise BadInput(f"there is no config file {path}{nearest_file(path)}")
  if spec is None or spec.loader is None:
    raise BadInput(f"the config file {path} is no Python file (.py)")
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  if callable(getattr(module, "method", None)):
    made = of_module(module, common)
    if SMOKE in made.presets:
      raise BadInput(f"{path}: a preset {SMOKE} is made for every config, see NOTE['{SMOKE}']")
    module.experiment = made  # type: ignore[attr-defined]
    module.PRESETS = tuple(sorted({*made.presets, SMOKE}))  # type: ignore[attr-defined]
    note = {**_inherited(module), **getattr(module, "NOTE", {})}
    module.NOTE = note  # type: ignore[attr-defined]
    module.get_config = functools.partial(_config, made, note)  # type: ignore[attr-defined]
  elif callable(getattr(module, "sweep", None)) and not hasattr(module, "get_config"):
    module.get_config = functools.partial(_no_config, path)  # type: ignore[attr-defined]
  if not callable(getattr(module, "get_config", None)):
    raise BadInput(f"the config file {path} has no function method, nor get_config, nor sweep")
  return module


def _no_config(path: pathlib.Path, arg: str | None = None) -> ConfigDict:
  raise BadInput(f"{path} is a sweep over other configs: --sweep lists its points")


def base(name: str) -> ModuleType:
  """A config of maskjax as the base of another: `BASE = lab.base("image_mim/mae")`.

  Raises:
    BadInput: there is none; the nearest is named.

  >>> base("image_mim/mae").NOTE["scale"]["parameters"]
  329239296
  """
  path = CONFIGS / f"{name}.py"
  if not path.is_file():
    known = [p.relative_to(CONFIGS).with_suffix("").as_posix() for p in CONFIGS.rglob("*.py")]
    raise unknown("config to begin with,", name, known)
  return load(path)


def _inherited(module: ModuleType) -> dict[str, Any]:
  """What the NOTE of a config's base says of the data, which is so above it too."""
  note = module.BASE.NOTE if hasattr(module, "BASE") else {}
  return {name: note[name] for name in DATA if name in note}


def _config(made: Experiment, note: Mapping[str, Any], arg: str | None = None) -> ConfigDict:
  """The config of `PRESET,key=value,…`; see `finish`. Each has a preset "smoke"."""
  words = split(arg or "")
  preset = words.pop(0) if words and "=" not in words[0] else ""
  if preset and preset not in (*made.presets, SMOKE):
    raise unknown("preset", preset, sorted({*made.presets, SMOKE}))
  config = smoke.of_experiment(made, note) if preset == SMOKE else made.config(preset)
  return assigned(config, words)


def read(place: str) -> ConfigDict:
  """The config of `ID` or `file.py`, and of `…:preset,key=value,…`.

  Raises:
    BadInput: see `locate`, `load` and `finish`.

  >>> read("mae:laptop,batch_size=32").batch_size
  32
  """
  file, arg = locate(place)
  get_config = load(file).get_config
  return get_config() if arg is None else get_config(arg)


def note(place: str) -> dict[str, Any]:
  """The NOTE of the config file that a place names; empty where it has none.

  Of a preset with the data of `laptop`, not those of the default, "scale" is what "laptop" says.

  >>> note("mae")["scale"]["shape"], note("mae:laptop")["scale"]["shape"]
  ((224, 224, 3), (8, 8, 1))
  """
  path, arg = locate(place)
  module = load(path)
  found = dict(getattr(module, "NOTE", {}))
  preset = (arg or "").partition(",")[0]
  if preset in getattr(module, "PRESETS", ()) and "laptop" in found:
    data = lambda name: module.get_config(name).data.name
    small = preset == SMOKE or data(preset) == data("laptop") != data("")
    found["scale"] = found["laptop"] if small else found["scale"]
  return found


def presets(module: ModuleType) -> dict[str, str]:
  """The presets of a loaded config file, "" for none, with the first line of what each says.

  A preset that says nothing itself is told as that of its base.

  >>> list(presets(base("image_mim/mae")))
  ['', 'cifar', 'laptop', 'small', 'smoke']
  """
  made = getattr(module, "experiment", None)
  said = lambda change: (inspect.getdoc(change) or "").partition("\n")[0]
  found = {} if made is None else {"": said(made.paper)}
  for name in sorted(module.PRESETS):
    owner = made
    while owner and name not in owner.own:
      owner = owner.base
    found[name] = said(owner.own[name]) if owner else TWO_STEPS if name == SMOKE else ""
  return found


def finish(config: ConfigDict, arg: str | None, presets: Presets) -> ConfigDict:
  """Applies what stands after the colon of `--config=file.py:preset,key=value,…`.

  The first word may be a preset, which changes the config in place; the others set existing fields,
  see `assign`.

  Raises:
    BadInput: an unknown preset or key (the nearest is named), or a value of another type.

  >>> config = ConfigDict(dict(batch_size=4096, select=dict(ratio=0.75)))
  >>> smoke = lambda c: c.update(batch_size=8)
  >>> finish(config, "smoke,select.ratio=0.5", dict(smoke=smoke)).batch_size
  8
  >>> config.select.ratio
  0.5
  """
  words = split(arg or "")
  if words and "=" not in words[0]:
    name = words.pop(0)
    if name not in presets:
      raise unknown("preset", name, presets)
    presets[name](config)
  return assigned(config, words)


def assigned(config: ConfigDict, words: Sequence[str]) -> ConfigDict:
  """The config with fields set by `key=value`, see `assign`.

  Raises:
    BadInput: something else than a pair, or see `assign`.
  """
  for word in words:
    key, equals, value = word.partition("=")
    if not equals:
      raise BadInput(f"after the preset come key=value pairs, got {word!r}")
    assign(config, key, value)
  return config


def split(text: str) -> list[str]:
  """The words between commas; a comma inside brackets separates nothing.

  >>> split("laptop,model.patch=(4,4),seed=1")
  ['laptop', 'model.patch=(4,4)', 'seed=1']
  """
  words: list[str] = []
  for piece in text.split(","):
    if words and sum(map(words[-1].count, "([{")) > sum(map(words[-1].count, ")]}")):
      words[-1] += "," + piece
    else:
      words.append(piece)
  return [word for word in words if word]


def literal(text: str, kind: type = object) -> Any:
  """A Python literal, or the text itself where it is none or text is wanted.

  >>> literal("0.5"), literal("(4, 4)"), literal("cosine")
  (0.5, (4, 4), 'cosine')
  >>> literal("2024", str), literal("true", bool)
  ('2024', True)
  """
  if kind is bool and text in ("true", "false"):
    return text == "true"
  try:
    value = ast.literal_eval(text.strip())
  except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
    return text
  return text if kind is str and not isinstance(value, str | None) else value


def assign(config: ConfigDict, key: str, text: str) -> None:
  """Sets a field, named with dots, to a Python literal or plain words.

  A field that exists keeps its type. A section that names its function takes every argument of
  that function, `data` every one of what opens its data, and an entry of a chain is named by its
  number: `hide.0.sigma`. Inside a section, `None` leaves a field unset and switches an evaluator
  off.

  Raises:
    BadInput: no such field, or a value of another type (True is no number).

  >>> config = ConfigDict(dict(hide=(dict(fn="hide.blur", sigma=1.0),)))
  >>> assign(config, "hide.0.sigma", "2")
  >>> config.hide
  ({'fn': 'hide.blur', 'sigma': 2.0},)
  """
  _assigned(config, key.split("."), text, Field(config, key))


class Field(NamedTuple):
  """A field of a config by its name, with dots."""

  config: ConfigDict
  key: str

  def unknown(self, section: Any) -> BadInput:
    """What to raise where a section has no such field: the nearest that the config has is named."""
    fields, last = list(names(self.config)), self.key.split(".")[-1]
    alike = [f for f in fields if f.split(".")[-1] == last]
    near = nearest(self.key, alike, cutoff=0.0) or nearest(self.key, fields)
    known = sorted(section) if isinstance(section, ConfigDict | dict) else []
    return BadInput(
      f"unknown config key {self.key!r}{near} (known there: {', '.join(known) or 'none'})"
    )

  def other(self, kind: type, value: Any) -> BadInput:
    """What to raise where it is set to a value of another type."""
    what = "a section, of which single fields can be set" if kind is ConfigDict else kind.__name__
    if self.key == "evals":
      what += " (--config.evals.NAME.every=-1 switches one evaluator off)"
    return BadInput(f"config key {self.key} must be {what}, got {value!r}")


def _assigned(section: Any, path: Sequence[str], text: str, field: Field) -> Any:
  """A section with the field at a path set: itself, or a copy of an entry of a chain."""
  name, *rest = path
  if isinstance(section, tuple) and name.isdigit() and int(name) < len(section) and rest:
    parts = list(section)
    parts[int(name)] = _assigned(dict(parts[int(name)]), rest, text, field)
    return tuple(parts)
  there = isinstance(section, ConfigDict | dict) and name in section
  if not there and (rest or not _takes(section, name, field)):
    raise field.unknown(section)
  if rest:
    section[name] = _assigned(section[name], rest, text, field)
    return section
  old = section.get(name) if there else None
  kind = section.get_type(name) if there and isinstance(section, ConfigDict) else type(old)
  value = literal(text, object if old is None and kind is type(None) else kind)
  unset = value is None and section is field.config and old is not None
  if unset or (isinstance(value, bool) and kind in (int, float)):
    raise field.other(kind, value)
  # Sections that a preset made are not checked by themselves.
  if (kind, type(value)) in ((float, int), (tuple, list), (list, tuple)):
    value = kind(value)  # type: ignore[misc]
  if value is not None and kind is not type(None) and not isinstance(value, kind):
    raise field.other(kind, value)
  section[name] = value
  return section


def _takes(section: Any, name: str, field: Field) -> bool:
  """Whether a section names a function that takes an argument of this name, or data that do."""
  fn = section.get("fn") if isinstance(section, ConfigDict | dict) else None
  if field.key.split(".")[-2:-1] == ["data"] and isinstance(section, ConfigDict):
    # By its name, since what opens data lies below.
    return name in sections.find("data.pipeline.keys")(section.get("name", ""))
  if not isinstance(fn, str) or "." not in fn:
    return False
  takes = inspect.signature(sections.find(fn)).parameters
  return name in takes and takes[name].kind is not inspect.Parameter.POSITIONAL_ONLY


def names(config: ConfigDict, prefix: str = "") -> Iterator[str]:
  """Every field of a config and of its sections, with dots.

  >>> list(names(ConfigDict(dict(seed=0, select=dict(ratio=0.75)))))
  ['seed', 'select', 'select.ratio']
  """
  for name, value in config.items():
    yield prefix + name
    if isinstance(value, ConfigDict):
      yield from names(value, f"{prefix}{name}.")
