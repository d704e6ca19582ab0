"""The smoke of a config: its laptop preset with its geometry, at the least widths and depths."""

import inspect
import math
from typing import Any

from ml_collections import ConfigDict

from maskjax import bind
from maskjax.errors import BadInput
from maskjax.train.words import WORDS

BATCH = 4
# Lists of widths, one a resolution: as many stay, all the least.
WIDTHS = 8


def smoke(config: ConfigDict, **fields: Any) -> ConfigDict:
  """A copy of a config of any scale that costs next to nothing, and hides what the config hides.

  Networks get the least sizes that their factories declare, see `bind.least`; grids, vocabularies,
  counts and buckets stay, and so does the length of the run, which schedules move with: a smoke
  takes the first steps of it. Batches of four, no evaluators, no stages: what those would have
  trained is as it was initialised.

  Args:
    config: of the default or of a preset.
    **fields: at most three more changes, by dotted names written with "__".

  Raises:
    BadInput: more than three fields.

  >>> model = dict(fn="vit_classifier", size="L", patch=(4, 4), width=None, depth=None, heads=None)
  >>> c = ConfigDict(dict(model=model, batch_size=4096, total_steps=9, evals=dict(knn={})))
  >>> small = smoke(c)
  >>> small.model.width, small.model.patch, small.batch_size, small.total_steps
  (16, (4, 4), 4, 9)
  """
  if len(fields) > 3:
    raise BadInput(f"a smoke changes at most three fields beside sizes, got {sorted(fields)}")
  small = ConfigDict(config.copy_and_resolve_references(), convert_dict=True)
  with small.ignore_type():
    for name, home in WORDS.items():
      if isinstance(section := small.get(name), ConfigDict) and "fn" in section:
        _least(section, home)
    if "dtype" in small.get("model", {}):
      small.model.dtype = "float32"
    share = min(1.0, BATCH / small.batch_size)
    small.batch_size = min(BATCH, small.batch_size)
    if small.get("total_examples"):
      small.total_examples = math.ceil(share * small.total_examples)
    small.evals, small.stages, small.seeds = ConfigDict(), ConfigDict(), 1
    small.init_from = ""
    for name, value in fields.items():
      *path, last = name.split("__")
      owner = small
      for part in path:
        owner = owner[part]
      owner[last] = value
  return small


def _least(section: ConfigDict, home: str) -> None:
  fn = bind.resolve(section.fn, home)
  takes = inspect.signature(fn).parameters
  for key, value in getattr(fn, "least", {}).items():
    if section.get(key, takes[key].default) != 0:  # 0 is none of it, which stays none
      section[key] = value
  if "widths" in section:
    section.widths = (WIDTHS,) * len(section.widths)
  if "remat" in section:
    section.remat = False
