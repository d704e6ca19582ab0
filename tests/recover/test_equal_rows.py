"""Equal captions are all positives: against numpy, on one device and over a mapped axis."""

import jax
import jax.numpy as jnp
import numpy as np

from maskjax import reduce
from maskjax.recover import equal_rows, info_nce

ROWS = jax.random.randint(jax.random.key(0), (12, 3), 0, 2)
A, B = jax.random.normal(jax.random.key(1), (2, 12, 5))


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
  expected = [[(a == b).all() for b in np.asarray(ROWS)] for a in np.asarray(ROWS)]
  np.testing.assert_array_equal(equal_rows(ROWS), expected)
  assert 12 < np.sum(expected) < 144


def test_the_loss_takes_all_equal_captions_as_positives():
  same = np.asarray(equal_rows(ROWS))
  got = info_nce(A, B, temperature=0.2, positives=equal_rows(ROWS))
  np.testing.assert_allclose(got.sum, by_hand(A, B, same, 0.2), rtol=1e-5)
  alone = info_nce(A, B, temperature=0.2)
  np.testing.assert_allclose(alone.sum, by_hand(A, B, np.eye(12), 0.2), rtol=1e-5)
  assert abs(float(got.sum - alone.sum)) > 0.1


def test_parts_of_a_batch_meet_the_whole_one():
  def part(a, b, rows):
    return info_nce(a, b, temperature=0.2, positives=equal_rows(rows))

  split = [x.reshape(4, 3, -1) for x in (A, B, ROWS)]
  parts = jax.vmap(reduce.across("data")(part), axis_name="data")(*split)
  whole = part(A, B, ROWS)
  np.testing.assert_allclose(parts.sum.sum(), whole.sum, rtol=1e-5)
  assert int(parts.count.sum()) == int(whole.count) == 12
  named = jax.vmap(lambda rows: equal_rows(rows, axis_name="i"), axis_name="i")(split[2])
  np.testing.assert_array_equal(named.reshape(12, 12), equal_rows(ROWS))


def test_leading_axes_do_not_see_each_other():
  grouped = equal_rows(ROWS.reshape(2, 6, 3))
  assert grouped.shape == (2, 6, 6)
  np.testing.assert_array_equal(grouped[1], equal_rows(ROWS[6:]))
  assert grouped.dtype == jnp.bool_
