"""A plan from config to table: what fits, what does not, what is wrong with a config."""

import json
import runpy
from pathlib import Path
from typing import NamedTuple

import jax
import pytest

from maskjax.errors import BadInput
from maskjax.train.plan import __main__ as command
from maskjax.train.plan import plan, report, scaling
from maskjax.train.plan.program import TooBig, abstract_data, compile_step

CONFIGS = Path(__file__).parents[3] / "configs"
MAE = str(CONFIGS / "image_mim" / "mae.py")
tiny_mae = runpy.run_path(str(Path(__file__).with_name("tiny_mae.py")))["tiny_mae"]


@pytest.fixture(scope="module")
def compiled():
  return {}


@pytest.fixture
def up_to(monkeypatch, compiled):
  """Makes the compiler refuse larger batches than a limit; compiles each size once."""

  def limit(most):
    def checked(step):
      if step.batch_size > most:
        raise TooBig("99G of 80G")
      if step.batch_size not in compiled:
        compiled[step.batch_size] = compile_step(step)
      return compiled[step.batch_size]

    monkeypatch.setattr(report, "compile_step", checked)

  return limit


CONFIG = tiny_mae(patch=8, width=16, decoder_width=16, batch_size=16)
NOTE = dict(scale=dict(shape=(32, 32, 3), examples=50_000))


def test_table_and_json_say_the_same(up_to):
  up_to(4096)
  made = json.loads(plan(CONFIG, NOTE, "gpu:1", as_json=True))
  text = plan(CONFIG, NOTE, "gpu:1")
  assert text.startswith("gpu:1: 1 chips, data (data=1 fsdp=1 tensor=1), batch 16\n")
  assert text.endswith(made["verdict"])
  assert made["constants"]["source"] in text
  assert f"{1000 * made['bound']['compute']:.2f} ms" in text
  assert made["collectives"] == {}
  assert made["bound"]["links"] == 0


def test_a_batch_that_does_not_fit_is_halved_until_it_does(up_to):
  up_to(5)
  made = report.make_plan(CONFIG, NOTE, "gpu:1")
  assert (made["batch_asked"], made["batch_size"]) == (16, 4)
  assert made["verdict"].startswith("batch 16 does not fit (99G of 80G); 4 does")


def test_where_nothing_fits_the_plan_says_so(up_to):
  up_to(0)
  config = {**CONFIG, "batch_size": 2}
  assert plan(config, NOTE, "gpu:1") == "does not fit: not even 1 examples (99G of 80G)"
  assert json.loads(plan(config, NOTE, "gpu:1", as_json=True))["batch_size"] == 0


@pytest.mark.parametrize(
  ("most", "fitted"), [(10**9, [16, 80]), (50, [16, 40]), (16, [8, 16]), (0, [16])]
)
def test_the_largest_batch_lies_below_what_the_compiler_refused(monkeypatch, most, fitted):
  class Made(NamedTuple):
    batch_size: int
    unit: int = 8

  def checked(step):
    if step.batch_size > most:
      raise TooBig("no")

  monkeypatch.setattr(report, "compile_step", checked)
  takes = lambda step, _: {"batch": step.batch_size, "temporaries": step.batch_size}
  monkeypatch.setattr(report, "kinds", takes)
  memory = dict(batch=16, temporaries=16, total=32, limit=160)
  found = report._largest(Made, Made(16), memory)
  assert found["fitted"] == fitted
  assert found["largest_batch"] == {10**9: 80, 50: 72, 16: 32, 0: None}[most]


def test_weak_scaling_keeps_the_examples_of_a_chip(up_to):
  up_to(4096)
  plans = scaling.scaling(CONFIG, NOTE, ["gpu:1", "gpu:1"], per_chip=4)
  assert [made["batch_size"] for made in plans] == [4, 4]
  head, line, *rows = scaling.scaling_table(plans).splitlines()
  assert head.count("|") == line.count("|") == rows[0].count("|") == rows[1].count("|")
  assert rows[0].startswith("| gpu:1 | 1 | 4 |")
  with pytest.raises(BadInput, match="0 examples a chip"):
    scaling.scaling({**CONFIG, "batch_size": 4}, NOTE, ["gpu:8"])


@pytest.mark.parametrize(
  ("words", "said"),
  [
    (["--config=nowhere.py", "--topologies=gpu:1"], "there is no config file nowhere.py"),
    ([f"--config={MAE}", "--topologies=v9:2x2"], "unknown family of topology 'v9'"),
    ([f"--config={MAE}:nought", "--topologies=gpu:1"], "unknown preset 'nought'"),
  ],
)
def test_the_command_says_what_is_wrong_in_one_line(words, said, capsys):
  assert command.main(words) == 2
  assert said in capsys.readouterr().err


@pytest.mark.parametrize(
  ("change", "note", "said"),
  [
    ({}, {}, "needs scale="),
    ({}, dict(scale=dict(examples=1)), "no shape"),
    ({}, dict(scale=dict(shape=(9,), examples=1)), r"kind image is .height, width, channels."),
    (dict(mesh=dict(preset="fspd")), NOTE, "unknown preset of mesh 'fspd'; did you mean 'fsdp'"),
    (dict(task=dict(fn="recon")), NOTE, "recon"),
    (dict(batch_size=0), NOTE, "batch_size"),
  ],
)
def test_what_is_wrong_with_a_config_is_said(change, note, said):
  with pytest.raises(BadInput, match=said):
    plan({**CONFIG, **change}, note, "gpu:1")


def test_text_comes_with_its_vocabulary_and_what_of_it_is_valid():
  scale = dict(kind="text", shape=(256,), vocabulary=27, examples=100)
  record, example = abstract_data(dict(data={}), dict(scale=scale))
  assert (record.kind, len(record.vocabulary), record.sizes) == ("text", 27, {"train": 100})
  assert {name: leaf.shape for name, leaf in example.items()} == {
    "tokens": (1, 256),
    "valid": (1, 256),
    "position": (1,),
  }


def test_labels_come_where_the_scale_has_classes():
  scale = dict(shape=(8, 8, 1), classes=3, examples=100)
  record, example = abstract_data(dict(data=dict(train="learn")), dict(scale=scale))
  assert (record.classes, record.sizes) == (3, {"learn": 100})
  assert example["label"] == jax.ShapeDtypeStruct((1,), "int32")
