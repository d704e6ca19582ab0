"""The catalogue is read from the configs."""

import json
import pathlib

import pytest

from maskjax import catalogue, note, pages
from maskjax.bind import resolve
from maskjax.errors import BadInput
from maskjax.sections import find

CONFIGS = pathlib.Path(__file__).parents[1] / "configs"
DOC = '''"""A.

Paper: X. "T", 2022.
Claim: c. More.
Measured: digits, `laptop`:

  | run       | kNN         |
  |-----------|-------------|
  | untrained | 0.5 ± 0.1   |
"""
'''
NOTE = f"""{DOC}
from ml_collections import ConfigDict
PRESETS = dict(smoke=None, laptop=None)
get_config = lambda arg=None: ConfigDict(dict(a=dict(fn="a.one", b=dict(fn="b.two")), n=3))
"""


def test_every_config_of_the_project_is_an_entry():
  entries = catalogue.entries(CONFIGS)
  assert "mae" in [e["id"] for e in entries]
  fields = {"id", "family", "kind", "config", "presets", "functions", "measured", "tables"}
  fields |= {"title", "citation", "claim", "families", "held", "states"}
  folders = {entry["family"] for entry in entries}
  for entry in entries:
    assert set(entry) == fields
    assert set(entry["families"]) <= folders
    # Of bases some have a claim that was looked at; of others nothing but their figures counts.
    assert entry["states"] or entry["kind"] == "base", f"{entry['id']}: one of {note.STATES}"
    assert {"laptop", "smoke"} <= set(entry["presets"])
    assert pathlib.Path(entry["config"]).is_file()
  mae = next(e for e in entries if e["id"] == "mae")
  assert {"score.uniform", "select.top", "recover.squared_error"} <= set(mae["functions"])


def test_the_functions_that_configs_name_exist():
  for entry in catalogue.entries(CONFIGS):
    for name in entry["functions"]:
      assert callable(resolve(name, "optax") if name.startswith("optax:") else find(name)), name


def test_one_selection_serves_images_text_and_weights():
  named = {entry["id"]: entry["functions"] for entry in catalogue.entries(CONFIGS)}
  for system in ("mae", "md4", "magnitude"):
    assert "select.top" in named[system], system


def test_every_id_is_a_method_of_the_survey():
  survey = pathlib.Path(__file__).parents[1] / ".." / "shared" / "methods" / "methods.jsonl"
  if not survey.exists():
    pytest.skip("shared/methods/methods.jsonl is not here")
  known = {json.loads(line)["id"]: json.loads(line) for line in survey.open(encoding="utf-8")}
  for entry in catalogue.entries(CONFIGS):
    if entry["kind"] != "base":
      assert entry["family"] == known[entry["id"]]["family"]
    assert all(entry[name] for name in ("citation", "claim"))


def test_entries_are_sorted_and_read_from_folders_below(tmp_path):
  (tmp_path / "deep").mkdir()
  (tmp_path / "deep" / "a.py").write_text(NOTE)
  (tmp_path / "base").mkdir()
  (tmp_path / "base" / "b.py").write_text(NOTE)
  (tmp_path / "_shared.py").write_text("raise RuntimeError")
  entries = catalogue.entries(tmp_path)
  assert [e["id"] for e in entries] == ["a", "b"]
  assert entries[0]["config"] == (tmp_path / "deep" / "a.py").as_posix()
  assert [e["family"] for e in entries] == ["deep", "base"]
  assert entries[0]["presets"] == ["laptop", "smoke"]
  assert entries[0]["functions"] == ["a.one", "b.two"]
  assert [e["kind"] for e in entries] == ["method", "base"]
  assert (entries[0]["title"], entries[0]["measured"]) == ("T", "digits, kNN: untrained 0.5")
  assert (entries[0]["citation"], entries[0]["claim"]) == ('X. "T", 2022.', "c")
  rows = {"untrained": {"kNN": "0.5 ± 0.1"}}
  assert entries[0]["tables"] == [{"under": "digits, `laptop`", "rows": rows}]


def test_two_configs_of_one_id_are_refused(tmp_path):
  for name in ("a", "b"):
    (tmp_path / name).mkdir()
    (tmp_path / name / "same.py").write_text(NOTE)
  with pytest.raises(BadInput, match=r"two configs are called 'same': .*a/same\.py, .*b/same\.py"):
    catalogue.entries(tmp_path)


def test_a_note_that_lacks_a_field_is_named(tmp_path):
  (tmp_path / "a.py").write_text(NOTE.replace("Claim:", "Here:"))
  with pytest.raises(BadInput, match=r"a\.py: the docstring names no claim of the paper"):
    catalogue.entries(tmp_path)
  (tmp_path / "a.py").write_text(NOTE.replace("| kNN ", "| "))
  with pytest.raises(BadInput, match=r"a\.py: an empty cell in"):
    catalogue.entries(tmp_path)


def test_what_is_held_partly_says_so(tmp_path):
  path = tmp_path / "a.py"
  path.write_text(NOTE)
  assert catalogue.entry(path)["held"] == "wholly"
  path.write_text(NOTE + 'NOTE = dict(held="partly: no depth")')
  row = catalogue.entry(path)
  assert row["held"] == "partly: no depth"
  assert catalogue.table([row]).endswith("T (a baseline; partly: no depth)")
  assert " (partly: no depth) |" in pages.methods([row], "")
  path.write_text(NOTE + 'NOTE = dict(held="in part")')
  with pytest.raises(BadInput, match="is 'partly: ' and what is missing, got 'in part'"):
    catalogue.entries(tmp_path)


def test_a_folder_without_configs_is_named(tmp_path):
  with pytest.raises(BadInput, match="no configs below"):
    catalogue.entries(tmp_path)


def test_configs_are_named_from_the_current_folder(tmp_path, monkeypatch):
  (tmp_path / "deep").mkdir()
  (tmp_path / "deep" / "a.py").write_text(NOTE)
  monkeypatch.chdir(tmp_path)
  assert catalogue.entries(tmp_path)[0]["config"] == "deep/a.py"
  monkeypatch.chdir(tmp_path / "deep")
  assert catalogue.entries(pathlib.Path("."))[0]["config"] == "a.py"
  assert catalogue.entries(pathlib.Path(".."))[0]["config"].endswith("deep/a.py")


def test_the_table_shows_each_whole_in_its_families():
  rows = catalogue.entries(CONFIGS)
  lines = catalogue.table(rows).splitlines()
  assert all(len(line) <= 80 for line in lines)
  whole = " ".join(" ".join(lines).split())
  for row in rows:
    assert f"{row['id']} {row['title']} ({', '.join(row['states']) or 'a baseline'}" in whole
  ids = lambda family: {line.split()[0] for line in catalogue.table(rows, family).splitlines()[1:]}
  assert {"ijepa", "n_jepa"} <= ids("latent_prediction")
  assert "ijepa" in ids("base")
