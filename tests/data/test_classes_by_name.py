"""Classes by the names of folders, and files of systems: a cell of the conventions is a row."""
# ruff: noqa: E501  (a row, a line)

import os
import unicodedata

import pytest
from naming import BOTH, CLASSES, FLAT, TRAIN, TWO, check_read, check_refused
from oddities import Row, ids, png, put, tone

from maskjax.data import files, text, wav
from maskjax.errors import BadInput

NFD = lambda name: unicodedata.normalize("NFD", name)

READ = [
  Row("folder_around_splits", [f"cifar10/{name}" for name in BOTH], TWO),
  Row("two_folders_around", [f"data/raw/{name}" for name in BOTH], TWO),
  Row("folder_around_classes", [f"pets/{n}" for n in ("cat/a", "cat/b", "dog/c", "dog/d")], CLASSES),
  Row("folder_below_splits", ["train/images/cat/a", "train/images/dog/b", "test/images/cat/c", "test/images/dog/d"], TWO),
  Row("classes", ["cat/a", "cat/b", "dog/c", "dog/d"], CLASSES),
  Row("one_class_is_none", ["cat/a", "cat/b", "cat/c", "cat/d"], FLAT),
  Row("one_class_of_a_split", ["train/cat/a", "test/cat/b"], {"train": {0: None}, "test": {1: None}}),
  Row(
    "nested_classes",
    ["train/cat/tabby/a", "train/dog/b", "test/cat/c", "test/dog/poodle/d"],
    TWO,
    says=r"folders of 1 and 2 levels .*outer one is the class; data\.label='inner'",
  ),
  Row(
    "nested_classes_inner",
    ["train/cat/tabby/a", "train/dog/poodle/b", "test/cat/tabby/c", "test/dog/poodle/d"],
    {"train": {0: "tabby", 1: "poodle"}, "test": {2: "tabby", 3: "poodle"}},
    {"label": "inner"},
  ),
  Row("no_labels_wanted", BOTH, {"train": {0: None, 1: None}, "test": {2: None, 3: None}}, {"label": ""}),
  Row("a_pattern", ["cat_ann_0", "cat_bob_1", "dog_ann_0", "dog_bob_1"], {"train": {1: "cat", 3: "dog"}, "test": {0: "cat", 2: "dog"}}, {"label": "{label}_{who}_{n}.{e}", "test_where": {"n": "0"}}),
  Row("class_only_in_test", [*TRAIN, "test/Dogs/c", "test/cat/d"], {"train": TWO["train"], "test": {2: "Dogs", 3: "cat"}}, says="1 classes of test are not in train .Dogs.; did you mean 'dog'"),
  Row("annotations_beside_classes", ["cat/a", "cat/b", "dog/c", "dog/d", "notes/x.xml"], CLASSES),
  Row("hidden_files", [*BOTH, ".git/x.png", "train/cat/.a.png", "train/.DS_Store"], TWO),
  Row("mac_files", [*BOTH, "__MACOSX/train/cat/._a.png", "train/cat/._a.png"], TWO),
  Row("files_of_a_nas", [*BOTH, "@eaDir/x.png", "train/@eaDir/a.png", "lost+found/x.png"], TWO),
  Row("files_of_windows", [*BOTH, "train/Thumbs.db", "Desktop.ini", "$RECYCLE.BIN/x.png", "System Volume Information/x"], TWO),
  Row("others_are_counted", [*BOTH, "train/cat/x.heic", "train/cat/y.HEIC", "clip.mp4"], TWO, says=r"passed over 2 \.heic \(train/cat/x\.heic\), 1 \.mp4 \(clip\.mp4\)"),
  Row("unicode_of_one_form", [NFD("train/Zürich/a"), "train/Bern/b", NFD("test/Zürich/c"), "test/Bern/d"], {"train": {0: "Zürich", 1: "Bern"}, "test": {2: "Zürich", 3: "Bern"}}),
  Row("unicode_of_two_forms", [NFD("train/Zürich/a"), "train/Zürich/b", "train/Bern/c", "test/Bern/d"], {"train": {0: "Zürich", 1: "Zürich", 2: "Bern"}, "test": {3: "Bern"}}, says="2 forms of Unicode"),
  Row("spaces_and_signs", ["train/big cat (1)/a", "train/dog & co/b"], {"train": {0: "big cat (1)", 1: "dog & co"}}),
  Row("a_number_in_a_pattern", ["big_cat_0", "big_cat_1", "big_dog_0", "big_dog_1"], {"train": {1: "big_cat", 3: "big_dog"}, "test": {0: "big_cat", 2: "big_dog"}}, {"label": "{label}_{n:d}.{e}", "test_where": {"n": "0"}}),
  Row("a_pattern_in_two_ways", ["train/big_cat_0", "train/dog_1"], {"train": {0: "big", 1: "dog"}}, {"label": "{label}_{n}.{e}"}, says="big_cat_0.* is of 'big', but might be of 'big_cat'.*{field:d}' is a number"),
  Row("pictures_and_masks_that_are_classes", ["images/a", "images/b", "masks/c", "masks/d"], {"*": {0: "images", 1: "images", 2: "masks", 3: "masks"}}, {"splits": ()}),
  Row("pictures_and_masks_without_labels", ["images/a", "images/b", "masks/c", "masks/d"], FLAT, {"label": ""}),
]  # fmt: skip

REFUSED = [
  Row("empty_class", [*TRAIN, "train/cow/"], "class folder train/cow .*empty folder"),
  Row("class_of_other_files", [*TRAIN, "train/cow/x.heic", "train/cow/y.heic"], r"class folder train/cow .*2 \.heic"),
  Row("files_in_and_out", ["cat/a", "dog/b", "c"], r"both outside and inside class folders.*data\.label=''"),
  Row("nothing_to_read", ["x.heic", "y.mp4"], r"looked for .*1 \.heic \(x\.heic\), 1 \.mp4"),
  Row("nothing_at_all", ["a/"], "looked for"),
  Row("pets", ["images/cat_1", "images/dog_1", "annotations/trimaps/cat_1"], "folders 'annotations' and 'images' look like .*not like classes: data.path is .*data\\.splits=\\(\\)"),
  Row("voc", ["VOC2012/JPEGImages/a", "VOC2012/SegmentationClass/a"], "'JPEGImages' and 'SegmentationClass' look like"),
  Row("cub", ["CUB/images/001/a", "CUB/images/002/b", "segmentations/001/a"], "'segmentations' and 'CUB' look like"),
  Row("pairs_of_depth", ["rgb/a", "rgb/b", "depth/a", "depth/b"], "'depth' and 'rgb' look like"),
  Row("masks_inside_of_splits", ["train/images/a", "train/masks/a", "val/images/b", "val/masks/b"], "'images' and 'masks' look like"),
  Row("a_pattern_that_does_not_fit", ["train/cat-0", "train/dog"], r"train/dog.* does not fit the label pattern", {"label": "{label}-{n:d}.{e}"}),
  Row("a_pattern_that_fits_some_of_a_split", ["train/cat-0", "test/cat-1", "test/dog"], r"test/dog.* does not fit", {"label": "{label}-{n}.{e}"}),
]  # fmt: skip


@pytest.mark.parametrize("how", ["folder", "zip", "sounds"])
@pytest.mark.parametrize("row", READ, ids=ids)
def test_classes_that_names_say(tmp_path, caplog, row, how):
  check_read(tmp_path, caplog, row, how)


@pytest.mark.parametrize("how", ["folder", "zip", "sounds"])
@pytest.mark.parametrize("row", REFUSED, ids=ids)
def test_classes_that_names_do_not_say(tmp_path, row, how):
  check_refused(tmp_path, row, how)


def test_a_backslash_is_part_of_a_name_in_a_folder(tmp_path):
  path = put(tmp_path / "set", {"train/a\\b/x.png": png(1), "train/c/y.png": png(2)})
  record, splits = files.open(path)
  assert record.class_names == ("a\\b", "c")
  assert [int(splits["train"][i]["image"].max()) for i in range(2)] == [1, 2]


def test_links_are_followed_by_every_reader(tmp_path):
  put(tmp_path / "pool", {"a.png": png(1), "b.wav": tone(2), "c.txt": b"words"})
  for name in ("one", "two"):  # two links to one folder are fine
    (tmp_path / "set" / "train").mkdir(parents=True, exist_ok=True)
    os.symlink(tmp_path / "pool", tmp_path / "set" / "train" / name)
  path = str(tmp_path / "set")
  assert files.open(path)[0].sizes == {"train": 2}
  assert wav.open(path)[0].sizes == {"train": 2}
  assert text.open(path, length=4)[0].sizes == {"train": 3}  # ten letters
  os.symlink(tmp_path / "set", tmp_path / "pool" / "up")
  for open_ in (files.open, wav.open, text.open):
    with pytest.raises(BadInput, match="link to a folder that it lies in"):
      open_(path)


def test_a_folder_that_cannot_be_read_is_named(tmp_path, monkeypatch):
  path = put(tmp_path / "set", {"cat/a.png": png(1), "dog/b.png": png(2)})
  scan = os.scandir

  def stale(folder):
    if str(folder).endswith("dog"):
      raise OSError(116, "Stale file handle", str(folder))
    return scan(folder)

  monkeypatch.setattr(os, "scandir", stale)
  for open_ in (files.open, wav.open, text.open):
    with pytest.raises(BadInput, match=r"cannot read the folder .*dog: Stale file handle"):
      open_(path)
