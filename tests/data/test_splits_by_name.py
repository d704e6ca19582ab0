"""Splits by the names of files: a cell of the conventions is a row, for all readers."""
# ruff: noqa: E501  (a row, a line)

import unicodedata

import pytest
from naming import BOTH, FLAT, TRAIN, TWO, check_read, check_refused, under
from oddities import Row, ids, png, put

from maskjax.data import files, pipeline
from maskjax.errors import BadInput

READ = [
  Row("splits_and_classes", BOTH, TWO),
  Row("capital_splits", under("Train", "Test"), TWO),
  Row("upper_splits", under("TRAIN", "TEST"), TWO),
  Row("training_testing", under("training", "testing"), TWO),
  Row("training_valid", under("training", "valid"), {"train": TWO["train"], "validation": TWO["test"]}),
  Row("train_val", under("train", "val"), {"train": TWO["train"], "validation": TWO["test"]}),
  Row("train_dev", under("train", "dev"), {"train": TWO["train"], "validation": TWO["test"]}),
  Row("years", under("train2017", "val2017"), {"train": TWO["train"], "validation": TWO["test"]}),
  Row(
    "roboflow",
    [*TRAIN, "valid/cat/c", "test/dog/d", "README.roboflow.txt", "train/_annotations.coco.json"],
    {"train": TWO["train"], "validation": {2: "cat"}, "test": {3: "dog"}},
    says=r"passed over .*1 \.json \(train/_annotations",
  ),
  Row(
    "yolo",
    ["train/images/a", "valid/images/b", "train/labels/a.txt", "data.yaml"],
    {"train": {0: None}, "validation": {1: None}},
  ),
  Row(
    "imagenet",
    [
      *("train/n01/a", "train/n02/b", "val/n01/c", "val/n02/d"),
      *("ILSVRC2012_devkit_t12/readme.txt", "ILSVRC2012_devkit_t12/data/meta.mat"),
      *("Annotations/n01/a.xml", "ImageSets/train.txt"),
    ],
    {"train": {0: "n01", 1: "n02"}, "validation": {2: "n01", 3: "n02"}},
    says=r"1 \.mat",
  ),
  Row(
    "imagenet_of_kaggle",
    [
      *("ILSVRC/Data/CLS-LOC/train/n01/a", "ILSVRC/Data/CLS-LOC/train/n02/b"),
      *("ILSVRC/Data/CLS-LOC/val/c", "ILSVRC/Annotations/CLS-LOC/val/c.xml"),
    ],
    {"train": {0: "n01", 1: "n02"}, "validation": {2: None}},
    says="split validation has no labels",
  ),
  Row("flat", list("abcd"), FLAT),
  Row("one_split", TRAIN, {"train": TWO["train"]}),
  Row("flat_splits", ["train/a", "test/b"], {"train": {0: None}, "test": {1: None}}),
  Row("flat_test", [*TRAIN, "test/c"], {"train": TWO["train"], "test": {2: None}}, says="split test has no labels"),
  Row("test_in_a_folder", [*TRAIN, "test/unknown/c"], {"train": TWO["train"], "test": {2: None}}),
  Row(
    "cifar100_with_a_class_train",
    ["train/a", "train/b", "rocket/c", "rocket/d"],
    {"*": {0: "train", 1: "train", 2: "rocket", 3: "rocket"}},
    {"splits": ()},
  ),
  Row(
    "librispeech",
    ["LibriSpeech/train-clean-100/19/198/a", "LibriSpeech/train-clean-100/26/495/b", "LibriSpeech/dev-clean/19/7/c", "LibriSpeech/test-other/26/8/d", "LibriSpeech/SPEAKERS.TXT"],
    {"train": {0: "19", 1: "26"}, "test": {2: "19"}},
    {"splits": {"train": ["train-clean-100"], "test": ["dev-clean"]}},
    says=r"1 files are in no split of data\.splits \(.*d",
  ),
  Row(
    "two_folders_of_a_split",
    [*under("train2014", "train2017"), "val2017/cat/e"],
    {"train": {0: "cat", 1: "dog", 2: "cat", 3: "dog"}, "test": {4: "cat"}},
    {"splits": {"train": ["train2014", "train2017"], "test": "val2017"}},
  ),
  Row("eval_is_said", [*TRAIN, "eval/cat/c", "eval/dog/d"], TWO, {"splits": {"train": ["train"], "test": ["eval"]}}),
  Row(
    "a_list_of_files",
    ["cat/a", "cat/b", "dog/c", "dog/d", ("held.txt", "cat/b.{e}\ndog/d.{e}\n")],
    {"train": {0: "cat", 2: "dog"}, "test": {1: "cat", 3: "dog"}},
    {"splits": {"test": "held.txt"}},
  ),
  Row(
    "speech_commands",
    [
      *("yes/a", "yes/b", "no/c", "no/d", "yes/e", "_background_noise_/f", "README.md"),
      *(("testing_list.txt", "yes/b.{e}\nno/d.{e}\n"), ("validation_list.txt", "yes/e.{e}\n")),
    ],
    {"train": {0: "yes", 2: "no"}, "validation": {4: "yes"}, "test": {1: "yes", 3: "no"}},
    says="1 files in _background_noise_ are left out",
  ),
  Row("splits_inside_of_classes", ["cat/train/a", "cat/test/b", "dog/train/c", "dog/val/d"], {"train": {0: "cat", 2: "dog"}, "test": {1: "cat"}, "validation": {3: "dog"}}, {"label": "{label}/{split}/{name}"}),
  Row("class_looks_like_a_split", ["train_station/a", "train_station/b", "zoo/c", "zoo/d"], {"*": {0: "train_station", 1: "train_station", 2: "zoo", 3: "zoo"}}),
  Row("flat_test_beside_a_pattern", ["train/cat-0", "train/dog-1", "test1/c"], {"train": TWO["train"], "test": {2: None}}, {"label": "{label}-{n}.{e}"}, says="split test has no labels"),
  Row(
    "tiny_imagenet",
    ["tiny/train/n01/images/a", "tiny/train/n02/images/b", "tiny/val/images/c", "tiny/test/images/d", "tiny/val/val_annotations.txt"],
    {"train": {0: "n01", 1: "n02"}, "validation": {2: None}, "test": {3: None}},
    says="validation has one folder, 'images': no class",
  ),
  Row(
    "lists_of_food101",
    ["food/images/cat/0", "food/images/cat/1", "food/images/dog/0", "food/images/dog/1", ("food/meta/train.txt", "cat/0\ndog/0\n"), ("food/meta/test.txt", "cat/1\ndog/1\n")],
    {"train": {0: "cat", 2: "dog"}, "test": {1: "cat", 3: "dog"}},
    {"splits": {"train": "food/meta/train.txt", "test": "food/meta/test.txt"}},
  ),
  Row(
    "a_list_with_labels",
    ["cat/a", "cat/b", "dog/c", "dog/d", ("lists/val.txt", "cat/b.{e} 0\ndog/d.{e} 1\n")],
    {"train": {0: "cat", 2: "dog"}, "test": {1: "cat", 3: "dog"}},
    {"splits": {"test": "lists/val.txt"}},
  ),
]  # fmt: skip

REFUSED = [
  Row("looks_like_splits", ["train-clean-100/1/a", "dev-clean/2/b"], r"look like splits.*data\.splits=dict\(train=\['"),
  Row("looks_like_splits_of_div2k", ["DIV2K_train_HR/a", "DIV2K_valid_HR/b"], r"look like splits.*data\.splits=\(\)"),
  Row("a_split_beside_a_class", [*TRAIN, "extra/c"], r"folder 'extra' beside 'train'.*data\.splits=\(\)"),
  Row("a_split_beside_files", [*TRAIN, "preview"], r"file 'preview\.\w+' beside 'train'.*data\.splits"),
  Row("eval", [*TRAIN, "eval/cat/c"], r"'eval' is a validation split to some.*data\.splits=dict\(validation"),
  Row("evaluation", [*TRAIN, "evaluation/cat/c"], r"'evaluation' is a validation split"),
  Row("val_and_validation", [*TRAIN, "val/cat/c", "validation/cat/d"], r"'val' and 'validation' are both.*data\.splits"),
  Row("two_years", [*TRAIN, "val2014/cat/c", "val2017/cat/d"], "'val2014' and 'val2017' are both"),
  Row("splits_inside", ["cat/train/a", "cat/test/b", "dog/train/c", "dog/test/d"], r"splits inside of folders.*data\.label="),
  Row("unknown_folder", BOTH, r"data\.splits\.train 'trian'; did you mean 'train'", {"splits": {"train": ["trian"]}}),
  Row("a_file_in_two_splits", BOTH, "puts .* into train and into test", {"splits": {"train": ["train"], "test": ["train/cat"]}}),
  Row("a_list_of_nothing", [*BOTH, ("held.txt", "nowhere.{e}\n")], "names no file that is there", {"splits": {"test": "held.txt"}}),
  Row("splits_of_another_type", BOTH, r"data\.splits is dict", {"splits": ["train"]}),
  Row("looks_like_splits_of_nsynth", ["nsynth-test/a", "nsynth-train/b", "nsynth-valid/c"], r"dict\(train=\['nsynth-train'\], validation=\['nsynth-valid'\], test=\['nsynth-test'\]\)"),
  Row("looks_like_splits_of_gtsrb", ["Final_Test/0/a", "Final_Training/0/b"], r"dict\(train=\['Final_Training'\], test=\['Final_Test'\]\)"),
  Row("looks_like_splits_of_cyclegan", ["trainA/a", "trainB/b", "testA/c", "testB/d"], r"look like splits.*dict\(train=\['trainA', 'trainB'\], test=\['testA', 'testB'\]\)"),
  Row("a_line_of_several_files", ["images/a", "masks/a", ("sets/test.txt", "a\n")], r"a of the list of test may be images/a\..* or masks/a", {"splits": {"test": "sets/test.txt"}}),
  Row("a_pattern_with_splits_that_does_not_fit", ["cat/train/a", "cat/b"], "cat/b.* does not fit", {"label": "{label}/{split}/{name}"}),
]  # fmt: skip


@pytest.mark.parametrize("how", ["folder", "zip", "sounds"])
@pytest.mark.parametrize("row", READ, ids=ids)
def test_splits_that_names_say(tmp_path, caplog, row, how):
  check_read(tmp_path, caplog, row, how)


@pytest.mark.parametrize("how", ["folder", "zip", "sounds"])
@pytest.mark.parametrize("row", REFUSED, ids=ids)
def test_splits_that_names_do_not_say(tmp_path, row, how):
  check_refused(tmp_path, row, how)


def test_a_split_by_hash_does_not_depend_on_where_the_files_lie(tmp_path):
  content = {f"{c}/{i}.png": png(i) for c in ("cat", "dog") for i in range(30)}
  held = []
  for place in ("", "around/", "a/b/"):
    path = put(tmp_path / f"set{len(held)}", {place + name: data for name, data in content.items()})
    _, splits = files.open(path)
    held.append(
      [
        (int(e["image"].max()), e["label"])
        for e in map(splits["test"].__getitem__, range(len(splits["test"])))
      ]
    )
  assert held[0] == held[1] == held[2]


def test_a_split_by_hash_does_not_depend_on_how_unicode_is_written(tmp_path):
  names = [f"{c}/ü{i}.png" for c in ("Zürich", "Bern") for i in range(12)]
  held = []
  for form in ("NFC", "NFD"):
    content = {unicodedata.normalize(form, name): png(i) for i, name in enumerate(names)}
    _, splits = files.open(put(tmp_path / form, content))
    held.append(
      {int(e["image"].max()) for e in map(splits["test"].__getitem__, range(len(splits["test"])))}
    )
  assert held[0] == held[1]


def test_synonyms_name_splits_to_the_pipeline(tmp_path):
  path = put(tmp_path / "set", {"Train/a.png": png(1), "valid/b.png": png(2)})
  data = pipeline.load(name="folder", path=path, train="training", test="val")
  assert (data.train, data.test, data.record.sizes) == (
    "train",
    "validation",
    {"train": 1, "validation": 1},
  )
  with pytest.raises(BadInput, match=r"unknown split for data\.test 'test'"):
    pipeline.load(name="folder", path=path)


def test_a_limit_that_leaves_classes_out_is_told(tmp_path, caplog):
  content = {f"train/{c}/{i}.png": png(i + 1) for c in ("cat", "dog") for i in range(4)}
  path = put(tmp_path / "set", content)
  pipeline.load(name="folder", path=path, test="", limit=1)
  assert "data.limit leaves 1 of 2 classes in the training split, without dog" in caplog.text
  caplog.clear()
  pipeline.load(name="folder", path=path, test="", limit=2)
  assert "data.limit" not in caplog.text
