"""Attention whose weights are gated, and the weights by themselves, against numpy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maskjax import hide
from maskjax.model.attention import attention, weights

B, H, N, D = 2, 2, 5, 4
EXACT = dict(atol=1e-5, rtol=1e-5)


def draw(*shape, seed):
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


Q, K, V = (draw(B, H, N, D, seed=seed) for seed in range(3))
VALID = np.array([[True] * 4 + [False], [True] * 5])


def gate():
  """Of each example; keys 1 are closed to all but one query, all keys to query 3 of the first."""
  opened = np.abs(draw(B, 1, N, N, seed=3))
  opened[..., 1] = 0
  opened[1, ..., 2, 1] = 1
  opened[0, :, 3] = 0
  return opened


CASES = {
  "plain": ({}, np.zeros((B, 1, N, N), bool)),
  "valid": ({"valid": VALID}, ~VALID[:, None, None, :]),
  "pairs": ({"pairs": hide.causal()}, np.triu(np.ones((N, N), bool), 1)),
}
every_case = pytest.mark.parametrize("case", CASES)


def with_ema(hidden, opened, k=K):
  """Odds by the definition, their sum, and the average; zeros where no key is seen."""
  logits = np.float64(Q) @ np.float64(k).swapaxes(-1, -2) / np.sqrt(D)
  seen = np.where(hidden, 0, opened) + np.zeros_like(logits)
  # Only what is seen says how large a row is.
  top = np.where(seen > 0, logits, -np.inf).max(-1, keepdims=True)
  odds = np.where(hidden, 0, np.exp(logits - np.where(np.isfinite(top), top, 0)))
  total = (seen * odds).sum(-1, keepdims=True)
  shares = seen * odds / np.where(total > 0, total, 1)
  return odds / np.where(total > 0, total, np.inf), shares, shares @ np.float64(V)


def measured(options, k, v, gate):
  """What comes out, and the slopes of a sum of it in keys, values and gates."""

  def loss(k, v, gate):
    out = attention(Q, k, v, gate=gate, **options)
    return jnp.sum(out * WORTH), out

  return jax.grad(loss, argnums=(0, 1, 2), has_aux=True)(k, v, gate)


WORTH = draw(B, H, N, D, seed=4)


@pytest.fixture(scope="module")
def found():
  """All cases: gated, the same with NaN behind closed gates, with large logits there, ungated."""
  opened = gate()
  # Query 2 of the second example sees key 1: not in what is spoilt.
  closed = np.where(np.arange(N) == 1, 0, opened).astype(np.float32)
  at = np.arange(N)[:, None] == 1
  spoil = lambda x: np.where(at, np.nan, x).astype(np.float32)
  large = np.where(at, 1000 * Q[..., 2:3, :], K).astype(np.float32)

  def one(options):
    ones = np.ones((N, N), np.float32)
    return {
      "gated": measured(options, K, V, opened),
      "closed": measured(options, K, V, closed),
      "spoilt": measured(options, spoil(K), spoil(V), closed),
      "large": measured(options, large, V, closed),
      "seen": attention(Q, spoil(K), spoil(V), gate=opened, **options),
      "ones": attention(Q, K, V, gate=ones, **options),
      "ungated": attention(Q, K, V, **options),
      "weights": weights(Q, K, **options),
      "spoilt weights": weights(Q, spoil(K), **{**options, "pairs": hide.window(0)}),
    }

  program = jax.jit(lambda: {name: one(options) for name, (options, _) in CASES.items()})
  return jax.device_get(program())


@every_case
def test_weights_are_multiplied_and_normalised_again(found, case):
  _, out = found[case]["gated"]
  _, _, expected = with_ema(CASES[case][1], gate())
  np.testing.assert_allclose(out, expected, **EXACT)
  assert not out[0, :, 3].any()


@every_case
def test_the_slope_of_a_gate_is_that_of_the_definition_where_it_is_closed_too(found, case):
  """d out_i / d g_ij = e_ij / total_i · (v_j - out_i), for every j that nothing else hides."""
  (_, _, slope), _ = found[case]["gated"]
  over, _, out = with_ema(CASES[case][1], gate())
  towards = np.einsum("bhqd,bhkd->bhqk", WORTH, np.float64(V))
  expected = over * (towards - (WORTH * out).sum(-1, keepdims=True))
  np.testing.assert_allclose(slope, expected.sum(1, keepdims=True), atol=1e-4, rtol=1e-4)
  assert np.abs(slope[1, 0, 4, 1]) > 1e-3


@every_case
def test_nan_behind_closed_gates_reaches_neither_output_nor_gradient(found, case):
  (to_k, to_v, to_gate), out = found[case]["closed"]
  (spoilt_k, spoilt_v, spoilt_gate), spoilt = found[case]["spoilt"]
  np.testing.assert_array_equal(spoilt, out)
  np.testing.assert_array_equal(spoilt_v, to_v)
  np.testing.assert_allclose(spoilt_k, to_k, **EXACT)
  assert not spoilt_k[..., 1, :].any()
  assert np.isfinite(spoilt_gate).all()
  others = np.arange(N) != 1
  np.testing.assert_allclose(spoilt_gate[..., others], to_gate[..., others], **EXACT)


def test_queries_that_see_a_broken_key_get_nan_and_no_others(found):
  nan = np.isnan(found["plain"]["seen"])
  assert nan[1, :, 2].all()
  assert nan.sum() == H * D


@every_case
def test_a_logit_behind_a_closed_gate_may_be_any(found, case):
  _, out = found[case]["closed"]
  (_, to_v, to_gate), large = found[case]["large"]
  np.testing.assert_array_equal(large, out)
  assert np.isfinite(to_v).all()
  assert np.isfinite(to_gate).all()


@every_case
def test_open_gates_are_plain_attention(found, case):
  np.testing.assert_allclose(found[case]["ones"], found[case]["ungated"], **EXACT)


@every_case
def test_weights_are_those_of_the_definition(found, case):
  _, expected, _ = with_ema(CASES[case][1], np.ones((N, N)))
  np.testing.assert_allclose(found[case]["weights"], expected, **EXACT)


def test_rows_of_weights_that_see_a_broken_key_are_nan_and_those_that_see_none_zeros(found):
  alone = found["valid"]["spoilt weights"]
  np.testing.assert_array_equal(np.isnan(alone).any(-1), np.arange(N) == np.full((B, H, 1), 1))
  assert not alone[0, :, 4].any()
  np.testing.assert_array_equal(alone[1, :, 4], np.tile(np.arange(N) == 4, (H, 1)))


def test_weights_of_a_part_of_the_queries_are_rows_of_all():
  whole = functools.partial(weights, Q, K, pairs=hide.causal())
  part = functools.partial(weights, Q[..., 2:4, :], K, pairs=hide.causal(), query_offset=2)
  whole, part = jax.jit(lambda: (whole(), part()))()
  np.testing.assert_allclose(part, whole[..., 2:4, :], **EXACT)
