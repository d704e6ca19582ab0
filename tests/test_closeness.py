"""The room that is left for rounding: sums in another order have it, faults do not."""

import pathlib
import runpy

import numpy as np
import pytest

close = runpy.run_path(str(pathlib.Path(__file__).with_name("closeness.py")))["close"]
SUM = dict(depth=1, terms=400)


def rows():
  """Products of rows of 400 terms, one of them a thousand times as large."""
  rng = np.random.default_rng(0)
  x, y = (rng.normal(size=size).astype(np.float32) for size in ((5, 400), (400, 7)))
  x[2] *= 1000
  return x, y


def test_another_order_of_a_sum_is_close_in_every_row():
  x, y = rows()
  one_by_one = np.zeros((5, 7), np.float32)
  for i in reversed(range(400)):
    one_by_one += x[:, i : i + 1] * y[i]
  assert (one_by_one != x @ y).any()
  close({"a": one_by_one}, {"a": x @ y}, **SUM)
  close(np.float32(1), np.float32(1 + 2**-22), **SUM)
  close(np.zeros(3), np.zeros(3), **SUM)


@pytest.mark.parametrize(
  "got",
  [
    lambda x: x + 1e-2,  # little beside the largest row, much beside the others
    lambda x: x * (1 + 1e-4),
    lambda x: np.where(x == x.max(), np.nan, x),
    lambda x: x[:, :3],
    lambda x: [x],
  ],
  ids=["shifted", "scaled", "nan", "cut", "other structure"],
)
def test_what_is_no_rounding_is_not_close(got):
  x, y = rows()
  with pytest.raises(AssertionError):
    close(got(x @ y), x @ y, **SUM)


def test_what_is_off_is_named():
  with pytest.raises(AssertionError, match=r"^heads\['a'\] is off by 0.5 of its row"):
    close({"a": np.ones(3)}, {"a": np.full(3, 2.0)}, **SUM, what="heads")
  with pytest.raises(AssertionError, match="is off by nan"):
    close(np.ones(3), np.full(3, np.nan), **SUM)
