"""Decoding agrees with the public code of MaskGIT and MAGE; remasking, guidance, counts."""

import functools
import importlib
import json
import pathlib
import runpy

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maskjax import schedule, score, select
from maskjax.bind import Moving
from maskjax.errors import BadInput
from maskjax.generate import decode
from maskjax.generate.decode import remaining

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"
theirs = runpy.run_path(str(GOLDEN / "make_maskgit.py"))
STORED = json.loads((GOLDEN / "maskgit.json").read_text())
STEPS, CODES, NOISE = theirs["STEPS"], theirs["CODES"], theirs["NOISE"]


def given_draws(monkeypatch, drawing, choosing):
  """Has `decode` draw given noise: keys say which example, streams which step and what for."""
  tables = {2: jnp.asarray(drawing), 1: jnp.asarray(choosing)}
  name_step = lambda key, name, step=0: (jax.random.key_data(key)[..., 1], step)
  for module in ("maskjax.generate.decode", "maskjax.score.uncertainty"):
    monkeypatch.setattr(importlib.import_module(module), "stream", name_step)
  look_up = lambda key, shape, mode: tables[len(shape)][key[1] - 1, key[0]]
  monkeypatch.setattr(jax.random, "gumbel", look_up)
  rows = jnp.arange(choosing.shape[1], dtype=jnp.uint32)
  return jax.random.wrap_key_data(jnp.stack([jnp.zeros_like(rows), rows], axis=-1))


def maskgit(steps, noise):
  """MaskGIT's policy: a quarter of a cosine, and confidence with noise that fades."""
  fades = Moving(schedule.at_step(schedule.linear(noise, 0.0), steps))
  return dict(
    score=functools.partial(score.confidence, noise=fades),
    select=functools.partial(select.top),
    schedule=functools.partial(schedule.quarter_cosine),
    steps=steps,
    binomial=False,
  )


def test_decoding_agrees_with_maskgits_code(monkeypatch):
  keys = given_draws(monkeypatch, *theirs["noises"]())
  table = jnp.asarray(theirs["logits_of"](np.zeros((1, 24), int)))  # for its type alone
  inputs = np.array(STORED["inputs"])

  def predict(tokens, hidden):
    ids = jnp.where(hidden, CODES, tokens)
    give = lambda ids: np.asarray(theirs["logits_of"](ids))
    return jax.pure_callback(give, jax.ShapeDtypeStruct((*ids.shape, CODES), table.dtype), ids)

  tokens, hidden = jnp.asarray(np.where(inputs < 0, 0, inputs), jnp.int32), jnp.asarray(inputs < 0)
  run = jax.jit(functools.partial(decode, predict, **maskgit(STEPS, NOISE)))
  got = run(keys, tokens, hidden)
  np.testing.assert_array_equal(got["step"], STORED["step"])
  np.testing.assert_array_equal(got["tokens"], STORED["tokens"])


def test_counts_are_rounded_down_and_every_step_reveals():
  keys = jax.random.split(jax.random.key(0), 3)
  hidden = np.arange(256) < np.array([256, 5, 0])[:, None]
  share = schedule.quarter_cosine(1.0, 0.0)
  still = jax.jit(lambda k, hidden, u: remaining(k, hidden, share(u), binomial=False))
  left = np.asarray(still(keys, hidden, np.arange(1, 13, dtype=np.float32) / 12))
  whole = [int(np.floor(256 * np.cos(np.pi / 2 * (s / 12)) + 1e-9)) for s in range(1, 13)]
  assert left[:, 0].tolist() == whole
  assert left[:, 1].tolist() == [4, 3, 2, *[1] * 8, 0]
  assert left[:, 2].tolist() == [0] * 12


def run(predict, steps=4, n=6, count=2, **words):
  """Decodes `n` hidden positions."""
  options = {**maskgit(steps, 0.0), "temperature": 0.0, **words}
  keys = jax.random.split(jax.random.key(0), count)
  tokens, hidden = np.zeros((count, n), np.int32), np.ones((count, n), bool)
  return jax.device_get(
    jax.jit(functools.partial(decode, predict, **options))(keys, tokens, hidden)
  )


def test_remasking_takes_back_what_was_least_sure():
  """The first position is revealed first, and less surely than all others are later."""

  def predict(tokens, hidden):
    first = jnp.all(hidden, axis=-1)[:, None]
    sure = jnp.where(first, jnp.array([1.0, 0.9, 0.8, 0.7]), jnp.array([0.0, 5.0, 5.0, 5.0]))
    return jnp.stack([sure, jnp.zeros_like(sure)], axis=-1)

  words = dict(n=4, schedule=functools.partial(schedule.linear))
  kept = run(predict, **words)
  assert kept["step"].tolist() == [[1, 4, 3, 2]] * 2
  taken = run(predict, remask=True, **words)
  # Three positions are sure once something is seen: they overtake the first.
  assert taken["step"].tolist() == [[4, 3, 2, 2]] * 2


@pytest.mark.parametrize("lead", [1.0, -1.0])
def test_remasking_leaves_what_was_given_however_sure_the_others_are(lead):
  """Were given positions in the contest, their score would be 0."""
  predict = lambda tokens, hidden: jnp.zeros((*tokens.shape, 2)).at[..., 0].set(1.0)
  keys, tokens = jax.random.split(jax.random.key(0), 1), np.ones((1, 6), np.int32)
  words = {**maskgit(3, 0.0), "score": functools.partial(lambda logits: lead * logits[..., 0])}
  write = jax.jit(functools.partial(decode, predict, **words, remask=True))
  got = write(keys, tokens, np.arange(6)[None] < 4)
  assert got["tokens"][0, 4:].tolist() == [1, 1]
  assert got["step"][0, 4:].tolist() == [0, 0]
  assert (got["step"][0, :4] > 0).all()


def test_guidance_goes_beyond_what_the_label_says():
  told = lambda tokens, hidden: jnp.broadcast_to(jnp.array([1.0, 1.2, 0.0]), (*tokens.shape, 3))
  untold = lambda tokens, hidden: jnp.broadcast_to(jnp.array([0.0, 1.0, 0.0]), (*tokens.shape, 3))
  assert (run(told)["tokens"] == 1).all()
  assert (run(told, unguided=untold, guidance=0.2)["tokens"] == 1).all()
  assert (run(told, unguided=untold, guidance=0.3)["tokens"] == 0).all()
  later = Moving(lambda step: jnp.where(step > 2, 1.0, 0.0))
  got = run(told, unguided=untold, guidance=later)
  np.testing.assert_array_equal(got["tokens"], np.where(got["step"] > 2, 0, 1))
  with pytest.raises(BadInput, match="guidance"):
    run(told, guidance=1.0)


def test_confidence_after_the_noise_trusts_rare_tokens():
  """Of draws from a flat prediction before the noise all are alike, after it they differ."""
  flat = lambda tokens, hidden: jnp.zeros((*tokens.shape, 8))
  words = dict(n=32, count=8, temperature=1.0, steps=8)
  before = run(flat, **words)["step"]
  after = run(flat, **words, score=functools.partial(score.noisy_confidence))["step"]
  assert (np.sort(before, axis=-1) == np.sort(after, axis=-1)).all()
  assert (before == np.sort(before)[:, ::-1]).all()  # ties hide the lower index
  assert len(np.unique(after, axis=0)) == 8
