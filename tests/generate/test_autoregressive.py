"""Writing from left to right: exact distributions on a known language, caches, filters, keys."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy_text as toy

from maskjax.bind import Moving
from maskjax.errors import BadInput
from maskjax.generate import autoregressive
from maskjax.generate.autoregressive import likely
from maskjax.record import Record

JOINT, MASK, STATES, keys_of = toy.JOINT, toy.MASK, toy.STATES, toy.keys_of
MANY = 20_000


def follow(cache, tokens, i):
  """The exact conditional of position i given those before it."""
  known = jnp.where(jnp.arange(3) < i, tokens, MASK)
  return toy.conditionals(known)[:, i], cache


def sample(tokens=(0, 0, 0), hidden=(True, True, True), count=MANY, **options):
  """Writes the same request many times."""
  grow = lambda row, kind: np.tile(np.array(row, kind), (count, 1))
  write = functools.partial(autoregressive, lambda tokens: (), follow, **options)
  return jax.device_get(jax.jit(write)(keys_of(count), grow(tokens, np.int32), grow(hidden, bool)))


def chain(sharpen):
  """The probability of every state where each conditional passes through `sharpen`."""
  p = JOINT.reshape(2, 2, 2)
  first = sharpen(p.sum((1, 2)))
  second = np.stack([sharpen(row) for row in p.sum(2)])
  third = np.stack([[sharpen(row) for row in rows] for rows in p])
  return (first[:, None, None] * second[:, :, None] * third).reshape(8)


def close(tokens, expected):
  """Whether the eight states came as often as expected, by four deviations each."""
  got = np.bincount(tokens @ [4, 2, 1], minlength=8) / len(tokens)
  assert (
    np.abs(got - expected) < 4 * np.sqrt(expected * (1 - expected) / len(tokens)) + 1e-9
  ).all()


def normal(p):
  return p / p.sum()


@pytest.mark.parametrize("temperature", [1.0, 0.5, 2.0])
def test_the_distribution_is_the_enumerated_one(temperature):
  out = sample(temperature=temperature)
  close(out["tokens"], chain(lambda p: normal(normal(p) ** (1 / temperature))))
  assert (out["step"] == [1, 2, 3]).all()


def test_given_tokens_stay_and_are_conditioned_on():
  out = sample(tokens=(1, 0, 0), hidden=(False, True, True))
  assert (out["tokens"][:, 0] == 1).all()
  assert (out["step"] == [0, 1, 2]).all()
  close(out["tokens"], np.where(STATES[:, 0] == 1, JOINT, 0) / JOINT[4:].sum())


@pytest.mark.parametrize("options", [{"temperature": 0.0}, {"top_k": 1}, {"top_p": 1e-6}])
def test_the_likeliest_is_written(options):
  best = chain(lambda p: np.eye(2)[np.argmax(p)])
  assert (sample(count=50, **options)["tokens"] == STATES[np.argmax(best)]).all()


def test_fewer_tokens_are_left_to_draw_from():
  cut = lambda p: normal(np.where(normal(p).max() >= 0.6, np.eye(2)[np.argmax(p)], p))
  close(sample(top_p=0.6)["tokens"], chain(cut))


LIMITS = [(0, 0.3), (1, 1.0), (2, 0.01), (3, 0.5), (6, 0.9), (7, 0.05), (9, 0.7)]


def test_the_likeliest_tokens_by_count_and_by_share():
  logits = np.random.default_rng(0).normal(size=(75, 7)).astype(np.float32)
  every = jax.jit(lambda x: [likely(x, top_k=top_k, top_p=top_p) for top_k, top_p in LIMITS])
  for (top_k, top_p), got in zip(LIMITS, jax.device_get(every(logits)), strict=True):
    for row, left in zip(logits, got, strict=True):
      order = np.argsort(-row)[: top_k or None]
      p = normal(np.exp(row[order].astype(np.float64)))
      before = np.cumsum(p) - p
      if np.abs(before - top_p).min() < 1e-5:
        continue  # float32 decides which side of the share this lies on
      kept = order[before < top_p]
      np.testing.assert_array_equal(np.isfinite(left), np.isin(np.arange(7), kept))
      np.testing.assert_array_equal(left[kept], row[kept])


def test_equal_logits_leave_exactly_as_many_as_asked():
  ways = [{"top_k": 2}, {"top_p": 0.5}, {"top_k": 9, "top_p": 1.0}]
  two, half, every = jax.jit(lambda x: [likely(x, **words) for words in ways])(jnp.zeros(5))
  assert np.isfinite(two).tolist() == [True, True, False, False, False]
  assert np.isfinite(half).sum() == 3
  assert np.isfinite(every).all()


@functools.cache
def network():
  """A tiny language model: its task, variables that are far from uniform, and how it writes."""
  record = Record("text", (8,), {"train": 1}, vocabulary=tuple("abcde"))
  task = toy.task_of("causal_lm", record, dict(width=16, depth=2, heads=2, mlp=24))
  ids = jnp.zeros((1, 8), jnp.int32)
  batch = {"tokens": ids, "valid": ids == 0, "position": ids[:, 0]}
  variables = jax.jit(task.init)(jax.random.key(0), batch)
  return (
    task,
    jax.device_get(variables),
    jax.jit(task.answers["generate"]),
  )


def request(rows=5):
  tokens = np.random.default_rng(3).integers(0, 5, (rows, 8), np.int32)
  return tokens, np.arange(8) >= np.array([0, 3, 5, 7, 8])[:rows, None]


def test_with_a_cache_the_same_is_written_as_without():
  task, variables, write = network()
  tokens, hidden = request()

  def whole(cache, tokens, i):
    ids = jnp.pad(tokens[:, :-1], ((0, 0), (1, 0)), constant_values=5)
    return task.network.apply(variables, ids)[:, i], cache

  keys = keys_of(5)
  plain = jax.jit(functools.partial(autoregressive, lambda tokens: (), whole))
  expected = plain(keys, tokens, hidden)
  got = write(variables, keys, tokens, hidden)
  for name in ("tokens", "step"):
    np.testing.assert_array_equal(got[name], expected[name])
  np.testing.assert_array_equal(np.where(hidden, 0, got["tokens"]), np.where(hidden, 0, tokens))
  again = write(variables, jax.random.split(keys[0], 5), tokens, hidden)
  assert (again["tokens"] != got["tokens"]).any()


def test_what_is_hidden_is_not_looked_at():
  _, variables, write = network()
  tokens, hidden = request()
  other = write(variables, keys_of(5), np.where(hidden, np.int32(4_000), tokens), hidden)
  np.testing.assert_array_equal(
    other["tokens"], write(variables, keys_of(5), tokens, hidden)["tokens"]
  )


def test_an_example_is_written_by_its_own_key_with_one_compile():
  task, variables, _ = network()
  tokens, hidden = request()
  traces = []

  @jax.jit
  def write(keys, tokens, hidden):
    traces.append(None)
    return task.answers["generate"](variables, keys, tokens, hidden)["tokens"]

  together = write(keys_of(5), tokens, hidden)
  turned = write(keys_of(5)[::-1], tokens[::-1], hidden[::-1])
  np.testing.assert_array_equal(turned[::-1], together)
  write(keys_of(5), tokens, np.ones_like(hidden))
  assert len(traces) == 1
  same = write(jnp.broadcast_to(keys_of(1), (5,)), tokens, np.ones_like(hidden))
  assert len(np.unique(same, axis=0)) == 1


@pytest.mark.parametrize(
  "options", [{"temperature": -1.0}, {"top_k": -1}, {"top_p": 0.0}, {"top_p": 1.1}]
)
def test_options_out_of_range_are_refused(options):
  with pytest.raises(BadInput, match=r"top_p lies in \(0, 1\]; got"):
    sample(count=1, **options)


def test_a_moving_temperature_is_refused():
  with pytest.raises(BadInput, match="numbers, not schedules"):
    sample(count=1, temperature=Moving(lambda step: 1.0))
