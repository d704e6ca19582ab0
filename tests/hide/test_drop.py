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
dropping = jax.jit(drop, static_argnames="keep")
restoring = jax.jit(restore)


@given(hidden_rows, st.integers(0, N))
@few
def test_packs_the_visible_in_order_and_pads(hidden, keep):
  seen = dropping(X, hidden, keep=keep)
  assert seen.tokens.shape == (ROWS, keep, D)
  assert seen.index.shape == seen.valid.shape == (ROWS, keep)
  for row in range(ROWS):
    visible = np.flatnonzero(~hidden[row])[:keep]
    k = len(visible)
    assert seen.valid[row].tolist() == [i < k for i in range(keep)]
    assert seen.index[row].tolist() == [*visible, *[0] * (keep - k)]
    np.testing.assert_array_equal(seen.tokens[row, :k], X[row, visible])
    np.testing.assert_array_equal(seen.tokens[row, k:], 0)


@given(hidden_rows)
@few
def test_visible_and_hidden_partition_the_positions(hidden):
  seen, rest = dropping(X, hidden, keep=N), dropping(X, ~hidden, keep=N)
  for row in range(ROWS):
    both = [*seen.index[row][seen.valid[row]].tolist(), *rest.index[row][rest.valid[row]].tolist()]
    assert sorted(both) == list(range(N))


@given(hidden_rows, st.integers(0, N))
@few
def test_restore_undoes_drop(hidden, keep):
  back = restoring(dropping(X, hidden, keep=keep).tokens, hidden, jnp.array([-1.0, -2.0]))
  # Visible positions that found no slot have nothing to show either.
  absent = hidden | (np.cumsum(~hidden, axis=-1) > keep)
  np.testing.assert_array_equal(back, np.where(absent[..., None], [-1.0, -2.0], X))


@given(hidden_rows, st.sampled_from([np.nan, np.inf, 3e38]))
@few
def test_hidden_content_changes_neither_output_nor_gradient(hidden, value):
  def seen_and_slope(x):
    seen, pull = jax.vjp(lambda x: dropping(x, hidden, keep=4).tokens, x)
    return seen, pull(jnp.square(seen))[0]

  clean = seen_and_slope(X)
  spoilt = seen_and_slope(np.where(hidden[..., None], np.float32(value), X))
  for a, b in zip(clean, spoilt, strict=True):
    assert np.isfinite(a).all()
    np.testing.assert_array_equal(a, b)
  np.testing.assert_array_equal(clean[1][hidden], 0)


@given(hidden_rows)
@few
def test_padding_changes_nothing_that_is_restored(hidden):
  seen = dropping(X, hidden, keep=N)
  spoilt = jnp.where(seen.valid[..., None], seen.tokens, jnp.nan)
  mean = lambda tokens: jnp.square(restoring(tokens, hidden, jnp.zeros(D))).sum()
  for f in (mean, jax.grad(mean)):
    np.testing.assert_array_equal(f(seen.tokens), f(spoilt))


def test_several_leading_axes_and_other_types():
  hidden = jnp.asarray(np.random.default_rng(0).random((2, 5, N)) < 0.5)
  x = jnp.arange(2 * 5 * N).reshape(2, 5, N, 1)
  seen = drop(x, hidden, keep=N)
  assert seen.tokens.dtype == x.dtype
  back = restore(seen.tokens, hidden, jnp.array(-1))
  np.testing.assert_array_equal(back, jnp.where(hidden[..., None], -1, x))


def test_empty_axes():
  none = jnp.zeros((2, 0), bool)
  assert drop(jnp.zeros((2, 0, 3)), none, keep=0).tokens.shape == (2, 0, 3)
  assert drop(jnp.zeros((0, 4, 3)), jnp.zeros((0, 4), bool), keep=2).tokens.shape == (0, 2, 3)
  assert restore(jnp.zeros((2, 0, 3)), jnp.ones((2, 4), bool), jnp.zeros(3)).shape == (2, 4, 3)


@pytest.mark.parametrize("keep", [-1, N + 1])
def test_keep_outside_the_positions_is_refused(keep):
  with pytest.raises(ValueError, match=rf"keep must lie in \[0, {N}\], got {keep}"):
    drop(jnp.asarray(X), jnp.zeros((ROWS, N), bool), keep=keep)
