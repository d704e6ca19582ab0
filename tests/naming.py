"""Files of which each holds a number, and what readers make of their names."""

import re

import pytest
from oddities import pack, png, put, tone

from maskjax.data import files, wav
from maskjax.errors import BadInput

TWO = {"train": {0: "cat", 1: "dog"}, "test": {2: "cat", 3: "dog"}}
TRAIN = ["train/cat/a", "train/dog/b"]
BOTH = [*TRAIN, "test/cat/c", "test/dog/d"]
CLASSES = {"*": {0: "cat", 1: "cat", 2: "dog", 3: "dog"}}
FLAT = {"*": dict.fromkeys(range(4))}


def under(train, test, names=("cat/a", "dog/b")):
  return [f"{split}/{name}" for split in (train, test) for name in names]


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


def check_read(tmp_path, caplog, row, how):
  with caplog.at_level("INFO", "maskjax"):
    found = opened(row, how, tmp_path)
  if "*" in row.want:
    assert set(found) == {"train", "test"}
    for held in found.values():  # the hash is by class
      assert set(held.values()) == set(row.want["*"].values())
    found = {"*": found["train"] | found["test"]}
  assert found == row.want
  assert re.search(row.says, caplog.text)


def check_refused(tmp_path, row, how):
  if how == "zip" and any(isinstance(name, str) and name.endswith("/") for name in row.files):
    return  # an empty folder is no member of a zip
  with pytest.raises(BadInput, match=row.want) as error:
    opened(row, how, tmp_path)
  assert "\n" not in str(error.value)
