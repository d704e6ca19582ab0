"""The decoding loop: exact distributions on a known language, policies, counts, evaluations."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy_text as toy

from maskjax import bind, schedule, score, select
from maskjax.errors import BadInput
from maskjax.generate.decode import decode, draw, remaining

JOINT, MASK, keys_of = toy.JOINT, toy.MASK, toy.keys_of
MANY = 20_000
predict = lambda tokens, hidden: toy.conditionals(jnp.where(hidden, MASK, tokens))


def sample(count=MANY, tokens=(0, 0, 0), hidden=(True, True, True), predict=predict, **words):
  """Decodes the same request many times."""
  options = dict(
    score=functools.partial(score.uniform),
    select=functools.partial(select.top),
    schedule=functools.partial(schedule.linear),
  )
  grow = lambda row, kind: np.tile(np.array(row, kind), (count, 1))
  run = jax.jit(functools.partial(decode, predict, **{**options, **words}))
  return jax.device_get(run(keys_of(count), grow(tokens, np.int32), grow(hidden, bool)))


def shares(tokens):
  """How often each of the eight states came."""
  return np.bincount(tokens @ [4, 2, 1], minlength=8) / len(tokens)


def close(got, expected, count=MANY):
  """Within five deviations of sampling."""
  assert (np.abs(got - expected) < 5 * np.sqrt(expected / count) + 1e-3).all(), (got, expected)


POLICIES = {
  "random": functools.partial(score.uniform),
  "confidence": functools.partial(score.confidence),
  "noisy": functools.partial(score.confidence, noise=2.0),
  "entropy": functools.partial(score.entropy),
  "margin": functools.partial(score.margin),
}


@pytest.mark.parametrize("policy", ["random", "entropy", "margin"])
def test_one_token_a_step_samples_the_language_whatever_the_order(policy):
  got = sample(score=POLICIES[policy], steps=3, binomial=False)
  close(shares(got["tokens"]), JOINT)
  assert (np.sort(got["step"], axis=-1) == [1, 2, 3]).all()


def test_ancestral_sampling_nears_the_language_with_steps():
  far, near = (shares(sample(steps=s)["tokens"]) for s in (1, 128))
  ones = np.array([(JOINT * toy.STATES[:, i]).sum() for i in range(3)])
  product = np.prod(np.where(toy.STATES, ones, 1 - ones), axis=-1)
  close(far, product)  # a single step draws every token by itself
  assert np.abs(product - JOINT).sum() > 0.1
  assert np.abs(near - JOINT).sum() < 0.03


def test_given_tokens_stay_and_condition_the_others():
  got = sample(tokens=(0, 1, 0), hidden=(True, False, True), steps=2, binomial=False)
  assert (got["tokens"][:, 1] == 1).all()
  assert (got["step"][:, 1] == 0).all()
  expected = np.where(toy.STATES[:, 1] == 1, JOINT, 0)
  close(shares(got["tokens"]), expected / expected.sum())


def test_confidence_reveals_the_surest_token_first():
  logits = jnp.log(jnp.array([[0.6, 0.4], [0.01, 0.99], [0.3, 0.7]]))
  fixed = lambda tokens, hidden: jnp.broadcast_to(logits, (*tokens.shape, 2))
  for policy in ("confidence", "entropy", "margin"):
    got = sample(4, predict=fixed, score=POLICIES[policy], steps=3, binomial=False, temperature=0.0)
    assert got["step"].tolist() == [[3, 1, 2]] * 4, policy
    assert got["tokens"].tolist() == [[0, 1, 1]] * 4
  noisy = sample(64, predict=fixed, score=POLICIES["noisy"], steps=3, binomial=False)
  assert len(np.unique(noisy["step"], axis=0)) > 1


def test_counts_follow_the_schedule():
  flat = lambda tokens, hidden: jnp.zeros((*tokens.shape, 2))
  wide = dict(tokens=(0,) * 100, hidden=(True,) * 100, predict=flat, steps=4)
  step = sample(3, **wide, binomial=False, schedule=functools.partial(schedule.quarter_cosine))
  left = [[int((row > s).sum()) for s in range(1, 5)] for row in step["step"]]
  assert left == [[int(100 * np.cos(np.pi / 2 * s / 4)) for s in range(1, 5)]] * 3
  step = sample(300, **wide, binomial=True)["step"]
  first = (step == 1).sum(-1)
  np.testing.assert_allclose(first.mean(), 25, atol=1)
  np.testing.assert_allclose(first.var(), 100 * 0.25 * 0.75, rtol=0.35)


def counting():
  """A list that grows with every evaluation of the network, and that network."""
  calls = []

  def counted(tokens, hidden):
    jax.debug.callback(lambda: calls.append(None))
    return predict(tokens, hidden)

  return calls, counted


def test_the_network_is_evaluated_only_where_something_is_revealed():
  calls, counted = counting()
  got = sample(1, predict=counted, steps=500)
  jax.effects_barrier()
  assert len(calls) == len(set(got["step"][0].tolist())) <= 3


def test_a_batch_evaluates_no_more_often_than_it_has_positions():
  calls, counted = counting()
  got = sample(64, predict=counted, steps=500)
  jax.effects_barrier()
  assert len(calls) == 3
  assert len(np.unique(got["step"])) > 100


@pytest.mark.parametrize("binomial", [True, False])
@pytest.mark.parametrize("policy", ["random", "noisy"])
def test_left_out_steps_change_nothing(policy, binomial):
  steps, words = 9, dict(score=POLICIES[policy], binomial=binomial)
  temperature = bind.Moving(lambda step: 0.5 + step / 10)
  got = sample(50, steps=steps, temperature=temperature, **words)
  every = jax.jit(functools.partial(every_step, 50, steps, temperature, **words))
  expected = every(keys_of(50))
  np.testing.assert_array_equal(got["tokens"], expected[0])
  np.testing.assert_array_equal(got["step"], expected[1])


def every_step(count, steps, temperature, keys, *, score, binomial):
  """The loop as it is written down: the network evaluated for all examples at every step."""
  tokens, hidden = jnp.zeros((count, 3), jnp.int32), jnp.ones((count, 3), bool)
  when = jnp.zeros_like(tokens)
  share = schedule.linear(start=1.0, end=0.0)(jnp.arange(1, steps + 1) / steps)
  left = remaining(keys, hidden, share, binomial=binomial)

  def reveal(state, step):
    tokens, hidden, when = state
    logits = predict(tokens, hidden)
    drawn = jnp.where(hidden, draw(keys, logits, temperature.value(step), step), tokens)
    offers = {"keys": keys, "grid": (3,), "step": step, "logits": logits, "tokens": drawn}
    still = select.top(bind.call(score, offers), count=left[step - 1], allowed=hidden)
    new = hidden & ~still
    return (jnp.where(new, drawn, tokens), still, jnp.where(new, step, when)), None

  (tokens, _, when), _ = jax.lax.scan(reveal, (tokens, hidden, when), jnp.arange(1, steps + 1))
  return tokens, when


def test_temperature_may_move_with_the_steps():
  cold_then_hot = bind.Moving(lambda step: jnp.where(step == 1, 0.0, 1.0))
  even = lambda tokens, hidden: jnp.broadcast_to(jnp.array([0.1, 0.0]), (*tokens.shape, 2))
  got = sample(64, predict=even, steps=3, binomial=False, temperature=cold_then_hot)
  assert (got["tokens"][got["step"] == 1] == 0).all()
  assert 0.2 < got["tokens"][got["step"] > 1].mean() < 0.8


def test_an_example_draws_the_same_alone_and_in_a_batch():
  """Also where the batch has steps left when the example has none, and may choose all anew."""
  white = dict(
    score=functools.partial(score.uniform),
    select=functools.partial(select.top),
    schedule=functools.partial(schedule.linear),
    steps=7,
  )
  # Ends with some still hidden.
  part = functools.partial(schedule.linear, end=0.4)
  again = {**white, "score": POLICIES["noisy"], "schedule": part, "remask": True}

  @jax.jit
  def run(keys):
    tokens, hidden = jnp.zeros((8, 3), jnp.int32), jnp.ones((8, 3), bool)
    one = lambda words: lambda key: decode(predict, key[None], tokens[:1], hidden[:1], **words)
    of = lambda words: (
      decode(predict, keys, tokens, hidden, **words),
      jax.lax.map(one(words), keys),
    )
    return of(white), of(again)

  (both, one), (marked, apart) = jax.device_get(run(keys_of(8)))
  assert both["tokens"].shape == (8, 3)
  assert (both["step"] > 0).all()
  assert len({*(marked["step"] > 0).sum(-1)}) > 1
  for together, alone in ((both, one), (marked, apart)):
    for name, value in together.items():
      np.testing.assert_array_equal(alone[name][:, 0], value, err_msg=name)


def test_no_steps_are_refused():
  with pytest.raises(BadInput, match="at least 1"):
    sample(1, steps=0)
