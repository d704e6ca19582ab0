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


of_five = jax.jit(
  lambda s, unit, t, allowed: select.shares(
    s, segment=unit, segments=5, temperature=t, allowed=allowed
  )
)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31 - 1), st.floats(0.05, 20))
def test_are_those_of_a_softmax_in_every_segment(seed, temperature):
  rng = np.random.default_rng(seed)
  scores = rng.normal(size=12).astype(np.float32)
  segment, allowed = rng.integers(-1, 6, 12), rng.random(12) < 0.8
  got = of_five(scores, segment, np.float32(temperature), allowed)
  expected = oracle(scores, segment, 5, temperature, allowed)
  np.testing.assert_allclose(got, expected, rtol=2e-5, atol=1e-7)


def test_add_up_to_one_in_every_segment_and_are_dispersed():
  """What sets them apart from Bernoulli masks: no neighbourhood is ever cut off, no gate is 0."""
  n, segment = 60, jnp.arange(60) // 6

  @jax.jit
  def draw(key):
    drawn = keys(key, 50)
    scores = score.normal(drawn, (n,))
    gate = select.shares(scores, segment=segment, segments=10, temperature=0.9)
    return gate, ~select.threshold(score.uniform(drawn, (n,)), above=0.3)

  gate, kept = jax.device_get(draw(jax.random.key(0)))
  sums = gate.reshape(50, 10, 6).sum(-1)
  np.testing.assert_allclose(sums, 1, atol=1e-6)
  assert gate.min() > 0
  assert len(np.unique(np.round(gate, 4))) > 1000
  cut_off = ~kept.reshape(50, 10, 6).any(-1)
  assert abs(cut_off.mean() - 0.7**6) < 0.05


def test_grow_even_with_the_temperature():
  scores = np.random.default_rng(0).standard_normal((1, 8), np.float32)
  one = jnp.zeros(8, jnp.int32)
  draw = jax.jit(lambda s, t: select.shares(s, segment=one, segments=1, temperature=t))
  gates = {t: np.asarray(draw(scores, np.float32(t))) for t in (1e-3, 0.01, 0.5, 2.0, 100.0, 1e4)}
  spread = [gate.std() for gate in gates.values()]
  assert spread[1:5] == sorted(spread[1:5], reverse=True)
  np.testing.assert_allclose(gates[1e4], 1 / 8, rtol=1e-3)
  assert gates[1e-3][0, scores[0].argmin()] == 1


def test_scores_without_bound():
  s = jnp.array([-jnp.inf, jnp.nan, 0.0, jnp.inf, 2.0, jnp.inf])
  segment = jnp.array([0, 0, 0, 1, 1, 2])

  def of_one(s):
    gate = select.shares(s, segment=segment, segments=3)
    return gate[4], gate

  slope, gate = jax.jit(jax.grad(of_one, has_aux=True))(s)
  assert gate.tolist() == [0.5, 0.5, 0, 0, 1, 0]
  assert np.isfinite(slope).all()
