"""Data of before and of now: digests tell a change, what is stored is kept, labels go by name."""

import dataclasses
import shutil
import zipfile

import numpy as np
import pytest
from oddities import pack, png, put, tone

from maskjax.data import captions, digests, pipeline, tokens
from maskjax.errors import BadInput
from maskjax.record import Record

IMAGES = {f"train/{c}/{i}.png": png(10 * i + j) for i in range(3) for j, c in enumerate("ab")}
SOUNDS = {f"{c}/{i}.wav": tone(9 * i + j) for i in range(12) for j, c in enumerate("ab")}


def images(folder, odd):
  files = IMAGES | ({"train/a/1.png": png(99)} if odd else {})
  return dict(name="folder", path=put(folder / "set", files))


def zipped(folder, odd):
  files = IMAGES | ({"train/a/1.png": png(99)} if odd else {})
  return dict(name="zip", path=pack(folder / "set.zip", files))


def captioned(folder, odd):
  """What is learned from counts, and it is not in the images."""
  said = ["one one two two" if odd else "one two one two", *["two one"] * 5]
  notes = {name.replace(".png", ".txt"): s.encode() for name, s in zip(IMAGES, said, strict=True)}
  path = put(folder / "set", IMAGES | notes)
  return dict(name="folder", path=path, captions=dict(length=4, column=""))


def clips(folder, odd):
  return images(folder, odd) | dict(name="motion", images="folder", size=(4, 4), side=2, frames=2)


def arrays(folder, odd):
  x = np.arange(5 * 4 * 6, dtype=np.uint8).reshape(5, 4, 6)
  x[3, 2, 1] += odd
  np.savez(folder / "x.npz", train_images=x, train_labels=np.arange(5) % 3)
  return dict(name="npz", path=str(folder / "x.npz"))


def some_classes(folder, odd):
  return arrays(folder, odd) | dict(classes=(2, 0))


def recordings(folder, odd):
  files = SOUNDS | ({"a/3.wav": tone(999)} if odd else {})
  return dict(name="wav", path=put(folder / "set", files))


def mixtures(folder, odd):
  return recordings(folder, odd) | dict(name="mixtures", length=4)


def text(folder, odd):
  (folder / "x.txt").write_text("to be or not to be " * 9 + ("eb" if odd else "be"))
  return dict(name="text", path=str(folder / "x.txt"), length=8, split=(1.0, 0, 0))


def turns(folder, odd):
  return text(folder, odd) | dict(turns=" ")


def csv(folder, odd):
  rows = [f"{i},{i * i}" for i in range(20)]
  rows[7] = "7,49.5" if odd else "7,49"
  (folder / "x.csv").write_text("\n".join(["a,b", *rows]))
  return dict(name="csv", path=str(folder / "x.csv"), length=5, split=(1.0, 0, 0))


def table(folder, odd):
  return {key: csv(folder, odd)[key] for key in ("path",)} | dict(name="table")


def graph(folder, odd):
  features = np.eye(5)
  features[2, 4] += odd
  edges = np.array([[0, 1], [1, 2], [2, 3]])
  np.savez(folder / "x.npz", features=features, edges=edges, train=np.arange(2))
  return dict(name="graph", path=str(folder / "x.npz"), train="graph")


KINDS = (images, zipped, captioned, clips, arrays, some_classes, recordings, mixtures, text, turns,
         csv, table, graph)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_change_of_one_value_is_told_and_a_copy_is_not(tmp_path, kind):
  found = []
  for place, odd in (("one", False), ("copy", False), ("odd", True)):
    (tmp_path / place).mkdir()
    found.append(pipeline.load(**kind(tmp_path / place, odd), test="").record)
  one, copy, odd = (record.examples for record in found)
  assert set(one) == set(found[0].sizes)
  assert one == copy != odd
  # Nothing else tells, where it is no table.
  same = ("sizes", "labels", "shape", "class_names", "peak", "vocabulary")
  assert all(getattr(found[0], name) == getattr(found[2], name) for name in same)


def test_a_folder_and_a_zip_of_it_have_one_digest(tmp_path, monkeypatch):
  folder = images(tmp_path, False)
  told = [pipeline.load(**data, test="").record for data in (folder, zipped(tmp_path, False))]
  assert told[0].examples == told[1].examples
  with zipfile.ZipFile(tmp_path / "set.zip", "w", zipfile.ZIP_DEFLATED) as archive:
    for name, data in IMAGES.items():
      archive.writestr(f"around/{name}", data)
  again = pipeline.load(name="zip", path=str(tmp_path / "set.zip"), test="").record
  assert again.examples == told[0].examples


class Counted:
  def __init__(self, size):
    self.size, self.asked = size, []

  def __len__(self):
    return self.size

  def content_of(self, index):
    self.asked.append(index)
    return b"%d" % index


def test_at_most_a_thousand_examples_are_looked_at():
  small, large = Counted(7), Counted(10_000)
  digests.examples({"train": small, "test": large})
  assert small.asked == list(range(7))
  assert large.asked == list(range(0, 10_000, 10))


def test_a_large_file_is_told_by_its_size_alone(tmp_path, monkeypatch):
  monkeypatch.setattr("maskjax.data.stored.SUMMED", 10)
  made = {}
  for odd in (False, True):
    (tmp_path / str(odd)).mkdir()
    made[odd] = pipeline.load(**recordings(tmp_path / str(odd), odd), test="").record.examples
  assert made[False] == made[True]


@pytest.mark.parametrize("unit", ["characters", "words", "bpe"])
def test_text_is_encoded_by_the_vocabulary_of_the_first_launch(tmp_path, unit):
  options = dict(name="text", length=8, unit=unit, vocabulary=300, split=(0.5, 0.5, 0))
  was, now = "to be or not to be. " * 12, "or to be not to to be. " * 9
  (tmp_path / "was.txt").write_text(was)
  (tmp_path / "now.txt").write_text(now)
  open_ = lambda name, **more: pipeline.load(**options, path=str(tmp_path / name), test="", **more)
  known = open_("was.txt").record
  data = open_("now.txt", known=known)
  assert data.record.vocabulary == known.vocabulary
  train = data.splits["train"]
  ids = [e["tokens"][e["valid"]] for e in map(train.__getitem__, range(len(train)))]
  wanted = tokens.encode(now[: len(now) // 2], known)
  np.testing.assert_array_equal(np.concatenate(ids), wanted)
  # Learned anew they would be others.
  if unit != "characters":
    assert open_("now.txt").record.vocabulary != known.vocabulary


def test_units_are_the_collocations_of_the_first_launch(tmp_path):
  """Of another text, such as one to evaluate on, they would be others."""
  options = dict(name="text", length=8, unit="words", split=(1.0, 0, 0), test="")
  options |= dict(vocabulary=30, collocations=dict(size=2, least=3))
  open_ = lambda content, **more: (
    (tmp_path / "a.txt").write_text(content),
    pipeline.load(**options, path=str(tmp_path / "a.txt"), **more),
  )[1]
  first = open_("old king sat, then old king rose. so then sat old king so, king rose so old. ")
  assert first.record.collocations == ("old king",)
  now = "so then sat. so then rose. so then old king. "
  again = open_(now, known=first.record)
  assert again.record.collocations == ("old king",)
  assert again.splits["train"].begins.sum() == len(again.splits["train"].ids) - 1
  assert open_(now).record.collocations == ("so then",)


def test_documents_end_by_the_token_of_the_first_launch(tmp_path):
  open_ = lambda content, **more: (
    (tmp_path / "a.txt").write_text(content),
    pipeline.load(name="text", path=str(tmp_path / "a.txt"), length=4, test="", **more),
  )[1]
  first = open_("abc|cab|abc|" * 9, documents="|")
  again = open_("bb|aa|a|" * 9, documents="|", known=first.record)
  end = first.record.vocabulary.index(tokens.END)
  assert again.splits["train"].end == end
  assert end in again.splits["train"][0]["tokens"]
  bare = open_("abc" * 9).record
  with pytest.raises(BadInput, match="the text of the run had no documents"):
    open_("bb|aa|a|" * 9, documents="|", known=bare)


def test_a_character_that_the_run_does_not_know_is_refused_or_counted(tmp_path, caplog):
  path = tmp_path / "a.txt"
  options = dict(name="text", path=str(path), length=4, test="", split=(0.5, 0.5, 0))
  path.write_text("abcd" * 20)
  known = pipeline.load(**options).record
  path.write_text("abcz" * 20)
  with pytest.raises(BadInput, match=r"train of .*a\.txt: 'z', token 3 .* vocabulary of 4"):
    pipeline.load(**options, known=known)
  path.write_text("abcd" * 10 + "abce" * 10)  # some are unknown at the first launch
  known = pipeline.load(**options).record
  path.write_text("abcz" * 20)
  caplog.clear()
  assert pipeline.load(**options, known=known).record.vocabulary == known.vocabulary
  assert "10 characters of train, of 40, are not in the vocabulary" in caplog.text


def test_captions_are_encoded_by_the_vocabulary_of_the_first_launch():
  class Told:
    captions = (("a cat",), ("a dog",))

    def __len__(self):
      return 2

    def __getitem__(self, index):
      return {"image": np.zeros((2, 2, 3), np.uint8)}

  record = Record("image", (2, 2, 3), {"train": 2})
  known = dataclasses.replace(record, vocabulary=(" dog", "a", tokens.UNKNOWN), unit="words")
  found, splits = captions.read(record, {"train": Told()}, length=3, known=known)
  assert found.vocabulary == known.vocabulary
  assert splits["train"][0]["caption"].tolist() == [1, 2, -1]
  assert splits["train"][1]["caption"].tolist() == [1, 0, -1]


def test_labels_go_by_the_names_of_the_first_launch(tmp_path):
  files = {f"{s}/{c}/{c}.png": png(i) for s in ("train", "test") for i, c in enumerate("abc")}
  first = pipeline.load(name="folder", path=put(tmp_path / "first", files))
  shutil.rmtree(tmp_path / "first" / "train" / "b")
  shutil.rmtree(tmp_path / "first" / "test")
  put(tmp_path / "first", {"test/0.png": png(0)})  # without a label
  known = first.record
  data = pipeline.load(name="folder", path=str(tmp_path / "first"), known=known)
  assert data.record.class_names == ("a", "b", "c")
  held = [data.splits["train"][i] for i in range(2)]
  assert [(int(e["image"].max()), e["label"]) for e in held] == [(0, 0), (2, 2)]
  assert "label" not in data.splits["test"][0]
  assert data.found.labels["train"] != known.labels["train"]
  put(tmp_path / "first", {"train/d/d.png": png(3)})
  with pytest.raises(BadInput, match=r"class_names\[1\] was 'b', is now 'c'"):
    pipeline.load(name="folder", path=str(tmp_path / "first"), known=known)


def sheet(names):
  rows = "\n".join(f"{i},{i * i}" for i in range(20))
  return lambda path: (path.write_text(f"{names}\n{rows}"), str(path))[1]


def cube(side, labels):
  x = np.zeros((4, side, side, 1), np.uint8)
  named = {"train_labels": np.arange(4) % 2, "class_names": np.array(list(labels))}
  return lambda path: (np.savez(path, train_images=x, **(named if labels else {})), str(path))[1]


def sounds(rate):
  return lambda path: put(path, {f"a/{i}.wav": tone(i, rate=rate) for i in range(3)})


def phrase(said):
  return lambda path: (path.write_text(said * 20), str(path))[1]


SERIES = dict(name="csv", length=5, split=(1.0, 0, 0))


@pytest.mark.parametrize(
  ("options", "was", "now", "says"),
  [
    (dict(name="table"), sheet("a,b"), sheet("b,a"), r"columns\[0\] was 'a', is now 'b'"),
    (SERIES, sheet("a,b"), sheet("b,a"), r"columns\[0\] was 'a', is now 'b'"),
    (dict(name="npz"), cube(2, "ab"), cube(3, "ab"), r"shape\[0\] was 2, is now 3"),
    (dict(name="npz"), cube(2, "ab"), cube(2, ""), r"class_names\[0\] was 'a', is now absent"),
    (dict(name="npz"), cube(2, "ab"), cube(2, "ac"), r"class_names\[1\] was 'b', is now 'c'"),
    (dict(name="wav"), sounds(100), sounds(200), "rate was 100, is now 200"),
    (dict(name="text", length=4), phrase("ab"), phrase("ac"), "'c', token 1 of the text, is not"),
  ],
)
def test_what_cannot_be_mapped_to_the_first_launch_is_refused(tmp_path, options, was, now, says):
  known = pipeline.load(**options, path=was(tmp_path / "was.npz"), test="").record
  with pytest.raises(BadInput, match=says):
    pipeline.load(**options, path=now(tmp_path / "now.npz"), test="", known=known)


def test_a_series_of_before_its_columns_were_kept_goes_on(tmp_path):
  options = SERIES | dict(path=sheet("a,b")(tmp_path / "a.csv"), test="")
  known = dataclasses.replace(pipeline.load(**options).record, columns=())
  assert pipeline.load(**options, known=known).record.columns == ("a", "b")


@pytest.mark.parametrize("kind", [np.uint16, np.float32])
def test_images_of_another_peak_are_the_same_to_the_network(tmp_path, kind):
  """What is stored for 1 is that of the file, the mean and the peak are those of the record."""
  x = np.arange(5 * 4 * 6).reshape(5, 4, 6)
  scale = 257 if kind is np.uint16 else 1 / 255
  for name, images in (("was", x.astype(np.uint8)), ("now", (x * scale).astype(kind))):
    np.savez(tmp_path / f"{name}.npz", train_images=images)
  load = lambda name, known: pipeline.load(
    name="npz", path=str(tmp_path / f"{name}.npz"), test="", known=known
  )
  was = load("was", None)
  now = load("now", was.record)
  kept = ("peak", "mean", "std")
  assert [getattr(now.record, f) for f in kept] == [getattr(was.record, f) for f in kept]
  assert now.found.peak != was.record.peak
  before, after = (next(pipeline.examples(d, "train", batch_size=5)) for d in (was, now))
  np.testing.assert_allclose(after["image"], before["image"], atol=1e-5)
