import pickle

import numpy as np
import pytest

from maskjax.data import arrays
from maskjax.errors import BadInput


def images(n=5, shape=(4, 6, 3), dtype=np.uint8):
  most = 1 if np.issubdtype(dtype, np.floating) else 255
  return (np.random.default_rng(0).random((n, *shape)) * most).astype(dtype)


def save(tmp_path, **named):
  np.savez(tmp_path / "x.npz", **named)
  return str(tmp_path / "x.npz")


@pytest.mark.parametrize("names", ["{}_images {}_labels", "x_{} y_{}", "{}_x {}_y"])
def test_splits_by_name(tmp_path, names):
  named = {}
  for split, n in (("train", 5), ("test", 3)):
    image, label = names.replace("{}", split).split()
    named |= {image: images(n), label: np.arange(n)[:, None]}
  record, splits = arrays.open(save(tmp_path, **named))
  assert record.sizes == {"test": 3, "train": 5}
  assert record.shape == (4, 6, 3)
  assert record.class_names == ("0", "1", "2", "3", "4")
  np.testing.assert_array_equal(splits["train"][2]["image"], images(5)[2])
  assert splits["test"][1]["label"] == 1
  copy = pickle.loads(pickle.dumps(splits["train"]))
  np.testing.assert_array_equal(copy[4]["image"], splits["train"][4]["image"])


@pytest.mark.parametrize("shape", [(5, 6), (5, 6, 1), (5, 6, 13)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_any_channels_and_depth_one_set(tmp_path, shape, dtype):
  record, splits = arrays.open(save(tmp_path, images=images(40, shape, dtype)))
  assert record.shape == (5, 6, shape[2] if len(shape) == 3 else 1)
  assert sum(record.sizes.values()) == 40
  assert record.class_names == ()
  assert set(splits["train"][0]) == {"image"}
  assert splits["train"][0]["image"].dtype == dtype


def test_class_names(tmp_path):
  path = save(tmp_path, images=images(), labels=np.arange(5) % 2, class_names=["cat", "dog"])
  assert arrays.open(path)[0].class_names == ("cat", "dog")


@pytest.mark.parametrize(
  ("named", "message"),
  [
    ({"pixels": images()}, "no images"),
    ({"images": np.array([1, "a"], object)}, "Python objects"),
    ({"images": images(), "labels": np.arange(4)}, "for 5 images"),
    ({"images": images(), "labels": np.arange(5) - 2}, "whole numbers"),
    ({"images": images(), "labels": np.arange(5.0) / 2}, "whole numbers"),
    ({"images": images(dtype=np.int64)}, "int64"),
    ({"images": images(shape=())}, "shape"),
    ({"images": np.full((2, 4, 4), np.nan)}, "not finite"),
    ({"x_train": images(), "x_test": images(shape=(4, 5, 3))}, "different shapes"),
    ({"images": images(), "labels": np.arange(5), "class_names": ["a"]}, "1 class_names"),
  ],
)
def test_bad_arrays_are_named(tmp_path, named, message):
  with pytest.raises(BadInput) as error:
    arrays.open(save(tmp_path, **named))
  assert message in str(error.value)


def test_bad_files_are_named(tmp_path):
  with pytest.raises(BadInput, match="does not exist"):
    arrays.open(str(tmp_path / "none.npz"))
  for content in (b"", b"no npz", b"PK\x03\x04 cut"):
    (tmp_path / "bad.npz").write_bytes(content)
    with pytest.raises(BadInput, match=r"bad\.npz' is not an npz file$"):
      arrays.open(str(tmp_path / "bad.npz"))
  np.save(tmp_path / "one.npy", images())
  with pytest.raises(BadInput, match=r"one\.npy' is not an npz file; it is a single array"):
    arrays.open(str(tmp_path / "one.npy"))
