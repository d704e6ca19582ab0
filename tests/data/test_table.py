"""Tables: what is missing, what is scaled by what, and what nobody may see."""

import dataclasses
import pickle

import numpy as np
import pytest

from maskjax.data import pipeline, table
from maskjax.errors import BadInput

LAST = {  # compiles nothing
  "score": {"fn": "oddities:wide"},
  "select": {"fn": "oddities:largest", "count": 30},
}


def whole(source):
  """Values and flags of all rows, [rows, columns]."""
  rows = [source[i] for i in range(len(source))]
  return tuple(np.stack([row[k][:, 0] for row in rows]) for k in ("table", "valid"))


def write(tmp_path, text):
  path = tmp_path / "x.csv"
  path.write_text(text)
  return str(path)


def test_empty_cells_of_a_csv_file_are_missing_and_columns_run_from_0_to_1(tmp_path):
  record, splits = table.open(write(tmp_path, "name,a,b\nx,1,10\ny,,30\nz,3,NaN\n"))
  assert (record.kind, record.shape, record.sizes) == ("table", (2, 1), {"train": 3})
  assert (record.columns, record.low, record.high) == (("a", "b"), (1.0, 10.0), (3.0, 30.0))
  values, valid = whole(splits["train"])
  assert valid.tolist() == [[True, True], [False, True], [True, False]]
  np.testing.assert_allclose(values, [[0, 0], [0, 1], [1, 0]])
  copy = pickle.loads(pickle.dumps(splits["train"]))
  np.testing.assert_array_equal(copy[2]["valid"], splits["train"][2]["valid"])


def test_an_npz_may_name_its_columns(tmp_path):
  path = str(tmp_path / "x.npz")
  cells = np.array([[1, np.nan], [2, 5], [2, 7.0]])
  np.savez(path, cells=cells, columns=np.array(["a", "b"]))
  record, splits = table.open(path)
  assert record.columns == ("a", "b")
  np.testing.assert_array_equal(whole(splits["train"])[1], np.isfinite(cells))
  np.savez(path, cells=cells)
  assert table.open(path)[0].columns == ("column 0", "column 1")


def test_cells_that_are_missing_by_nature_stay_so(tmp_path):
  rng = np.random.default_rng(0)
  cells = rng.normal(size=(50, 4))
  cells[rng.random((50, 4)) < 0.2] = np.nan
  path = str(tmp_path / "x.npz")
  np.savez(path, cells=cells)
  _, splits = table.open(path, missing=LAST)
  known, seen = (whole(splits[name])[1] for name in ("truth", "train"))
  np.testing.assert_array_equal(known, np.isfinite(cells))
  assert (known & ~seen).sum() == 30
  assert not (seen & ~known).any()


def test_the_pipeline_gives_batches_of_rows():
  data = pipeline.load(name="table", bundled="wine", test="", missing=LAST)
  batch = next(pipeline.batches(data, batch_size=4, seed=0))
  assert {k: v.shape for k, v in batch.items()} == {
    "table": (4, 13, 1),
    "valid": (4, 13, 1),
    "position": (4,),
  }
  last = list(pipeline.examples(data, "truth", batch_size=100))[-1]
  assert last["valid"].sum() == 78 * 13


@pytest.mark.parametrize(
  ("words", "says"),
  [
    ({}, "data.bundled: one of breast_cancer"),
    ({"bundled": "wien"}, "did you mean 'wine'"),
    ({"path": "nowhere.csv"}, "does not exist"),
    ({"bundled": "wine", "missing": {**LAST, "score": {"fn": "score.entropy"}}}, "entropy needs"),
    ({"bundled": "wine", "missing": {**LAST, "sede": 1}}, "did you mean 'seed'"),
    (
      {
        "bundled": "wine",
        "missing": {**LAST, "select": {**LAST["select"], "count": 178 * 13}},
      },
      "no value left of it",
    ),
  ],
)
def test_what_cannot_work_is_said(words, says):
  with pytest.raises(BadInput, match=says):
    table.open(**words)


@pytest.mark.parametrize(
  ("arrays", "says"),
  [
    ({"a": np.ones((2, 2)), "b": np.ones((2, 2))}, "other than one array"),
    ({"a": np.ones(3)}, "wanted numbers"),
    ({"a": np.array([["x", "y"]])}, "wanted numbers"),
    ({"a": np.array([[np.inf, 1]])}, "infinity"),
    ({"a": np.ones((2, 2)), "columns": np.array(["a"])}, "names 1 columns of 2"),
    ({"a": np.array([[1, np.nan], [2, np.nan]])}, "'column 1': no value"),
  ],
)
def test_an_npz_that_holds_no_table_is_refused(tmp_path, arrays, says):
  np.savez(tmp_path / "x.npz", **arrays)
  with pytest.raises(BadInput, match=says):
    table.open(str(tmp_path / "x.npz"))


@pytest.mark.parametrize(
  ("text", "wanted", "options"),
  [
    ("a,b\n1.50,\n,002\n", "a,b\n1.50,7\n7,002\n", {}),
    # A column of dates, quotes, another delimiter and decimal sign, ends of lines, an empty line.
    ('day;"b;c";d\r\n2020-01-01;"1,50";NA\r\n\r\n2020-01-02;;"2"\r\n',
     'day;"b;c";d\r\n2020-01-01;"1,50";7,5\r\n\r\n2020-01-02;7,5;"2"\r\n', {"decimal": ","}),
    ("1, nan,3\n4,5e0,6", "1,7,3\n4,5e0,6", {"header": False}),
    ("a\n1\n\n3\n", "a\n1\n7\n3\n", {}),
    (",a\n0,\"\"\n1,2\n", ",a\n0,7\n1,2\n", {}),
  ],
)  # fmt: skip
def test_a_file_is_written_with_its_gaps_filled_and_nothing_else_changed(
  tmp_path, text, wanted, options
):
  path = tmp_path / "a.csv"
  path.write_bytes(text.encode())
  record, splits = table.open(str(path), **options)
  low, high = np.array(record.low), np.array(record.high)
  high = np.where(high > low, high, low + 1)
  rows = ((7.5 if "decimal" in options else 7) - low) / (high - low)
  rows = np.broadcast_to(rows, splits["train"].valid.shape)
  record = dataclasses.replace(record, high=tuple(high.tolist()))
  assert table.written(splits["train"], rows, record) == wanted


def test_known_cells_of_arrays_keep_all_their_digits(tmp_path):
  cells = np.random.default_rng(0).normal(size=(9, 3))
  cells[2, 1] = np.nan
  np.savez(tmp_path / "a.npz", x=cells)
  record, splits = table.open(str(tmp_path / "a.npz"))
  made = table.written(splits["train"], np.zeros((9, 3)), record)
  back = np.array([[float(c) for c in line.split(",")] for line in made.splitlines()[1:]])
  same = ~np.isnan(cells)
  np.testing.assert_array_equal(back[same], cells[same])
  assert back[2, 1] == pytest.approx(record.low[1])
