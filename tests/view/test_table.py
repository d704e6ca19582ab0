"""The closing table: means and deviations right, columns aligned, nothing invented."""

import statistics

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from maskjax.view.table import NOTE, results

VALUES = st.lists(st.floats(0.02, 999), min_size=1, max_size=5)
ROWS = st.lists(
  st.tuples(
    st.sampled_from(["raw pixels", "untrained", "trained"]),
    st.dictionaries(st.sampled_from(["knn", "few-label accuracy", "error"]), VALUES),
  ),
  max_size=4,
)


@settings(deadline=None)
@given(ROWS)
def test_lines_are_as_wide_as_the_header_and_numbers_are_there(rows):
  header, *lines = results(rows).split("\n")
  assert (lines[-1:] == [NOTE]) == any(len(v) > 1 for _, row in rows for v in row.values())
  for (name, row), line in zip(rows, lines, strict=False):
    assert line.startswith(name)
    assert len(line) <= len(header) or not any(row for _, row in rows)
    for values in row.values():
      assert f"{np.mean(values):.3f}" in line
      if len(values) > 1:
        assert " ± " in line


def test_mean_and_sample_deviation_of_seeds():
  _, line, *_ = results([("trained", {"knn": [0.90, 0.94, 0.95]})]).split("\n")
  assert line.split() == ["trained", "0.930", "±", f"{statistics.stdev([0.90, 0.94, 0.95]):.3f}"]


def test_one_seed_has_no_deviation_and_no_note():
  assert results([("trained", {"knn": [0.5]})]) == "           knn\ntrained  0.500"


def test_means_stand_under_means():
  rows = [("a", {"m": [0.5]}), ("b", {"m": [0.25, 0.75]}), ("c", {"m": []}), ("d", {})]
  _, a, b, c, d, *_ = results(rows).split("\n")
  assert a.index("0.500") == b.index("0.500")
  assert c.rstrip().endswith("-")
  assert c.index("-") == d.index("-")


def test_very_small_and_very_large_numbers_keep_their_digits():
  text = results([("a", {"rate": [0.00015], "parameters": [85_798_656.0], "none": [0.0]})])
  assert text.split("\n")[1].split() == ["a", "0.00015", "8.58e+07", "0.000"]


def test_failed_run_shows_as_nan():
  assert "nan" in results([("trained", {"knn": [float("nan")]})])
