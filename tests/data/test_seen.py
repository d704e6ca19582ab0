"""What a model sees of odd data: the mean and deviation of its inputs, and what a run takes."""

import functools
import io
import pathlib
import types

import numpy as np
import pytest
import soundfile
from oddities import png, put, saved
from PIL import Image

from maskjax.data import captions, kinds, motion, pipeline, statistics
from maskjax.errors import BadInput
from maskjax.record import Record
from maskjax.train.evaluators import context as evaluators
from maskjax.train.evaluators import evaluation


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
    ("a.jpg", r"got the path 'a.jpg': \[PIL.Image.open\(path\)"),
    ([KNOWN, pathlib.Path("a.jpg")], "got the path 'a.jpg'"),
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


def test_statistics_are_of_what_a_limit_and_classes_leave(tmp_path):
  content = {f"train/{c}/{i}.png": png(v + i) for c, v in (("a", 10), ("b", 200)) for i in range(4)}
  options = dict(name="folder", path=put(tmp_path / "set", content), test="")
  mean = lambda **more: pipeline.load(**options, **more).record.mean[0] * 255
  assert mean() == pytest.approx(106.5)
  assert mean(classes=("b",)) == pytest.approx(201.5)
  assert mean(limit=2) == pytest.approx(105)  # the first of each class


def test_statistics_look_at_so_many_evenly_spaced_examples(monkeypatch):
  monkeypatch.setattr(statistics, "_IMAGES", 3)
  asked = []

  class Source:
    def __len__(self):
      return 9

    def __getitem__(self, index):
      asked.append(index)
      return {"image": np.full((1, 1, 1), index, np.uint8)}

  mean, _ = statistics.mean_std(Source())
  assert {*asked} == {0, 3, 6}
  assert mean[0] * 255 == pytest.approx(3)
