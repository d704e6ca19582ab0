"""Dropping is undone by restoring, and what was dropped leaves no trace."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskjax.hide import drop, restore

N, ROWS, D = 6, 3, 2
hidden_rows = st.lists(st.booleans(), min_size=N * ROWS, max_size=N * ROWS).map(
  lambda x: np.array(x).reshape(ROWS, N)
)
few = settings(deadline=None, max_examples=30)
X = np.arange(1.0, 1 + ROWS * N * D, dtype=np.float32).reshape(ROWS, N, D)
restoring = jax.jit(restore)
FILL = np.float32([-1.0, -2.0])


@jax.jit
def packed(x, hidden):
  """What is seen, by how many are kept."""
  return [drop(x, hidden, keep=keep) for keep in range(N + 1)]


@jax.jit
def seen_and_slope(x, hidden):
  seen, pull = jax.vjp(lambda x: drop(x, hidden, keep=4).values, x)
  return seen, pull(jnp.square(seen))[0]


@jax.jit
def size_and_slope(tokens, hidden):
  total = lambda tokens: jnp.square(restore(tokens, hidden, jnp.zeros(D))).sum()
  return jax.value_and_grad(total)(tokens)


@given(hidden_rows, st.integers(0, N))
@few
def test_packs_the_visible_in_order_and_pads(hidden, keep):
  seen = jax.device_get(packed(X, hidden)[keep])
  assert seen.values.shape == (ROWS, keep, D)
  assert seen.index.shape == seen.valid.shape == (ROWS, keep)
  for row in range(ROWS):
    visible = np.flatnonzero(~hidden[row])[:keep]
    k = len(visible)
    assert seen.valid[row].tolist() == [i < k for i in range(keep)]
    assert seen.index[row].tolist() == [*visible, *[0] * (keep - k)]
    np.testing.assert_array_equal(seen.values[row, :k], X[row, visible])
    np.testing.assert_array_equal(seen.values[row, k:], 0)


@given(hidden_rows)
@few
def test_visible_and_hidden_partition_the_positions(hidden):
  seen, rest = (jax.device_get(packed(X, h)[N]) for h in (hidden, ~hidden))
  for row in range(ROWS):
    both = [*seen.index[row][seen.valid[row]].tolist(), *rest.index[row][rest.valid[row]].tolist()]
    assert sorted(both) == list(range(N))


@given(hidden_rows, st.integers(0, N))
@few
def test_restore_undoes_drop(hidden, keep):
  back = restoring(packed(X, hidden)[keep].values, hidden, FILL)
  # Visible positions that found no slot have nothing to show either.
  absent = hidden | (np.cumsum(~hidden, axis=-1) > keep)
  np.testing.assert_array_equal(back, np.where(absent[..., None], FILL, X))


@given(hidden_rows, st.sampled_from([np.nan, np.inf, 3e38]))
@few
def test_hidden_content_changes_neither_output_nor_gradient(hidden, value):
  clean = jax.device_get(seen_and_slope(X, hidden))
  spoilt = jax.device_get(seen_and_slope(np.where(hidden[..., None], np.float32(value), X), hidden))
  for a, b in zip(clean, spoilt, strict=True):
    assert np.isfinite(a).all()
    np.testing.assert_array_equal(a, b)
  np.testing.assert_array_equal(clean[1][hidden], 0)


@given(hidden_rows)
@few
def test_padding_changes_nothing_that_is_restored(hidden):
  seen = jax.device_get(packed(X, hidden)[N])
  spoilt = np.where(seen.valid[..., None], seen.values, np.float32(np.nan))
  found = [size_and_slope(tokens, hidden) for tokens in (seen.values, spoilt)]
  jax.tree.map(np.testing.assert_array_equal, *found)


def test_several_leading_axes_and_other_types():
  hidden = np.random.default_rng(0).random((2, 5, N)) < 0.5
  x = np.arange(2 * 5 * N, dtype=np.int32).reshape(2, 5, N, 1)

  @jax.jit
  def there_and_back(x, hidden):
    tokens = drop(x, hidden, keep=N).values
    return tokens, restore(tokens, hidden, jnp.array(-1))

  tokens, back = there_and_back(x, hidden)
  assert tokens.dtype == x.dtype
  np.testing.assert_array_equal(back, np.where(hidden[..., None], -1, x))


def test_empty_axes():

  @jax.jit
  def ways():
    none = drop(jnp.zeros((2, 0, 3)), jnp.zeros((2, 0), bool), keep=0)
    no_rows = drop(jnp.zeros((0, 4, 3)), jnp.zeros((0, 4), bool), keep=2)
    back = restore(jnp.zeros((2, 0, 3)), jnp.ones((2, 4), bool), jnp.zeros(3))
    return none.values, no_rows.values, back

  assert [x.shape for x in ways()] == [(2, 0, 3), (0, 2, 3), (2, 4, 3)]


@pytest.mark.parametrize("keep", [-1, N + 1])
def test_keep_outside_the_positions_is_refused(keep):
  with pytest.raises(ValueError, match=rf"keep must lie in \[0, {N}\], got {keep}"):
    drop(jnp.asarray(X), jnp.zeros((ROWS, N), bool), keep=keep)
