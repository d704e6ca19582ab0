"""Kinds of data: one object each, whose shapes are those of tiny examples and of what is read."""

import ast
import csv
import dataclasses
import pathlib

import numpy as np
import pytest

from maskjax import bind, lab
from maskjax.data import kinds, pipeline, tiny, wav
from maskjax.errors import BadInput
from maskjax.record import Record

ROOT = pathlib.Path(__file__).parents[2]
CONFIGS = [p for p in sorted((ROOT / "configs").rglob("*.py")) if not p.name.startswith("_")]
KINDS = {name: found for name, found in vars(kinds).items() if isinstance(found, kinds.Kind)}
SCALES = {
  f"{path.stem}-{name}": lab.load(path).NOTE[name]
  for path in CONFIGS
  for name in ("scale", "laptop")
  if name in lab.load(path).NOTE
} | {
  "audio": dict(kind="audio", shape=(40, 2), classes=3, examples=9),
  "series": dict(kind="series", shape=(12, 3), missing=0.2, examples=9),
  "documents": dict(kind="text", shape=(8,), vocabulary=9, documents=True, units=True, examples=9),
  "looks": dict(shape=(4, 5, 3), looks=("second", "third"), classes=2, examples=9),
  "clips": dict(kind="video", shape=(2, 4, 5, 3), classes=2, examples=9),
}


def said(batch):
  return {name: (np.shape(x), x.dtype) for name, x in batch.items()}


@pytest.mark.parametrize("name", SCALES)
def test_tiny_examples_have_the_shapes_of_their_kind(name):
  scale = SCALES[name]
  batch = tiny.batch(scale, 2)
  assert said(batch) == said(tiny.shapes(scale, 2))
  again = tiny.batch(scale, 2)
  assert all((batch[k] == again[k]).all() for k in batch)


def test_every_kind_is_among_them():
  assert {scale.get("kind", "image") for scale in SCALES.values()} == set(KINDS)


@pytest.mark.parametrize("file", CONFIGS, ids=lambda p: p.stem)
def test_a_scale_has_the_axes_that_the_data_section_names(file):
  module = lab.load(file)
  for preset, name in (("", "scale"), ("laptop", "laptop")):
    if name in module.NOTE:
      scale = module.NOTE[name]
      data = module.get_config(*[preset] * bool(preset)).data.to_dict()
      assert tiny.fitted(scale, data)["shape"] == tuple(scale["shape"])


WORDS = "to be or not to be, that is the question. \n\nthere is the rub.\n\n" * 40


def folder_of_sounds(path):
  for speaker in "ab":
    (path / speaker).mkdir(parents=True)
    for i in range(12):
      wav.write(path / speaker / f"{i}.wav", np.sin(np.arange(50 + i)), 8000)
  return path


def images(path):
  x = np.arange(5 * 4 * 6 * 3, dtype=np.uint8).reshape(5, 4, 6, 3)
  np.savez(path / "x.npz", train_images=x, train_labels=np.arange(5) % 3)
  data = dict(name="npz", path=path / "x.npz", captions=dict(length=7), augment=dict(flip=True))
  return data, dict(shape=(4, 6, 3), classes=3, caption=7, words=1)


def clips(path):
  x = np.arange(5 * 2 * 4 * 6, dtype=np.uint8).reshape(5, 2, 4, 6, 1)
  np.savez(path / "x.npz", train_videos=x, train_labels=np.arange(5) % 3)
  return dict(name="npz", path=path / "x.npz"), dict(kind="video", shape=(2, 4, 6, 1), classes=3)


def recordings(path):
  data = dict(name="wav", path=folder_of_sounds(path), length=64)
  return data, dict(kind="audio", shape=(64, 1), classes=2)


def mixtures(path):
  data = dict(name="mixtures", path=folder_of_sounds(path / "train"), length=40)
  data |= dict(label="{label}/{n}.wav", test_where=dict(n=("0",)))
  return data, dict(kind="mixture", shape=(2, 40))


def windows(path, **flags):
  (path / "x.txt").write_text(WORDS)
  names = dict(units=("collocations", dict(size=2, least=2)), turns=("turns", "\n\n"))
  names |= dict(documents=("documents", "\n\n"))
  data = dict(name="text", path=path / "x.txt", length=16, **dict(names[f] for f in flags))
  return data, dict(kind="text", shape=(16,), vocabulary=1, **flags)


def rows(path, name, **more):
  with (path / "x.csv").open("w") as file:
    csv.writer(file).writerows([["a", "b"], *([i, i * i] for i in range(40))])
  return dict(name=name, path=path / "x.csv", **more)


def table(path):
  return rows(path, "table"), dict(kind="table", shape=(2, 1))


def series(path):
  data = rows(path, "csv", length=5, split=(0.8, 0.0, 0.2))
  return data, dict(kind="series", shape=(5, 2))


def graph(path):
  edges = np.stack([np.arange(10), (np.arange(10) + 1) % 10], 1)
  arrays = dict(edges=edges, features=np.eye(10, 4), label=np.arange(10) % 3)
  np.savez(path / "x.npz", **arrays, train=np.arange(5))
  data = dict(name="graph", path=path / "x.npz", train="graph", held=0.2)
  return data, dict(kind="graph", shape=(10, 4), classes=3, edges=20, held=2)


def labelled(path):
  (path / "x.csv").write_text("text,label\n" + "".join(f'"{WORDS}",{c}\n' for c in "abab"))
  more = dict(collocations=dict(size=0), split=(0.5, 0.0, 0.5))
  data = dict(name="labelled_text", path=path / "x.csv", length=16, unit="characters", **more)
  return data, dict(kind="text", shape=(16,), vocabulary=1, units=True, classes=2)


READ = {
  "image": images,
  "video": clips,
  "audio": recordings,
  "mixture": mixtures,
  "text": windows,
  "units": lambda path: windows(path, units=True),
  "turns": lambda path: windows(path, turns=True),
  "documents": lambda path: windows(path, documents=True),
  "labelled": labelled,
  "table": table,
  "series": series,
  "graph": graph,
}


@pytest.mark.parametrize("name", READ)
def test_what_is_read_has_the_shapes_and_facts_of_its_kind(name, tmp_path):
  given, scale = READ[name](tmp_path)
  data = pipeline.load(**{**given, "path": str(given["path"])}, test="")
  batch = next(pipeline.batches(data, batch_size=2, seed=0, threads=1, prefetch=1))
  scale = {**scale, "examples": data.record.sizes[data.train]}
  assert said(batch) == said(tiny.shapes(scale, 2))
  of_examples = ("sizes", "labels", "examples", "collocations")
  facts = lambda record: dataclasses.asdict(record).items()
  tells = lambda record: {k for k, v in facts(record) if v and k not in of_examples}
  stands_for = tiny.record(scale)
  assert tells(data.record) == tells(stands_for)
  for fact in ("kind", "shape", "classes", "unit", "caption", "rate"):
    assert getattr(data.record, fact) == getattr(stands_for, fact)
  for fact in ("mean", "std", "columns", "low", "high"):
    assert len(getattr(data.record, fact)) == len(getattr(stands_for, fact))


def test_every_kind_is_read():
  assert set(KINDS) <= set(READ)


@pytest.mark.parametrize("what", ["masks", "reconstruction"])
def test_the_functions_that_kinds_name_are_there(what):
  named = [getattr(kind, what) for kind in KINDS.values()]
  assert all(callable(bind.resolve(name, "")) for name in named if name)
  assert any(named)


@pytest.mark.parametrize(
  ("scale", "says"),
  [
    (dict(examples=9), "no shape"),
    (dict(shape=(8, 8, 1)), "no examples"),
    (dict(shape=(8,), examples=9), r"kind image is \(height, width, channels\), .* has \(8,\)"),
    (dict(kind="text", shape=(8,), examples=9), r"dict\(shape=…, .*vocabulary=…\): no vocabulary"),
    (
      dict(kind="text", shape=(8, 1), vocabulary=2, examples=9),
      r"text is \(length,\), .* \(8, 1\)",
    ),
    (dict(kind="grpah", shape=(8, 1), examples=9), "unknown kind .*did you mean 'graph'"),
    (dict(kind="no_such:cloud", shape=(8, 1), examples=9), "cannot import 'no_such'"),
    (dict(kind="maskjax.data.wav:write", shape=(8, 1), examples=9), "unknown kind of data"),
  ],
)
def test_a_scale_that_cannot_work_is_refused(scale, says):
  for made in (tiny.record, tiny.shapes, lambda scale: tiny.batch(scale, 1)):
    with pytest.raises(BadInput, match=says):
      made(scale)


def test_a_kind_without_a_drawing_says_so():
  with pytest.raises(BadInput, match="kind audio have no function for masks"):
    kinds.linked(Record("audio", (8, 1), {}), "masks")


# Where kinds are still compared or listed, and why.
ELSEWHERE = {
  "task": "each task says what it takes; tasks become graphs of named values, which do not ask",
  "model/published.py": "its kinds are those of published leaves, of which one is called table",
}


def asks(source):
  """Lines of a file that compare the kind of a record with something, or list kinds of data."""
  whole = ast.parse(source)
  # What `needs` of evaluators declares is no table: each says it of itself.
  declared = {
    id(keyword.value)
    for call in ast.walk(whole)
    if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "needs"
    for keyword in call.keywords
  }
  for node in ast.walk(whole):
    if id(node) in declared:
      continue
    if isinstance(node, ast.Match):
      sides, others = [node.subject], [case.pattern for case in node.cases]
    elif isinstance(node, ast.Compare):
      sides = others = [node.left, *node.comparators]
    else:
      keys = node.keys if isinstance(node, ast.Dict) else getattr(node, "elts", [])
      if len(keys) > 1 and all(getattr(key, "value", None) in KINDS for key in keys):
        yield node.lineno
      continue
    kind = [x for x in sides if isinstance(x, ast.Attribute) and x.attr == "kind"]
    of_record = any(ast.unparse(x.value).split(".")[-1].endswith("record") for x in kind)
    inside = [node for side in others for node in ast.walk(side)]
    of_data = any(isinstance(x, ast.Constant) and x.value in KINDS for x in inside)
    if kind and (of_record or of_data):
      yield node.lineno


def test_no_other_module_asks_for_a_kind_or_lists_them():
  package = ROOT / "maskjax"
  found = {}
  for path in package.rglob("*.py"):
    place = str(path.relative_to(package))
    if not place.startswith("data/kinds/") and (lines := list(asks(path.read_text()))):
      found[place] = lines
  allowed = lambda place: any(place == e or place.startswith(f"{e}/") for e in ELSEWHERE)
  assert {place: lines for place, lines in found.items() if not allowed(place)} == {}
  # What is in order by now leaves the list.
  assert [e for e in ELSEWHERE if not any(p == e or p.startswith(f"{e}/") for p in found)] == []


@pytest.mark.parametrize(
  "source",
  [
    "if data.record.kind == 'video': pass",
    "x = y if record.kind in SOME else z",
    "known.kind != 'image'",
    "match record.kind:\n  case 'text': pass",
    "DRAW = {'text': a, 'table': b}",
    "takes = ('image', 'video')",
  ],
)
def test_a_question_for_a_kind_is_found(source):
  assert len(list(asks(source))) == 1


@pytest.mark.parametrize(
  "source", ["op.kind == 'dot'", "batch[record.kind]", "{'folder': 1, 'text': 2}", "('text',)"]
)
def test_other_kinds_are_let_be(source):
  assert list(asks(source)) == []


def test_numbers_of_other_data_are_brought_to_the_scale_of_the_first(tmp_path):
  rows = np.arange(24.0).reshape(12, 2)
  rows[3, 1] = np.nan
  for name, kind, options in (
    ("table", "table", {"test": ""}),
    ("csv", "series", {"length": 2, "split": (6, 3, 3)}),
  ):
    opened = {}
    for scale in (1, 3):
      path = tmp_path / f"{scale}.csv"
      lines = [",".join("" if np.isnan(x) else f"{x:g}" for x in row) for row in scale * rows]
      path.write_text("\n".join(["a,b", *lines]))
      known = opened[1].record if opened else None
      opened[scale] = pipeline.load(name=name, path=str(path), known=known, **options)
    one, other = (opened[scale].record for scale in (1, 3))
    assert dataclasses.replace(other, examples=one.examples) == one
    before, after = (next(pipeline.examples(d, "train", batch_size=6)) for d in opened.values())
    np.testing.assert_array_equal(before["valid"], after["valid"])
    record = opened[1].record
    zero, one = (
      (record.mean, record.std)
      if kind == "series"
      else (record.low, np.subtract(record.high, record.low))
    )
    axis = (1, 1, 2) if kind == "series" else (1, 2, 1)
    zero, one = np.reshape(zero, axis), np.reshape(one, axis)
    tripled = np.where(before["valid"], (3 * (before[kind] * one + zero) - zero) / one, 0)
    np.testing.assert_allclose(after[kind], tripled, atol=1e-5)


def test_data_whose_ids_or_columns_mean_something_else_are_refused(tmp_path):
  (tmp_path / "a.txt").write_text("abcd" * 40)
  (tmp_path / "b.txt").write_text("abce" * 40)
  known = pipeline.load(name="text", path=str(tmp_path / "a.txt"), length=4).record
  with pytest.raises(BadInput, match=r"'e', token 3 of the text, is not in the vocabulary of 4"):
    pipeline.load(name="text", path=str(tmp_path / "b.txt"), length=4, known=known)
