"""Accuracy along a line, against lines drawn by hand."""

import dataclasses
import sys
import types

import numpy as np
import pytest

from maskjax.errors import BadInput
from maskjax.record import Record
from maskjax.train.evaluators.between import between
from maskjax.train.mesh.mesh import make_mesh


@dataclasses.dataclass
class Context:
  """A linear classifier of points."""

  variables: dict
  inputs: np.ndarray
  label: np.ndarray
  step: int = 0

  def __post_init__(self):
    predict = lambda variables, batch: batch["x"] @ variables["params"]["kernel"]
    self.task = types.SimpleNamespace(answers={"predict": predict}, final=lambda v: v)
    self.record = Record("image", (6,), {"test": len(self.label)}, tuple("abcd"))
    self.mesh = make_mesh()

  def examples(self, split, batch_size):
    yield {"x": self.inputs, "label": self.label, "valid": np.ones(len(self.label), bool)}


def test_points_on_the_line_are_as_accurate_as_the_mixed_weights(monkeypatch):
  rng = np.random.default_rng(0)
  here, there = rng.normal(size=(2, 6, 4)).astype(np.float32)
  inputs = rng.normal(size=(40, 6)).astype(np.float32)
  label = np.argmax(inputs @ here, -1).astype(np.int32)
  context = Context({"params": {"kernel": here}}, inputs, label)
  for kernel in (there, -here, there[:, :3]):
    theirs = {"params": {"kernel": kernel}}
    monkeypatch.setattr(sys.modules[between.__module__], "masked", lambda _, v=theirs: v)
    if kernel.shape != here.shape:
      with pytest.raises(BadInput, match="other variables"):
        between(context, other="runs/other")
      continue
    found = between(context, other="runs/other", points=5)
    right = {}
    for t in (0.0, 0.25, 0.5, 0.75, 1.0):
      guess = np.argmax(inputs @ ((1 - t) * here + t * kernel), -1)
      right[f"at/{t:.2f}"] = (guess == label).mean()
    # Halfway to its negative nothing is left of a network: of equal logits the first counts.
    assert found == {"lowest": min(right.values()), **right}
    assert found["at/0.00"] == 1
