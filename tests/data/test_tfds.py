import shutil
import sys

import numpy as np
import pytest
from sklearn.datasets import load_digits

from maskjax.data import pipeline, tokens
from maskjax.data import tfds as source
from maskjax.data.digits.digits_dataset_builder import held_out
from maskjax.errors import BadInput


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
  return str(tmp_path_factory.mktemp("tfds"))


def test_digits_without_tensorflow(prepared):
  data = pipeline.load(name="digits", path=prepared)
  assert data.record.sizes == {"train": 1437, "test": 360}
  assert data.record.shape == (8, 8, 1)
  assert data.record.classes == 10
  assert "tensorflow" not in sys.modules
  stored = sorted(
    (example["label"], example["image"].tobytes())
    for part in data.splits.values()
    for example in map(part.__getitem__, range(len(part)))
  )
  digits = load_digits()
  pixels = np.rint(digits.images * (255 / 16)).astype(np.uint8)
  assert stored == sorted((int(t), p.tobytes()) for t, p in zip(digits.target, pixels, strict=True))


def test_digits_open_again_and_train(prepared):
  data = pipeline.load(name="digits", path=prepared, augment={"pad": 1})
  batch = next(pipeline.batches(data, batch_size=16, seed=0))
  assert batch["image"].shape == (16, 8, 8, 1)
  assert batch["label"].shape == (16,)


def test_digits_split_is_stratified_and_fixed():
  labels = load_digits().target
  test = held_out(labels)
  assert test.sum() == 360
  share = np.bincount(labels[test]) / np.bincount(labels)
  assert np.ptp(share) < 0.02
  assert np.flatnonzero(test)[:5].tolist() == [6, 9, 11, 23, 25]


def test_skip_and_no_cache_give_the_same(prepared):
  plain = pipeline.load(name="digits", path=prepared, cache_bytes=0)
  checked = pipeline.load(name="digits", path=prepared, on_error="skip")
  assert checked.record == plain.record
  a, b = (next(pipeline.batches(d, batch_size=8, seed=3)) for d in (plain, checked))
  for key in a:
    np.testing.assert_array_equal(a[key], b[key])


@pytest.mark.parametrize(
  ("kwargs", "message"),
  [
    ({"name": "cifra10"}, "did you mean 'cifar10'"),
    ({"name": "fodler"}, "did you mean 'folder'"),
    ({"name": "digits", "label": "labl"}, "did you mean 'label'"),
    ({"name": "digits", "imge": "x"}, "did you mean 'image'"),
    ({"name": "digits", "length": 8}, "data.length is for text"),
    ({"name": "digits", "text": "x"}, "has no text 'x'"),
    ({"name": "digits", "test": "validation"}, "unknown split"),
  ],
)
def test_bad_names_are_told(prepared, kwargs, message):
  with pytest.raises(BadInput) as error:
    pipeline.load(path=prepared, **kwargs)
  assert message in str(error.value)
  assert "\n" not in str(error.value)


TEXTS = {"train": ["to be", "or not ö"], "test": ["to be"]}


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
  """A folder with a set `letters`, of text, as TFDS itself writes it."""
  import tensorflow_datasets as tfds

  class Letters(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
      features = {"text": tfds.features.Text(), "n": tfds.features.Scalar(np.int64)}
      return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
      return {split: self._generate_examples(split) for split in ("train", "test")}

    def _generate_examples(self, split):
      yield from ((i, {"text": text, "n": i}) for i, text in enumerate(TEXTS[split]))

  path = str(tmp_path_factory.mktemp("tfds"))
  Letters(data_dir=path).download_and_prepare(file_format="array_record")
  return path


def read(data, split):
  examples = map(data.splits[split].__getitem__, range(len(data.splits[split])))
  return tokens.decode(np.concatenate([e["tokens"][e["valid"]] for e in examples]), data.record)


def test_text_in_its_own_splits_without_tensorflow(texts):
  data = pipeline.load(name="letters", path=texts, length=4)
  assert data.record.kind == "text"
  assert data.record.sizes == {"train": 4, "test": 2}
  assert sorted(read(data, "train").split("\n")) == sorted(TEXTS["train"])
  assert read(data, "test") == "to be"
  assert "tensorflow" not in sys.modules
  assert next(pipeline.batches(data, batch_size=3, seed=0))["tokens"].shape == (3, 4)


def test_texts_as_documents(texts):
  data = pipeline.load(name="letters", path=texts, length=4, unit="bpe", documents="example")
  assert sorted(read(data, "train").split("<eos>")) == ["", *sorted(TEXTS["train"])]
  assert "segments" in next(pipeline.batches(data, batch_size=3, seed=0))


@pytest.mark.parametrize(
  ("kwargs", "message"),
  [
    ({"name": "letters", "text": "txet"}, "did you mean 'text'"),
    ({"name": "letters", "size": (2, 2)}, "data.size is for images"),
    ({"name": "letters", "label": "n"}, "data.label is for images"),
    ({"name": "letters", "image": "n"}, "has no image 'n'"),
    ({"name": "letters", "unit": "word"}, "did you mean 'words'"),
  ],
)
def test_what_texts_lack_is_told(texts, kwargs, message):
  with pytest.raises(BadInput) as error:
    pipeline.load(path=texts, **kwargs)
  assert message in str(error.value)
  assert "\n" not in str(error.value)


def test_a_format_without_random_access_is_told(prepared, tmp_path):
  pipeline.load(name="digits", path=prepared)
  shutil.copytree(prepared, tmp_path / "tfds")
  info = tmp_path / "tfds" / "digits" / "1.0.0" / "dataset_info.json"
  info.write_text(info.read_text().replace("array_record", "tfrecord"))
  with pytest.raises(BadInput, match="without random access"):
    pipeline.load(name="digits", path=str(tmp_path / "tfds"))


class Builder:
  def __init__(self, error, there=False):
    self.error, self.there = error, there

  def is_prepared(self):
    return self.there

  def download_and_prepare(self, **_):
    raise self.error


@pytest.mark.parametrize(
  ("error", "message"),
  [
    (ModuleNotFoundError("No module named 'tensorflow'"), "pip install 'maskjax[tf]'"),
    (RuntimeError("Please install TensorFlow"), "pip install 'maskjax[tf]'"),
    (OSError("no route\nto host"), "could not be prepared: no route"),
  ],
)
def test_what_cannot_be_prepared_is_told(error, message):
  with pytest.raises(BadInput) as told:
    source._prepare(lambda: Builder(error), "x")
  assert message in str(told.value)
  assert "\n" not in str(told.value)


def test_a_set_that_another_process_prepared_meanwhile_is_used():
  later = Builder(None, there=True)
  builders = iter([Builder(OSError("Destination already exists")), later])
  assert source._prepare(lambda: next(builders), "x") is later


def test_within_a_check_nothing_is_downloaded():
  there = Builder(AssertionError("downloads"), there=True)
  with source.not_downloaded():
    with pytest.raises(BadInput, match="'x' is not prepared on this machine: a run downloads it"):
      source._prepare(lambda: Builder(AssertionError("downloads")), "x")
    assert source._prepare(lambda: there, "x") is there
  with pytest.raises(BadInput, match="could not be prepared: no route"):
    source._prepare(lambda: Builder(OSError("no route")), "x")


def test_captions_lie_in_features_or_in_sequences_of_them():
  said = lambda example, feature: source._Files([example], "set", "image", "").captions(feature)
  assert said({"text": b"a cat"}, "text") == [("a cat",)]
  assert said({"text": [b"a cat", b" "]}, "text") == [("a cat",)]
  nested = {"captions": [{"text": b"a cat", "id": 1}, {"text": b"one", "id": 2}]}
  assert said(nested, "captions/text") == [("a cat", "one")]
  assert said({"captions": {"text": [b"a", b"b"]}}, "captions/text") == [("a", "b")]
