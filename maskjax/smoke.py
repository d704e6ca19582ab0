"""The smoke of a config: its laptop preset with its geometry, at the least widths and depths."""

import copy
import inspect
import math
import re
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from maskjax import sections
from maskjax.errors import BadInput
from maskjax.experiment import Experiment

BATCH = 4
# Lists of widths, one a resolution: as many stay, all the least.
WIDTHS = 8
LAYER = re.compile(r"(?:block_)?(-?\d+)")


def smoke(config: ConfigDict, **fields: Any) -> ConfigDict:
  """A copy of a config of any scale that costs next to nothing, and hides what the config hides.

  Networks get the least sizes that their factories declare, see `bind.least`, and the layers that
  taps and gates name; grids, vocabularies, counts and buckets stay, and so does the length of the
  run, which schedules move with: a smoke takes the first steps of it. Batches of four, evaluators
  off, no stages: what those would have trained is as it was initialised.

  Args:
    config: of the default or of a preset.
    **fields: at most three more changes, by dotted names written with "__".

  Raises:
    BadInput: more than three fields.

  >>> model = dict(fn="model.vit_classifier", size="L", width=None, depth=None, heads=None)
  >>> evals = dict(knn=dict(fn="train.evaluators.knn", every=0))
  >>> small = smoke(ConfigDict(dict(model=model, batch_size=4096, total_steps=9, evals=evals)))
  >>> small.model.width, small.batch_size, small.total_steps, small.evals.knn.every
  (16, 4, 9, -1)
  """
  if len(fields) > 3:
    raise BadInput(f"a smoke changes at most three fields beside sizes, got {sorted(fields)}")
  small = ConfigDict(copy.deepcopy(config), convert_dict=True)
  with small.ignore_type():
    networks = tuple(f"{name}." for name in ("network", *small.get("model", ())))
    for name in ("model", "let", "score", "hide"):
      _least(small.get(name), networks)
    _deep_enough(small)
    share = min(1.0, BATCH / small.batch_size)
    small.batch_size = min(BATCH, small.batch_size)
    if small.get("total_examples"):
      small.total_examples = math.ceil(share * small.total_examples)
    for section in filter(None, small.get("evals", {}).values()):
      section.every = -1
    if "stages" in small:
      small.stages = ConfigDict()
    small.seeds, small.init_from = 1, ""
    for name, value in fields.items():
      *path, last = name.split("__")
      owner = small
      for part in path:
        owner = owner[part]
      owner[last] = value
  return small


def of_experiment(made: Experiment, note: Mapping[str, Any]) -> ConfigDict:
  """The preset `smoke` of every config: two steps of its laptop preset on tiny data.

  Another `data.name` opens what it would open in `laptop`, by the same fields of `data`.

  Args:
    made: the experiment, with a preset "laptop".
    note: of the config: "laptop", the scale of that preset's data, and "smoke", changes of at most
      three fields.

  Raises:
    BadInput: no such preset, or nothing said of the scale.
  """
  small = smoke(made.config("laptop"), **note.get("smoke", {}))
  scale = note.get("laptop", note.get("scale"))
  if scale is None:
    raise BadInput("a smoke needs laptop=dict(shape=…, examples=…), or scale, in the NOTE")
  with small.ignore_type():
    small.job, small.total_epochs, small.total_steps, small.eval_batch_size = "train", 0.0, 2, BATCH
    small.data.update(name="tiny", path="", scale=dict(scale))
    for name in ("warmup_epochs", "warmup_steps"):
      if small.optimizer.get(name):
        small.optimizer[name] = type(small.optimizer[name])(0)
    small.loader.workers, small.checkpoint.every, small.log.every = 0, 1, 1
    if small.get("hold", {}).get("every"):
      small.hold.every = 1
  return small


def _least(section: Any, networks: tuple[str, ...]) -> None:
  """Sets the least sizes of a section's function, and of those within it; methods have none."""
  if isinstance(section, tuple):
    for part in section:
      _least(part, networks)
  if not isinstance(section, ConfigDict):
    return
  for part in section.values():
    _least(part, networks)
  if "fn" not in section or section.fn.startswith(networks):
    return
  if "dtype" in section:
    section.dtype = "float32"
  fn = sections.find(section.fn)
  takes = inspect.signature(fn).parameters
  for key, value in getattr(fn, "least", {}).items():
    if section.get(key, takes[key].default) != 0:  # 0 is none of it, which stays none
      section[key] = value
  if "widths" in section:
    section.widths = (WIDTHS,) * len(section.widths)
  if "remat" in section:
    section.remat = False


def _deep_enough(config: ConfigDict) -> None:
  """Gives networks the layers that taps and gates name by number, where their least is fewer."""
  for section in (config.get("taps") or {}, config.get("gates") or {}):
    for place in section.values():
      name, *inside = (place if isinstance(place, str) else place.at).split("/")
      network = config.model.get(name)
      # By the number of an address, or by the block's name in that of what a module sows.
      numbers = [int(layer[1]) for layer in map(LAYER.fullmatch, inside) if layer]
      if isinstance(network, ConfigDict) and network.get("depth") and numbers:
        number = numbers[-1]
        network.depth = max(network.depth, number + 1 if number >= 0 else -number)
