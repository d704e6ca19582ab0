"""Odd csv and npz files: what was written into them, as pandas reads it, or a refusal with its cause."""
# ruff: noqa: E501  (a row, a line)

import gzip
import io
import logging
import pathlib
import re
import zipfile

import numpy as np
import pandas
import pytest
from oddities import Row, ids

from maskjax.data import arrays, cells, graph, pipeline, series, table
from maskjax.errors import BadInput

NAN = np.nan
TWO = [[1, 2], [3, 4]]
GAP = [[1, NAN], [3, 4]]


def zipped(**files):
  out = io.BytesIO()
  with zipfile.ZipFile(out, "w") as archive:
    for name, data in files.items():
      archive.writestr(name.replace("__", "."), data)
  return out.getvalue()


CSV = [
  Row("plain", "a,b\n1,2\n3,4\n", TWO),
  Row("no_line_end", "a,b\n1,2\n3,4", TWO),
  Row("windows", "a,b\r\n1,2\r\n3,4\r\n", TWO),
  Row("byte_order_mark", b"\xef\xbb\xbfa,b\n1,2\n3,4\n", TWO),
  Row("gz", gzip.compress(b"a,b\n1,2\n3,4\n"), TWO, {"name": "a.csv.gz"}),
  Row("zip_of_one", zipped(t__csv="a,b\n1,2\n3,4\n"), TWO, {"name": "a.zip"}),
  Row("zip_of_a_mac", zipped(t__csv="a,b\n1,2\n3,4\n", **{"__MACOSX/._t__csv": "x"}), TWO, {"name": "a.zip"}),
  Row("semicolon", "a;b\n1;2\n3;4\n", TWO),
  Row("tab", "a\tb\n1\t2\n3\t4\n", TWO),
  Row("bar", "a|b\n1|2\n3|4\n", TWO),
  Row("delimiter_said", "a b\n1 2\n3 4\n", TWO, {"delimiter": " "}),
  Row("decimal_comma", "a;b\n1,5;2\n3;4,25\n", [[1.5, 2], [3, 4.25]], {"decimal": ","}),
  Row("quoted_numbers", '"a","b"\n"1","2"\n"3","4"\n', TWO),
  Row("quoted_names_with_commas", '"a, in m","b;c"\n1,2\n3,4\n', TWO),
  Row("quoted_line_ends", '"a\nb",c\n1,2\n3,4\n', TWO),
  *[Row(f"missing_{i}", f"a,b\n1,{m}\n3,4\n", GAP) for i, m in enumerate(["", " ", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "None", "<NA>", "#N/A", "-1.#IND"])],
  Row("an_index", ",a,b\n0,1,2\n1,3,4\n", TWO, says="holds the rows' numbers, left out"),
  Row("an_index_of_pandas_again", "Unnamed: 0,a,b\n0,1,2\n1,3,4\n", TWO),
  Row("an_unnamed_column_that_is_none", ",a\n1,2\n3,4\n", TWO),
  Row("dates", "date,a,b\n2016-07-01,1,2\n2016-07-02,3,4\n", TWO, says="column 'date' holds dates"),
  Row("words_first", "when,a,b\nMon,1,2\nMon,3,4\n", TWO),
  Row("dates_with_zones", "t,a,b\n2016-10-30T02:30:00+02:00,1,2\n2016-10-30T02:15:00+01:00,3,4\n", TWO),
  Row("american_dates", "t,a,b\n12/31/2016,1,2\n01/01/2017,3,4\n", TWO),
  Row("no_header_and_said", "1,2\n3,4\n", TWO, {"header": False}),
  Row("names_are_numbers_and_said", "2019,2020\n1,2\n3,4\n", TWO, {"header": True}),
  Row("empty_lines", "a,b\n\n1,2\n\n3,4\n\n", TWO, says="2 empty lines are left out"),
  Row("an_empty_line_of_one_column", "a\n1\n\n3\n", [[1], [NAN], [3]]),
  Row("spaces_around", "a, b\n 1, 2\n 3 ,4\n", TWO),
  Row("exponents_and_signs", "a,b\n+1,2e0\n3.0,.4e1\n", TWO),
  Row("one_column", "a\n1\n3\n", [[1], [3]]),
]  # fmt: skip

# What pandas is told of some of them.
PANDAS = {
  "semicolon": {"sep": ";"},
  "tab": {"sep": "\t"},
  "bar": {"sep": "|"},
  "delimiter_said": {"sep": " "},
  "decimal_comma": {"sep": ";", "decimal": ","},
  "missing_1": {"skipinitialspace": True},
  "spaces_around": {"skipinitialspace": True},
  "no_header_and_said": {"header": None},
  "an_empty_line_of_one_column": {"skip_blank_lines": False},
  **{name: {"index_col": 0} for name in ("an_index", "an_index_of_pandas_again", "words_first")},
  **{name: {"index_col": 0} for name in ("dates", "dates_with_zones", "american_dates")},
}
# What it does not read.
ALONE = ("zip_of_a_mac",)

BAD_CSV = [
  Row("headerless", "1,2\n3,4\n", r"starts with values, 1, 2,.*data\.header=False.*data\.header=True"),
  Row("headerless_with_dates", "2016-07-01,1\n2016-07-02,2\n", r"starts with values.*data\.header=False"),
  Row("headerless_with_gaps", "1,\n3,4\n", r"starts with values.*data\.header=False"),
  Row("headerless_with_american_dates", "12/31/2016,1\n01/01/2017,2\n", "starts with values"),
  Row("decimal_commas", "a;b\n1,5;2\n3;4\n", r"line 2, column 'a': '1,5' .*data\.decimal=','"),
  Row("a_word", "a,b\n1,2\n3,oops\n", r"line 3, column 'b': 'oops'"),
  Row("infinity", "a,b\n1,2\n\n3,inf\n", r"line 4, column 'b': 'inf'"),
  Row("an_underscore", "a,b\n1,2\n1_0,3\n", r"line 3, column 'a': '1_0'"),
  Row("short_row", "a,b\n1,2\n3\n", "line 3: 1 cells, the header has 2"),
  Row("long_row", "a,b\n1,2\n3,4,5\n", "line 3: 3 cells"),
  Row("header_alone", "a,b\n", "no rows"),
  Row("nothing", "", "no rows"),
  Row("empty_lines_alone", "\n\n\n", "no rows"),
  Row("dates_alone", "date\n2016-07-01\n", "no column of numbers"),
  Row("dates_that_fall", "date,a\n2016-07-02,1\n2016-07-01,2\n", "row 2 of '2016-07-01' is older than the one above"),
  Row("dates_that_repeat", "date,a\n2016-07-01,1\n2016-07-01,2\n", "rows 1 and 2 have one date, '2016-07-01'"),
  Row("american_dates_that_repeat", "t,a\n12/31/2016,1\n12/31/2016,2\n", "rows 1 and 2 have one date"),
  Row("latin", b"a,b\n1,2\n3,\xe9\n", "is not UTF-8: byte 10"),
  Row("zip_of_two", zipped(a__csv="a\n1\n", b__csv="b\n1\n"), r"holds 2 files, not a single csv: a\.csv, b\.csv"),
  Row("long_delimiter", "a,b\n1,2\n", r"data\.delimiter is one character", {"delimiter": "::"}),
  Row("another_decimal", "a,b\n1,2\n", r"data\.decimal is", {"decimal": ";"}),
]  # fmt: skip


def written(tmp_path, row):
  args = dict(row.args)
  path = tmp_path / args.pop("name", "a.csv")
  path.write_bytes(row.files.encode() if isinstance(row.files, str) else row.files)
  return str(path), args


@pytest.mark.parametrize("row", CSV, ids=ids)
def test_numbers_of_a_csv(tmp_path, caplog, row):
  path, args = written(tmp_path, row)
  with caplog.at_level(logging.INFO, "maskjax"):
    found, names, _ = cells.numbers(path, **args)
  np.testing.assert_array_equal(found, np.array(row.want, float))
  assert len(names) == len(row.want[0])
  assert re.search(row.says, caplog.text)
  _, sources = series.open(path, length=1, split=(1.0, 0, 0), **args)
  np.testing.assert_array_equal(sources["train"][0]["valid"][0], ~np.isnan(found[0]))
  assert table.open(path, **args)[0].shape == (len(names), 1)


@pytest.mark.parametrize("row", [row for row in CSV if row.name not in ALONE], ids=ids)
def test_pandas_reads_the_same_numbers(tmp_path, row):
  path, _ = written(tmp_path, row)
  read = pandas.read_csv(path, **PANDAS.get(row.name, {})).to_numpy(float)
  np.testing.assert_array_equal(read, np.array(row.want, float))


@pytest.mark.parametrize("row", BAD_CSV, ids=ids)
def test_csv_files_that_are_refused(tmp_path, row):
  path, args = written(tmp_path, row)
  with pytest.raises(BadInput, match=row.want) as error:
    series.open(path, length=1, split=(1.0, 0, 0), **args)
  assert "\n" not in str(error.value)


X = np.random.default_rng(0).integers(0, 256, (6, 5, 7, 3), np.uint8)
Y = np.array([0, 1, 2, 0, 1, 2])
UNIT = X.astype(np.float32) / 255
PLAIN = {"x_train": X, "y_train": Y}

# Arrays, what the training split's images and labels have to be, arguments, what is logged.
NPZ = [
  Row("keras", {**PLAIN, "x_test": X[:2], "y_test": Y[:2]}, (X, Y)),
  Row("medmnist", {"train_images": X, "train_labels": Y[:, None], "val_images": X[:1], "val_labels": Y[:1, None]}, (X, Y)),
  Row("upper_case", {"X_train": X, "Y_train": Y}, (X, Y)),
  Row("targets", {"train_data": X, "train_targets": Y}, (X, Y)),
  Row("label_in_front", {"train_images": X, "labels_train": Y}, (X, Y)),
  Row("training", {"training_images": X, "training_labels": Y}, (X, Y)),
  Row("no_labels", {"train_images": X}, (X, None)),
  Row("grey_without_channels", {"x_train": X[..., 0], "y_train": Y}, (X[..., :1], Y)),
  Row("many_channels", {"x_train": np.repeat(X, 5, -1)}, (np.repeat(X, 5, -1), None)),
  Row("channels_first", {"x_train": X.transpose(0, 3, 1, 2), "y_train": Y}, (X, Y), {"axes": "nchw"}),
  Row("width_first", {"x_train": X.transpose(0, 2, 1, 3), "y_train": Y}, (X, Y), {"axes": "nwhc"}),
  Row("examples_last", {"x_train": X.transpose(1, 2, 3, 0), "y_train": Y}, (X, Y), {"axes": "hwcn"}),
  Row("grey_channels_first", {"x_train": X[..., :1].transpose(0, 3, 1, 2)}, (X[..., :1], None), {"axes": "nchw"}),
  Row("floats", {"x_train": UNIT}, (UNIT, None)),
  Row("halves", {"x_train": UNIT.astype(np.float16)}, (UNIT.astype(np.float16), None)),
  Row("standardised_floats", {"x_train": UNIT * 4 - 2}, (UNIT * 4 - 2, None)),
  Row("floats_of_bytes", {"x_train": X.astype(np.float64)}, (X / np.float64(255), None), {"peak": 255}),
  Row("depth_in_metres", {"x_train": UNIT * 9}, (UNIT * 9, None), {"peak": 1}),
  Row("sixteen_bits", {"x_train": X.astype(np.uint16) * 257}, (X.astype(np.uint16) * 257, None)),
  Row("labels_of_bools", {"x_train": X, "y_train": Y > 0}, (X, Y > 0)),
  Row("labels_of_bytes", {"x_train": X, "y_train": Y.astype(np.uint8)}, (X, Y)),
  Row("labels_of_uint64", {"x_train": X, "y_train": Y.astype(np.uint64)}, (X, Y)),
  Row("labels_from_one", {"x_train": X, "y_train": Y + 1}, (X, Y), {"relabel": True}),
  Row("labels_that_skip", {"x_train": X, "y_train": Y * 7}, (X, Y), {"relabel": True}),
  Row("labels_with_255", {"x_train": X, "y_train": np.where(Y == 2, 255, Y)}, (X, Y), {"relabel": True}),
  Row("labels_that_skip_with_names", {"x_train": X, "y_train": Y * 2, "class_names": list("abcde")}, (X, Y * 2)),
  Row("no_label_at_all", {"x_train": X, "y_train": np.full(6, -1)}, (X, None)),
  Row("more_arrays", {**PLAIN, "mean": np.zeros(3), "note": np.array("hello")}, (X, Y), says="passed over the arrays mean, note"),
  Row("compressed", {**PLAIN, "compressed": True}, (X, Y)),
  Row("clips", {"train_videos": X[None]}, (X[None], None)),
  Row("fortran_order", {"x_train": np.asfortranarray(X), "y_train": Y}, (X, Y)),
  Row("big_endian", {"x_train": (X.astype(">u2")), "y_train": Y.astype(">i8")}, (X.astype(np.uint16), Y)),
]  # fmt: skip

BAD_NPZ = [
  Row("channels_first", {"x_train": X.transpose(0, 3, 1, 2)}, r"shape \(6, 3, 5, 7\): channels first is data\.axes='nchw'"),
  Row("clips_channels_first", {"train_videos": X.transpose(0, 3, 1, 2)[None]}, r"data\.axes='ntchw'"),
  Row("axes_of_another_rank", PLAIN, r"data\.axes='nhw' does not name the axes 'nhwc'", {"axes": "nhw"}),
  Row("floats_of_bytes", {"x_train": X.astype(np.float32)}, r"floats from 0 to 255: data\.peak=255"),
  Row("peak_of_bytes", PLAIN, r"data\.peak is for floats", {"peak": 255}),
  Row("labels_from_one", {"x_train": X, "y_train": Y + 1}, r"3 numbers from 1 to 3, not 0 to 2: data\.relabel=True"),
  Row("labels_with_255", {"x_train": X, "y_train": np.where(Y == 2, 255, Y)}, r"from 0 to 255.*data\.relabel"),
  Row("labels_of_floats", {"x_train": X, "y_train": Y / 2}, "not made of whole numbers"),
  Row("one_hot", {"x_train": X, "y_train": np.eye(3)[Y].astype(int)}, r"shape \(6, 3\) for 6 images"),
  Row("too_few_labels", {"x_train": X, "y_train": Y[:4]}, "for 6 images"),
  Row("labels_of_another_name", {"images": X, "kind": Y}, r"kind .* may be labels.*data\.label='kind'"),
  Row("no_such_label", {"images": X, "labels": Y}, r"data\.label 'labls'; did you mean 'labels'", {"label": "labls"}),
  Row("two_forms_of_a_split", {"val_images": X, "validation_images": X, "train_images": X}, "are both images of validation"),
  Row("objects", {"x_train": np.array([1, "a"], object)}, "Python objects"),
  Row("nothing_known", {"pictures": X}, "no images .*arrays pictures"),
  Row("nan", {"x_train": np.full((2, 5, 5), np.nan)}, "not finite"),
  Row("int64", {"x_train": X.astype(np.int64)}, "int64, wanted one of"),
  Row("no_images", {"x_train": X[:0]}, "shape"),
]  # fmt: skip


def npz(tmp_path, named):
  named = dict(named)
  save = np.savez_compressed if named.pop("compressed", False) else np.savez
  save(tmp_path / "x.npz", **named)
  return str(tmp_path / "x.npz")


@pytest.mark.parametrize("row", NPZ, ids=ids)
def test_arrays_are_what_was_saved(tmp_path, caplog, row):
  record, splits = arrays.open(npz(tmp_path, row.files), **row.args)
  images, labels = row.want
  assert record.peak == {"f": 1, "u": 2.0 ** (8 * images.dtype.itemsize) - 1}[images.dtype.kind]
  train = splits["train"]
  kind = "video" if images.ndim == 5 else "image"
  np.testing.assert_allclose([train[i][kind] for i in range(len(train))], images, rtol=1e-6)
  assert [train[i].get("label") for i in range(len(train))] == (
    [None] * len(images) if labels is None else labels.astype(int).tolist()
  )
  assert re.search(row.says, caplog.text)


@pytest.mark.parametrize("row", BAD_NPZ, ids=ids)
def test_arrays_that_are_refused(tmp_path, row):
  with pytest.raises(BadInput, match=row.want) as error:
    arrays.open(npz(tmp_path, row.files), **row.args)
  assert "\n" not in str(error.value)


def test_labels_of_some_examples_only(tmp_path):
  path = npz(tmp_path, {"x_train": X, "y_train": np.array([0, 1, -1, 1, -1, 0])})
  with pytest.raises(BadInput, match=r"2 of 6 examples of 'train' have no label .*data\.classes"):
    pipeline.load(name="npz", path=path, test="")
  data = pipeline.load(name="npz", path=path, test="", classes=(0, 1))
  assert data.record.sizes == {"train": 4}
  batch = next(pipeline.batches(data, batch_size=4, seed=0, threads=0, prefetch=0))
  assert sorted(batch["label"].tolist()) == [0, 0, 1, 1]


def test_a_split_by_hash_has_every_class(tmp_path):
  path = npz(tmp_path, {"images": np.repeat(X, 4, 0), "labels": np.repeat(Y, 4)})
  _, splits = arrays.open(path)
  for source in splits.values():
    assert {source[i]["label"] for i in range(len(source))} == {0, 1, 2}


@pytest.mark.parametrize("content", [b"", b"no npz", b"PK\x03\x04 cut"])
@pytest.mark.parametrize("open_", [arrays.open, graph.open])
def test_files_that_are_no_npz_are_named_by_every_reader(tmp_path, open_, content):
  (tmp_path / "bad.npz").write_bytes(content)
  with pytest.raises(BadInput, match=r"bad\.npz' is not an npz file$"):
    open_(str(tmp_path / "bad.npz"))


@pytest.mark.parametrize("open_", [arrays.open, graph.open, table.open])
def test_damaged_arrays_are_named_by_every_reader(tmp_path, open_):
  path = pathlib.Path(npz(tmp_path, {"x_train": X, "compressed": True}))
  data = bytearray(path.read_bytes())
  middle = len(data) // 2
  data[middle : middle + 40] = bytes(40)
  path.write_bytes(data)
  with pytest.raises(BadInput, match=r"x\.npz' is not a readable npz"):
    open_(str(path))


FEATURES = np.arange(12.0).reshape(4, 3)
EDGES = np.array([[0, 1], [1, 2], [2, 3]])
MASK = np.array([True, False, True, False])
NODES = np.array([0, 2])
GRAPHS = [
  Row("ours", {"features": FEATURES, "edges": EDGES, "train": NODES}, 0),
  Row("masks", {"features": FEATURES, "edges": EDGES, "train": MASK}, 0),
  Row("pytorch_geometric", {"x": FEATURES, "edge_index": EDGES.T, "train_mask": MASK}, 0),
  Row("with_labels", {"x": FEATURES, "edge_index": EDGES.T, "train_mask": MASK, "y": np.array([0, 1, 1, 0])}, 0),
  Row("labels_of_ogb", {"x": FEATURES, "edges": EDGES, "train": NODES, "y": np.array([[0], [1], [1], [0]])}, 0),
  Row("both_directions", {"x": FEATURES, "edges": np.concatenate([EDGES, EDGES[:, ::-1]]), "train": NODES}, 0),
  Row("features_of_bools", {"x": FEATURES > 5, "edges": EDGES, "train": NODES}, 0),
  Row("edges_of_bytes", {"x": FEATURES, "edges": EDGES.astype(np.uint8), "train": NODES}, 0),
]  # fmt: skip
BAD_GRAPHS = [
  Row("mask_of_another_length", {"train": MASK[:3]}, r"a mask \[4\]"),
  Row("several_masks", {"train": np.stack([MASK, MASK], 1)}, r"a mask \[4\]"),
  Row("an_empty_mask", {"train": MASK & False}, r"a mask \[4\]"),
  Row("a_scalar_split", {"train": np.array(1)}, r"a mask \[4\]"),
  Row("edges_of_floats", {"edges": EDGES.astype(float)}, "whole numbers"),
  Row("flat_edges", {"edges": EDGES.ravel()}, "whole numbers"),
  Row("no_edges", {"edges": EDGES[:0]}, "pairs of nodes"),
  Row("both_names", {"x": FEATURES}, "holds both features and x"),
  Row("labels_of_floats", {"label": np.zeros(4)}, "4 whole numbers"),
  Row("labels_of_nothing", {"label": np.zeros(0, int)}, "4 whole numbers"),
]  # fmt: skip
SPARSE = {"feature_indptr": [0, 1, 2, 3, 4], "feature_indices": [0, 1, 2, 0], "num_features": 3}
BAD_SPARSE = [
  {"feature_indptr": [0, 2, 1, 3, 4]},
  {"feature_indptr": 4},
  {"feature_indptr": [[0, 1]]},
  {"num_features": [3, 3]},
  {"num_features": 2.5},
  {"feature_indices": [0.0, 1.0, 2.0, 0.0]},
  {"feature_indices": [0, 1, 2, 3]},
]  # fmt: skip


@pytest.mark.parametrize("row", GRAPHS, ids=ids)
def test_graphs_of_others(tmp_path, row):
  record, splits = graph.open(npz(tmp_path, row.files))
  one = splits["train"][0]
  assert one["valid"].tolist() == [True, False, True, False]
  assert {tuple(sorted(edge)) for edge in one["edges"].tolist()} == {(0, 1), (1, 2), (2, 3)}
  np.testing.assert_array_equal(one["nodes"], np.asarray(row.files.get("x", FEATURES), np.float32))
  assert record.classes in (0, 2)


@pytest.mark.parametrize("row", BAD_GRAPHS, ids=ids)
def test_graphs_that_are_refused(tmp_path, row):
  with pytest.raises(BadInput, match=row.want):
    graph.open(npz(tmp_path, {"features": FEATURES, "edges": EDGES, **row.files}))


@pytest.mark.parametrize("odd", BAD_SPARSE, ids=str)
def test_sparse_features_that_do_not_fit(tmp_path, odd):
  made = {name: np.array(value) for name, value in {**SPARSE, **odd}.items()}
  with pytest.raises(BadInput, match="do not fit"):
    graph.open(npz(tmp_path, {"edges": EDGES, **made}))
