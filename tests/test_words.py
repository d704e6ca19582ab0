"""Names are those that the field uses: old ones do not come back."""

import ast
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[1]
# Old names of functions, fields, evaluators and files, and what they are called now. Plain English
# stays English: only whole names are looked at.
NAMES = {
  "white": "uniform",
  "strangers": "negatives",
  "foresight": "predicted_loss",
  "foreseen": "predicted_loss",
  "fewlabel": "kshot_probe",
  "recovery": "masked_reconstruction",
  "ahead": "lookahead",
  "sharpness": "temperature",
  "surprise": "nll",
  "surprise_at": "nll_at",
  "even_times": "stratified_times",
  "own_key": "stream_key",
  "own_keys": "stream_keys",
  "serving": "best_permutation",
  "wanda": "input_scaled_magnitude",
  "viewed": "reparametrized",
  "averaged": "with_ema",
  "roll_port": "rendezvous_port",
  "meet": "barrier",
}
# Presets and sections of configs are called as papers call things.
OF_CONFIGS = {"white", "wanda"}


def names(tree):
  """Every name that a file defines: functions, classes, arguments, fields of calls' keywords."""
  for node in ast.walk(tree):
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
      yield node.name
    elif isinstance(node, (ast.arg, ast.keyword)):
      yield node.arg
    elif isinstance(node, ast.Constant) and re.fullmatch(r"[a-z_]+(\.[a-z_]+)+", str(node.value)):
      yield str(node.value).rpartition(".")[2]


def old(source, spared=frozenset()):
  """The old names in a file, with those of now."""
  return {
    name: NAMES[name] for name in names(ast.parse(source)) if name in NAMES and name not in spared
  }


def test_old_names_are_gone():
  found = {}
  for folder, spared in (("maskjax", frozenset()), ("configs", OF_CONFIGS)):
    for path in (ROOT / folder).rglob("*.py"):
      if wrong := old(path.read_text(encoding="utf-8"), spared):
        found[str(path.relative_to(ROOT))] = wrong
  assert found == {}


@pytest.mark.parametrize("source", ["def white(): ...", "f(fewlabel=1)", 'fn = "score.white"'])
def test_an_old_name_is_found(source):
  assert len(old(source)) == 1


def test_headings_and_evaluators_of_pages_are_called_as_in_the_field():
  words = re.compile(rf"^#.*\b({'|'.join(NAMES)})\b", re.M)
  for page in ROOT.rglob("*.md"):
    if not any(part.startswith(".") for part in page.relative_to(ROOT).parts):
      assert not words.search(page.read_text(encoding="utf-8")), page
