"""What `python -m maskjax.data PATH` says of each kind of data."""

import numpy as np
import pytest
from oddities import pack, png, put, saved, tone

from maskjax.data.__main__ import main
from maskjax.data.openers import OPENERS

SPEAKERS = {f"{who}/{i}.wav": tone(i + 1) for who in "ab" for i in range(4)}


def test_a_look_before_training(tmp_path, capsys):
  content = {
    "train/cat/a.png": png(1),
    "train/dog/b.png": png(2),
    "test/cat/c.png": png(3),
    "x.heic": b"",
  }
  assert main([put(tmp_path / "set", content)]) == 0
  out = capsys.readouterr().out
  assert "passed over 1 .heic (x.heic)" in out
  assert "train: 2 examples (cat 1, dog 1)\ntest: 1 examples (cat 1)" in out
  assert main([put(tmp_path / "set", {"cat/d.png": png(4)})]) == 2
  assert "error: folder 'cat' beside" in capsys.readouterr().err
  assert main([str(tmp_path / "nothing")]) == 2


KINDS = {
  "folder": {"a.png": png(1), "b.png": png(2)},
  "wav": {"a.wav": tone(1), "b.wav": tone(2)},
  "text": {"a.txt": b"some words " * 40},
  "csv": {"a.csv": b"a,b\n1,2\n3,4\n"},
  "npz": {"a.npz": saved(x_train=np.zeros((2, 5, 5)))},
  "graph": {"a.npz": saved(x=np.eye(3), edge_index=np.array([[0, 1], [1, 2]]))},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", ["path", "zip"])
def test_a_look_knows_each_kind(tmp_path, capsys, kind, how):
  content = KINDS[kind]
  path = put(tmp_path / "set", content)
  if kind in ("csv", "npz", "graph"):
    path = f"{path}/{next(iter(content))}"
  if how == "zip" and kind not in ("npz", "graph"):
    path = pack(tmp_path / "s.zip", content)
  assert main([path]) == 0
  assert f"data.name={kind}," in capsys.readouterr().out


NAMED = {
  "table": ({"a.csv": b"a,b\n1,2\n3,4\n"}, "table: float32 (2, 1)"),
  "labelled_text": (
    {"a.jsonl": b'{"text": "a", "label": "x"}\n{"text": "b", "label": "x"}\n'},
    "train: 1 examples (x 1)\ntest: 1 examples (x 1)",
  ),
  "mixtures": (SPEAKERS, "sources: float32 (2, 2)"),
  "motion": ({f"train/{c}/x.png": png(1) for c in "ab"}, "train: 2 examples (a 1, b 1)"),
  "digits": ({}, "image: uint8 (8, 8, 1)"),
  "oddities:opened": ({}, "train: 1 examples"),
}


@pytest.mark.parametrize("name", NAMED)
def test_a_look_at_what_has_to_be_named(tmp_path, capsys, name):
  content, says = NAMED[name]
  path = put(tmp_path / "set", content)
  path = f"{path}/{next(iter(content))}" if name in ("table", "labelled_text") else path
  options = {"mixtures": ["length=2"], "motion": ["images=folder"]}.get(name, [])
  assert main([path, f"name={name}", *options]) == 0
  assert says in capsys.readouterr().out


def test_every_kind_of_data_can_be_looked_at():
  assert {*OPENERS} - {"tiny", "zip"} == ({*KINDS} | {*NAMED}) - {"digits", "oddities:opened"}


@pytest.mark.parametrize(
  ("words", "says"),
  [
    (["name=mixtures"], "data of 'mixtures' need data.length"),
    (["name=folder", "size=3"], "data.size=3 is not (height, width)"),
    (["name=folder", "lable=''"], "data.lable is not for 'folder'; did you mean 'label'"),
    (["name=foldr"], "unknown data set 'foldr'; did you mean 'folder'"),
    (["size"], "'size' is not key=value"),
    (["name=tiny"], "data of 'tiny' need data.scale"),
  ],
)
def test_a_look_that_cannot_be(tmp_path, capsys, words, says):
  assert main([put(tmp_path / "set", {"a.png": png(1)}), *words]) == 2
  assert says in capsys.readouterr().err
