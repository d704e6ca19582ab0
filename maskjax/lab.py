"""What config files are made with: presets, and `key=value` after the colon."""

import ast
import importlib.util
import pathlib
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import Any

from ml_collections import ConfigDict, config_dict

from maskjax.errors import BadInput, nearest, unknown

Presets = Mapping[str, Callable[[ConfigDict], None]]


def load(path: pathlib.Path) -> ModuleType:
  """The module in a config file; what goes wrong inside it is raised as it is.

  Raises:
    BadInput: no such file, no Python file, or one without `get_config`.
  """
  spec = importlib.util.spec_from_file_location(path.stem, path)
  if not path.is_file():
    raise BadInput(f"there is no config file {path}{nearest_file(path)}")
  if spec is None or spec.loader is None:
    raise BadInput(f"the config file {path} is no Python file (.py)")
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  if not callable(getattr(module, "get_config", None)):
    raise BadInput(f"the config file {path} has no function get_config")
  return module


def read(place: str) -> ConfigDict:
  """The config of `file.py` or `file.py:preset,key=value,…`.

  Raises:
    BadInput: see `load` and `finish`.
  """
  path, colon, arg = place.partition(".py:")
  file = pathlib.Path(f"{path}.py" if colon else path).expanduser()
  get_config = load(file).get_config
  return get_config(arg) if colon else get_config()


def common() -> ConfigDict:
  """The fields of a run that do not depend on what it trains, for `get_config` to begin with.

  >>> config = common()
  >>> assign(config, "mesh.preset", "fsdp")
  >>> config.mesh.preset
  'fsdp'
  """
  c = ConfigDict()
  c.job = "train"
  c.seed, c.seeds = 0, 1
  c.accumulate, c.ema = 1, 0.0
  c.loader = dict(workers=8, threads=4, prefetch=4)
  axes = ("data", "fsdp", "tensor")
  c.mesh = dict(
    preset="data",
    shape={axis: config_dict.placeholder(int) for axis in axes},
    rules=(),
    least=config_dict.placeholder(int),
  )
  c.checkpoint = dict(every=5000, keep=2, keep_every=0, best="")
  c.log = dict(every=50, tensorboard=True, wandb="")
  c.profile = dict(first=10, steps=0)
  c.resume, c.init_from, c.init_except = "", "", ""
  c.debug = False
  return c


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
  """Sets an existing field, named with dots, to a Python literal or plain words.

  A field keeps its type. Inside a section, `None` leaves a field unset and switches an evaluator
  off.

  Raises:
    BadInput: no such field, or a value of another type (True is no number).
  """
  *path, last = key.split(".")
  section: Any = config
  for name in [*path, last]:
    if not isinstance(section, ConfigDict) or name not in section:
      fields = list(names(config))
      alike = [f for f in fields if f.split(".")[-1] == last]
      near = nearest(key, alike, cutoff=0.0) or nearest(key, fields)
      known = sorted(section) if isinstance(section, ConfigDict) else []
      raise BadInput(
        f"unknown config key {key!r}{near} (known there: {', '.join(known) or 'none'})"
      )
    owner, section = section, section[name]
  kind = owner.get_type(last)
  value = literal(text, kind)
  try:
    unset = value is None and not path and section is not None
    if unset or (isinstance(value, bool) and kind in (int, float)):
      raise TypeError
    owner[last] = value
  except TypeError:
    what = "a section, of which single fields can be set" if kind is ConfigDict else kind.__name__
    raise BadInput(f"config key {key} must be {what}, got {value!r}") from None


def names(config: ConfigDict, prefix: str = "") -> Iterator[str]:
  """Every field of a config and of its sections, with dots.

  >>> list(names(ConfigDict(dict(seed=0, select=dict(ratio=0.75)))))
  ['seed', 'select', 'select.ratio']
  """
  for name, value in config.items():
    yield prefix + name
    if isinstance(value, ConfigDict):
      yield from names(value, f"{prefix}{name}.")


def nearest_file(path: pathlib.Path) -> str:
  """Names the Python file beside `path` with the nearest name."""
  return nearest(path.name, [p.name for p in path.parent.glob("*.py")])
