import csv
import gzip
import io
import logging
import pathlib
import pickle
import tempfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskjax.data import series
from maskjax.errors import BadInput

ETTH1 = pathlib.Path(__file__).parents[2] / ".." / "shared" / "data" / "ETTh1.csv.gz"
ALL = (1.0, 0.0, 0.0)


def _write(folder, content, name="a.csv"):
  path = pathlib.Path(folder) / name
  raw = content.encode()
  path.write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
  return str(path)


def _csv(header, rows):
  out = io.StringIO()
  csv.writer(out).writerows([header, *rows])
  return out.getvalue()


def _count(rows):
  """Rows that tell where they are: channel a holds the row's number."""
  return _csv(["date", "a", "b"], [[f"2016-07-01 {i}:00", i, i % 3] for i in range(rows)])


def _raw(record, example):
  """The values in the file's units, NaN where there is none."""
  values = example["series"] * np.asarray(record.std) + np.asarray(record.mean)
  return np.where(example["valid"], values, np.nan)


@settings(max_examples=40, deadline=None)
@given(rows=st.integers(1, 40), length=st.integers(1, 40), stride=st.integers(1, 40))
def test_windows_are_where_they_should_be_and_cover_every_row(rows, length, stride):
  length, stride = min(length, rows), min(stride, length)
  with tempfile.TemporaryDirectory() as folder:
    record, sources = series.open(
      _write(folder, _count(rows)), length=length, stride=stride, split=ALL
    )
  seen = set()
  for i, example in enumerate(sources["train"]):
    at = np.rint(_raw(record, example)[:, 0]).astype(int)
    assert at.tolist() == list(range(at[0], at[0] + length))
    assert at[0] == i * stride or (i == len(sources["train"]) - 1 and at[-1] == rows - 1)
    seen |= set(at.tolist())
  assert seen == set(range(rows))
  if stride == 1:
    assert len(sources["train"]) == rows - length + 1


@pytest.mark.parametrize("split", [(20, 10, 5), (0.5, 0.25, 0.125)])
def test_no_window_straddles_a_cut(tmp_path, split):
  record, sources = series.open(_write(tmp_path, _count(40)), length=5, split=split)
  for name, (start, stop) in {"train": (0, 20), "validation": (20, 30), "test": (30, 35)}.items():
    rows = [np.rint(_raw(record, example)[:, 0]).astype(int) for example in sources[name]]
    assert set(np.concatenate(rows).tolist()) == set(range(start, stop))
    assert record.sizes[name] == len(rows) == stop - start - 4


def test_standardised_by_training_rows_with_missing_cells(tmp_path):
  rng = np.random.default_rng(0)
  table = rng.normal(5, 3, (50, 3)).astype(np.float32).astype(float)
  missing = rng.random(table.shape) < 0.3
  empty = rng.choice(["", "nan", "NaN", " "], table.shape)
  rows = np.where(missing, empty, table.astype(str)).tolist()
  path = _write(tmp_path, _csv(["x", "y", "z"], rows), "a.csv.gz")
  record, sources = series.open(path, length=30, split=(30, 0, 0))
  example = sources["train"][0]
  train = np.ma.array(table[:30], mask=missing[:30])
  np.testing.assert_allclose(record.mean, train.mean(0), rtol=1e-12)
  np.testing.assert_allclose(record.std, train.std(0), rtol=1e-12)
  np.testing.assert_array_equal(example["valid"], ~missing[:30])
  expected = ((train - train.mean(0)) / train.std(0)).filled(0)
  np.testing.assert_allclose(example["series"], expected, rtol=1e-5, atol=1e-6)
  assert (example["series"][missing[:30]] == 0).all()
  assert example["series"].dtype == np.float32
  assert example["valid"].dtype == bool
  assert (record.kind, record.shape) == ("series", (30, 3))


def test_held_out_rows_do_not_move_the_statistics(tmp_path):
  one, _ = series.open(_write(tmp_path, _count(40)), length=4, split=(20, 10, 10))
  two, _ = series.open(_write(tmp_path, _count(60)), length=4, split=(20, 10, 10))
  assert (one.mean, one.std) == (two.mean, two.std)


def test_a_constant_channel_is_divided_by_one(tmp_path):
  path = _write(tmp_path, _csv(["a"], [[0.1]] * 7 + [[2.1]]))
  record, sources = series.open(path, length=1, split=(7, 0, 1))
  assert record.std == (1.0,)
  np.testing.assert_allclose(sources["test"][0]["series"], 2.0, rtol=1e-6)


@pytest.mark.parametrize(
  ("header", "first", "channels"),
  [
    ("date", "2016-07-0{}", 1),
    ("Timestamp", "2016070{}", 1),
    ("when", "Mon", 1),
    ("a", "1.5", 2),
    ("a", "", 2),
  ],
)
def test_a_first_column_of_times_is_left_out(tmp_path, caplog, header, first, channels):
  one = first.format
  rows = [[one(1), 1], ["2" if channels == 2 else one(2), 2], [one(3), 3]]
  path = _write(tmp_path, _csv([header, "x"], rows))
  with caplog.at_level(logging.INFO, "maskjax"):
    record, _ = series.open(path, length=2, split=ALL)
  assert record.shape == (2, channels)
  assert (repr(header) in caplog.text) == (channels == 1)


def test_sources_travel_to_workers_and_examples_are_their_own(tmp_path):
  _, sources = series.open(_write(tmp_path, _count(20)), length=4, split=ALL)
  source = sources["train"]
  before = source[1]["series"].copy()
  source[1]["series"][:] = 7
  np.testing.assert_array_equal(source[1]["series"], before)
  np.testing.assert_array_equal(pickle.loads(pickle.dumps(source))[1]["series"], before)
  for index in (-1, len(source)):
    with pytest.raises(IndexError):
      source[index]


@pytest.mark.parametrize(
  ("content", "message"),
  [
    ("a,b\n1,2\n3,oops\n", r"line 3, column 'b': 'oops'"),
    ("a,b\n1,2\n\n3,inf\n", r"line 4, column 'b': 'inf'"),
    ("a,b\n1,2\n1_0,3\n", r"line 3, column 'a': '1_0'"),
    ('date,b\n"two\nlines",2\nx,1e999\n', r"line 4, column 'b': '1e999'"),
    ("a,b\n1,2\n3\n", r"line 3: 1 cells, the header has 2"),
    ("a,b\n1,2\n3,4,5\n", r"line 3: 3 cells"),
    ("1,2\n3,4\n", "header"),
    ("a,b\n", "no rows"),
    ("", "no rows"),
    ("date\nmon\ntue\n", "no column of numbers"),
    ("a,b\n1,\n2,nan\n", "'b' has no value"),
  ],
)
def test_bad_content(tmp_path, content, message):
  with pytest.raises(BadInput, match=message):
    series.open(_write(tmp_path, content), length=1, split=ALL)


def test_bad_arguments(tmp_path):
  path = _write(tmp_path, _count(20))
  with pytest.raises(BadInput, match="does not exist"):
    series.open(str(tmp_path / "nothing.csv"))
  with pytest.raises(BadInput, match="adds up to 14400, there is 20"):
    series.open(path)
  with pytest.raises(BadInput, match="test has 2 rows, fewer than length 5"):
    series.open(path, length=5, split=(10, 8, 2))
  with pytest.raises(BadInput, match="none for training"):
    series.open(path, length=5, split=(0, 10, 10))
  for bad in ({"length": 0}, {"stride": 0}, {"stride": 1.5}):
    with pytest.raises(BadInput, match="whole number from 1"):
      series.open(path, split=ALL, **bad)


@pytest.mark.skipif(not ETTH1.exists(), reason="no ../shared/data/ETTh1.csv.gz")
def test_etth1():
  record, sources = series.open(str(ETTH1))
  table = np.genfromtxt(ETTH1, delimiter=",", skip_header=1, usecols=range(1, 8))
  train = table[:8640]
  assert record.shape == (96, 7)
  assert record.sizes == {"train": 8640 - 95, "validation": 2880 - 95, "test": 2880 - 95}
  np.testing.assert_allclose(record.mean, train.mean(0))
  np.testing.assert_allclose(record.std, train.std(0))
  last = sources["test"][len(sources["test"]) - 1]
  np.testing.assert_allclose(_raw(record, last), table[14400 - 96 : 14400], rtol=1e-4, atol=1e-4)
  assert last["valid"].all()
