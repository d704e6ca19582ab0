"""Accuracy of a run's own classifier, against scikit-learn."""

import types

import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import accuracy_score, log_loss

from maskjax.errors import BadInput
from maskjax.record import Record
from maskjax.train.evaluators.accuracy import accuracy
from maskjax.train.mesh.mesh import make_mesh

N, CLASSES = 37, 4


@pytest.fixture
def context():
  """A linear classifier on random points; padding is NaN with labels beyond the classes."""
  rng = np.random.default_rng(0)
  image = rng.normal(size=(N, 6)).astype(np.float32)
  label = rng.integers(0, CLASSES, N).astype(np.int32)
  traced = []

  def predict(variables, batch):
    traced.append(batch["image"].shape)
    return batch["image"] @ variables["params"]["kernel"]

  def examples(split, batch_size):
    assert split == "test"
    for first in range(0, N, batch_size):
      x, y = image[first : first + batch_size], label[first : first + batch_size]
      blank = batch_size - len(x)
      yield {
        "image": np.pad(x, ((0, blank), (0, 0)), constant_values=np.nan),
        "label": np.pad(y, (0, blank), constant_values=99),
        "valid": np.arange(batch_size) < len(x),
      }

  return types.SimpleNamespace(
    record=Record("image", (6,), {"test": N, "train": 0}, tuple("abcd")),
    step=3,
    task=types.SimpleNamespace(answers={"predict": predict}),
    variables={"params": {"kernel": jnp.asarray(rng.normal(size=(6, CLASSES)), jnp.float32)}},
    mesh=make_mesh(),
    examples=examples,
    image=image,
    label=label,
    traced=traced,
  )


@pytest.mark.parametrize("batch_size", [1, 8, 37, 512])
def test_equals_scikit_learn_whatever_the_batch(context, batch_size):
  logits = context.image @ np.asarray(context.variables["params"]["kernel"])
  chance = np.exp(logits.astype(np.float64))
  chance /= chance.sum(-1, keepdims=True)
  result = accuracy(context, batch_size=batch_size)
  assert set(result) == {"accuracy", "loss"}
  assert result["accuracy"] == accuracy_score(context.label, logits.argmax(-1))
  expected = log_loss(context.label, chance, labels=range(CLASSES))
  np.testing.assert_allclose(result["loss"], expected, rtol=1e-5)


def test_all_batches_of_all_evaluations_share_one_compilation(context):
  first = accuracy(context, batch_size=8)
  assert accuracy(context, batch_size=8) == first
  context.variables = {"params": {"kernel": 2 * context.variables["params"]["kernel"]}}
  again = accuracy(context, batch_size=8)
  assert context.traced == [(8, 6)]
  assert again["accuracy"] == first["accuracy"]
  assert again["loss"] != first["loss"]


def test_equal_logits_count_for_the_lower_class(context):
  context.variables = {"params": {"kernel": jnp.zeros((6, CLASSES))}}
  result = accuracy(context, batch_size=16)
  assert result["accuracy"] == (context.label == 0).mean()
  np.testing.assert_allclose(result["loss"], np.log(CLASSES), rtol=1e-6)


def test_bad_input(context):
  with pytest.raises(BadInput, match="split 'tset'; did you mean 'test'"):
    accuracy(context, split="tset")
  with pytest.raises(BadInput, match="batch_size 0 is not divisible"):
    accuracy(context, batch_size=0)
  context.variables = {"params": {"kernel": jnp.full((6, CLASSES), jnp.nan)}}
  with pytest.raises(
    BadInput, match=r"^accuracy: the loss on split 'test' is not finite at step 3"
  ):
    accuracy(context)
  context.record = Record("image", (6,), {"test": N})
  with pytest.raises(BadInput, match="'accuracy' needs labels"):
    accuracy(context)


def test_an_empty_split_is_refused(context):
  context.examples = lambda split, batch_size: iter(())
  with pytest.raises(BadInput, match="split 'train' has no examples to evaluate"):
    accuracy(context, split="train")
