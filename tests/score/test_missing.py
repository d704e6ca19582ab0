"""Mechanisms by which cells go missing: how often, and what that depends on."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import bisect
from scipy.special import expit

from maskjax import keys, score
from maskjax.errors import BadInput

ROWS, COLUMNS, DRAWS, RATIO = 60, 5, 600, 0.3
# Columns of other scales, one of them constant, two alike.
TABLE = np.random.default_rng(0).normal(size=(ROWS, COLUMNS)) * [1, 100, 0.01, 0, 1] + 3
TABLE[:, 4] = TABLE[:, 0] ** 3
EVEN = np.random.default_rng(1).normal(size=(ROWS, COLUMNS))
WAYS = {
  "self": (score.self_masked, TABLE, {}),
  "one input": (score.logistic, TABLE, {"inputs": 0.2}),
  "two inputs": (score.logistic, EVEN, {"inputs": 0.4}),
  "hidden inputs": (score.logistic, TABLE, {"inputs": 0.4, "hide_inputs": True}),
}


@functools.cache
def drawn(way):
  """Whether each cell is missing, in many draws."""
  mechanism, table, words = WAYS[way]
  draw = jax.jit(
    lambda k, t: mechanism(
      keys(k, DRAWS), jnp.broadcast_to(t, (DRAWS, *t.shape)), ratio=RATIO, **words
    )
  )
  scores = draw(jax.random.key(1), table.astype(np.float32))
  return np.asarray(scores).reshape(DRAWS, *table.shape) > 0


def probability(logits):
  """Those of unit deviation, moved to have the mean RATIO: solved in float64."""
  logits = (logits - logits.mean()) / logits.std()
  move = bisect(lambda b: expit(logits + b).mean() - RATIO, -50, 50)
  return expit(logits + move)


def agree(often, expected, draws):
  """Frequencies within five standard errors."""
  assert np.all(np.abs(often - expected) < 5 * np.sqrt(expected * (1 - expected) / draws))


def test_a_self_masked_cell_is_missing_by_the_logistic_of_its_own_value():
  often = drawn("self").mean(0)
  for column in (0, 1, 2, 4):
    agree(often[:, column], probability(TABLE[:, column]), DRAWS)
  agree(often[:, 3], np.full(ROWS, RATIO), DRAWS)


def test_at_random_the_inputs_are_complete_and_the_others_follow_them_alone():
  """With one input the weight cancels: the others are missing by the logistic of that column."""
  missing = drawn("one input")
  complete = ~missing.any(1)
  assert (complete.sum(1) == 1).all()
  which = complete.argmax(1)
  assert set(which) == set(range(COLUMNS))
  for column in (0, 1, 2):
    mine = which == column
    others = np.delete(missing[mine], column, axis=2)
    expected = probability(TABLE[:, column])[:, None]
    agree(others.mean(0), np.broadcast_to(expected, others.mean(0).shape), mine.sum())


def test_weights_are_positive_and_differ_between_tables_and_columns():
  missing = drawn("two inputs")
  inputs = ~missing.any(1)
  assert (inputs.sum(1) == 2).all()
  total = np.einsum("dri,di->dr", np.broadcast_to(EVEN, missing.shape), inputs)
  hit = missing.sum(2)
  assert np.mean([np.corrcoef(t, h)[0, 1] for t, h in zip(total, hit, strict=True)]) > 0.4
  assert abs(hit.mean() / 3 - RATIO) < 0.01


def test_hidden_inputs_go_missing_as_often_whatever_they_hold():
  missing = drawn("hidden inputs")
  assert abs(missing.mean() - RATIO) < 0.01
  assert missing.any(1).all()
  # The other half still depends on inputs, which now may be missing themselves.
  assert abs(np.corrcoef(TABLE[:, 0], missing[:, :, 0].mean(0))[0, 1]) > 0.5


def test_tables_have_masks_of_their_own():
  missing = drawn("self")
  assert len({mask.tobytes() for mask in missing}) == DRAWS


@pytest.mark.parametrize("ratio", [0.0, 1.0, -0.1])
@pytest.mark.parametrize("mechanism", [score.logistic, score.self_masked])
def test_ratios_are_checked(mechanism, ratio):
  with pytest.raises(BadInput, match=r"must lie in \(0, 1\)"):
    mechanism(jax.random.key(0), jnp.ones((3, 2)), ratio=ratio)


@pytest.mark.parametrize(("columns", "inputs"), [(1, 0.5), (4, 1.0), (4, -0.5)])
def test_some_column_has_to_be_left(columns, inputs):
  with pytest.raises(BadInput, match="leaves none to go missing"):
    score.logistic(jax.random.key(0), jnp.ones((3, columns)), ratio=0.3, inputs=inputs)
