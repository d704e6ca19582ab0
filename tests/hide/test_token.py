"""Hidden tokens become the mask, another token, or stay, in the shares that were asked for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maskjax import keys, select
from maskjax.errors import BadInput
from maskjax.hide import corrupt, token

IDS = jax.random.randint(jax.random.key(0), (64, 500), 1, 30)
HIDDEN = select.top(jax.random.normal(jax.random.key(1), (64, 500)), ratio=0.5)
KEYS = keys(jax.random.key(2), 64)


def changed(ids=IDS, hidden=HIDDEN, drawn=KEYS, **options):
  return corrupt(ids, hidden, drawn, **{"vocabulary": 30, "mask_id": 0, **options})


def test_token_masks_what_is_hidden_and_nothing_else():
  got = token(IDS, HIDDEN, 99)
  assert got.dtype == IDS.dtype
  np.testing.assert_array_equal(got, np.where(HIDDEN, 99, IDS))


@pytest.mark.parametrize(
  "shares", [(0.8, 0.1, 0.1), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)]
)
def test_shares(shares):
  got = np.asarray(changed(shares=shares))
  hidden, ids = np.asarray(HIDDEN), np.asarray(IDS)
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
  got = np.asarray(changed(shares=(0.0, 1.0, 0.0)))[np.asarray(HIDDEN)]
  often = np.bincount(got, minlength=30)
  expected = len(got) / 30
  assert len(often) == 30
  # Chi-square of 29 degrees of freedom: above 70 once in 30,000 seeds.
  assert ((often - expected) ** 2 / expected).sum() < 70


def test_an_example_depends_on_its_own_key_only():
  np.testing.assert_array_equal(changed()[3], changed(IDS[3], HIDDEN[3], KEYS[3]))
  fold = lambda x: x.reshape(4, 16, *x.shape[1:])
  folded = changed(fold(IDS), fold(HIDDEN), fold(KEYS))
  np.testing.assert_array_equal(folded, fold(changed()))
  same = changed(jnp.broadcast_to(IDS[0], IDS.shape), jnp.ones_like(HIDDEN))
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
