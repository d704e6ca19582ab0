"""What a config file comes to: a method on its base, the paper's scale, and presets."""

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Mapping
from types import ModuleType
from typing import Any

from ml_collections import ConfigDict, config_dict

from maskjax.errors import BadInput, unknown

Change = Callable[[ConfigDict], None]


def preset(change: Change | str) -> Any:
  """Marks a function of a config file as a preset, which changes a config in place.

  A preset begins as that of the base of the same name, to which `method` is applied; one that the
  base has not, `@preset("laptop")`, as the named one of its own file.

  >>> @preset
  ... def laptop(c): ...
  >>> @preset("laptop")
  ... def small(c): ...
  >>> laptop.preset, small.preset
  ('', 'laptop')
  """

  def marked(fn: Change, after: str) -> Change:
    fn.preset = after  # type: ignore[attr-defined]
    return fn

  if isinstance(change, str):
    return lambda fn: marked(fn, change)
  return marked(change, "")


def grid(**values: Iterable[Any]) -> list[dict[str, Any]]:
  """All combinations of values of fields, the last field moving fastest: what a `sweep` returns.

  Args:
    **values: the values of each field; "__" in its name stands for a dot, and `config` is the
      config that a point begins from, `ID[:preset]`.

  Returns:
    The points, each the fields that it sets.

  >>> grid(config=("mae:laptop",), optimizer__learning_rate=(1e-3,), seed=(0, 1))[1]
  {'config': 'mae:laptop', 'optimizer.learning_rate': 0.001, 'seed': 1}
  """
  names = [name.replace("__", ".") for name in values]
  return [dict(zip(names, point, strict=True)) for point in itertools.product(*values.values())]


def common() -> ConfigDict:
  """The fields of a run that do not depend on what it trains, for `get_config` to begin with.

  >>> common().mesh.preset
  'data'
  """
  c = ConfigDict()
  c.job = "train"
  c.task = dict(fn="task.masked")
  c.seed, c.seeds = 0, 1
  c.accumulate, c.ema = 1, 0.0
  c.loader = dict(workers=8, threads=4, prefetch=4)
  axes = ("slice", "data", "fsdp", "tensor")
  c.mesh = dict(
    preset="data",
    shape={axis: config_dict.placeholder(int) for axis in axes},
    rules=(),
    least=config_dict.placeholder(int),
  )
  c.checkpoint = dict(every=5000, keep=2, keep_every=0, best="")
  loggers = dict(
    tensorboard=dict(fn="train.log.tensorboard"),
    wandb=dict(fn="train.log.wandb", project=""),
    mlflow=dict(fn="train.log.mlflow", experiment="", uri=""),
  )
  c.log = dict(every=50, loggers=loggers)
  c.profile = dict(first=10, steps=0)
  c.resume, c.init_from, c.init_except, c.init_missing = "", "", "", ""
  c.debug = False
  return c


@dataclasses.dataclass(frozen=True)
class Experiment:
  """A config file, as what it says.

  Attributes:
    method: what the method changes of its base; without a base, everything.
    paper: the paper's scale, which presets do not have where there is a base.
    own: the file's own presets, by name.
    base: another experiment, whose configs this one's are made from.
    common: the fields of a run, for an experiment without a base to begin with.
    without: presets of the base that make no sense here (of another kind of data) and are not
      offered; own presets may begin as they do.
  """

  method: Change
  paper: Change
  own: Mapping[str, Change]
  base: "Experiment | None"
  common: Callable[[], ConfigDict]
  without: tuple[str, ...] = ()

  def __post_init__(self) -> None:
    """Refuses to leave out what the base has not."""
    for name in set(self.without) - set(self._inherited):
      raise unknown("preset of the base in WITHOUT,", name, self._inherited)

  @property
  def _inherited(self) -> tuple[str, ...]:
    return self.base.presets if self.base else ()

  @property
  def presets(self) -> tuple[str, ...]:
    """The names of all presets, those of the base among them."""
    return tuple(sorted({*self.own, *self._inherited} - set(self.without)))

  def config(self, name: str = "") -> ConfigDict:
    """The config at the paper's scale, or a preset.

    Raises:
      BadInput: no such preset (the nearest is named), or one that begins nowhere.
    """
    if not name:
      c = self.base.config() if self.base else self.common()
      return self._changed(c, self.method, self.paper)
    if name not in self.presets:
      raise unknown("preset", name, self.presets)
    return self._preset(name)

  def _preset(self, name: str) -> ConfigDict:
    """A preset, one that is not offered too."""
    own = self.own.get(name)
    after = getattr(own, "preset", "")
    known = sorted({*self.own, *self._inherited})
    if after and after not in known:
      raise unknown(f"preset that {name!r} begins as,", after, known)
    if after:
      changes, c = [], self._preset(after)
    elif self.base is None:
      changes, c = [self.method, self.paper], self.common()
    elif name in self._inherited:
      changes, c = [self.method], self.base.config(name)
    else:
      raise BadInput(f"the base has no preset {name!r}: say what it begins as, @preset('laptop')")
    return self._changed(c, *changes, *([own] if own else []))

  @staticmethod
  def _changed(c: ConfigDict, *changes: Change) -> ConfigDict:
    # A number may become a section that moves it, and a section a number.
    with c.ignore_type():
      for change in changes:
        change(c)
    return c


def of_module(module: ModuleType, common: Callable[[], ConfigDict]) -> Experiment:
  """The experiment of a config file: its `method`, `paper`, `BASE`, `WITHOUT` and presets."""
  marked = lambda fn: isinstance(getattr(fn, "preset", None), str)
  own = {name: fn for name, fn in vars(module).items() if marked(fn)}
  paper = getattr(module, "paper", lambda c: None)
  base = getattr(module, "BASE", None)
  without = tuple(getattr(module, "WITHOUT", ()))
  return Experiment(module.method, paper, own, base and base.experiment, common, without)
