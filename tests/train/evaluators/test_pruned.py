"""Accuracy once weights are hidden, against a classifier by numpy."""

import dataclasses
from functools import partial
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np

from maskjax import select, weights
from maskjax.record import Record
from maskjax.train.evaluators import pruned_accuracy
from maskjax.train.mesh.mesh import make_mesh

RNG = np.random.default_rng(0)
IMAGE = RNG.normal(size=(40, 6)).astype(np.float32)
LABEL = RNG.integers(0, 4, 40).astype(np.int32)
KERNEL = RNG.normal(size=(6, 4)).astype(np.float32)
BIAS = RNG.normal(size=4).astype(np.float32)


@dataclasses.dataclass
class Context:
  """What the evaluator reads of one."""

  variables: dict
  record: Record
  task: SimpleNamespace
  mesh: object
  step: int = 1

  def examples(self, split, batch_size):
    """All of them at once."""
    assert split == "train"
    yield {"image": IMAGE, "label": LABEL, "valid": np.ones(40, bool)}


def test_hidden_weights_are_zero_and_others_as_they_are():
  params = {"kernel": jnp.asarray(KERNEL), "bias": jnp.asarray(BIAS)}
  predict = lambda v, batch: batch["image"] @ v["params"]["kernel"] + v["params"]["bias"]
  record = Record("image", (6,), {"train": 40}, tuple("abcd"))
  task = SimpleNamespace(answers={"predict": predict})
  context = Context({"params": params}, record, task, make_mesh())
  masks = partial(weights.selected_masks, select=partial(select.top, ratio=0.75))
  where = (("kernel$", True),)
  found = pruned_accuracy(context, masks=masks, where=where, split="train", batch_size=40)
  right = lambda kernel: ((IMAGE @ kernel + BIAS).argmax(-1) == LABEL).mean()
  kept = np.abs(KERNEL) >= np.sort(np.abs(KERNEL).ravel())[18]
  assert kept.sum() == 6
  np.testing.assert_allclose(found["accuracy"], right(KERNEL * kept), rtol=1e-6)
  np.testing.assert_allclose(found["dense"], right(KERNEL), rtol=1e-6)
  assert found["accuracy"] != found["dense"]
  np.testing.assert_array_equal(context.variables["params"]["kernel"], KERNEL)
