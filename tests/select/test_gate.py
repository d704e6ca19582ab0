"""Gates: their values, their slopes, and the masks that they end in."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskjax import select
from maskjax.errors import BadInput

harden = jax.jit(select.harden)
sigmoid = jax.jit(select.sigmoid, static_argnames="stretch")
few = settings(deadline=None, max_examples=40)
scores = st.lists(st.floats(-30, 30, width=32), min_size=6, max_size=6).map(
  lambda s: np.array(s, np.float32)
)
TWO_OF_FOUR = np.array(
  [[i in two for i in range(4)] for two in itertools.combinations(range(4), 2)]
)


@given(scores, st.sampled_from([0.3, 1.0, 5.0]), st.sampled_from([(0.0, 1.0), (-0.1, 1.1)]))
@few
def test_sigmoid_equals_numpy(s, temperature, stretch):
  low, high = stretch
  soft = 1 / (1 + np.exp(s.astype(np.float64) / temperature))
  expected = np.clip(soft * (high - low) + low, 0, 1)
  got = sigmoid(s, temperature=np.float32(temperature), stretch=stretch)
  np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


def test_sigmoid_at_the_ends():
  s = jnp.array([-jnp.inf, jnp.nan, jnp.inf], jnp.bfloat16)
  total = lambda s: select.sigmoid(s).sum()
  gate, slope = jax.jit(lambda s: (select.sigmoid(s), jax.grad(total)(s.astype(jnp.float32))))(s)
  assert gate.dtype == jnp.float32
  assert gate.tolist() == [1.0, 1.0, 0.0]
  np.testing.assert_array_equal(slope, 0)
  with pytest.raises(BadInput, match="low below high"):
    select.sigmoid(s, stretch=(1.0, 0.0))


def test_hard_concrete_gates_close_as_often_as_the_paper_says():
  low, high, temperature, location = -0.1, 1.1, 2 / 3, 0.4
  u = (np.arange(100_000, dtype=np.float32) + 0.5) / 100_000
  scores = np.float32(location + np.log(u) - np.log1p(-u))
  gate = sigmoid(scores, temperature=np.float32(temperature), stretch=(low, high))
  # Louizos et al. 2018, equation 12, of log alpha = -location.
  opened = 1 / (1 + np.exp(-(-location - temperature * np.log(-low / high))))
  np.testing.assert_allclose(np.mean(np.asarray(gate) > 0), opened, atol=1e-4)


two_of_four = jax.jit(partial(select.softmax, patterns=jnp.asarray(TWO_OF_FOUR)))


@given(scores, st.sampled_from([0.3, 1.0]))
@few
def test_softmax_is_the_expected_gate(s, temperature):
  weight = np.exp((s - s.max()).astype(np.float64) / temperature)
  expected = sum(w * ~p for w, p in zip(weight / weight.sum(), TWO_OF_FOUR, strict=True))
  got = np.asarray(two_of_four(s, temperature=np.float32(temperature)))
  np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(got.sum(), 2, rtol=1e-6)


def test_softmax_of_scores_that_are_no_numbers():
  patterns = jnp.array([[True, False], [False, True]])
  s = jnp.array([[jnp.nan, 0.0], [jnp.nan, jnp.nan], [jnp.inf, jnp.inf], [0.0, -jnp.inf]])
  expected = [[1.0, 0.0], [1.0, 1.0], [0.5, 0.5], [0.0, 1.0]]

  def total(s):
    gates = select.softmax(s, patterns=patterns)
    return (gates * jnp.arange(2)).sum(), gates

  slope, gates = jax.jit(jax.grad(total, has_aux=True))(s)
  assert gates.tolist() == expected
  np.testing.assert_array_equal(slope, 0)


@given(scores, st.integers(0, 6))
@few
def test_harden_hides_the_lowest(s, count):
  gate = sigmoid(s)
  order = np.argsort(gate, kind="stable")
  expected = np.isin(np.arange(6), order[:count])
  np.testing.assert_array_equal(harden(gate, count=np.int32(count)), expected)
  np.testing.assert_array_equal(harden(gate, ratio=np.float32(count / 6)), expected)


def test_harden_below():
  gate = jnp.array([[0.0, 0.5, 0.7, jnp.nan], [0.49, 0.51, 1.0, -0.0]])
  default = [[True, False, False, False], [True, False, False, True]]
  nothing = jnp.zeros((2, 4), bool)
  ways = {
    "default": {},
    "each": {"below": jnp.array([0.6, 1.1])},
    "none below": {"allowed": nothing},
    "none counted": {"count": 3, "allowed": nothing},
  }
  hard = jax.jit(lambda gate: {way: select.harden(gate, **words) for way, words in ways.items()})
  hidden = hard(gate)
  assert hidden["default"].tolist() == default
  assert hidden["each"].tolist() == [[True, True, False, False], [True] * 4]
  assert not hidden["none below"].any()
  assert not hidden["none counted"].any()


@pytest.mark.parametrize(
  "both", [dict(count=1, ratio=0.5), dict(count=1, below=0.5), dict(ratio=0.5, below=0.5)]
)
def test_harden_takes_one_rule(both):
  with pytest.raises(BadInput):
    select.harden(jnp.ones(3), **both)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_straight_through_is_hard_with_the_slope_of_the_soft_gate(dtype):
  s = np.random.default_rng(0).standard_normal((50, 8), np.float32).astype(dtype)
  soft = lambda s: select.sigmoid(s, temperature=0.3)
  value = lambda gate: jnp.sum(gate * jnp.arange(8.0))

  @jax.jit
  def ways(s):
    hidden = select.harden(soft(s), count=3)
    hard = lambda s: select.straight_through(soft(s), hidden)
    slopes = [jax.grad(lambda s, gate=gate: value(gate(s)))(s) for gate in (hard, soft)]
    own = select.straight_through(soft(s)), select.harden(soft(s))
    return hidden, hard(s), slopes, own

  hidden, hard, (through, slope), (own, lowest) = jax.device_get(ways(s))
  np.testing.assert_array_equal(hard, ~hidden)
  np.testing.assert_array_equal(through, slope)
  assert (slope != 0).any()
  np.testing.assert_array_equal(own, ~lowest)
