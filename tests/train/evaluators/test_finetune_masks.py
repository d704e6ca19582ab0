"""Fine-tuning with some positions hidden: in training alone, by new masks at every step."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from user_package.configs import small

from maskjax.errors import BadInput
from maskjax.over.cut import patchify
from maskjax.record import Record
from maskjax.sections import bound
from maskjax.train.evaluators.finetune import finetune
from maskjax.train.mesh.mesh import make_mesh
from maskjax.train.setup.build import make_task

SIZE, GRID = 16, (4, 3)
WHITE = bound({"fn": "score.uniform"})
MASKS = {"score": WHITE, "select": bound({"fn": "select.per_axis", "counts": (1, 1)})}
SETTINGS = {"batch_size": SIZE, "learning_rate": 0.01, "layer_decay": 1.0}


def context(seen, grid=GRID):
  """A task whose features tell what was hidden; the class is the sign of the first value."""
  rng = np.random.default_rng(0)
  image = rng.normal(size=(SIZE, 12)).astype(np.float32)
  label = (image[:, 0] > 0).astype(np.int32)

  def features(variables, batch, hidden=None, keep=None):
    assert keep == (None if hidden is None else 6)
    if hidden is not None:
      jax.debug.callback(lambda h: seen.append(np.array(h)), hidden)
    there = jnp.ones(batch["image"].shape, bool) if hidden is None else ~hidden
    return {"mean": jnp.where(there, batch["image"], 0) * variables["params"]["gain"]}

  def batches(batch_size, seed, steps):
    for _ in range(steps):
      yield {"image": image, "label": label, "position": np.arange(SIZE, dtype=np.int32)}

  def examples(split, batch_size):
    yield {"image": image, "label": label, "valid": np.ones(SIZE, bool)}

  return types.SimpleNamespace(
    record=Record("image", (12,), {"train": SIZE, "test": SIZE}, ("minus", "plus")),
    key=jax.random.key(0),
    step=0,
    task=types.SimpleNamespace(
      final=lambda v: v, answers={"features": features}, network=types.SimpleNamespace(grid=grid)
    ),
    variables={"params": {"gain": jnp.ones(12)}},
    mesh=make_mesh(),
    batches=batches,
    examples=examples,
  )


def test_hides_times_and_frequencies_anew_at_every_step_and_nothing_when_scored():
  seen = []
  result = finetune(context(seen), steps=5, **SETTINGS, **MASKS)
  jax.effects_barrier()
  assert set(result) == {"accuracy", "loss"}
  assert len(seen) == 5, "one mask a step, none where test examples are classified"
  drawn = np.stack(seen).reshape(5, SIZE, *GRID)
  assert (drawn.all(3).sum(-1) == 1).all()
  assert (drawn.all(2).sum(-1) == 1).all()
  assert (drawn.sum((2, 3)) == 6).all()
  assert len({mask.tobytes() for mask in drawn.reshape(-1, 12)}) > 8
  assert not np.array_equal(drawn[0], drawn[1])


def test_without_sections_nothing_is_hidden():
  seen = []
  finetune(context(seen), steps=2, **SETTINGS)
  jax.effects_barrier()
  assert seen == []


def test_bad_input():
  with pytest.raises(BadInput, match="needs both"):
    finetune(context([]), steps=1, **SETTINGS, score=WHITE)
  with pytest.raises(BadInput, match="no grid of positions"):
    finetune(context([], grid=None), steps=1, **SETTINGS, **MASKS)
  with pytest.raises(BadInput, match="needs logits"):
    finetune(context([]), steps=1, **SETTINGS, **{**MASKS, "score": bound({"fn": "score.entropy"})})


def test_hidden_patches_change_no_feature():
  """As dropping them does: neither content nor presence of what is hidden reaches the rest."""
  task = make_task(small(), Record("image", (8, 6, 1), {"train": 2}, mean=(0.0,), std=(1.0,)))
  rng = np.random.default_rng(0)
  image = rng.normal(size=(2, 8, 6, 1)).astype(np.float32)
  hidden = np.broadcast_to(np.arange(12) < 3, (2, 12))
  first = {"image": image, "position": np.arange(2)}
  shapes = jax.eval_shape(task.init, jax.random.key(0), first)
  variables = jax.tree.map(lambda x: rng.normal(size=x.shape).astype(x.dtype), shapes)

  @jax.jit
  def features(variables, image):
    gone = jnp.asarray(hidden)
    found, cut = (
      task.answers["features"](variables, {"image": image}, gone, **keep)["mean"]
      for keep in ({}, {"keep": 9})
    )
    index = jnp.broadcast_to(jnp.arange(3, 12), (2, 9))
    own = {name: leaves["encoder"] for name, leaves in variables.items()}
    patches = patchify(image, (2, 2))[:, 3:]
    return found, cut, task.network.apply(own, patches, index=index)[:, 1:].mean(-2)

  found, cut, alone = features(variables, image)
  np.testing.assert_allclose(cut, found, atol=1e-5)
  image[:, :2] = np.nan
  np.testing.assert_array_equal(found, features(variables, image)[0])
  np.testing.assert_allclose(found, alone, atol=1e-5)
  assert task.network.grid == GRID
