import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from maskjax import keys, score, select


def oracle(scores, segment, segments, temperature, allowed):
  gates = np.zeros(scores.shape)
  for s in range(segments):
    inside = allowed & (segment == s)
    if inside.any():
      weight = np.exp(-(scores[inside] - scores[inside].min()) / temperature)
      gates[inside] = weight / weight.sum()
  return gates


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31 - 1), st.floats(0.05, 20))
def test_are_those_of_a_softmax_in_every_segment(seed, temperature):
  rng = np.random.default_rng(seed)
  scores = rng.normal(size=12).astype(np.float32)
  segment, allowed = rng.integers(-1, 6, 12), rng.random(12) < 0.8
  got = select.shares(
    jnp.array(scores),
    segment=jnp.array(segment),
    segments=5,
    temperature=temperature,
    allowed=jnp.array(allowed),
  )
  expected = oracle(scores, segment, 5, temperature, allowed)
  np.testing.assert_allclose(got, expected, rtol=2e-5, atol=1e-7)


def test_add_up_to_one_in_every_segment_and_are_dispersed():
  """What sets them apart from Bernoulli masks: no neighbourhood is ever cut off, no gate is 0."""
  n, segment = 60, jnp.arange(60) // 6
  drawn = keys(jax.random.key(0), 50)
  gate = select.shares(score.normal(drawn, (n,)), segment=segment, segments=10, temperature=0.9)
  sums = np.asarray(gate).reshape(50, 10, 6).sum(-1)
  np.testing.assert_allclose(sums, 1, atol=1e-6)
  assert gate.min() > 0
  assert len(np.unique(np.round(gate, 4))) > 1000
  kept = ~select.threshold(score.white(drawn, (n,)), above=0.3)
  cut_off = ~np.asarray(kept).reshape(50, 10, 6).any(-1)
  assert abs(cut_off.mean() - 0.7**6) < 0.05


def test_grow_even_with_the_temperature():
  scores = score.normal(keys(jax.random.key(0), 1), (8,))
  draw = lambda t: select.shares(scores, segment=jnp.zeros(8, jnp.int32), segments=1, temperature=t)
  spread = [float(draw(t).std()) for t in (0.01, 0.5, 2.0, 100.0)]
  assert spread == sorted(spread, reverse=True)
  np.testing.assert_allclose(draw(1e4), 1 / 8, rtol=1e-3)
  assert draw(1e-3)[0, scores[0].argmin()] == 1


def test_scores_without_bound():
  s = jnp.array([-jnp.inf, jnp.nan, 0.0, jnp.inf, 2.0, jnp.inf])
  segment = jnp.array([0, 0, 0, 1, 1, 2])
  gate = select.shares(s, segment=segment, segments=3)
  assert gate.tolist() == [0.5, 0.5, 0, 0, 1, 0]
  slope = jax.grad(lambda s: select.shares(s, segment=segment, segments=3)[4])(s)
  assert np.isfinite(slope).all()
