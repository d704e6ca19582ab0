"""Hidden tokens become the mask, another token, or stay, in the shares that were asked for."""

import functools

import jax
import numpy as np
import pytest

from maskjax.errors import BadInput
from maskjax.hide import corrupt, token

RNG = np.random.default_rng(0)
IDS = RNG.integers(1, 30, (64, 500), np.int32)
HIDDEN = RNG.random((64, 500)).argsort(-1) < 250
KEYS = jax.random.wrap_key_data(RNG.integers(0, 2**32, (64, 2), np.uint32))


def changed(ids=IDS, hidden=HIDDEN, drawn=KEYS, **options):
  change = functools.partial(corrupt, **{"vocabulary": 30, "mask_id": 0, **options})
  return np.asarray(jax.jit(change)(ids, hidden, drawn))


def test_token_masks_what_is_hidden_and_nothing_else():
  got = jax.jit(lambda ids, hidden: token(ids, hidden, 99))(IDS, HIDDEN)
  assert got.dtype == IDS.dtype
  np.testing.assert_array_equal(got, np.where(HIDDEN, 99, IDS))


@pytest.mark.parametrize(
  "shares", [(0.8, 0.1, 0.1), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)]
)
def test_shares(shares):
  got, hidden, ids = changed(shares=shares), HIDDEN, IDS
  np.testing.assert_array_equal(got[~hidden], ids[~hidden])
  n = hidden.sum()
  masked, replaced, same = shares
  # A random id is the mask or the true one, each once in 30.
  for share, expected in (
    ((got[hidden] == 0).mean(), masked + replaced / 30),
    ((got[hidden] == ids[hidden]).mean(), same + replaced / 30),
  ):
    assert abs(share - expected) <= 5 * np.sqrt(expected * (1 - expected) / n)
  assert set(np.unique(got)) <= set(range(30))


def test_random_tokens_are_any_of_the_vocabulary_alike():
  got = changed(shares=(0.0, 1.0, 0.0))[HIDDEN]
  often = np.bincount(got, minlength=30)
  expected = len(got) / 30
  assert len(often) == 30
  # Chi-square of 29 degrees of freedom: above 70 once in 30,000 seeds.
  assert ((often - expected) ** 2 / expected).sum() < 70


def test_an_example_depends_on_its_own_key_only():
  whole = changed()
  np.testing.assert_array_equal(whole[3], changed(IDS[3], HIDDEN[3], KEYS[3]))
  fold = lambda x: x.reshape(4, 16, *x.shape[1:])
  folded = changed(fold(IDS), fold(HIDDEN), fold(KEYS))
  np.testing.assert_array_equal(folded, fold(whole))
  same = changed(np.broadcast_to(IDS[0], IDS.shape), np.ones_like(HIDDEN))
  assert len(np.unique(same, axis=0)) == 64


@pytest.mark.parametrize(
  ("options", "says"),
  [
    (dict(shares=(0.8, 0.1, 0.2)), "sum 1"),
    (dict(shares=(1.1, -0.1, 0.0)), "sum 1"),
    (dict(vocabulary=0), "at least one token"),
  ],
)
def test_bad_input(options, says):
  with pytest.raises(BadInput, match=says):
    changed(**options)
