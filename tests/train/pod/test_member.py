"""A process as one of several: what it brings to a barrier, and what comes of it."""

import pathlib
import runpy
from dataclasses import replace

import numpy as np
import pytest

from maskjax.errors import BadInput
from maskjax.record import Record
from maskjax.train import run
from maskjax.train.pod import devices
from maskjax.train.pod.member import Member

run_tests = runpy.run_path(str(pathlib.Path(__file__).parents[1] / "test_run.py"))


class Fellow(Member):
  """One of two or more, the others of which bring `other` or its parts to every barrier."""

  def __init__(self, index, *other):
    super().__init__(index, 1 + len(other))
    self.other, self.brought = list(other), []

  def barrier(self, name, value=None):
    self.brought.append(value)
    return [*self.other[: self.index], value, *self.other[self.index :]]


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
  me.other = [first]
  run.same_everywhere({"a": {"x": 1, "y": 2}, "b": 3})


def test_a_process_with_other_data_is_named(monkeypatch):
  me = Fellow(0, {})
  monkeypatch.setattr(run, "me", lambda: me)
  ours = Record("image", (8, 8, 1), {"train": 4}, class_names=("a", "b"), mean=(0.5,), std=(1.0,))
  run.same_data(ours)
  usual = me.brought[0]
  me.other = [{**usual, "mean": [0.5 + 1e-9]}]  # another processor's rounding
  run.same_data(ours)
  for other in (
    replace(ours, class_names=("b", "a")),
    replace(ours, mean=(0.6,)),
    replace(ours, examples={"train": "5e1f"}),
  ):
    with pytest.raises(
      BadInput, match=r"process 1 opened other data than process 0: (class|mean|examples)"
    ):
      run.same_data(other)
  # Wherever it is told, it is the odd one that is named.
  strange = {**usual, "peak": "5e1f"}
  for index, others in ((0, (strange, usual)), (1, (strange, strange)), (2, (usual, strange))):
    odd = Fellow(index, *others)
    monkeypatch.setattr(run, "me", lambda odd=odd: odd)
    with pytest.raises(BadInput, match="process 1 opened other data than processes 0, 2: peak"):
      run.same_data(ours)


LEAST = {
  "task": {"fn": ""}, "data": {"name": ""}, "optimizer": {}, "batch_size": 1, "seed": 0
}  # fmt: skip


def test_how_many_of_the_devices_are_used_is_told(monkeypatch, caplog, tmp_path):
  me = Fellow(0, "another")
  monkeypatch.setattr(run, "me", lambda: me)
  monkeypatch.setattr(run.jax, "local_device_count", lambda: 4)
  monkeypatch.setattr(run.jax, "default_backend", lambda: "gpu")
  monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3,4,5,6,7")
  caplog.set_level("INFO", "maskjax")
  monkeypatch.setattr(run, "make_parts", lambda config, known: 1 / 0)
  with pytest.raises(ZeroDivisionError):
    run.train(LEAST, tmp_path)
  assert caplog.messages == ["4 of 8 local devices"]


def test_where_nothing_says_what_is_visible_the_machine_is_asked(tmp_path):
  assert devices.there({}, tmp_path / "none") is None
  for name in ("0000:01:00.0", "0000:02:00.0"):
    (tmp_path / name).mkdir()
  assert devices.there({}, tmp_path) == 2
  assert devices.there({"CUDA_VISIBLE_DEVICES": "1"}, tmp_path) == 1
