"""A process as one of several: what it brings to a meeting, and what comes of it."""

import pathlib
import runpy

import numpy as np
import pytest

from maskjax.errors import BadInput
from maskjax.train import run
from maskjax.train.pod.member import Member

run_tests = runpy.run_path(str(pathlib.Path(__file__).parents[1] / "test_run.py"))


class Fellow(Member):
  """One of two, the other of which brings `other` to every meeting."""

  def __init__(self, index, other):
    super().__init__(index, 2)
    self.other, self.brought = other, []

  def meet(self, name, value=None):
    self.brought.append(value)
    return [value, self.other] if self.first else [self.other, value]


@pytest.fixture
def config(tmp_path):
  images = np.zeros((8, 8, 8, 1), np.uint8)
  np.savez(tmp_path / "images.npz", train_images=images, train_labels=np.arange(8) % 2)
  changes = {"data.path": str(tmp_path / "images.npz"), "data.test": "", "batch_size": 8}
  return run_tests["merged"](run_tests["TINY"], changes)


@pytest.mark.parametrize("index", [0, 1])
def test_processes_that_got_different_configs(config, tmp_path, monkeypatch, index):
  me = Fellow(index, "another")
  monkeypatch.setattr(run, "me", lambda: me)
  said = f"process {1 - index} got another config than process {index}"
  with pytest.raises(BadInput, match=said):
    run.train(config, tmp_path / "apart")
  assert not (tmp_path / "apart").exists()


def test_every_field_of_a_config_tells_and_their_order_does_not(monkeypatch):
  me = Fellow(0, "another")
  monkeypatch.setattr(run, "me", lambda: me)
  for config in ({"a": {"x": 1, "y": 2}, "b": 3}, {"b": 3, "a": {"y": 2, "x": 1}}, {"a": {"x": 1}}):
    with pytest.raises(BadInput):
      run.same_everywhere(config)
  first, again, other = me.brought
  assert first == again != other
  me.other = first
  run.same_everywhere({"a": {"x": 1, "y": 2}, "b": 3})
