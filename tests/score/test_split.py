"""A budget split over sections: the public code's masks, and what random ones do not do."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

from maskjax import keys, score, select
from maskjax.errors import BadInput
from maskjax.score.split import by_shares

GOLDEN = load_file(pathlib.Path(__file__).parents[1] / "golden" / "multimae.safetensors")
SIZES, KEEP = {"small": (16, 9, 20), "paper": (196, 196, 196)}, {"small": 12, "paper": 98}
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
SETTINGS = {
  "even": {},
  "sparse": {"alpha": 0.2},
  "uneven": {"alpha": (0.5, 1.0, 4.0)},
  "subsets": {"subsets": True},
}
DRAWS = 10_000


def shown(hidden, sizes):
  """How many of each section are visible."""
  parts = np.split(~np.asarray(hidden), np.cumsum(sizes)[:-1], axis=-1)
  return np.stack([part.sum(-1) for part in parts], axis=-1)


def highest(scores, keep):
  """All but the lowest `keep` of every row, as `select.top` does, which has tests of its own."""
  return scores > np.partition(scores, keep - 1, axis=-1)[:, keep - 1 : keep]


@pytest.mark.parametrize("case", SIZES)
def test_given_its_noise_the_public_codes_masks(case):
  shares, places, rest, hidden = (
    GOLDEN[f"draws/{case}/{part}"] for part in ("shares", "places", "rest", "hidden")
  )
  sizes, keep = SIZES[case], KEEP[case]

  @jax.jit
  def hide(shares, order, rest):
    return select.top(by_shares(shares, order, rest, sizes, keep), count=sum(sizes) - keep)

  assert hidden.shape[-1] == sum(sizes)
  np.testing.assert_array_equal(hide(shares, places.astype(np.float32), rest), hidden)


@pytest.mark.parametrize("setting", SETTINGS)
def test_the_public_codes_statistics(setting):
  sizes, keep = SIZES["paper"], KEEP["paper"]
  draw = jax.jit(lambda k: score.split(keys(k, 5000), sizes, keep, **SETTINGS[setting]))
  scores = np.concatenate([draw(jax.random.key(i)) for i in range(DRAWS // 5000)])
  counts = shown(highest(scores, keep), sizes).astype(float)
  golden = {p: GOLDEN[f"counts/{setting}/{p}"] for p in ("mean", "deviation", "quantiles", "none")}
  error = golden["deviation"] * np.sqrt(1 / DRAWS + 1 / 100_000)
  assert (counts.sum(-1) == keep).all()
  assert (np.abs(counts.mean(0) - golden["mean"]) < 3 * error).all()
  np.testing.assert_allclose(counts.std(0), golden["deviation"], rtol=0.03)
  np.testing.assert_allclose(np.quantile(counts, QUANTILES, axis=0), golden["quantiles"], atol=2.01)
  np.testing.assert_allclose((counts == 0).mean(0), golden["none"], atol=0.015)
  covariance = GOLDEN[f"counts/{setting}/covariance"]
  np.testing.assert_allclose(np.cov(counts.T), covariance, atol=0.04 * covariance.max())


def test_a_modality_may_be_seen_nearly_whole_or_not_at_all():
  sizes, keep = (64,) * 4, 43

  @jax.jit
  def hide(key):
    drawn = keys(key, 2000)
    scores = [score.split(drawn, sizes, keep), score.uniform(drawn, (256,))]
    return select.top(jnp.stack(scores), count=256 - keep)

  hidden, uniform = np.asarray(hide(jax.random.key(0)))
  counts, plain = shown(hidden, sizes), shown(uniform, sizes)
  assert (counts.sum(-1) == keep).all()
  # Dir(1, 1, 1, 1): a share has deviation sqrt(3 / 80) = 0.19; uniform masks hardly vary.
  np.testing.assert_allclose(counts.std(0) / keep, np.sqrt(3 / 80), rtol=0.1)
  assert (plain.std(0) / keep < 0.07).all()
  assert (counts == 0).any(-1).mean() > 0.04 > 0.001 > (plain == 0).any(-1).mean()
  # Within a section every position is as likely to be seen.
  np.testing.assert_allclose(1 - hidden.mean(0), keep / 256, atol=0.05)


def test_a_small_section_is_shown_whole_and_the_rest_comes_from_elsewhere():
  shares = np.float32([[1.0, 0.0], [0.5, 0.5]])
  order = np.random.default_rng(0).random((2, 12), np.float32)
  hide = jax.jit(lambda s, o: select.top(by_shares(s, o, o, (2, 10), 6), count=6))
  np.testing.assert_array_equal(shown(hide(shares, order), (2, 10)), [[2, 4], [2, 4]])


def test_subsets_leave_modalities_out():
  sizes = (20,) * 3
  draw = lambda key: score.split(keys(key, 4000), sizes, 10, alpha=50.0, subsets=True)
  hidden = jax.jit(lambda key: select.top(draw(key), count=50))(jax.random.key(1))
  # Seven subsets, each as likely; with so large an alpha a member is never without.
  sets, times = np.unique(shown(hidden, sizes) > 0, axis=0, return_counts=True)
  assert len(sets) == 7
  np.testing.assert_allclose(times / 4000, 1 / 7, atol=0.025)


@pytest.mark.parametrize(
  "wrong", [{"alpha": 0.0}, {"alpha": (1.0, 2.0)}, {"alpha": (1.0, 1.0, -1.0)}]
)
def test_what_cannot_be_split_is_refused(wrong):
  with pytest.raises(BadInput, match="alpha"):
    score.split(keys(jax.random.key(0), 2), (2, 2, 2), 2, **wrong)
  with pytest.raises(BadInput, match="make up"):
    by_shares(jnp.ones(1), jnp.ones(3), jnp.ones(3), (2,), 1)
