import itertools
import pathlib
import pickle
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskjax.data import pipeline
from maskjax.errors import BadInput
from maskjax.record import Record

CIFAR = pathlib.Path(__file__).parents[2] / ".." / "shared" / "data" / "cifar10.zip"


class Numbers:
  """Images whose pixels say which example they are."""

  def __init__(self, n):
    self.n = n

  def __len__(self):
    return self.n

  def __getitem__(self, index):
    return {"image": np.full((1, 1, 1), index, np.uint8), "label": int(index)}


def noisy(example, rng):
  return {**example, "noise": rng.integers(2**31, size=2)}


def same(value):
  return value


def numbers(n, augment=noisy):
  record = Record("image", (1, 1, 1), {"train": n})
  return pipeline.Data(record, {"train": Numbers(n)}, "train", "", augment, same, same)


def take(n, data, **kwargs):
  kwargs = {"seed": 0, "threads": 0, "prefetch": 0} | kwargs
  return list(itertools.islice(pipeline.batches(data, **kwargs), n))


def joined(batches, key):
  return np.concatenate([batch[key] for batch in batches])


def assert_equal(a, b):
  assert len(a) == len(b)
  for x, y in zip(a, b, strict=True):
    assert x.keys() == y.keys()
    for key in x:
      assert x[key].dtype == y[key].dtype
      np.testing.assert_array_equal(x[key], y[key])


@settings(max_examples=12, deadline=None)
@given(st.integers(1, 40), st.integers(1, 17), st.integers(0, 2**32 - 1))
def test_every_epoch_is_a_permutation(n, batch_size, seed):
  batches = take(-(-3 * n // batch_size), numbers(n), batch_size=batch_size, seed=seed)
  labels = joined(batches, "label")
  for epoch in range(3):
    assert sorted(labels[epoch * n : (epoch + 1) * n]) == list(range(n))


def test_epochs_and_seeds_differ():
  labels = [joined(take(2, numbers(50), batch_size=50, seed=seed), "label") for seed in (0, 1)]
  orders = [tuple(part) for label in labels for part in (label[:50], label[50:])]
  assert len(set(orders)) == 4


@settings(max_examples=12, deadline=None)
@given(st.integers(1, 30), st.integers(1, 9), st.integers(0, 60))
def test_resuming_anywhere_continues_the_stream(n, batch_size, position):
  data = numbers(n)
  rows = joined(take(-(-position // batch_size) + 3, data, batch_size=batch_size), "noise")
  resumed = take(2, data, batch_size=batch_size, position=position)
  wanted = rows[position : position + 2 * batch_size]
  np.testing.assert_array_equal(joined(resumed, "noise"), wanted)


def test_noise_is_new_at_every_position():
  noise = joined(take(4, numbers(5), batch_size=50), "noise")
  assert len({tuple(row) for row in noise.tolist()}) == 200


@pytest.mark.parametrize("position", [2**31 - 3, 2**32 + 1, 2**53 + 1, 2**62 - 1])
def test_positions_may_be_large(position):
  data = numbers(7)
  a = take(2, data, batch_size=4, position=position)
  assert {tuple(b["position"]) for b in a} == {(0, 1, 2, 3)}
  if position + 4 < 2**62:
    assert_equal(a[1:], take(1, data, batch_size=4, position=position + 4))
  assert len({tuple(row) for row in joined(a, "noise").tolist()}) == 8


@pytest.mark.parametrize("processes", [2, 3, 6])
def test_processes_get_contiguous_parts(processes):
  data = numbers(20)
  whole = take(4, data, batch_size=12)
  parts = [take(4, data, batch_size=12, process=(i, processes)) for i in range(processes)]
  for k, batch in enumerate(whole):
    for key in batch:
      np.testing.assert_array_equal(joined([part[k] for part in parts], key), batch[key])


@pytest.mark.parametrize("threads", [1, 4])
def test_threads_change_nothing(threads):
  data = numbers(20)
  wanted = take(6, data, batch_size=7)
  assert_equal(take(6, data, batch_size=7, threads=threads, prefetch=3), wanted)


def test_worker_processes_change_nothing(write, image):
  path = write("w.zip", {f"train/{c}/{i}.png": image(i) for c in "ab" for i in range(8)})
  data = pipeline.load(name="zip", path=path, test="", augment={"pad": 2, "flip": True})
  wanted = take(5, data, batch_size=5, position=3)
  assert_equal(take(5, data, batch_size=5, position=3, workers=2, threads=2), wanted)


def test_errors_in_worker_processes_are_ours(write, image):
  whole = image(0, size=(16, 16))
  path = write("bad", {"train/a/1.png": whole[: len(whole) // 2]})
  data = pipeline.load(name="folder", path=path, test="", mean=(0, 0, 0), std=(1, 1, 1))
  for workers in (0, 1):
    with pytest.raises(BadInput, match=r"unreadable image .*1\.png"):
      take(1, data, batch_size=1, workers=workers)


def test_the_order_of_a_seed_does_not_move():
  (batch,) = take(1, numbers(10), batch_size=10)
  assert batch["label"].tolist() == [1, 2, 4, 5, 9, 7, 8, 6, 0, 3]
  assert batch["noise"][:2].tolist() == [[74607693, 24796466], [1551633251, 734831934]]


@pytest.mark.parametrize(
  ("kwargs", "message"),
  [
    ({"batch_size": 0}, "batch_size=0"),
    ({"batch_size": 7, "process": (0, 2)}, "batch_size=7"),
    ({"batch_size": 8, "process": (2, 2)}, "part 2 of 2"),
    ({"batch_size": 8, "seed": -1}, "seed"),
    ({"batch_size": 8, "workers": -1}, "workers=-1"),
    ({"batch_size": 8, "position": -1}, "position"),
    ({"batch_size": 8, "position": 2**62}, "position"),
  ],
)
def test_bad_batches_are_named(kwargs, message):
  with pytest.raises(BadInput) as error:
    take(1, numbers(4), **kwargs)
  assert message in str(error.value)


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 30), st.integers(1, 9), st.none() | st.integers(1, 40))
def test_evaluation_sees_each_example_once(n, batch_size, limit):
  batches = list(
    pipeline.examples(numbers(n), "train", batch_size=batch_size, limit=limit, threads=1)
  )
  valid, labels = joined(batches, "valid"), joined(batches, "label")
  wanted = n if limit is None else min(n, limit)
  assert {len(batch["valid"]) for batch in batches} == {batch_size}
  assert valid.sum() == wanted
  assert (np.diff(labels[valid]) > 0).all()
  assert not joined(batches, "image")[~valid].any()
  assert "noise" not in batches[0]


def test_padding_keeps_the_valid_of_a_source():
  class Padded(Numbers):
    def __getitem__(self, index):
      return {"tokens": np.arange(3), "valid": np.array([True, True, index > 0])}

  data = numbers(3)._replace(splits={"train": Padded(3)})
  (batch,) = pipeline.examples(data, "train", batch_size=4)
  assert batch["valid"].sum(1).tolist() == [2, 3, 3, 0]


@pytest.fixture
def folder(write, image):
  names = [f"{split}/{c}/{i}.png" for split in ("train", "test") for c in "ab" for i in range(6)]
  return write("set", {name: image(i) for i, name in enumerate(names)})


def test_images_are_normalised_by_the_training_split(folder):
  data = pipeline.load(name="folder", path=folder)
  raw = np.stack([data.splits["train"][i]["image"] for i in range(12)]) / 255
  np.testing.assert_allclose(data.record.mean, raw.mean((0, 1, 2)), atol=1e-12)
  np.testing.assert_allclose(data.record.std, raw.std((0, 1, 2)), atol=1e-12)
  (batch,) = pipeline.examples(data, "train", batch_size=12)
  np.testing.assert_allclose(batch["image"].mean((0, 1, 2)), 0, atol=1e-6)
  np.testing.assert_allclose(batch["image"].std((0, 1, 2)), 1, atol=1e-6)
  assert batch["image"].dtype == np.float32
  assert batch["label"].dtype == np.int32


def test_a_limit_trains_on_evenly_spaced_examples(folder):
  whole, data = (pipeline.load(name="folder", path=folder, limit=limit) for limit in (None, 4))
  assert data.record.sizes == {"train": 4, "test": 12}
  labels = [whole.splits["train"][i]["label"] for i in (0, 3, 6, 9)]
  assert [data.splits["train"][i]["label"] for i in range(4)] == labels
  drawn = joined(take(2, data, batch_size=4), "image").reshape(2, 4, -1)
  assert [len(np.unique(one, axis=0)) for one in drawn] == [4, 4]
  np.testing.assert_array_equal(*(np.sort(one, axis=0) for one in drawn))
  copy = pickle.loads(pickle.dumps(data.splits["train"]))
  np.testing.assert_array_equal(copy[3]["image"], whole.splits["train"][9]["image"])
  assert pipeline.load(name="folder", path=folder, limit=99).record.sizes == whole.record.sizes
  with pytest.raises(BadInput, match=r"^data.limit must be positive, got 0$"):
    pipeline.load(name="folder", path=folder, limit=0)


def test_statistics_may_be_given(folder):
  data = pipeline.load(name="folder", path=folder, mean=(0, 0, 0), std=(1 / 255,) * 3)
  (batch,) = pipeline.examples(data, "test", batch_size=12)
  np.testing.assert_allclose(batch["image"][3], data.splits["test"][3]["image"], atol=1e-4)


def test_size_resizes_training_and_evaluation(folder):
  data = pipeline.load(name="folder", path=folder, size=(8, 5), augment={"crop": (0.3, 1.0)})
  assert data.record.shape == (8, 5, 3)
  assert take(1, data, batch_size=3)[0]["image"].shape == (3, 8, 5, 3)
  assert next(pipeline.examples(data, "test", batch_size=3))["image"].shape == (3, 8, 5, 3)


def test_augmented_training_is_reproducible_and_varies(folder):
  load = partial(pipeline.load, name="folder", path=folder, augment={"pad": 2, "flip": True})
  a, b = (take(4, load(cache_bytes=n), batch_size=12, threads=4) for n in (0, 10**6))
  assert_equal(a, b)
  order = [np.argsort(batch["label"], kind="stable") for batch in a]
  assert (a[0]["image"][order[0]] != a[1]["image"][order[1]]).any()


def test_looks_are_the_same_image_each_augmented_by_itself(folder):
  flips, crops = {"flip": True}, {"pad": 2}
  load = partial(pipeline.load, name="folder", path=folder)
  looks = {"second": flips, "third": crops}
  plain, alone = take(8, load(augment=flips), batch_size=12), load(augment=flips, looks=looks)
  batches = take(8, alone, batch_size=12)
  # The first look is as without others, and no look depends on which others there are.
  assert_equal(plain, [{name: b[name] for name in plain[0]} for b in batches])
  again = take(8, load(augment=crops, looks={"second": flips}), batch_size=12)
  first, second = (np.concatenate([b[name] for b in batches]) for name in ("image", "second"))
  np.testing.assert_array_equal(second, np.concatenate([b["second"] for b in again]))
  same = (first == second).all((1, 2, 3))
  np.testing.assert_array_equal(same, (first[:, :, ::-1] != second).any((1, 2, 3)))
  assert 0.3 < same.mean() < 0.7
  # Evaluation sees the image alone.
  assert "second" not in next(pipeline.examples(alone, "test", batch_size=3))


def test_npz_of_thirteen_bands(tmp_path):
  bands = np.random.default_rng(0).integers(0, 9000, (20, 5, 5, 13)).astype(np.uint16)
  bands[..., 5] = 7
  np.savez(tmp_path / "x.npz", x_train=bands, y_train=np.arange(20) % 3)
  data = pipeline.load(name="npz", path=str(tmp_path / "x.npz"), test="", size=(6, 6))
  assert data.record.shape == (6, 6, 13)
  assert data.record.std[5] == 1.0
  batch = take(1, data, batch_size=4)[0]
  assert batch["image"].shape == (4, 6, 6, 13)
  assert np.isfinite(batch["image"]).all()


@pytest.mark.parametrize(
  ("kwargs", "message"),
  [
    ({"train": "trian"}, "did you mean 'train'"),
    ({"test": "validation"}, "unknown split for data.test 'validation'"),
    ({"train": ""}, "unknown split for data.train ''"),
    ({"size": (0, 4)}, "data.size"),
    ({"size": 4}, "data.size"),
    ({"augment": {"flop": True}}, "did you mean 'flip'"),
    ({"looks": {"second": {"flop": True}}}, "did you mean 'flip'"),
    ({"looks": {"label": {"flip": True}}}, "has a field 'label' already"),
    ({"looks": {"position": {}}}, "has a field 'position' already"),
    ({"mean": (0.5,)}, "3 channels"),
    ({"std": (1, 1, 0)}, "3 channels"),
    ({"cache_byte": 1}, "did you mean 'cache_bytes'"),
    ({"on_error": "skp"}, "did you mean 'skip'"),
  ],
)
def test_bad_arguments_are_named(folder, kwargs, message):
  with pytest.raises(BadInput) as error:
    pipeline.load(**({"name": "folder", "path": folder} | kwargs))
  assert message in str(error.value)
  assert "\n" not in str(error.value)


def test_an_unknown_split_of_examples_is_named():
  with pytest.raises(BadInput, match="unknown split 'test'"):
    pipeline.examples(numbers(3), "test", batch_size=2)


def test_other_kinds_go_through_the_same_pipeline(tmp_path):
  (tmp_path / "x.txt").write_text("to be or not to be, that is the question. " * 40)
  data = pipeline.load(name="text", path=str(tmp_path / "x.txt"), length=16)
  assert data.record.kind == "text"
  batch = take(1, data, batch_size=5)[0]
  assert batch["tokens"].shape == (5, 16)
  assert batch["position"].tolist() == [0, 1, 2, 3, 4]
  with pytest.raises(BadInput, match=r"data\.augment is not for data of kind text"):
    pipeline.load(name="text", path=str(tmp_path / "x.txt"), augment={"flip": True})
  with pytest.raises(BadInput, match="is not for 'text'"):
    pipeline.load(name="text", path=str(tmp_path / "x.txt"), size=(2, 2))


@pytest.mark.skipif(not CIFAR.exists(), reason="shared/data/cifar10.zip is not on this machine")
def test_cifar10_from_the_zip():
  data = pipeline.load(name="zip", path=str(CIFAR), mean=(0.5,) * 3, std=(0.25,) * 3)
  assert data.record.shape == (32, 32, 3)
  assert data.record.sizes == {"test": 10000, "train": 50000}
  assert data.record.classes == 10
  (batch,) = pipeline.examples(data, "test", batch_size=200, limit=200)
  assert np.bincount(batch["label"]).tolist() == [20] * 10
  assert np.abs(batch["image"]).max() <= 2.01
