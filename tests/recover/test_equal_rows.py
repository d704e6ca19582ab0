"""Equal captions are all positives: against numpy, on one device and over a mapped axis."""

import jax
import jax.numpy as jnp
import numpy as np

from maskjax import reduce
from maskjax.recover import equal_rows, info_nce

RNG = np.random.default_rng(0)
ROWS = RNG.integers(0, 2, (12, 3), np.int32)
A, B = RNG.standard_normal((2, 12, 5), np.float32)


def by_hand(a, b, same, temperature):
  """CLIP's loss in float64 with the mean over all that belong together."""
  a, b = (np.asarray(x, np.float64) for x in (a, b))
  cosine = (a / np.linalg.norm(a, axis=1)[:, None]) @ (b / np.linalg.norm(b, axis=1)[:, None]).T
  total = 0.0
  for table in (cosine / temperature, cosine.T / temperature):
    surprise = np.log(np.exp(table).sum(1, keepdims=True)) - table
    total += (surprise * same / same.sum(1, keepdims=True)).sum() / 2
  return total


def test_rows_are_compared_whole():
  expected = [[(a == b).all() for b in ROWS] for a in ROWS]
  np.testing.assert_array_equal(jax.jit(equal_rows)(ROWS), expected)
  assert 12 < np.sum(expected) < 144


def test_the_loss_takes_all_equal_captions_as_positives():

  @jax.jit
  def terms(a, b, rows):
    same = equal_rows(rows)
    loss = lambda same: info_nce(a, b, temperature=0.2, positives=same).sum
    return same, loss(same), loss(None)

  same, got, alone = jax.device_get(terms(A, B, ROWS))
  np.testing.assert_allclose(got, by_hand(A, B, same, 0.2), rtol=1e-5)
  np.testing.assert_allclose(alone, by_hand(A, B, np.eye(12), 0.2), rtol=1e-5)
  assert abs(got - alone) > 0.1


def test_parts_of_a_batch_meet_the_whole_one():
  def part(a, b, rows):
    return info_nce(a, b, temperature=0.2, positives=equal_rows(rows))

  @jax.jit
  def every(*whole):
    split = [x.reshape(4, 3, -1) for x in whole]
    parts = jax.vmap(reduce.across("data")(part), axis_name="data")(*split)
    named = jax.vmap(lambda rows: equal_rows(rows, axis_name="i"), axis_name="i")(split[2])
    return parts, part(*whole), named.reshape(12, 12), equal_rows(whole[2])

  parts, whole, named, same = jax.device_get(every(A, B, ROWS))
  np.testing.assert_allclose(parts.sum.sum(), whole.sum, rtol=1e-5)
  assert int(parts.count.sum()) == int(whole.count) == 12
  np.testing.assert_array_equal(named, same)


def test_leading_axes_do_not_see_each_other():
  grouped, alone = jax.jit(lambda x: (equal_rows(x.reshape(2, 6, 3)), equal_rows(x[6:])))(ROWS)
  assert grouped.shape == (2, 6, 6)
  np.testing.assert_array_equal(grouped[1], alone)
  assert grouped.dtype == jnp.bool_
