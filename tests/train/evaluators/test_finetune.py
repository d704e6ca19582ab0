"""Fine-tuning of a small encoder on blobs that its frozen features cannot tell apart."""

import itertools
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from maskjax.errors import BadInput
from maskjax.record import Record
from maskjax.train.evaluators.few import few
from maskjax.train.evaluators.finetune import _features, finetune
from maskjax.train.mesh.mesh import make_mesh

N = 192


def encode(variables, batch):
  p = variables["params"]["encoder"]
  x = jnp.tanh(batch["image"] @ p["embed"]["kernel"])
  x = jnp.tanh(x @ p["block_00"]["kernel"] + p["block_00"]["bias"])
  return {"mean": x * variables["buffers"]["gain"]}


@pytest.fixture
def context():
  """Two classes by the sign of x0 · x1, which no linear map tells; a decoder that is not read."""
  rng = np.random.default_rng(0)
  image = rng.normal(size=(2 * N, 2)).astype(np.float32)
  label = (image[:, 0] * image[:, 1] > 0).astype(np.int32)
  normal = lambda *shape: jnp.asarray(rng.normal(size=shape), jnp.float32)
  params = {
    "encoder": {
      "embed": {"kernel": normal(2, 16)},
      "block_00": {"kernel": normal(16, 16) / 4, "bias": jnp.zeros(16)},
    },
    "decoder": {"block_07": {"kernel": normal(16, 2)}},
  }

  def batches(batch_size, seed, steps):
    draw = np.random.default_rng(seed)
    for _ in range(steps):
      rows = draw.integers(0, N, batch_size)
      yield {"image": image[rows], "label": label[rows], "position": np.arange(batch_size)}

  def examples(split, batch_size):
    first = {"train": 0, "test": N}[split]
    for start in range(first, first + N, batch_size):
      rows = np.arange(start, start + batch_size)
      valid = rows < first + N
      rows = np.where(valid, rows, 0)
      yield {"image": image[rows], "label": label[rows], "valid": valid}

  return types.SimpleNamespace(
    record=Record("image", (2,), {"train": N, "test": N}, ("minus", "plus")),
    key=jax.random.key(0),
    step=0,
    task=types.SimpleNamespace(final=lambda v: v, answers={"features": encode}),
    variables={"params": params, "buffers": {"gain": jnp.full(16, 2.0)}},
    mesh=make_mesh(),
    batches=batches,
    examples=examples,
  )


SETTINGS = {"batch_size": 64, "learning_rate": 0.04, "layer_decay": 0.9, "weight_decay": 0.0}


def test_learns_end_to_end_and_leaves_the_weights(context):
  before = jax.tree.map(np.array, context.variables)
  result = finetune(context, steps=150, **SETTINGS)
  assert result["accuracy"] > 0.9
  jax.tree.map(np.testing.assert_array_equal, before, context.variables)


def test_deterministic_and_follows_the_key(context):
  first = finetune(context, steps=3, **SETTINGS)
  assert first == finetune(context, steps=3, **SETTINGS)
  context.key = jax.random.key(1)
  assert first != finetune(context, steps=3, **SETTINGS)


def test_epochs_count_steps(context):
  seen = []
  drawn = context.batches
  context.batches = lambda b, seed, steps: seen.append(steps) or drawn(b, seed, steps)
  finetune(context, epochs=1.5, **SETTINGS)
  finetune(context, epochs=1.5, steps=2, **SETTINGS)
  assert seen == [round(1.5 * N / 64), 2]


def test_a_few_labels_of_each_class_are_all_that_is_trained_on(context):
  context.batches = None  # of all labels
  drawn = list(itertools.islice(few(context, "train", 8, 56, seed=0), 6))
  whole = np.concatenate([batch["image"] for batch in drawn])
  label = np.concatenate([batch["label"] for batch in drawn])
  train = np.concatenate(
    [batch["image"][batch["valid"]] for batch in context.examples("train", 56)]
  )
  for number in range(2):
    own, times = np.unique(whole[label == number], axis=0, return_counts=True)
    assert len(own) == 8
    assert np.ptp(times) <= 1
    assert all((train == row).all(1).any() for row in own)
  assert len({tuple(batch["label"]) for batch in drawn}) == 6
  first = finetune(context, labels=8, steps=2, **SETTINGS)
  assert first == finetune(context, labels=8, epochs=8.0, **SETTINGS)
  with pytest.raises(BadInput, match="'plus' of 'train' has 92 examples, fewer than labels=100"):
    finetune(context, labels=100, steps=1, **SETTINGS)
  for wrong in (dict(labels=-1), dict(draws=2), dict(labels=8, draws=0)):
    with pytest.raises(BadInput, match="several draws are of some labels of each class"):
      finetune(context, steps=1, **wrong, **SETTINGS)


def test_several_draws_of_labels_are_trained_on_one_by_one(context, monkeypatch):
  seeds, scores = [], iter((0.5, 0.6, 0.9))
  told = lambda context, split, labels, size, seed: (
    seeds.append(seed) or few(context, split, labels, size, seed)
  )
  monkeypatch.setitem(finetune.__globals__, "few", told)
  monkeypatch.setitem(finetune.__globals__, "_score", lambda *_: next(scores))
  found = finetune(context, labels=8, draws=3, steps=3, **SETTINGS)
  assert len(set(seeds)) == 3
  np.testing.assert_allclose(
    (found["accuracy"], found["std"]), (2 / 3, np.std([5, 6, 9], ddof=1) / 10)
  )
  scores = iter((0.5,))
  assert finetune(context, labels=8, steps=3, **SETTINGS)["loss"] != found["loss"]
  assert seeds[3] == seeds[0]


def test_from_scratch_each_draw_has_an_initialisation_of_its_own(context, monkeypatch):
  keys, begun = [], []

  def init(key, batch):
    keys.append(key)
    params = jax.tree.map(lambda x: x + jax.random.uniform(key), context.variables["params"])
    return {"params": params}

  context.task.init = init
  tuned = lambda advance, params, *_: (begun.append(params) or params, 0.0)
  monkeypatch.setitem(finetune.__globals__, "_tuned", tuned)
  settings = dict(labels=8, draws=3, steps=3, scratch=True, **SETTINGS)
  finetune(context, **settings)
  start = np.asarray(context.variables["params"]["encoder"]["embed"]["kernel"])
  moved = [np.asarray(p["encoder/embed/kernel"]) - start for p in begun]
  assert len({x.tobytes() for x in moved}) == 3
  assert all(np.ptp(x) < 1e-6 < x.min() for x in moved)
  assert not any(p["head/kernel"].any() for p in begun)
  # What was trained begins as it is, with the same labels.
  context.step = 9
  finetune(context, **settings)
  for params in begun[3:]:
    np.testing.assert_array_equal(params["encoder/embed/kernel"], start)
  assert len(begun) == 6


def test_padding_is_not_counted(context):
  odd = finetune(context, steps=1, **{**SETTINGS, "batch_size": 56})  # 192 = 3 · 56 + 24
  real = context.examples

  def poisoned(split, batch_size):
    for batch in real(split, batch_size):
      yield {**batch, "label": np.where(batch["valid"], batch["label"], 1 - batch["label"])}

  context.examples = poisoned
  assert odd == finetune(context, steps=1, **{**SETTINGS, "batch_size": 56})


def test_layer_decay_counts_only_what_is_read(context):
  """A deeper decoder would shrink the encoder's rates if it counted."""
  decayed = {**SETTINGS, "layer_decay": 0.5}
  with_decoder = finetune(context, steps=5, **decayed)
  context.variables["params"].pop("decoder")
  assert with_decoder == finetune(context, steps=5, **decayed)


def test_bad_input(context):
  with pytest.raises(BadInput, match="pooling 'class'"):
    finetune(context, steps=1, pooling="class", **SETTINGS)
  with pytest.raises(BadInput, match="split 'trian'; did you mean 'train'"):
    finetune(context, train="trian", **SETTINGS)
  with pytest.raises(BadInput, match="no step"):
    finetune(context, epochs=0.01, **SETTINGS)
  context.batches = lambda *_: itertools.repeat(
    {"image": np.full((64, 2), np.nan, np.float32), "label": np.zeros(64, np.int32)}, 1
  )
  with pytest.raises(BadInput, match="not finite"):
    finetune(context, steps=1, **SETTINGS)
  context.record = Record("image", (2,), {"train": N})
  with pytest.raises(BadInput, match="'finetune' needs labels"):
    finetune(context, steps=1, **SETTINGS)


def test_it_begins_with_what_training_comes_to(context):
  first = next(context.batches(4, 0, 1))
  grown = jax.tree.map(lambda x: x + 1, context.variables["params"])
  context.task.final = lambda variables: {**variables, "params": grown}
  params = _features(context, "mean")[0](first, 2)
  assert not any(params.pop(f"head/{name}").any() for name in ("kernel", "bias"))
  grown = traverse_util.flatten_dict(grown, sep="/")
  assert "encoder/embed/kernel" in params
  for name, leaf in params.items():
    np.testing.assert_array_equal(leaf, grown[name])
