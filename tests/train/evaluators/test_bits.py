"""Bits per character: the known cost of a text under a known model."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maskjax.data import pipeline
from maskjax.train.evaluators import bits
from maskjax.train.mesh.mesh import make_mesh


def context(tmp_path, nats, **data):
  """An evaluation of a text of two kinds of characters."""
  path = tmp_path / "text.txt"
  path.write_text("abab cd" * 50)
  opened = pipeline.load(name="text", path=str(path), length=16, **data)
  return types.SimpleNamespace(
    record=opened.record,
    task=types.SimpleNamespace(answers={"nats": nats}),
    variables={},
    key=jax.random.key(0),
    mesh=make_mesh(),
    examples=lambda split, size: pipeline.examples(opened, split, batch_size=size),
  )


def uniform(variables, batch, key, draws):
  """Every token costs one nat for each draw."""
  return draws * batch["valid"].sum(-1).astype(jnp.float32)


def test_every_character_is_counted_once(tmp_path):
  got = bits(context(tmp_path, uniform), split="train", draws=2, batch_size=4)
  np.testing.assert_allclose(got["per character"], 2 / np.log(2), rtol=1e-6)
  np.testing.assert_allclose(got["per token"], 2 / np.log(2), rtol=1e-6)


def test_tokens_stand_for_their_characters(tmp_path):
  there = context(tmp_path, uniform, unit="bpe", vocabulary=260)
  got = bits(there, split="train", draws=1, batch_size=4)
  assert got["per token"] == pytest.approx(1 / np.log(2))
  assert got["per character"] < 0.9 * got["per token"]


def test_of_prompts_and_answers_the_answers_are_counted(tmp_path):
  def of_asked(variables, batch, key, draws):
    return (batch["asked"] & batch["valid"]).sum(-1).astype(jnp.float32)

  there = context(tmp_path, of_asked, turns=" ")
  got = bits(there, split="train", draws=1, batch_size=4)
  assert got["per character"] == pytest.approx(1 / np.log(2))


def test_examples_differ_in_position_and_draws_are_the_same_at_every_step(tmp_path):
  seen = []

  def noisy(variables, batch, key, draws):
    jax.debug.callback(lambda p: seen.extend(p.tolist()), batch["position"])
    return jax.random.uniform(key, batch["position"].shape)

  there = context(tmp_path, noisy)
  first = bits(there, split="train", draws=1, batch_size=4)
  jax.effects_barrier()
  assert sorted(seen) == list(range(len(seen)))
  assert bits(there, split="train", draws=1, batch_size=4) == first
