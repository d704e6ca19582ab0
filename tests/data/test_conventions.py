"""Splits and classes by the names of files: a cell of the conventions is a row, for all readers."""
# ruff: noqa: E501  (a row, a line)

import functools
import io
import logging
import os
import re
import types
import unicodedata

import numpy as np
import pytest
import soundfile
from oddities import Row, ids, pack, png, put, tone
from PIL import Image

from maskjax import cli
from maskjax.data import (
  arrays,
  captions,
  cells,
  decode,
  files,
  graph,
  kinds,
  layout,
  listing,
  mixtures,
  motion,
  npz,
  pipeline,
  series,
  splits,
  table,
  text,
  tfds,
  told,
  wav,
)
from maskjax.data.__main__ import main
from maskjax.data.digits import digits_dataset_builder
from maskjax.data.openers import OPENERS
from maskjax.errors import BadInput
from maskjax.record import Record
from maskjax.train.evaluators import context as evaluators
from maskjax.train.evaluators import evaluation

NFD = lambda name: unicodedata.normalize("NFD", name)
TWO = {"train": {0: "cat", 1: "dog"}, "test": {2: "cat", 3: "dog"}}
TRAIN = ["train/cat/a", "train/dog/b"]
BOTH = [*TRAIN, "test/cat/c", "test/dog/d"]


def saved(**named):
  out = io.BytesIO()
  np.savez(out, **named)
  return out.getvalue()


def coloured(value, mode):
  """An image of four pixels in a mode of Pillow."""
  pixels = np.random.default_rng(value).integers(value // 2, value, (2, 2, 3), np.uint8)
  image = Image.fromarray(pixels)
  if mode == "P":
    image = image.convert("P", palette=Image.Palette.ADAPTIVE)
  elif mode == "I;16":
    image = Image.fromarray(pixels[..., 0].astype(np.uint16) * 200)
  else:
    image = image.convert(mode)
  out = io.BytesIO()
  image.save(out, "PNG")
  return out.getvalue()


def noise(seed):
  """A recording of 0.15 s."""
  out = io.BytesIO()
  signal = np.random.default_rng(seed).uniform(-0.5, 0.5, 1200)
  soundfile.write(out, signal, 8000, format="WAV", subtype="PCM_16")
  return out.getvalue()


CLASSES = {"*": {0: "cat", 1: "cat", 2: "dog", 3: "dog"}}
FLAT = {"*": dict.fromkeys(range(4))}


def under(train, test, names=("cat/a", "dog/b")):
  return [f"{split}/{name}" for split in (train, test) for name in names]


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
  Row("folder_around_splits", [f"cifar10/{name}" for name in BOTH], TWO),
  Row("two_folders_around", [f"data/raw/{name}" for name in BOTH], TWO),
  Row("folder_around_classes", [f"pets/{n}" for n in ("cat/a", "cat/b", "dog/c", "dog/d")], CLASSES),
  Row("folder_below_splits", ["train/images/cat/a", "train/images/dog/b", "test/images/cat/c", "test/images/dog/d"], TWO),
  Row("classes", ["cat/a", "cat/b", "dog/c", "dog/d"], CLASSES),
  Row("flat", list("abcd"), FLAT),
  Row("one_class_is_none", ["cat/a", "cat/b", "cat/c", "cat/d"], FLAT),
  Row("one_class_of_a_split", ["train/cat/a", "test/cat/b"], {"train": {0: None}, "test": {1: None}}),
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
  Row("splits_inside_of_classes", ["cat/train/a", "cat/test/b", "dog/train/c", "dog/val/d"], {"train": {0: "cat", 2: "dog"}, "test": {1: "cat"}, "validation": {3: "dog"}}, {"label": "{label}/{split}/{name}"}),
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
  Row("class_looks_like_a_split", ["train_station/a", "train_station/b", "zoo/c", "zoo/d"], {"*": {0: "train_station", 1: "train_station", 2: "zoo", 3: "zoo"}}),
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
  Row("empty_class", [*TRAIN, "train/cow/"], "class folder train/cow .*empty folder"),
  Row("class_of_other_files", [*TRAIN, "train/cow/x.heic", "train/cow/y.heic"], r"class folder train/cow .*2 \.heic"),
  Row("files_in_and_out", ["cat/a", "dog/b", "c"], r"both outside and inside class folders.*data\.label=''"),
  Row("unknown_folder", BOTH, r"data\.splits\.train 'trian'; did you mean 'train'", {"splits": {"train": ["trian"]}}),
  Row("a_file_in_two_splits", BOTH, "puts .* into train and into test", {"splits": {"train": ["train"], "test": ["train/cat"]}}),
  Row("a_list_of_nothing", [*BOTH, ("held.txt", "nowhere.{e}\n")], "names no file that is there", {"splits": {"test": "held.txt"}}),
  Row("splits_of_another_type", BOTH, r"data\.splits is dict", {"splits": ["train"]}),
  Row("nothing_to_read", ["x.heic", "y.mp4"], r"looked for .*1 \.heic \(x\.heic\), 1 \.mp4"),
  Row("nothing_at_all", ["a/"], "looked for"),
]  # fmt: skip


def filled(row, end, make):
  """Contents by name: files without a suffix hold their number, others nothing."""
  found, number = {}, 0
  for name in row.files:
    if isinstance(name, tuple):
      found[name[0]] = name[1].replace("{e}", end).encode()
    elif "." in name.rpartition("/")[2] or name.endswith("/") or "System Vol" in name:
      found[name] = b""
    else:
      found[f"{name}.{end}"] = make(number + 1)
      number += 1
  return found


def arguments(row, end):
  args = dict(row.args)
  if "{e}" in str(args.get("label", "")):
    args["label"] = args["label"].replace("{e}", end)
  return args


def opened(row, how, tmp_path):
  end, make, open_ = ("wav", tone, wav.open) if how == "sounds" else ("png", png, files.open)
  content = filled(row, end, make)
  path = pack(tmp_path / "set.zip", content) if how == "zip" else put(tmp_path / "set", content)
  record, splits = open_(path, **arguments(row, end))
  number = lambda example: (
    int(example["image"].max())
    if "image" in example
    else round(float(example["audio"][0, 0]) * 2**15)
  )
  found = {}
  for split, source in splits.items():
    found[split] = {}
    for i in range(len(source)):
      label = source[i].get("label")
      found[split][number(source[i]) - 1] = None if label is None else record.class_names[label]
  assert record.sizes == {split: len(held) for split, held in found.items()}
  return found


@pytest.mark.parametrize("how", ["folder", "zip", "sounds"])
@pytest.mark.parametrize("row", READ, ids=ids)
def test_what_names_say(tmp_path, caplog, row, how):
  with caplog.at_level(logging.INFO, "maskjax"):
    found = opened(row, how, tmp_path)
  if "*" in row.want:
    assert set(found) == {"train", "test"}
    for held in found.values():  # the hash is by class
      assert set(held.values()) == set(row.want["*"].values())
    found = {"*": found["train"] | found["test"]}
  assert found == row.want
  assert re.search(row.says, caplog.text)


@pytest.mark.parametrize("how", ["folder", "zip", "sounds"])
@pytest.mark.parametrize("row", REFUSED, ids=ids)
def test_what_names_do_not_say(tmp_path, row, how):
  if how == "zip" and any(isinstance(name, str) and name.endswith("/") for name in row.files):
    return  # an empty folder is no member of a zip
  with pytest.raises(BadInput, match=row.want) as error:
    opened(row, how, tmp_path)
  assert "\n" not in str(error.value)


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


SPEAKERS = {f"{who}/{i}.wav": tone(i + 1) for who in "ab" for i in range(4)}
# Where a bug is planted in what opens which files, with which options.
PLANTED = [
  (files, listing, "normal", {"a.png": png(1)}),
  (
    files,
    decode,
    "_plain",
    {"a.gif": b"GIF87a\1\0\1\0\x80\0\0\0\0\0\1\1\1,\0\0\0\0\1\0\1\0\0\2\2D\1\0;"},
  ),
  (files, layout, "_classes", {"a.png": png(1)}),
  (wav, wav, "_format", {"a.wav": tone(1)}),
  (wav, splits, "by_folder", {"a.wav": tone(1)}),
  (text, text, "decoded", {"a.txt": b"words"}),
  (series, cells, "_number", {"a.csv": b"a\n1\n"}),
  (table, cells, "delimiter_of", {"a.csv": b"a\n1\n"}),
  (arrays, arrays, "_axes", {"a.npz": saved(x_train=np.zeros((2, 5, 5)))}),
  (graph, graph, "_pairs", {"a.npz": saved(x=np.zeros((2, 5)))}),
  (table, table, "_arrays", {"a.npz": saved(x=np.zeros((2, 5)))}),
  (files, listing, "_members", pack),
  (text, listing, "_decoded", pack),
  (files, files, "stored", pack),
  (files, told, "captions_of", {"a.png": png(1)}, {"captions": ""}),
  (wav, soundfile, "SoundFile", {"a.wav": tone(1)}),
  (mixtures, mixtures, "Mixtures", SPEAKERS, {"length": 2}),
  (motion, motion, "Moving", {"a.png": png(1), "b.png": png(2)}, {"images": "folder"}),
  (arrays, npz.np, "load", {"a.npz": saved(x_train=np.zeros((2, 5, 5)))}),
  (tfds, digits_dataset_builder.Builder, "_generate_examples", {}, {"name": "digits"}),
]


SINGLE = (series, table, arrays, graph)
BOTH_KINDS = {"a.png": png(1), "a.txt": b"words"}


@pytest.mark.parametrize("planted", PLANTED, ids=lambda p: f"{p[0].__name__}_{p[2]}")
def test_a_bug_in_a_reader_stays_a_bug(tmp_path, monkeypatch, planted):
  module, owner, function, content, *options = planted
  zipped = content is pack
  path = pack(tmp_path / "s.zip", BOTH_KINDS) if zipped else put(tmp_path / "set", content)
  if module in SINGLE:
    path = f"{path}/{next(iter(content))}"

  def broken(*_, **__):
    return {}["planted"]

  monkeypatch.setattr(owner, function, broken)
  skipping = {"on_error": "skip"} if module in (files, wav) else {}
  with pytest.raises(KeyError, match="planted"):
    module.open(path, **skipping, **(options[0] if options else {}))


def test_a_bug_leaves_every_command_as_it_is(tmp_path, monkeypatch):
  """Python then prints its traceback and ends with status 1."""
  path = put(tmp_path / "set", {"train/a.png": png(1), "test/b.png": png(2)})
  monkeypatch.setattr(layout, "_classes", lambda *_: {}["planted"])
  monkeypatch.chdir(tmp_path)
  config = f"mae:smoke,data.name=folder,data.path={path}"
  commands = ([f"--config={config}", "--check"], [f"--config={config}", "--workdir=run"])
  for words in commands:
    with pytest.raises(KeyError, match="planted"):
      cli.main(["launch.py", *words])
  with pytest.raises(KeyError, match="planted"):
    main([path])


def test_probes_of_a_split_without_labels_are_refused():
  context = types.SimpleNamespace(cache={("test", None): {"mean": np.ones((3, 2))}})
  context.features = functools.partial(evaluation.Context.features, context)
  assert context.features("test", "mean")[1].tolist() == [-1, -1, -1]
  with pytest.raises(BadInput, match="split 'test' has no labels"):
    evaluators.features(context, "test", "mean")


KNOWN = np.random.default_rng(0).integers(0, 256, (5, 4, 3), np.uint8)
RECORD = Record("image", (5, 4, 3), {}, mean=(0.5,) * 3, std=(0.25,) * 3)


@pytest.mark.parametrize(
  "image",
  [
    KNOWN,
    KNOWN.astype(np.int64),
    KNOWN.tolist(),
    Image.fromarray(KNOWN),
    KNOWN / 255,
    KNOWN * np.uint16(257),
  ],
  ids=["bytes", "int64", "list", "pillow", "floats", "sixteen_bits"],
)
def test_what_a_trained_run_takes(image):
  got = kinds.image.preprocess([image, image], RECORD)["image"]
  np.testing.assert_allclose(got, np.stack([(KNOWN / 255 - 0.5) / 0.25] * 2), atol=1e-5)


@pytest.mark.parametrize(
  ("images", "message"),
  [
    (KNOWN, "takes a list of images, got a single one"),
    (Image.fromarray(KNOWN), "takes a list of images"),
    ([KNOWN.astype(np.float32)], r"floats of an image lie in \[0, 1\], got .*: divide"),
    ([KNOWN.astype(np.int64) * 300], r"integers of an image lie in \[0, 255\]"),
    ([KNOWN[..., :1]], r"1 channels, the run's have 3: image\.convert\('RGB'\)"),
    ([KNOWN[..., 0]], "1 channels, the run's have 3"),
    ([np.zeros(7)], r"numbers \[h, w\] or \[h, w, c\]"),
    ([np.full((5, 4, 3), np.nan)], "floats of an image"),
  ],
)
def test_what_a_trained_run_does_not_take(images, message):
  with pytest.raises(BadInput, match=message):
    kinds.image.preprocess(images, RECORD)


def test_images_of_several_sizes_may_move(tmp_path):
  content = {"train/a.png": png(200, (9, 5)), "train/b.png": png(100, (4, 8))}
  record, splits = motion.open(
    put(tmp_path, content), images="folder", size=(12, 10), side=4, frames=2, opaque=True
  )
  assert record.shape == (2, 12, 10, 1)
  assert splits["train"][1]["video"].max() == 100  # the second moves over a dimmer one


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_floats_have_captions(dtype):
  most = np.iinfo(dtype).max if dtype != np.float32 else 1
  image = (np.array([[[0.8, 0.1, 0.1]]]) * most).astype(dtype)
  assert captions.look(image) == {"brightness": "dim", "contrast": "soft", "colour": "red"}


def test_a_look_before_training(tmp_path, capsys):
  content = {
    "train/cat/a.png": png(1),
    "train/dog/b.png": png(2),
    "test/cat/c.png": png(3),
    "x.heic": b"",
  }
  assert main([put(tmp_path / "set", content)]) == 0
  out = capsys.readouterr().out
  assert "passed over 1 .heic (x.heic)" in out
  assert "train: 2 examples (cat 1, dog 1)\ntest: 1 examples (cat 1)" in out
  assert main([put(tmp_path / "set", {"cat/d.png": png(4)})]) == 2
  assert "error: folder 'cat' beside" in capsys.readouterr().err
  assert main([str(tmp_path / "nothing")]) == 2


KINDS = {
  "folder": {"a.png": png(1), "b.png": png(2)},
  "wav": {"a.wav": tone(1), "b.wav": tone(2)},
  "text": {"a.txt": b"some words " * 40},
  "csv": {"a.csv": b"a,b\n1,2\n3,4\n"},
  "npz": {"a.npz": saved(x_train=np.zeros((2, 5, 5)))},
  "graph": {"a.npz": saved(x=np.eye(3), edge_index=np.array([[0, 1], [1, 2]]))},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", ["path", "zip"])
def test_a_look_knows_each_kind(tmp_path, capsys, kind, how):
  content = KINDS[kind]
  path = put(tmp_path / "set", content)
  if kind in ("csv", "npz", "graph"):
    path = f"{path}/{next(iter(content))}"
  if how == "zip" and kind not in ("npz", "graph"):
    path = pack(tmp_path / "s.zip", content)
  assert main([path]) == 0
  assert f"data.name={kind}," in capsys.readouterr().out


NAMED = {
  "table": ({"a.csv": b"a,b\n1,2\n3,4\n"}, "table: float32 (2, 1)"),
  "mixtures": (SPEAKERS, "sources: float32 (2, 2)"),
  "motion": ({f"train/{c}/x.png": png(1) for c in "ab"}, "train: 2 examples (a 1, b 1)"),
  "digits": ({}, "image: uint8 (8, 8, 1)"),
  "oddities:opened": ({}, "train: 1 examples"),
}


@pytest.mark.parametrize("name", NAMED)
def test_a_look_at_what_has_to_be_named(tmp_path, capsys, name):
  content, says = NAMED[name]
  path = put(tmp_path / "set", content)
  path = f"{path}/{next(iter(content))}" if name == "table" else path
  options = {"mixtures": ["length=2"], "motion": ["images=folder"]}.get(name, [])
  assert main([path, f"name={name}", *options]) == 0
  assert says in capsys.readouterr().out


def test_every_kind_of_data_can_be_looked_at():
  assert {*OPENERS} - {"tiny", "zip"} == ({*KINDS} | {*NAMED}) - {"digits", "oddities:opened"}


@pytest.mark.parametrize(
  ("words", "says"),
  [
    (["name=mixtures"], "data of 'mixtures' need data.length"),
    (["name=folder", "size=3"], "data.size=3 is not (height, width)"),
    (["name=folder", "lable=''"], "data.lable is not for 'folder'; did you mean 'label'"),
    (["name=foldr"], "unknown data set 'foldr'; did you mean 'folder'"),
    (["size"], "'size' is not key=value"),
    (["name=tiny"], "data of 'tiny' need data.scale"),
  ],
)
def test_a_look_that_cannot_be(tmp_path, capsys, words, says):
  assert main([put(tmp_path / "set", {"a.png": png(1)}), *words]) == 2
  assert says in capsys.readouterr().err


RNG = np.random.default_rng(0)
BRIGHT = RNG.integers(120, 250, 100).tolist()
STATISTICS = {
  "mixed_sizes": {f"{i}.png": png(v, (8, 8)) for i, v in enumerate(BRIGHT)}
  | {"scan.png": png(3, (400, 400))},
  "palettes": {f"{i}.png": coloured(v, "P") for i, v in enumerate(BRIGHT)},
  "grey": {f"{i}.png": coloured(v, "L") for i, v in enumerate(BRIGHT)},
  "sixteen_bits": {f"{i}.png": coloured(v, "I;16") for i, v in enumerate(BRIGHT)},
  "clips": saved(train_videos=RNG.integers(0, 99, (20, 2, 4, 5, 3), np.uint8)),
  "floats": saved(train_images=RNG.normal(size=(50, 8, 8, 3)).astype(np.float32)),
  "spectrograms": {f"{i}.wav": noise(i) for i in range(12)},
}


@pytest.mark.parametrize("name", STATISTICS)
def test_statistics_are_of_what_the_model_sees(tmp_path, name):
  content = STATISTICS[name]
  if isinstance(content, bytes):
    (tmp_path / "x.npz").write_bytes(content)
    options = dict(name="npz", path=str(tmp_path / "x.npz"))
  else:
    path = put(tmp_path / "set", {f"train/{file}": data for file, data in content.items()})
    options = dict(name="folder", path=path, size=(8, 8))
    if name == "spectrograms":
      options = dict(name="wav", path=path, mel=dict(frames=12, bins=8))
  data = pipeline.load(**options, test="")
  batches = list(pipeline.examples(data, "train", batch_size=50))
  field = "video" if "video" in batches[0] else "image"
  seen = np.concatenate([batch[field][batch["valid"]] for batch in batches])
  assert len(seen) == data.record.sizes["train"] >= 12
  pixels = seen.reshape(-1, seen.shape[-1])
  np.testing.assert_allclose(pixels.mean(0), 0, atol=0.02)
  np.testing.assert_allclose(pixels.std(0), 1, atol=0.02)
