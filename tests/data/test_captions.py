"""Captions: what an image looks like in words, the same at every call, no word unknown."""

import colorsys
import dataclasses
import io
import pickle

import numpy as np
import pyarrow.parquet
import pytest

from maskjax.data import captions, classes, pipeline, tokens
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


def parquet(**columns):
  out = io.BytesIO()
  pyarrow.parquet.write_table(pyarrow.table(columns), out)
  return out.getvalue()


def raw(content):
  return content if isinstance(content, bytes) else content.encode()


CSV = 'file_name,text,note\na.png,a cat,x\nb.png,"a dog, big",y\n'
ROWS = [
  '{"file_name": "a.png", "caption": ["a cat"]}',
  '{"file_name": "b.png", "caption": "a dog"}',
]
TOLD = {
  "table": ({"train/metadata.csv": CSV}, "", ["a cat", "a dog, big"]),
  "column": ({"train/metadata.csv": CSV}, "note", ["x", "y"]),
  "columns": ({"train/metadata.parquet": parquet(file_name=["a.png", "b.png"],
              text=[["a cat"], ["a dog"]])}, "", ["a cat", "a dog"]),
  "lines": ({"train/metadata.jsonl": "\n".join(ROWS)}, "", ["a cat", "a dog"]),
  "above": ({"metadata.csv": CSV.replace("\na", "\ntrain/a").replace("\nb", "\ntrain/b")}, "",
            ["a cat", "a dog, big"]),
  "mark": ({"train/metadata.csv": "\ufeff" + CSV.replace("\n", "\r\n")}, "",
           ["a cat", "a dog, big"]),
  "nearest": ({"train/metadata.csv": CSV, "metadata.csv": "file_name,text\ntrain/a.png,no"}, "",
              ["a cat", "a dog, big"]),
  "beside": ({"train/a.txt": "a cat\n", "train/b.txt": " a dog "}, "", ["a cat", "a dog"]),
  "both": ({"train/metadata.csv": CSV, "train/a.txt": "no"}, "", ["a cat", "a dog, big"]),
  "rest": ({"train/metadata.csv": CSV[:34], "train/b.txt": "dog"}, "", ["a cat", "dog"]),
}  # fmt: skip


@pytest.mark.parametrize("place", ["folder", "a.zip"])
@pytest.mark.parametrize("way", TOLD)
def test_captions_are_read_that_come_with_images(write, image, place, way):
  notes, column, expected = TOLD[way]
  given = {"train/a.png": image(0), "train/b.png": image(1), "test/c.png": image(2)}
  path = write(place, {**given, **{name: raw(text) for name, text in notes.items()}})
  name = "zip" if place.endswith("zip") else "folder"
  data = pipeline.load(name=name, path=path, captions=dict(length=5, column=column))
  train = pickle.loads(pickle.dumps(data.splits["train"]))
  assert [captions.decode(train[i]["caption"], data.record) for i in range(2)] == expected
  assert "caption" not in data.splits["test"][0]
  assert data.record.caption == 5


def test_several_captions_labels_and_chosen_classes_stay(write, image):
  rows = [f"cat/{i}.png,cat {i} {word}" for i in range(9) for word in ("one", "two")]
  rows.append("dog/0.png,dog")
  given = {f"train/cat/{i}.png": image(i) for i in range(9)} | {"train/dog/0.png": image(9)}
  given["train/metadata.csv"] = "\n".join(["file_name,text", *rows]).encode()
  how = dict(name="folder", path=write("f", given), test="")
  load = lambda seed, **more: pipeline.load(**how, **more, captions=dict(column="", seed=seed))
  said = lambda data: [captions.decode(e["caption"], data.record) for e in map(
    data.splits["train"].__getitem__, range(len(data.splits["train"])))]  # fmt: skip
  first = said(load(0))
  assert {text.split()[2] for text in first[:9]} == {"one", "two"}
  assert [text.split()[1] for text in first[:9]] == [str(i) for i in range(9)]
  assert said(load(0)) == first
  assert said(load(1)) != first
  dogs = load(0, classes=("dog",))
  assert said(dogs) == ["dog"]
  assert dogs.splits["train"][0]["label"] == 0
  small = pipeline.load(**how, captions=dict(column="", unit="bpe", vocabulary=260))
  assert len(small.record.vocabulary) == 261
  assert said(small) == first


@pytest.mark.parametrize(
  ("notes", "column", "says"),
  [
    ({}, "", "'train' comes without captions"),
    ({"a.txt": "one"}, "", r"1 of 2 images of 'train' have no caption \(.*b.png"),
    ({"a.txt": "one", "b.txt": " "}, "", "1 of 2 images"),
    ({"metadata.csv": "name,text\na.png,x"}, "", "metadata.csv, line 2: no file_name"),
    ({"metadata.csv": "file_name,x\na.png,x"}, "", "no column text or caption"),
    ({"metadata.csv": CSV}, "nota", "unknown column of captions 'nota'"),
    ({"metadata.jsonl": "{"}, "", "metadata.jsonl, line 1: no JSON"),
    ({"metadata.jsonl": '{"file_name": "a.png", "text": 3}'}, "", "a caption is a text or a list"),
    ({"metadata.parquet": "x"}, "", r"metadata\.parquet: no Parquet: .*"),
    ({"metadata.parquet": parquet(file=["a.png"])}, "", r"metadata\.parquet, row 1: no file_name"),
  ],
)
def test_captions_that_cannot_be_read_are_refused(write, image, notes, column, says):
  given = {"train/a.png": image(0), "train/b.png": image(1)}
  path = write("f", {**given, **{f"train/{name}": raw(text) for name, text in notes.items()}})
  with pytest.raises(BadInput, match=says):
    pipeline.load(name="folder", path=path, test="", captions=dict(column=column))


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


def test_wordnet_ids_are_spoken_by_a_file_or_refused(tmp_path):
  """TFDS names the classes of ImageNet so; captions of ids teach nothing."""
  ids = dataclasses.replace(RECORD, class_names=("n01440764", "n01443537", "n01484850"))
  with pytest.raises(BadInput, match=r"'n01440764' says nothing in words: data\.class"):
    captions.of(ids, {"train": Pictures()})
  names = tmp_path / "words.txt"
  names.write_text(
    "n01443537 goldfish, Carassius auratus\nn01440764\ttench\nn01484850 white shark\n"
  )
  record = classes.spoken(ids, str(names))
  assert record.class_names == ("tench", "goldfish", "white shark")
  record, sources = captions.of(record, {"train": Pictures()})
  assert "goldfish" in captions.decode(sources["train"][1]["caption"], record)
  names.write_text("n01440764 tench\n")
  with pytest.raises(BadInput, match=r"2 of 3 classes are not in .*words.txt, 'n01443537' for one"):
    classes.spoken(ids, str(names))


def test_only_labelled_images_have_captions():
  with pytest.raises(BadInput, match="for images with labels, and the data set has none"):
    captions.of(Record("image", (8, 8, 3), {}), {})
  with pytest.raises(BadInput, match="captions is for data of kind image, the data set holds text"):
    captions.of(Record("text", (8,), {}, class_names=NAMES), {})
