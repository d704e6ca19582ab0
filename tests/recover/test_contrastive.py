"""InfoNCE against numpy, blind to pairs that are not valid; on 8 devices in check_sharded.py."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maskjax.recover import info_nce

A, B = np.random.default_rng(0).standard_normal((2, 8, 5), np.float32)
VALID = np.array([True, True, False, True, True, False, True, True])
CAPTIONS = np.array([0, 1, 0, 2, 0, 1, 3, 3])
EQUAL = CAPTIONS[:, None] == CAPTIONS
POSITIVES = {"own": None, "equal": EQUAL, "one-way": np.triu(EQUAL, 1)}
VALIDS = {"all": None, "some": VALID}
TEMPERATURES = (0.07, 1.0)


@functools.cache
def terms():
  """The terms of every case, of one program."""
  cases = [*itertools.product(POSITIVES, VALIDS, TEMPERATURES)]

  def of(a, b, positives, valid, temperature):
    return info_nce(a, b, temperature=temperature, positives=positives, valid=valid)

  every = lambda a, b, positives, valid: {
    (p, v, t): of(a, b, positives[p], valid[v], t) for p, v, t in cases
  }
  return jax.device_get(jax.jit(every)(A, B, POSITIVES, VALIDS))


def by_hand(a, b, temperature, positives, valid):
  """Float64, pair by pair."""
  a, b = (np.asarray(x, np.float64) for x in (a, b))
  a, b = (x / np.linalg.norm(x, axis=-1, keepdims=True) for x in (a, b))
  logits = a @ b.T / temperature
  total = 0.0
  seen = np.flatnonzero(valid)
  for table, wanted in ((logits, positives), (logits.T, np.asarray(positives).T)):
    for i in seen:
      own = [p for p in seen if p == i or wanted[i, p]]
      total -= np.mean([table[i, p] - np.log(np.exp(table[i, seen]).sum()) for p in own]) / 2
  return total


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("valid", VALIDS)
@pytest.mark.parametrize("positives", POSITIVES)
def test_equals_numpy(temperature, valid, positives):
  got = terms()[positives, valid, temperature]
  seen = np.ones(8, bool) if VALIDS[valid] is None else VALID
  wanted = POSITIVES[positives]
  wanted = np.zeros((8, 8), bool) if wanted is None else wanted
  np.testing.assert_allclose(got.sum, by_hand(A, B, temperature, wanted, seen), rtol=1e-5)
  assert got.count == seen.sum()


def test_knows_nothing_of_lengths():
  term = jax.jit(lambda a: info_nce(a, jnp.asarray(B), temperature=0.1).sum)
  got, scaled = term(A), term(np.float32(1e4) * A)
  np.testing.assert_allclose(got, scaled, rtol=1e-5)


slopes = jax.jit(
  jax.value_and_grad(lambda a, b, valid, p: info_nce(a, b, valid=valid, positives=p).sum, (0, 1))
)


@pytest.mark.parametrize("leak", [np.nan, np.inf, 3.0])
@pytest.mark.parametrize("valid", [VALID, np.zeros(8, bool)], ids=["some", "none"])
def test_pairs_that_are_not_valid_reach_neither_value_nor_gradient(leak, valid):
  spoil = lambda x: np.where(valid[:, None], x, np.float32(leak))
  clean = jax.device_get(slopes(A, B, valid, EQUAL))
  dirty = jax.device_get(slopes(spoil(A), spoil(B), valid, EQUAL))
  assert all(np.isfinite(x).all() for x in jax.tree.leaves(dirty))
  jax.tree.map(np.testing.assert_array_equal, clean, dirty)
  np.testing.assert_array_equal(clean[1][0][~valid], 0)


def test_vectors_of_zeros_have_a_value_and_a_gradient():
  value, (slope, _) = slopes(np.zeros_like(A), B, np.ones(8, bool), np.eye(8, dtype=bool))
  np.testing.assert_allclose(value, 8 * np.log(8), rtol=1e-3)
  assert np.isfinite(slope).all()


def test_half_precision_is_computed_in_float32():
  half = [x.astype(jnp.bfloat16) for x in (A, B)]
  term = lambda a, b: info_nce(a, b, temperature=0.05).sum
  wide = lambda a, b: term(a.astype(jnp.float32), b.astype(jnp.float32))
  got, expected = jax.jit(lambda a, b: (term(a, b), wide(a, b)))(*half)
  assert got.dtype == jnp.float32
  np.testing.assert_array_equal(got, expected)


def test_a_mapped_axis_equals_one_batch():
  split = lambda x: x.reshape(4, 2, *x.shape[1:])
  term = lambda a, b, p, v: info_nce(a, b, positives=p, valid=v, axis_name="part")
  one = lambda a, b, p, v: info_nce(a, b, positives=p, valid=v)
  both = lambda *x: (jax.vmap(term, axis_name="part")(*map(split, x)), one(*x))
  parts, whole = jax.jit(both)(A, B, EQUAL, VALID)
  # Rounding; a pair more or less is a hundredth.
  np.testing.assert_allclose(parts.sum.sum(), whole.sum, rtol=1e-5)
  assert parts.count.sum() == whole.count
