"""Captions: what an image looks like in words, the same at every call, no word unknown."""

import colorsys
import pickle

import numpy as np
import pytest

from maskjax.data import captions, pipeline, tokens
from maskjax.errors import BadInput
from maskjax.record import Record

NAMES = ("cat", "airplane", "fire_truck")
N = 60


class Pictures:
  """Noise of many colours, bright and dark."""

  def __init__(self, n=N):
    self.n = n

  def __len__(self):
    return self.n

  def __getitem__(self, index):
    rng = np.random.default_rng(int(index))
    low, high = np.sort(rng.integers(0, 256, (2, 3)), axis=0)
    image = rng.integers(low, high + 1, (8, 8, 3)).astype(np.uint8)
    return {"image": image, "label": int(index) % 3}


RECORD = Record("image", (8, 8, 3), {"train": N, "test": N}, class_names=NAMES)


def made(**given):
  return captions.of(RECORD, {"train": Pictures(), "test": Pictures()}, **given)


def test_captions_are_words_of_the_vocabulary_that_fit():
  record, sources = made()
  texts = set()
  for source in sources.values():
    for i in range(N):
      example = source[i]
      caption = example["caption"]
      assert (caption.shape, caption.dtype) == ((16,), np.int32)
      there = caption >= 0
      assert (there == (np.arange(16) < there.sum())).all()
      text = captions.decode(caption, record)
      assert tokens.UNKNOWN not in text
      assert text == source.text(i, example)
      assert captions.spoken(NAMES[example["label"]]) in text
      assert "a airplane" not in text
      texts.add(text)
  assert len(texts) > N / 2
  assert (record.unit, record.caption, record.kind) == ("words", 16, "image")


def test_they_follow_seed_split_and_example_alone():
  texts = lambda source: [source[i]["caption"].tolist() for i in range(N)]
  record, sources = made(seed=3)
  again = made(seed=3)[1]
  backwards = [again["train"][i]["caption"].tolist() for i in reversed(range(N))][::-1]
  assert texts(sources["train"]) == backwards
  assert texts(pickle.loads(pickle.dumps(sources["train"]))) == backwards
  assert texts(made(seed=4)[1]["train"]) != backwards
  assert texts(sources["test"]) != backwards
  assert made(seed=4)[0] == record


def test_all_templates_are_drawn():
  one = lambda t: made(templates=(t,))[1]["train"]
  source = made()[1]["train"]
  each = [one(template) for template in captions.TEMPLATES]
  found = {
    k for i in range(N) for k, e in enumerate(each) if e.text(i, e[i]) == source.text(i, source[i])
  }
  assert found == set(range(len(captions.TEMPLATES)))


def test_no_word_is_unknown_whatever_an_image_looks_like():
  record, _ = made()
  every = [
    captions.fill_in(t, name=n, brightness=b, colour=c, contrast=s)
    for t in captions.TEMPLATES
    for n in map(captions.spoken, NAMES)
    for b in captions.BRIGHTNESS
    for c in captions.COLOURS
    for s in captions.CONTRAST
  ]
  unknown = record.vocabulary.index(tokens.UNKNOWN)
  assert (captions.encode(every, record, 20) != unknown).all()


@pytest.mark.parametrize("hue", np.linspace(0, 1, 36, endpoint=False))
def test_the_colour_is_that_of_the_hue(hue):
  rgb = np.array(colorsys.hsv_to_rgb(hue, 0.9, 0.8))
  image = np.tile(np.round(255 * rgb).astype(np.uint8), (4, 4, 1))
  # The plane of hues is met in a hexagon there, on a circle here: up to 2 degrees apart.
  near = {captions.HUES[round((hue + d) * 9) % 9] for d in (-0.006, 0.006)}
  assert captions.look(image)["colour"] in near


def test_brightness_and_contrast_are_those_of_the_levels():
  flat = lambda value: np.full((4, 4, 1), value, np.uint8)
  words = [captions.look(flat(value))["brightness"] for value in (0, 63, 64, 128, 192, 255)]
  assert words == ["dark", "dark", "dim", "bright", "light", "light"]
  halves = lambda gap: np.concatenate([flat(128 - gap), flat(128 + gap - 1)])
  assert [captions.look(halves(gap))["contrast"] for gap in (1, 40, 120)] == list(captions.CONTRAST)
  assert captions.look(flat(9))["colour"] == "grey"
  deep = captions.look(np.full((2, 2, 3), [60_000, 0, 0], np.uint16))
  assert (deep["colour"], deep["brightness"]) == ("red", "dim")


def test_they_come_with_batches(tmp_path):
  path = tmp_path / "pictures.npz"
  images = np.stack([Pictures()[i]["image"] for i in range(N)])
  labels = np.arange(N) % 3
  np.savez(
    path, train_images=images, train_labels=labels, test_images=images, test_labels=labels,
    class_names=np.array(NAMES),
  )  # fmt: skip
  config = dict(name="npz", path=str(path), captions=dict(length=9, seed=1))
  data = pipeline.load(**config, augment=dict(flip=True), limit=20)
  assert data.record.sizes["train"] == 20
  batch = next(pipeline.batches(data, batch_size=8, seed=0))
  assert (batch["caption"].shape, batch["caption"].dtype) == ((8, 9), np.int32)
  for caption, label in zip(batch["caption"], batch["label"], strict=True):
    assert captions.spoken(NAMES[label]).split()[0] in captions.decode(caption, data.record)
  last = list(pipeline.examples(data, "test", batch_size=25))[-1]
  assert last["caption"].shape == (25, 9)
  assert last["valid"].sum() == 10
  some = pipeline.load(**config, classes=("fire_truck",))
  example = some.splits["train"][0]
  assert "fire truck" in captions.decode(example["caption"], some.record)


@pytest.mark.parametrize(
  ("given", "says"),
  [
    (dict(templates=()), "templates is empty"),
    (dict(templates=("a {nam}.",)), "field of a caption's template"),
    (dict(length=0), "captions.length"),
    (dict(seed=-1), "captions.seed"),
  ],
)
def test_what_cannot_work_is_said(given, says):
  with pytest.raises(BadInput, match=says):
    made(**given)


def test_only_labelled_images_have_captions():
  with pytest.raises(BadInput, match="for images with labels, and the data set has none"):
    captions.of(Record("image", (8, 8, 3), {}), {})
  with pytest.raises(BadInput, match="captions is for data of kind image, the data set holds text"):
    captions.of(Record("text", (8,), {}, class_names=NAMES), {})
