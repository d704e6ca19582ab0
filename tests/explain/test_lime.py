"""LIME is scikit-learn's weighted ridge, and its figures and shapes are what they say."""

import functools

import jax
import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.linear_model import Ridge
from sklearn.metrics import pairwise_distances

from maskjax.errors import BadInput
from maskjax.explain import SHAPES, class_entropy, lime, rank_agreement, shapes, unchanged

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(("width", "ridge"), [(0.25, 1.0), (1.0, 0.1)])
def test_lime_is_a_ridge_weighted_by_the_cosine(width, ridge):
  hidden = RNG.random((3, 40, 6)) < 0.5
  hidden[:, 0], hidden[:, 1] = False, True
  answer = RNG.random((3, 40)).astype(np.float32)
  got = jax.jit(functools.partial(lime, width=width, ridge=ridge))(answer, hidden)
  for weights, y, x in zip(got, answer, (~hidden).astype(float), strict=True):
    far = pairwise_distances(x, x[:1], metric="cosine").ravel()
    near = np.sqrt(np.exp(-(far**2) / width**2))
    model = Ridge(alpha=ridge).fit(x, y, sample_weight=near)
    np.testing.assert_allclose(weights, model.coef_, rtol=1e-3, atol=1e-5)


def test_lime_finds_what_counts():
  hidden = RNG.random((200, 5)) < 0.5
  truth = np.array([2.0, 0.0, -1.0, 0.5, 0.0])
  answer = np.float32(~hidden @ truth)
  found = jax.jit(functools.partial(lime, width=1.0, ridge=1e-3))(answer, hidden)
  np.testing.assert_allclose(found, truth, atol=1e-2)


def test_entropy_and_unchanged_predictions():
  drawn = RNG.integers(0, 10, 2000)
  assert np.log(10) - 0.01 < class_entropy(drawn, 10) <= np.log(10)
  assert class_entropy(np.zeros(9, int), 10) == 0
  assert unchanged(drawn, drawn) == 1
  assert abs(unchanged(drawn, np.roll(drawn, 1)) - 0.1) < 0.03


def test_rank_agreement_leaves_out_what_is_no_segment():
  one, other = RNG.random((2, 7)), RNG.random((2, 7))
  one[0, 3] = np.nan
  there = np.arange(7) != 3
  each = spearmanr(one[0, there], other[0, there]).statistic, spearmanr(one[1], other[1]).statistic
  assert np.isclose(rank_agreement(one, other), np.mean(each))
  one[1] = 0.5  # the same everywhere: no ranks
  assert np.isclose(rank_agreement(one, other), each[0])


@pytest.mark.parametrize("grid", [(32, 32), (9, 14)])
def test_shapes_differ_and_are_of_one_area(grid):
  drawn = np.asarray(shapes(grid, share=0.25))
  assert drawn.shape == (len(SHAPES), grid[0] * grid[1])
  assert set(drawn.sum(-1)) == {round(0.25 * grid[0] * grid[1])}
  assert len(np.unique(drawn, axis=0)) == len(SHAPES)


def test_a_share_beyond_all_is_refused():
  with pytest.raises(BadInput, match=r"a share in \(0, 1\)"):
    shapes((8, 8), share=1.0)
