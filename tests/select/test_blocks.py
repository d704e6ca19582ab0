"""Blocks as views: sizes and overlaps as the public code has them, and every position reached."""

import itertools
import pathlib
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

from maskjax import select
from maskjax.errors import BadInput

GOLDEN = load_file(pathlib.Path(__file__).parents[1] / "golden" / "multiblock.safetensors")
CASES = {"14x14": (0.15, 0.2), "16x16": (0.15, 0.2), "8x8": (0.2, 0.3)}
every_case = pytest.mark.parametrize("case", CASES)


def plane(case):
  return tuple(map(int, case.split("x")))


@partial(jax.jit, static_argnames="case")
def sizes(target, context, case):
  """Those of targets and of contexts, from numbers for each."""
  size = partial(select.block_size, grid=plane(case))
  of_targets = size(target, scale=CASES[case], aspect=(0.75, 1.5))
  return jnp.stack([of_targets, size(context, scale=(0.85, 1.0), aspect=(1.0, 1.0))])


@every_case
def test_sizes_equal_those_of_the_public_code(case):
  stored = GOLDEN[f"{case}.sizes"]
  u = np.repeat(((np.arange(400, dtype=np.float32) + 0.5) / 400)[:, None], 2, axis=1)
  np.testing.assert_array_equal(sizes(u, u, case), stored)


def numbers(case):
  """The numbers by which ours draws the corners that the public code drew: one fewer to choose."""
  given = lambda name: GOLDEN[f"{case}.{name}"]
  side, both = plane(case)[0], np.repeat(given("u")[:, :, None], 2, axis=2).astype(np.float32)
  target, around = np.asarray(sizes(both[:, 0], both[:, 1], case))
  pairs = [both]
  for shares, taken in ((given("corners"), target), (given("tries"), around)):
    room = side - taken[:, None]
    pairs.append((np.floor(shares * room) + 0.5) / (room + 1))
  return np.concatenate(pairs, axis=1).reshape(len(both), -1).astype(np.float32)


@every_case
def test_masks_equal_those_of_the_public_code(case):
  stored = GOLDEN[f"{case}.masks"] == 1
  draw = partial(select.multiblock, grid=plane(case), scale=CASES[case], least=11)
  both = jax.jit(lambda u: [draw(u, tied=tied) for tied in (True, False)])
  for views in jax.device_get(both(numbers(case))):
    np.testing.assert_array_equal(np.moveaxis(views.asked, 0, 1), stored[:, 1:])
    np.testing.assert_array_equal(~views.hidden, stored[:, 0])
  tried = GOLDEN[f"{case}.tried"]
  lets_go = (stored[:, :1] & stored[:, 1:]).any(axis=(1, 2))
  # On the small grid some images let go of a target; the others need no second round of tries.
  assert lets_go.any() == (case == "8x8")
  np.testing.assert_array_equal(lets_go, tried > 20)


def test_targets_are_let_go_of_one_by_one():
  u = np.random.default_rng(2).random((400, 20), np.float32)
  words = dict(grid=(6, 6), targets=4, scale=(0.3, 0.4), aspect=(0.5, 2.0), context=(0.3, 0.5))

  @jax.jit
  def draw(u):
    sides = select.block_size(u[:, 2:4], grid=(6, 6), scale=(0.3, 0.5), aspect=(1.0, 1.0))[:, 0]
    placed, kept = (select.multiblock(u, least=least, **words) for least in (0, 8))
    return placed.asked, sides, ~kept.hidden

  placed, sides, visible = jax.device_get(draw(u))
  pairs, rounds = u.reshape(400, 10, 2), []
  every = pairs[:, 6:], np.moveaxis(placed, 0, 1), sides
  for places, asked, side in zip(*every, strict=True):
    tries = []
    for some, place in itertools.product((4, 3, 2, 1, 0), places):
      top, left = np.floor(place * (6 - side + 1)).astype(int)
      box = np.zeros((6, 6), bool)
      box[top : top + side, left : left + side] = True
      tries.append((4 - some, box.reshape(-1) & ~asked[:some].any(axis=0)))
    rounds.append(next(((r, seen) for r, seen in tries if seen.sum() >= 8), tries[16]))
  let, seen = zip(*rounds, strict=True)
  assert {*let} == {0, 1, 2, 3, 4}
  np.testing.assert_array_equal(visible, np.stack(seen))


def drawn(grid, count, **words):
  u = np.random.default_rng(0).random((count, 52), np.float32)
  return jax.jit(partial(select.multiblock, grid=grid, **words))(u)


def test_every_row_and_column_is_reached_alike():
  """The public code's blocks begin one place too early: its last row and column are never asked."""
  asked = np.asarray(drawn((8, 8), 4000, tied=True, least=5).asked).reshape(-1, 8, 8).mean(axis=0)
  for turned in (asked[::-1], asked[:, ::-1]):
    # Four deviations of a share of 16,000 blocks.
    np.testing.assert_allclose(asked, turned, atol=4 * np.sqrt(2 * 0.25 / 16_000))
  assert asked.min() > 0.02
  public = (GOLDEN["8x8.masks"] == 1)[:, 1:].reshape(-1, 8, 8)
  assert not public[:, -1].any()
  assert not public[:, :, -1].any()
  assert public[:, 0].any()


def test_targets_are_blocks_of_one_size_and_the_context_a_larger_one_without_them():
  """What masks of single positions, equally many, would not be."""
  views = drawn((12, 10), 64)
  asked = np.asarray(views.asked).reshape(4, 64, 12, 10)
  rows, columns = asked.any(-1), asked.any(-2)
  np.testing.assert_array_equal(asked, rows[..., None] & columns[..., None, :])
  for axis in (rows, columns):
    # One run, of the same length in all four.
    assert (np.abs(np.diff(np.pad(axis.astype(int), ((0, 0), (0, 0), (1, 1))))).sum(-1) == 2).all()
    assert (axis.sum(-1) == axis.sum(-1)[:1]).all()
  # Blocks of other examples lie elsewhere and are of other sizes.
  assert len({*zip(rows[0].sum(-1), columns[0].sum(-1), strict=True)}) > 3
  seen = ~np.asarray(views.hidden).reshape(64, 12, 10)
  assert not (seen & asked.any(0)).any()
  # Between the first and last that is seen, nothing is hidden but targets.
  for one, taken in zip(seen, asked.any(0), strict=True):
    box = np.ix_(*(np.arange(i.min(), i.max() + 1) for i in np.nonzero(one)))
    assert (one[box] | taken[box]).all()
  share = seen.reshape(64, -1).mean(-1)
  assert 0.2 < share.mean() < 0.55


def test_sizes_have_a_scale_and_a_proportion_of_their_own_unless_tied():
  u = np.random.default_rng(1).random((500, 2), np.float32)
  size = partial(select.block_size, grid=(64, 64), scale=(0.15, 0.2), aspect=(0.75, 1.5))
  both = jax.jit(lambda u: {tied: size(u, tied=tied) for tied in (False, True)})(u)
  for related, sides in both.items():
    height, width = np.asarray(sides).T.astype(float)
    area, ratio = height * width / 64**2, height / width
    assert ((area > 0.14) & (area < 0.21)).all()
    assert ((ratio > 0.7) & (ratio < 1.6)).all()
    assert (abs(np.corrcoef(area, ratio)[0, 1]) > 0.9) == related


def test_a_block_never_fills_the_grid_and_is_never_empty():
  size = partial(select.block_size, aspect=(1.0, 1.0))
  both = lambda u: (size(u, grid=(4, 6), scale=(1.0, 1.0)), size(u, grid=(1, 1), scale=(0.1, 0.1)))
  assert [x.tolist() for x in jax.jit(both)(np.float32([0.5, 0.5]))] == [[3, 5], [1, 1]]


@pytest.mark.parametrize(
  ("words", "says"),
  [
    ({"targets": 0}, "0 targets need pairs of numbers, at least 4, got 52"),
    ({"targets": 24}, "24 targets need pairs of numbers, at least 27, got 52"),
    ({"grid": (4, 4, 4)}, "blocks lie in a plane, the grid .4, 4, 4. has 3 axes"),
    ({"scale": (0.0, 0.2)}, "a scale is a range in .0, 1., an aspect above 0"),
    ({"aspect": (1.5, 0.75)}, "a scale is a range"),
  ],
)
def test_what_cannot_be_is_named(words, says):
  with pytest.raises(BadInput, match=says):
    select.multiblock(jnp.zeros(52), **{"grid": (8, 8), **words})
