"""Odd npz files, images and graphs: what was saved in them, or a refusal with its cause."""
# ruff: noqa: E501  (a row, a line)

import pathlib
import re

import numpy as np
import pytest
from oddities import Row, ids

from maskjax.data import arrays, graph, pipeline, table
from maskjax.errors import BadInput

X = np.random.default_rng(0).integers(0, 256, (6, 5, 7, 3), np.uint8)
Y = np.array([0, 1, 2, 0, 1, 2])
UNIT = X.astype(np.float32) / 255
VOLUME = X.repeat(3, -1)
PLAIN = {"x_train": X, "y_train": Y}

# Arrays, what the training split's images and labels have to be, arguments, what is logged.
NPZ = [
  Row("keras", {**PLAIN, "x_test": X[:2], "y_test": Y[:2]}, (X, Y)),
  Row("medmnist", {"train_images": X, "train_labels": Y[:, None], "val_images": X[:1], "val_labels": Y[:1, None]}, (X, Y)),
  Row("medmnist_of_three_splits", {f"{s}_{what}": a for s in ("train", "val", "test") for what, a in (("images", X), ("labels", Y[:, None].astype(np.uint8)))}, (X, Y)),
  Row("chestmnist_of_many_labels", {"train_images": X[..., 0], "train_labels": np.eye(6, dtype=int)}, (X[..., :1], None), {"label": ""}),
  Row("organmnist3d", {"train_images": VOLUME, "train_labels": Y[:, None]}, (VOLUME[..., None], Y), {"axes": "nthw"}),
  Row("moving_mnist", {"x_train": VOLUME}, (VOLUME.transpose(1, 0, 2, 3)[..., None], None), {"axes": "tnhw"}),
  Row("volumes_that_may_be_channels", {"x_train": VOLUME}, (VOLUME, None), says=r"9 channels: data\.axes='nthw'"),
  Row("objects_of_dsprites", {"train_imgs": X, "metadata": np.array({"a": 1}, object)}, (X, None), says="passed over Python objects.*: metadata"),
  Row("splits_alone", {"train": X, "valid": X[:1], "test": X[:2]}, (X, None)),
  Row("labels_of_whole_floats", {"x_train": X, "y_train": Y.astype(float)}, (X, Y)),
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
  Row("a_single_image", {"image": X[0]}, r"shape \(5, 7, 3\): a single image wants an axis more, array\[None\]; else data\.axes='nhw'"),
  Row("axes_of_another_rank", PLAIN, r"data\.axes='nhw' does not name the axes 'nhwc' or 'nthw'", {"axes": "nhw"}),
  Row("floats_of_bytes", {"x_train": X.astype(np.float32)}, r"floats from 0 to 255: data\.peak=255"),
  Row("peak_of_bytes", PLAIN, r"data\.peak is for floats", {"peak": 255}),
  Row("labels_from_one", {"x_train": X, "y_train": Y + 1}, r"3 numbers from 1 to 3, not 0 to 2: data\.relabel=True"),
  Row("labels_with_255", {"x_train": X, "y_train": np.where(Y == 2, 255, Y)}, r"from 0 to 255.*data\.relabel"),
  Row("labels_of_floats", {"x_train": X, "y_train": Y / 2}, r"not made of whole numbers.*; data\.label=''"),
  Row("one_hot", {"x_train": X, "y_train": np.eye(3)[Y].astype(int)}, r"shape \(6, 3\) for 6 images; data\.label='' reads no labels"),
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
