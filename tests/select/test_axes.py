"""Whole slices along the axes of a grid: a loop over them, Audio-MAE's masks, equal chances."""

import itertools
import pathlib
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

from maskjax import keys, score
from maskjax.errors import BadInput
from maskjax.select import per_axis, top

GOLDEN = load_file(pathlib.Path(__file__).parents[1] / "golden" / "audio_mae.safetensors")
TIMES, FREQUENCIES = 64, 8
GRID = (3, 4)
masks = st.lists(st.booleans(), min_size=12, max_size=12).map(lambda x: np.array(x))


def looped(scores, counts, join, allowed):
  """The mask of one example, slice by slice."""
  field, among = scores.reshape(GRID), allowed.reshape(GRID)
  parts = []
  for axis, count in enumerate(counts):
    if count is None:
      continue
    rows, there = np.moveaxis(field, axis, 0), np.moveaxis(among, axis, 0)
    means = [r[t].mean() if t.any() else -np.inf for r, t in zip(rows, there, strict=True)]
    able = [i for i in range(len(rows)) if there[i].any()]
    best = sorted(able, key=lambda i: (-means[i], i))[:count]
    part = np.zeros(GRID, bool)
    np.moveaxis(part, axis, 0)[best] = True
    parts.append(part)
  joined = np.any(parts, axis=0) if join == "any" else np.all(parts, axis=0)
  return (joined & among).reshape(-1)


AXES = {"both": (0, 1), "first": (0,), "second": (1,)}


@jax.jit
def in_every_way(scores, counts, allowed):
  """The masks of slices along both axes or one, joined in both ways; and where all is allowed."""
  hide = partial(per_axis, scores, grid=GRID)
  of = lambda axes: [counts[i] if i in axes else None for i in range(2)]
  ways = {
    (name, join): hide(counts=of(axes), join=join, allowed=allowed)
    for name, axes in AXES.items()
    for join in ("any", "all")
  }
  free = {(name, "any"): hide(counts=of(axes)) for name, axes in AXES.items()}
  return ways, free | {("both", "all"): hide(counts=of((0, 1)), join="all")}


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 99), st.sampled_from([(1, 2), (2, 2), (1, 3), (0, 4), (3, 0)]), masks)
def test_equals_a_loop_over_slices(seed, counts, allowed):
  scores = np.random.default_rng(seed).integers(0, 50, 12).astype(np.float32)
  found = jax.device_get(in_every_way(scores, np.array(counts), allowed))
  for hidden, among in zip(found, (allowed, np.ones(12, bool)), strict=True):
    for (name, join), mask in hidden.items():
      along = [counts[i] if i in AXES[name] else None for i in range(2)]
      np.testing.assert_array_equal(mask, looped(scores, along, join, among), f"{name}, {join}")


slices = jax.jit(lambda s, counts: per_axis(s, grid=(TIMES, FREQUENCIES), counts=counts))


@pytest.mark.parametrize("shares", [(0.7, 0.3), (0.2, 0.2), (0.3, 0.3)])
def test_the_masks_of_the_public_code_are_selections_along_both_axes(shares):
  theirs = GOLDEN[f"hidden/{shares[0]}/{shares[1]}"]
  # The public code rounds what is kept down.
  counts = [n - int(n * (1 - p)) for n, p in zip((TIMES, FREQUENCIES), shares, strict=True)]
  ours = slices(theirs.astype(np.float32), counts)
  np.testing.assert_array_equal(ours, theirs)
  assert (theirs.sum(-1) == 512 - (64 - counts[0]) * (8 - counts[1])).all()


def test_whole_times_and_frequencies_are_hidden_where_plain_noise_hides_none():

  @jax.jit
  def draw(key):
    noise = score.uniform(keys(key, 50), (TIMES, FREQUENCIES))
    hidden = per_axis(noise, grid=(TIMES, FREQUENCIES), counts=(13, 2))
    return hidden, top(noise, count=hidden[0].sum())

  hidden, plain = map(np.asarray, draw(jax.random.key(0)))
  whole = lambda mask, axis: mask.reshape(-1, TIMES, FREQUENCIES).all(axis)
  assert (whole(hidden, 2).sum(-1) == 13).all()
  assert (whole(hidden, 1).sum(-1) == 2).all()
  assert whole(plain, 2).sum(-1).mean() < 1
  assert not whole(plain, 1).any()
  # What is left to see is a product of the axes.
  seen = ~hidden.reshape(-1, TIMES, FREQUENCIES)
  np.testing.assert_array_equal(seen, seen.any(2, keepdims=True) & seen.any(1, keepdims=True))


def test_every_choice_of_rows_and_columns_has_the_same_chance():
  draws = 18_000
  noise = lambda key: score.uniform(keys(key, draws), GRID)
  hide = jax.jit(lambda key: per_axis(noise(key), grid=GRID, counts=(1, 2), join="all"))
  hidden = np.asarray(hide(jax.random.key(1))).reshape(-1, *GRID)
  rows, columns = hidden.any(2).argmax(1), hidden.any(1) @ (1 << np.arange(4))
  found = [
    ((rows == r) & (columns == (1 << a) + (1 << b))).sum()
    for r, (a, b) in itertools.product(range(3), itertools.combinations(range(4), 2))
  ]
  assert sum(found) == draws
  # 18 equal chances of 1000 each: a deviation of 31.
  assert max(abs(np.array(found) - draws / 18)) < 130


def test_ratios_are_rounded_shares_of_each_axis():
  hide = jax.jit(lambda s: per_axis(s, grid=(64, 8), ratios=(0.3, None)))
  hidden = np.asarray(hide(jnp.arange(512.0)))
  assert hidden.reshape(64, 8).all(1).sum() == round(0.3 * 64)
  assert hidden[-8 * 19 :].all()


@pytest.mark.parametrize(
  ("changes", "says"),
  [
    ({"counts": (1,)}, "a grid of 2 axes wants one number for each"),
    ({"counts": (None, None)}, "one number for each"),
    ({"counts": (1, 1), "ratios": (0.1, 0.1)}, "give counts or ratios"),
    ({}, "give counts or ratios"),
    ({"counts": (1, 1), "join": "both"}, "join must be one of any, all, got 'both'"),
    ({"counts": (4, 1)}, r"must lie in \[0, 3\], got 4"),
    ({"counts": (1, 1), "grid": (2, 2)}, "12 scores do not fill"),
  ],
)
def test_bad_input(changes, says):
  with pytest.raises(BadInput, match=says):
    jax.eval_shape(lambda s: per_axis(s, **{"grid": GRID, **changes}), jnp.zeros(12))
