"""Whether prompts look ahead: known weights, known shares."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maskjax.data import pipeline
from maskjax.train.evaluators import lookahead
from maskjax.train.mesh.mesh import make_mesh


def context(tmp_path, attention, pictures):
  """An evaluation of a text in turns of five characters, in windows of ten."""
  path = tmp_path / "text.txt"
  path.write_text("abcd|" * 9)
  opened = pipeline.load(
    name="text", path=str(path), length=10, turns="|", split=(1.0, 0, 0), test=""
  )
  return types.SimpleNamespace(
    record=opened.record,
    task=types.SimpleNamespace(answers={"attention": attention}),
    variables={},
    mesh=make_mesh(),
    examples=lambda split, size: pipeline.examples(opened, split, batch_size=size),
    picture=lambda name, image: pictures.append((name, image)),
  )


def even(looks):
  """Two layers of two heads, even among what a prompt of five tokens and its answer see."""
  at = np.arange(10)
  # Six positions read the prompt: the begin token and five more.
  seen = (at[None] <= at[:, None]) | (looks & (at[None] < 6) & (at[:, None] < 6))
  weights = seen / seen.sum(-1, keepdims=True)

  def attention(variables, batch):
    return jnp.broadcast_to(jnp.asarray(weights, jnp.float32), (len(batch["tokens"]), 2, 2, 10, 10))

  return attention


def test_even_attention_looks_ahead_by_chance(tmp_path):
  pictures = []
  found = lookahead(context(tmp_path, even(True), pictures), split="train", batch_size=4, limit=8)
  later = np.array([5, 4, 3, 2, 1, 0]) / 6
  assert found["share"] == pytest.approx(later.mean())
  assert found["chance"] == pytest.approx(later.mean())
  assert found["early"] == pytest.approx(found["early chance"])
  assert found["early"] == pytest.approx(later[:2].mean())
  assert found["layer/0"] == found["layer/1"] == pytest.approx(found["share"])
  assert found["answers"] == 0
  assert [name for name, _ in pictures] == ["attention"]


def test_causal_attention_does_not(tmp_path):
  found = lookahead(context(tmp_path, even(False), []), split="train", batch_size=4)
  assert found["share"] == found["chance"] == found["early"] == 0


def test_a_head_that_looks_at_the_end_looks_ahead_more_than_by_chance(tmp_path):
  def attention(variables, batch):
    weights = even(True)(variables, batch)
    sharp = jnp.where(jnp.arange(10) == 5, weights, 1e-6 * weights)
    return weights.at[:, 1, :, :5].set((sharp / sharp.sum(-1, keepdims=True))[:, 1, :, :5])

  found = jax.tree.map(
    float, lookahead(context(tmp_path, attention, []), split="train", batch_size=4)
  )
  assert found["layer/1"] > 0.8 > found["share"] > found["chance"]
  assert found["early"] > found["early chance"]
