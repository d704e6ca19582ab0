"""Tasks of configs on other data and with other networks: the graphs that the configs write."""

import copy

from built import FILES

from maskjax import lab
from maskjax.train.run import plain
from maskjax.train.setup.build import make_task


def task_of(name, record, change=lambda c: None, steps=100):
  """The task of the config "NAME:PRESET" on the data of a record, after `change` of its fields."""
  name, _, preset = name.partition(":")
  config = lab.load(FILES[name]).get_config(preset or None)
  with config.ignore_type():
    config.total_epochs, config.total_steps = 0.0, steps
    change(config)
  return make_task(copy.deepcopy(plain(config)), record)
