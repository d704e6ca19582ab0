"""Some of a data set's classes: which examples stay, what they are called, what is refused."""

import numpy as np
import pytest

from maskjax.data import classes, labels, pipeline
from maskjax.errors import BadInput
from maskjax.record import Record


@pytest.fixture
def place(write, image, request):
  """A folder or a zip with three classes in two splits."""
  files = {
    f"{split}/{name}/{i}.png": image(100 * n + i)
    for split in ("train", "test")
    for n, name in enumerate(("cat", "dog", "eel"))
    for i in range(3)
  }
  return write(request.param, files)


every_place = pytest.mark.parametrize("place", ["a_folder", "a.zip"], indirect=True)


def kind(place):
  return "zip" if place.endswith(".zip") else "folder"


@every_place
@pytest.mark.parametrize("chosen", [("eel", "cat"), (2, 0), ["eel", 0]])
def test_examples_of_these_classes_stay_with_labels_in_the_order_given(place, chosen):
  whole = pipeline.load(name=kind(place), path=place)
  some = pipeline.load(name=kind(place), path=place, classes=chosen)
  assert some.record.class_names == ("eel", "cat")
  assert some.record.sizes == {"train": 6, "test": 6}
  new = {2: 0, 0: 1}
  for split, source in whole.splits.items():
    kept = [e for e in (source[i] for i in range(len(source))) if e["label"] in new]
    assert len(kept) == len(some.splits[split])
    for i, example in enumerate(kept):
      got = some.splits[split][i]
      np.testing.assert_array_equal(got["image"], example["image"])
      assert got["label"] == new[example["label"]]
  assert some.record.mean != whole.record.mean


@every_place
def test_nothing_is_decoded_to_choose(place, monkeypatch):
  monkeypatch.setattr("maskjax.data.decode.decode", None)
  opener = pipeline.opened(kind(place), place, {})
  record, splits = classes.only(*opener, ("dog",))
  assert (record.classes, len(splits["test"])) == (1, 3)


def test_batches_hold_the_new_labels(tmp_path):
  rng = np.random.default_rng(0)
  arrays = {"images": rng.integers(0, 255, (60, 3, 3, 1), np.uint8), "labels": np.arange(60) % 4}
  np.savez(tmp_path / "a.npz", **arrays)
  data = pipeline.load(name="npz", path=str(tmp_path / "a.npz"), classes=(3, 1))
  batch = next(pipeline.batches(data, batch_size=16, seed=0))
  assert set(batch["label"].tolist()) == {0, 1}
  assert sum(data.record.sizes.values()) == 30


@every_place
@pytest.mark.parametrize(
  ("chosen", "says"),
  [
    (("cat", "dgo"), "unknown class for data.classes 'dgo'; did you mean 'dog'"),
    ((0, 3), "unknown class for data.classes 3"),
    ((0, "cat"), "different classes"),
    ((), "one or more"),
  ],
)
def test_what_is_no_choice_of_classes_is_refused(place, chosen, says):
  with pytest.raises(BadInput, match=says):
    pipeline.load(name=kind(place), path=place, classes=chosen)


def test_data_without_labels_and_splits_without_examples_are_refused(write, image):
  path = write("bare", {f"{i}.png": image(i) for i in range(30)})
  with pytest.raises(BadInput, match="has none"):
    pipeline.load(name="folder", path=path, classes=(0,))
  names = ["train/cat/1", "train/dog/2", "test/cat/3"]
  path = write("uneven", {f"{name}.png": image(i) for i, name in enumerate(names)})
  with pytest.raises(BadInput, match="split 'test' has no example"):
    pipeline.load(name="folder", path=path, classes=("dog",))


class Labelled:
  """Labels of examples, which have to be read or not; counts how many are asked for."""

  def __init__(self, labels, reads):
    self.labels, self.reads_labels, self.asked = labels, reads, 0

  def __len__(self):
    return len(self.labels)

  def __getitem__(self, index):
    return {"label": self.labels[index]}

  def label_of(self, index):
    self.asked += 1
    return self.labels[index]


@pytest.mark.parametrize("reads", [False, True])
def test_classes_that_only_a_test_split_has(monkeypatch, reads):
  monkeypatch.setattr(labels, "_READ", 20)
  record = Record("image", (1, 1, 1), {}, class_names=("cat", "dog", "eel"))
  asked = lambda *splits: {k: Labelled(v, reads) for k, v in zip(("a", "b"), splits, strict=True)}
  unseen = lambda splits: labels.unseen(splits, "a", record)
  assert unseen(asked([0, 1] * 9, [2, 0])) == {"b": ["eel"]}
  assert unseen(asked([0, None] * 9, [2, 1, None])) == {"b": ["dog", "eel"]}
  assert unseen(asked([None] * 9, [2, 1])) == {}
  whole = asked([0, 1, 2] * 99, [2])
  assert unseen(whole) == {}
  assert whole["a"].asked < 9  # until there is one of each
  assert not whole["b"].asked
  many = asked([0, 1] * 99, [2])  # of which not all are read
  assert unseen(many) == ({} if reads else {"b": ["eel"]})
