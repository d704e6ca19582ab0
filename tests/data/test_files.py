import io
import logging
import pickle
import zipfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from maskjax.data import files, splits
from maskjax.errors import BadInput


def open_any(path, **kwargs):
  return files.open(path, **kwargs)


@pytest.fixture(params=["a_folder", "a.zip"])
def place(request):
  return request.param


def labelled(image, prefix=""):
  names = ["test/cat/1", "test/dog/1", "train/cat/2", "train/cat/10", "train/dog/3"]
  return {f"{prefix}{name}.png": image(i) for i, name in enumerate(names)}


def test_splits_and_classes_come_from_the_folders(write, place, image):
  given_files = labelled(image)
  record, splits = open_any(write(place, given_files))
  assert record.kind == "image"
  assert record.shape == (4, 6, 3)
  assert record.sizes == {"test": 2, "train": 3}
  assert record.class_names == ("cat", "dog")
  names = ["train/cat/10.png", "train/cat/2.png", "train/dog/3.png"]  # sorted as text
  for i, name in enumerate(names):
    wanted = np.asarray(Image.open(io.BytesIO(given_files[name])))
    np.testing.assert_array_equal(splits["train"][i]["image"], wanted)
  assert [splits["train"][i]["label"] for i in range(3)] == [0, 0, 1]


def test_a_zip_may_have_one_folder_around_all(write, image):
  record, _ = files.open(write("b.zip", labelled(image, "photos/")))
  assert record.sizes == {"test": 2, "train": 3}
  assert record.class_names == ("cat", "dog")


def test_one_split_is_kept_and_one_class_is_none(write, place, image):
  record, _ = files.open(write(place, {"train/cat/1.png": image(0)}))
  assert record.sizes == {"train": 1}
  assert record.class_names == ()


def test_images_straight_in_a_folder_have_no_labels(write, place, image):
  record, splits = open_any(write(place, {f"{i}.png": image(i) for i in range(30)}))
  assert record.class_names == ()
  assert sum(record.sizes.values()) == 30
  assert set(splits["train"][0]) == {"image"}


def test_without_splits_names_are_hashed(write, place, image, caplog):
  with caplog.at_level(logging.INFO, "maskjax"):
    record, _ = open_any(write(place, {f"{c}/{i}.png": image(i) for c in "ab" for i in range(40)}))
  assert "split by a hash" in caplog.text
  assert record.class_names == ("a", "b")
  assert 2 <= record.sizes["test"] <= 18


@settings(deadline=None)
@given(st.sets(st.text("abc/", min_size=1), min_size=2, max_size=40), st.text("xyz", min_size=1))
def test_hash_splits_partition_and_do_not_move(names, other):
  names = sorted(names)
  held = splits.by_hash(names)
  assert sorted(held["train"] + held["test"]) == list(range(len(names)))
  if sum(len(s) > 1 for s in held.values()) == 2:
    grown = splits.by_hash([*names, other])
    kept = {i for i in grown["test"] if i < len(names)}
    assert kept <= set(held["test"])


def test_hidden_and_foreign_files_are_not_images(write, place, image):
  extra = {"train/cat/._1.png": b"x", "__MACOSX/train/cat/2.png": b"x", "train/read.txt": b"x"}
  record, _ = open_any(write(place, labelled(image) | extra))
  assert record.sizes == {"test": 2, "train": 3}


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_zip_reads_from_threads_and_after_pickling(write, image, compression):
  path = write("c.zip", {f"train/a/{i:02}.png": image(i) for i in range(40)}, compression)
  _, splits = files.open(path, cache_bytes=0)
  alone = [splits["train"][i]["image"] for i in range(40)]
  copy = pickle.loads(pickle.dumps(splits["train"]))
  with ThreadPoolExecutor(8) as pool:
    for source in (splits["train"], copy):
      together = list(pool.map(lambda i, s=source: s[i]["image"], range(40)))
      np.testing.assert_array_equal(together, alone)


def test_cache_changes_nothing_and_is_not_pickled(write, image):
  path = write("d.zip", {f"train/{'aabbb'[i]}/{i}.png": image(i) for i in range(5)})
  cached, plain = (files.open(path, cache_bytes=n)[1]["train"] for n in (10**6, 0))
  assert (cached.keep, plain.keep) == (True, False)
  for _ in range(2):
    for i in range(5):
      np.testing.assert_array_equal(cached[i]["image"], plain[i]["image"])
      assert cached[i]["label"] == i // 2 - i // 4
  cached[0]["label"] = 7
  assert cached[0]["label"] == 0
  assert len(pickle.dumps(cached)) < len(pickle.dumps(plain)) + 100


@pytest.mark.parametrize(
  ("mode", "shape", "dtype"),
  [
    ("L", (4, 6, 1), np.uint8),
    ("LA", (4, 6, 2), np.uint8),
    ("RGBA", (4, 6, 4), np.uint8),
    ("I;16", (4, 6, 1), np.uint16),
  ],
)
def test_channels_and_depth_are_kept(write, image, mode, shape, dtype):
  record, splits = files.open(write("m", {"train/a/1.png": image(0, mode=mode)}))
  assert record.shape == shape
  assert splits["train"][0]["image"].dtype == dtype
  assert splits["train"][0]["image"].shape == shape


def test_mixed_modes_become_the_most_common(write, image, caplog):
  names = {"train/a/1.png": "RGB", "train/a/2.png": "L", "train/a/3.png": "RGB"}
  with caplog.at_level(logging.INFO, "maskjax"):
    record, splits = files.open(
      write("m", {name: image(0, mode=mode) for name, mode in names.items()})
    )
  assert record.shape == (4, 6, 3)
  assert splits["train"][1]["image"].shape == (4, 6, 3)
  assert "1 of 3 images are converted to mode RGB" in caplog.text


def fails(path, **kwargs):
  with pytest.raises(BadInput) as error:
    open_any(path, **kwargs)
  assert "\n" not in str(error.value)
  return str(error.value)


def test_missing_path(tmp_path):
  assert "does not exist" in fails(str(tmp_path / "nowhere"))
  assert "does not exist" in fails(str(tmp_path / "no.zip"))
  assert "does not exist" in fails("")


def test_no_images(write, place):
  assert "no images" in fails(write(place, {"read.txt": b"x"}))


def test_empty_folder(write):
  assert "no images" in fails(write("empty", {}))


def test_a_file_is_no_folder(write):
  assert "is a single file" in fails(write("x", {"a.png": b""}) + "/a.png")


def test_not_a_zip(tmp_path):
  (tmp_path / "x.zip").write_bytes(b"no zip")
  assert "neither a folder nor a readable zip" in fails(str(tmp_path / "x.zip"))


@pytest.mark.parametrize("name", ["../x.png", "/x.png", "a/../../x.png", "..\\x.png", "C:/x.png"])
def test_members_that_point_outside_are_refused(write, image, name):
  message = fails(write("evil.zip", {"train/a/1.png": image(0), name: b"x"}))
  assert "points outside" in message


def test_other_sizes_name_two_files_and_the_way_out(write, place, image):
  path = write(place, {"train/a/1.png": image(0), "train/a/2.png": image(1, size=(5, 5))})
  message = fails(path)
  for part in ("1.png", "4x6", "2.png", "5x5", "data.size"):
    assert part in message
  assert open_any(path, size=(3, 3))[0].shape == (3, 3, 3)


@pytest.mark.parametrize("bad", [b"", b"no image", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\nIH"])
def test_unreadable_images_are_named(write, place, image, bad):
  path = write(place, labelled(image) | {"train/dog/bad.jpg": bad})
  message = fails(path)
  assert "bad.jpg" in message
  assert "unreadable" in message


def test_truncated_images_are_named_when_read(write, place, image):
  whole = image(0, size=(32, 32))
  _, splits = open_any(write(place, {"train/a/cut.png": whole[: len(whole) // 2]}))
  with pytest.raises(BadInput, match=r"unreadable image .*cut\.png"):
    splits["train"][0]


def test_skip_reports_and_leaves_out(write, place, image, caplog):
  whole = image(0, size=(4, 6))
  bad = {"train/cat/bad.jpg": b"no image", "train/dog/cut.png": whole[: len(whole) // 2]}
  with caplog.at_level(logging.WARNING, "maskjax"):
    record, splits = open_any(write(place, labelled(image) | bad), on_error="skip")
  assert record.sizes == {"test": 2, "train": 3}
  assert [splits["train"][i]["label"] for i in range(3)] == [0, 0, 1]
  assert "bad.jpg" in caplog.text
  assert "cut.png" in caplog.text


def test_skip_with_nothing_left(write, place):
  assert "no readable image" in fails(write(place, {"train/a/1.png": b"x"}), on_error="skip")


def test_on_error_is_one_of_two(write, place, image):
  assert "did you mean 'skip'" in fails(write(place, labelled(image)), on_error="skp")


def test_images_beside_class_folders(write, place, image):
  path = write(place, labelled(image) | {"train/1.png": image(0)})
  assert "both outside and inside" in fails(path)


def test_sixteen_bits_are_not_mixed_with_eight(write, place, image):
  path = write(place, {"train/a/1.png": image(0), "train/a/2.png": image(0, mode="I;16")})
  assert "16 bits" in fails(path)


def test_sixteen_bit_colour_is_refused(write, place, image):
  data = bytearray(image(0))
  data[24] = 16  # the depth in a PNG's header
  assert "cuts to 8" in fails(write(place, {"train/a/1.png": bytes(data)}))


def test_changed_zip_bytes_are_noticed(write, image):
  path = write("e.zip", {"train/a/1.png": image(0, size=(32, 32))})
  with open(path, "r+b") as file:
    file.seek(1500)
    byte = file.read(1)[0]
    file.seek(1500)
    file.write(bytes([byte ^ 1]))
  with pytest.raises(BadInput, match="checksum"):
    files.open(path)[1]["train"][0]
