"""How masks lie on their grid: what tells one way of drawing them from another."""

from typing import NamedTuple

import jax
import numpy as np
import pytest


class Looks(NamedTuple):
  """Of masks over one grid, with any leading axes.

  Attributes:
    counts: how many positions each hides, sorted, without repetition.
    uneven: by how many deviations chi-square is off, were every position as likely as any other.
    alike: the correlation of neighbours along each axis; 0 of masks that ignore the grid.
    lines: the variance of counts along each axis's lines, 1 of masks that ignore the grid.
    distinct: whether no two masks are the same.
  """

  counts: list[int]
  uneven: float
  alike: list[float]
  lines: list[float]
  distinct: bool


@pytest.fixture(scope="session")
def looks():
  """`looks(masks, grid)`: how masks lie on their grid."""

  def measure(masks, grid):
    n = int(np.prod(grid))
    rows = np.asarray(masks).reshape(-1, n)
    share = rows.mean(1)
    deviation = (rows.sum(0) - share.sum()) ** 2 / (share * (1 - share)).sum()
    off = (rows - rows.mean(1, keepdims=True)).reshape(-1, *grid)
    alike, lines = [], []
    for axis, side in enumerate(grid, 1):
      first = np.take(off, range(side - 1), axis)
      alike.append(float((first * np.take(off, range(1, side), axis)).mean() / (off**2).mean()))
      across = tuple(a for a in range(1, off.ndim) if a != axis)
      lines.append(float((off.sum(across) ** 2).mean() / (off**2).mean() / (n / side)))
    return Looks(
      sorted(set(rows.sum(1).tolist())),
      float((deviation.sum() - n) / np.sqrt(2 * n)),
      alike,
      lines,
      len(np.unique(rows, axis=0)) == len(rows),
    )

  return measure


@pytest.fixture(scope="session")
def ignores_the_grid(looks):
  """Asserts that masks are random, whatever the grid: all that MAE's are; gives their counts."""

  def check(masks, grid):
    found = looks(masks, grid)
    assert abs(found.uneven) < 4, found
    assert max(map(abs, found.alike)) < 0.08, found
    assert all(0.6 < line < 1.5 for line in found.lines), found
    assert found.distinct
    return found.counts

  return check


@pytest.fixture(scope="session")
def far_from():
  """`far_from(draws, share)`: the largest distance of their shares from a distribution's."""

  def distance(draws, share):
    draws = np.sort(np.ravel(draws))
    expected, at = np.array([share(x) for x in draws]), np.arange(len(draws) + 1) / len(draws)
    return max(np.abs(expected - at[1:]).max(), np.abs(expected - at[:-1]).max())

  return distance


@pytest.fixture(scope="session")
def shares_of_the_peak():
  """`shares_of_the_peak(made, steps)`: a config's learning rate over its peak."""

  def shares(made, steps):
    peak = made.config["optimizer"]["learning_rate"]
    if by := made.config["optimizer"].get("scale_by_batch", 256):
      peak *= made.config["batch_size"] / by
    return np.asarray(jax.jit(made.optimizer.rate)(np.asarray(steps))) / peak

  return shares


@pytest.fixture(scope="session")
def undecayed():
  """`undecayed(made)`: names of parameters without weight decay, but biases and scales of norms."""

  def names(made):
    flat = jax.tree_util.tree_leaves_with_path(made.optimizer.decays)
    paths = [jax.tree_util.keystr(p, simple=True, separator="/") for p, decay in flat if not decay]
    return sorted(path for path in paths if path.split("/")[-1] not in ("bias", "scale"))

  return names


@pytest.fixture(scope="session")
def decays_of_scales():
  """`decays_of_scales(made)`: by what the weight decay of each scale of a norm is multiplied."""

  def factors(made):
    flat = jax.tree_util.tree_leaves_with_path(made.optimizer.decays)
    return [decay for path, decay in flat if path[-1].key == "scale"]

  return factors
