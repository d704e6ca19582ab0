"""Infilling: known answers, and masks that no run can choose."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maskjax.data import pipeline
from maskjax.errors import BadInput
from maskjax.train.evaluators import infilling
from maskjax.train.mesh.mesh import make_mesh


def context(tmp_path, infill, seed=0, **data):
  """An evaluation of a text of words."""
  path = tmp_path / "text.txt"
  path.write_text("to be or not to be, " * 60)
  opened = pipeline.load(name="text", path=str(path), length=24, **data)
  return types.SimpleNamespace(
    record=opened.record,
    task=types.SimpleNamespace(answers={"infill": infill}),
    variables={},
    key=jax.random.key(seed),
    mesh=make_mesh(),
    examples=lambda split, size: pipeline.examples(opened, split, batch_size=size),
  )


def test_what_is_not_known_costs_the_vocabulary_and_what_is_known_nothing(tmp_path):
  uniform = lambda variables, batch, hidden: jnp.zeros((*hidden.shape, 8))
  there = context(tmp_path, uniform)
  assert len(there.record.vocabulary) == 8
  got = infilling(there, split="train", batch_size=4)
  assert got["loss"] == pytest.approx(np.log(8), rel=1e-5)
  tokens = np.concatenate([b["tokens"][b["valid"]] for b in there.examples("train", 4)])
  assert got["accuracy"] == pytest.approx((tokens == 0).mean(), abs=0.08)  # of ties the first
  sure = lambda variables, batch, hidden: 50.0 * jax.nn.one_hot(batch["tokens"], 8)
  known = infilling(context(tmp_path, sure), split="train", batch_size=4)
  assert known["accuracy"] == 1
  assert known["loss"] < 1e-6


def masks(tmp_path, seed=0, whole=False, **data):
  """The masks that a task is shown, row by row, with the batches."""
  seen = []

  def infill(variables, batch, hidden):
    unit = batch.get("unit", jnp.zeros_like(batch["tokens"]))
    jax.debug.callback(lambda *x: seen.append(x), hidden, batch["valid"], unit)
    return jnp.zeros((*hidden.shape, 12))

  there = context(tmp_path, infill, seed, **data)
  infilling(there, split="train", ratio=0.25, whole=whole, draws=2, batch_size=4)
  jax.effects_barrier()
  return [np.concatenate(part) for part in zip(*seen, strict=True)]


def test_masks_are_the_same_for_all_runs_and_hide_their_share_of_what_is_there(tmp_path):
  hidden, valid, _ = masks(tmp_path)
  np.testing.assert_array_equal(hidden, masks(tmp_path, seed=7)[0])
  assert not (hidden & ~valid).any()
  np.testing.assert_array_equal(hidden.sum(-1), np.round(0.25 * valid.sum(-1)))
  assert len(np.unique(hidden[valid.all(-1)], axis=0)) > 0.9 * valid.all(-1).sum()


def test_whole_units_are_hidden_but_for_the_last(tmp_path):
  data = dict(collocations=dict(size=0))
  for whole in (False, True):
    hidden, valid, unit = masks(tmp_path, whole=whole, **data)
    cut = [
      sum(0 < hidden[i][unit[i] == u].mean() < 1 for u in set(unit[i][valid[i]]))
      for i in range(len(hidden))
    ]
    assert (max(cut) <= 1) == whole


def test_what_cannot_work_is_said(tmp_path):
  with pytest.raises(BadInput, match="set data"):
    masks(tmp_path, whole=True)
  with pytest.raises(BadInput, match="no tokens are hidden"):
    infilling(context(tmp_path, lambda v, b, h: jnp.zeros((*h.shape, 9))), ratio=0.0, batch_size=4)
