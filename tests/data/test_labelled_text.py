"""Texts with labels: the same texts from every form that they come in, and what is refused."""

import gzip
import json
import pathlib
import pickle
import zipfile

import numpy as np
import pytest
from built import FILES

from maskjax import lab
from maskjax.data import labelled_text, pipeline, tokens
from maskjax.errors import BadInput

TRAIN = [("good, very good", "up"), ('a "bad" day', "down"), ("fine\nall day", "up")]
TEST = [("bad bad", "down"), ("good", "up")]
SHAKESPEARE = (
  pathlib.Path(__file__).parents[2] / ".." / "shared" / "data" / "tiny_shakespeare.txt.gz"
)


def _csv(rows, mark=","):
  quote = lambda cell: '"' + cell.replace('"', '""') + '"'
  lines = [f"label{mark}text", *(mark.join((label, quote(text))) for text, label in rows)]
  return "\n".join(lines) + "\n"


def _jsonl(rows):
  return "".join(json.dumps({"text": text, "label": label}) + "\n\n" for text, label in rows)


def _tables(folder, name, made):
  for split, rows in (("train", TRAIN), ("test", TEST)):
    raw = made(rows).encode()
    path = folder / name.format(split)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)


def _folders(folder):
  for split, rows in (("train", TRAIN), ("test", TEST)):
    for i, (text, label) in enumerate(rows):
      path = folder / split / label / f"{i}.txt"
      path.parent.mkdir(parents=True, exist_ok=True)
      path.write_text(text)


def _zipped(folder):
  _folders(folder / "all")
  with zipfile.ZipFile(folder / "all.zip", "w") as archive:
    for path in sorted((folder / "all").rglob("*.txt")):
      archive.write(path, path.relative_to(folder / "all"))
  return folder / "all.zip"


FORMS = {
  "csv": lambda folder: _tables(folder, "{}.csv", _csv),
  "tsv": lambda folder: _tables(folder, "{}.tsv.gz", lambda rows: _csv(rows, "\t")),
  "jsonl": lambda folder: _tables(folder, "data/{}-00000.jsonl", _jsonl),
  "folders": _folders,
  "zip": _zipped,
}


def held(record, source):
  """The texts of a source with the names of their classes, in the order of the alphabet."""
  text = lambda example: tokens.decode(example["tokens"][example["valid"]], record)
  return sorted((text(e), record.class_names[e["label"]]) for e in source)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_texts_their_classes_and_splits(tmp_path, form):
  path = FORMS[form](tmp_path) or tmp_path
  record, sources = labelled_text.open(str(path), unit="characters", length=20)
  assert record.class_names == ("down", "up")
  assert record.sizes == {"train": 3, "test": 2}
  assert held(record, sources["train"]) == sorted(TRAIN)
  assert held(record, sources["test"]) == sorted(TEST)
  assert [sources["test"].label_of(i) for i in range(2)] == [e["label"] for e in sources["test"]]
  copy = pickle.loads(pickle.dumps(sources["train"]))
  assert held(record, copy) == sorted(TRAIN)


def one(folder, content, name="x.csv", **options):
  path = folder / name
  path.write_text(content)
  return labelled_text.open(str(path), **{"length": 8, **options})


SCENES = "ANN:\none two\n\nBOB:\nthree\n\n\nBOB:\n\n\nCID:\nfour five\n\nANN:\nsix"


def test_a_text_is_cut_into_parts_with_headings_or_sections_as_labels(tmp_path):
  own = dict(name="x.txt", documents="\n\n", heading=":\n", split=(1.0, 0, 0), unit="characters")
  record, sources = one(tmp_path, SCENES, label="heading", length=10, **own)
  spoken = [("one two", "ANN"), ("three", "BOB"), ("four five", "CID"), ("six", "ANN")]
  assert held(record, sources["train"]) == sorted(spoken)
  scenes = {"first": "one two", "second": "four"}
  record, sources = one(tmp_path, SCENES, label="section", sections=scenes, length=10, **own)
  found = [record.class_names[sources["train"].label_of(i)] for i in range(4)]
  assert found == ["first", "first", "second", "second"]
  record, sources = one(tmp_path, SCENES, least=6, length=10, **own)
  assert record.class_names == ()
  assert record.sizes == {"train": 2}


def test_shares_cut_each_class_in_order_and_a_hash_leaves_none_out(tmp_path):
  rows = [(chr(97 + i), str(i % 2)) for i in range(20)]
  record, sources = one(tmp_path, _csv(rows), split=(0.6, 0.2, 0.2), unit="bpe")
  joined = lambda s: "".join(text for text, _ in held(record, s))
  assert joined(sources["train"]) == "abcdefghijkl"
  assert joined(sources["validation"]) == "mnop"
  assert list(record.sizes) == ["train", "validation", "test"]
  record, sources = one(tmp_path, _csv(rows))
  assert {e["label"] for e in sources["test"]} == {0, 1}
  assert record.sizes["train"] + record.sizes["test"] == 20


def test_classes_that_are_numbers_keep_their_order(tmp_path):
  rows = [(f"text {i}", str(i)) for i in (10, 9, 2)]
  assert one(tmp_path, _csv(rows), split=(1.0, 0, 0))[0].class_names == ("2", "9", "10")


def test_long_texts_are_cut_and_counted_and_units_follow(tmp_path, caplog):
  rows = [("one two three four", "a"), ("five", "b")]
  more = dict(unit="bpe", vocabulary=256, collocations=dict(size=0))
  record, sources = one(tmp_path, _csv(rows), split=(1.0, 0, 0), **more)
  assert "1 of 2 texts of train are longer than data.length=8" in caplog.text
  first, second = sources["train"]
  assert tokens.decode(first["tokens"], record) == "one two "
  assert first["unit"].tolist() == [0, 0, 0, 1, 1, 1, 1, 2]
  assert second["unit"].tolist() == [0, 0, 0, 0, -1, -1, -1, -1]


REFUSED = {
  "column": (("body,label\na,b\n",), {}, "data.text=NAME"),
  "label": (("text,kind\na,b\n",), {}, "'' for no labels"),
  "width": (("text,label\na,b\nc\n",), {}, "line 3: 1 cells"),
  "some": (("text,label\na,b\nc,\n",), {}, "line 3 for one"),
  "json": (('{"text": "a", "label": "b"}\n{\n', "x.jsonl"), {}, "line 2 is no JSON"),
  "number": (('{"text": "a", "label": 1.5}\n', "x.jsonl"), {}, "whole number"),
  "separator": (("a\n\nb", "x.txt"), {}, "data.documents"),
  "heading": (("a\n\nb", "x.txt"), dict(documents="\n\n", heading=":\n"), "no heading"),
  "sections": (
    ("a\n\na", "x.txt"),
    dict(documents="\n\n", label="section", sections={"one": "a"}),
    "2 texts begin with 'a'",
  ),
  "first": (
    ("a\n\nb", "x.txt"),
    dict(documents="\n\n", label="section", sections={"one": "b"}),
    "the first text is in no section",
  ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_names_the_place_or_the_key(tmp_path, case):
  content, options, says = REFUSED[case]
  with pytest.raises(BadInput, match=says):
    one(tmp_path, *content, **options)


def test_a_pipeline_keeps_the_vocabulary_and_batches_the_labels(tmp_path):
  _tables(tmp_path, "{}.csv", _csv)
  data = pipeline.load(name="labelled_text", path=str(tmp_path), length=8, unit="characters")
  assert data.record.examples.keys() == data.record.labels.keys() == {"train", "test"}
  batch = next(iter(pipeline.batches(data, batch_size=2, seed=0, workers=0)))
  assert batch["label"].shape == (2,)
  _tables(tmp_path, "{}.csv", lambda rows: _csv([(text[::-1], label) for text, label in rows]))
  more = labelled_text.open(str(tmp_path), length=8, unit="characters", known=data.record)[0]
  assert more.vocabulary == data.record.vocabulary


@pytest.mark.skipif(not SHAKESPEARE.exists(), reason="no shared data")
def test_speeches_of_plays():
  data = dict(lab.read(f"{FILES['mask15']}:speeches").data)
  name, path = data.pop("name"), data.pop("path")
  assert (name, path) == ("labelled_text", "")
  record, sources = labelled_text.open(str(SHAKESPEARE), **{**data, "unit": "characters"})
  assert record.sizes == {"train": 3128, "test": 787}
  counts = np.bincount([sources["train"].label_of(i) for i in range(3128)])
  assert dict(zip(record.class_names, counts.tolist(), strict=True)) == {
    "Coriolanus": 474,
    "Henry VI, Part 3": 364,
    "Measure for Measure": 372,
    "Richard II": 297,
    "Richard III": 429,
    "Romeo and Juliet": 368,
    "The Taming of the Shrew": 341,
    "The Tempest": 113,
    "The Winter's Tale": 370,
  }
