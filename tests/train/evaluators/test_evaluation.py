"""Evaluators of a run: when they run, on what, and what is found out before."""

import dataclasses
import inspect
import json
import pathlib
import runpy
import shutil
from typing import Any

import jax
import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from maskjax import config_files, lab
from maskjax.data import pipeline
from maskjax.errors import BadInput
from maskjax.record import Record
from maskjax.task.base import Task
from maskjax.train import run
from maskjax.train.evaluators.evaluation import (
  Context,
  bind_evaluators,
  check_evaluators,
  evaluate,
)
from maskjax.train.mesh.mesh import make_mesh
from maskjax.train.setup.build import make_parts

shared = runpy.run_path(str(pathlib.Path(__file__).parents[1] / "test_run.py"))
tiny, rows = shared["toy"], shared["rows"]

EVALS: dict[str, Any] = {
  "knn": {"fn": "train.evaluators.knn", "k": 3, "pixels": True, "every": 0},
  "linear_probe": {"fn": "train.evaluators.linear_probe", "l2": 1e-2, "every": 2},
  "masked_reconstruction": {
    "fn": "train.evaluators.masked_reconstruction",
    "batch_size": 16,
    "every": 2,
  },
  "reconstruction": {"fn": "train.evaluators.reconstruction", "batch_size": 16, "every": 0},
}
LOGGED = {"tensorboard": {"fn": "train.log.tensorboard"}}
EVALUATED = {"evals": EVALS, "total_steps": 4, "log.loggers": LOGGED}


@pytest.fixture(scope="module")
def both(tiny, tmp_path_factory):
  """Config, workdir and table of an evaluated run of two seeds."""
  config, workdir = tiny.config(EVALUATED, seeds=2), tmp_path_factory.mktemp("both")
  return config, workdir, run.run(config, workdir)


def at(found, step):
  """All numbers of one step."""
  return {k: v for row in found if row["step"] == step for k, v in row.items()}


def evals(row):
  """The numbers of the evaluators."""
  return {k: v for k, v in row.items() if k.startswith("eval/")}


def test_evaluators_run_at_the_first_and_the_last_step_and_in_between_where_asked(both):
  _, workdir, _ = both
  found = rows(workdir)
  for name in ("knn", "linear_probe"):
    assert f"eval/{name}/accuracy" in at(found, 0)
    assert f"eval/{name}/accuracy" in at(found, 4)
  pixels = [name for name in evals(at(found, 0)) if "/pixels/" in name]
  assert pixels == ["eval/knn/pixels/accuracy"]
  assert not [name for name in evals(at(found, 4)) if "/pixels/" in name]
  assert not evals(at(found, 1))
  between = {name.split("/")[1] for name in evals(at(found, 2))}
  assert between == {"linear_probe", "masked_reconstruction"}


def test_neighbours_of_raw_pixels_are_those_of_scikit_learn(tiny, both):
  _, workdir, _ = both
  with np.load(tiny.data) as data:
    flat = {k: x.reshape(len(x), -1) / 255 for k, x in data.items() if k.endswith("images")}
    label = {k: x for k, x in data.items() if k.endswith("labels")}
  mean, std = flat["train_images"].mean(), flat["train_images"].std()
  unit = lambda x: x / np.linalg.norm(x, axis=1, keepdims=True)
  x, queries = (unit((flat[f"{split}_images"] - mean) / std) for split in ("train", "test"))
  weights = lambda distance: np.exp((1 - distance) / 0.07)
  judge = KNeighborsClassifier(3, metric="cosine", algorithm="brute", weights=weights)
  judge.fit(x, label["train_labels"])
  expected = judge.score(queries, label["test_labels"])
  assert at(rows(workdir), 0)["eval/knn/pixels/accuracy"] == pytest.approx(expected)


def test_a_workdir_holds_the_names_that_scripts_rely_on(both):
  _, workdir, _ = both
  lines = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
  names = set().union(*lines)
  assert {"step", "train/loss", "perf/examples_per_second", "perf/mfu"} <= names
  assert {path.name for path in (workdir / "checkpoints").iterdir()} == {"2", "4"}
  for name in ("config.json", "record.json", "tensorboard", "views", "seeds/1/metrics.jsonl"):
    assert (workdir / name).exists(), name
  pictures = sorted(path.name for path in (workdir / "views").iterdir())
  assert pictures == ["00000000_reconstruction.png", "00000004_reconstruction.png"]


def test_several_seeds_give_one_table_with_their_spread(both):
  _, _, said = both
  assert "±" in said
  for row in ("raw pixels", "untrained", "trained, step 4"):
    assert row in said


def test_the_first_of_two_seeds_is_the_run_of_one(tiny, both, tmp_path):
  _, workdir, _ = both
  run.run(tiny.config(EVALUATED), tmp_path)
  assert tiny.final(tmp_path) == tiny.final(workdir)
  alone = rows(tmp_path)
  assert alone == rows(workdir)[: len(alone)]  # evaluated again, the other has more
  assert tiny.final(workdir) != tiny.final(workdir / "seeds" / "1")


def test_evaluating_reproduces_the_last_row_and_trains_nothing(tiny, both):
  config, workdir, _ = both
  for folder in (workdir, workdir / "seeds" / "1"):
    before, state = rows(folder), tiny.final(folder)
    run.run({**config, "job": "evaluate"}, workdir)
    added = rows(folder)[len(before) :]
    assert [row["step"] for row in added] == [4]
    assert evals(added[0]) == evals(at(before, 4))
    assert tiny.final(folder) == state


def test_padding_of_the_last_batch_does_not_count(tiny, both, tmp_path):
  found = []
  for size in (5, 7, 16):  # of 10 and 40 examples
    config = tiny.config(total_steps=4, eval_batch_size=size, job="evaluate")
    config["evals"] = {
      "knn": EVALS["knn"],
      "masked_reconstruction": {"fn": "train.evaluators.masked_reconstruction", "batch_size": 10},
    }
    workdir = shutil.copytree(both[1], tmp_path / str(size))
    run.run(config, workdir)
    found.append(evals(rows(workdir)[-1]))
  assert found[0] == pytest.approx(found[1], rel=1e-5)
  assert found[0] == pytest.approx(found[2], rel=1e-5)


@pytest.mark.parametrize("name", ["knn", "kshot_probe", "linear_probe"])
def test_evaluators_without_labels_are_refused_before_anything_is_written(tiny, tmp_path, name):
  data = tiny.write_images(tmp_path / "unlabelled.npz", labels=False)
  config = tiny.config(
    {f"evals.{name}": {"fn": f"train.evaluators.{name}"}}, **{"data.path": str(data)}
  )
  with pytest.raises(BadInput, match=f"evals.{name} needs labels"):
    run.run(config, tmp_path / "run")
  assert not (tmp_path / "run").exists()


def test_a_split_without_labels_is_refused_for_who_needs_them(tiny, tmp_path):
  arrays = dict(np.load(tiny.data))
  del arrays["test_labels"]
  arrays |= {"validation_images": arrays["test_images"], "validation_labels": np.arange(10) % 4}
  np.savez(tmp_path / "some.npz", **arrays)
  data = pipeline.load(name="npz", path=str(tmp_path / "some.npz"))
  task = Task(None, None, answers={"features": len, "predict": len})
  for name in ("knn", "accuracy", "finetune"):
    sections = {name: {"fn": f"train.evaluators.{name}"}}
    with pytest.raises(BadInput, match=f"evals.{name} needs labels, and the split 'test' has none"):
      check_evaluators(sections, data.record, task, data)
    # The split that evaluators look at unless they say is that of the data.
    check_evaluators(sections, data.record, task, data._replace(test="validation"))
  assert bind_evaluators(sections, "validation")["finetune"].keywords == {"test": "validation"}


def test_classes_that_training_examples_lack_are_refused_for_who_needs_labels(tiny, tmp_path):
  arrays = dict(np.load(tiny.data))
  arrays["test_labels"] = np.arange(10) % 5
  np.savez(tmp_path / "more.npz", **arrays)
  options = dict(name="npz", path=str(tmp_path / "more.npz"))
  data, task = pipeline.load(**options), Task(None, None, answers={"features": len})
  sections = {"knn": {"fn": "train.evaluators.knn"}}
  with pytest.raises(BadInput, match="1 classes of 'test' are not in 'train', '4' for one"):
    check_evaluators(sections, data.record, task, data)
  some = pipeline.load(**options, classes=(0, 1, 2, 3))
  check_evaluators(sections, some.record, task, some)
  # A run that knows them may be evaluated on them, wherever its training examples are by now.
  again = pipeline.load(**options, known=data.record)
  check_evaluators(sections, again.record, task, again)


def test_an_unknown_split_of_an_evaluator_is_refused_before_anything_is_written(tiny, tmp_path):
  config = tiny.config({"evals.knn": {**EVALS["knn"], "test": "tset"}})
  with pytest.raises(BadInput, match=r"evals\.knn\.test 'tset'; did you mean 'test'"):
    run.run(config, tmp_path / "run")
  assert not (tmp_path / "run").exists()


# Evaluators that look at another split whatever `data.test` is, and why.
ELSEWHERE = {
  ("bandana", "validation"): "the probe that chooses, beside that of the test nodes",
  ("bandana", "link_prediction"): "held-out edges are those of the whole graph",
  ("fmix", "fitted"): "how well the training images are fitted",
  ("remasker", "imputation"): "the cells that were hidden on purpose",
  ("remasker", "reconstruction"): "a table's rows are all for training",
  ("hypersparse_art", "pruned"): "the rule that ends the run is told of training examples",
  ("audio_mae", "reconstruction"): "AudioSet has no test split",
}


def looking(config, test):
  """The split that each evaluator of a config looks at."""
  for name, bound in bind_evaluators(config.get("evals", {}), test).items():
    roles = inspect.signature(bound).parameters
    yield from ((name, roles[role].default) for role in ("test", "split") if role in roles)


def test_the_evaluators_of_every_config_look_at_the_split_that_data_test_names():
  elsewhere = set()
  for method, file in config_files.ids().items():
    for preset in (name for name in lab.presets(lab.load(file)) if name != "smoke"):
      config = lab.read(f"{method}:{preset}" if preset else method).to_dict()
      for part in (config, *config.get("stages", {}).values()):
        elsewhere |= {(method, name) for name, split in looking(part, "val") if split != "val"}
      for section in ("explain", "sample"):
        assert "split" not in config.get(section, {}), method
  assert elsewhere == set(ELSEWHERE)


def test_an_evaluator_of_features_is_refused_for_a_task_without_them(tiny):
  parts = make_parts(tiny.config())
  with pytest.raises(BadInput, match=r"evals\.knn needs features"):
    check_evaluators({"knn": EVALS["knn"]}, parts.data.record, parts.task._replace(answers={}))


def test_an_evaluator_of_ones_own_asks_a_task_of_ones_own(tmp_path, monkeypatch):
  (tmp_path / "own_evaluators.py").write_text(
    "from maskjax.task.answers import answer, needs\n\n\n"
    "@needs('tides', kinds=('series',))\n"
    "def high(context, *, above=1):\n"
    "  found = answer(context.task, 'tides', 'high')(context.variables)\n"
    "  return {'high': sum(x > above for x in found)}\n"
  )
  monkeypatch.syspath_prepend(tmp_path)
  sections = {"mine": {"fn": "own_evaluators:high", "above": 2}}
  record = Record("series", (8,), {"train": 1})
  without = Task(None, None, answers={"tide": list, "nats": list})
  says = r"evals\.mine needs tides, the task offers nats, tide; did you mean 'tide'\?; --config"
  with pytest.raises(BadInput, match=says):
    check_evaluators(sections, record, without)
  with pytest.raises(BadInput, match=r"evals\.mine looks at series, the data set holds text"):
    check_evaluators(sections, dataclasses.replace(record, kind="text"), without)
  task = Task(None, None, answers={"tides": list})
  check_evaluators(sections, record, task)
  fields = {field.name: None for field in dataclasses.fields(Context)}
  given = dict(record=record, task=task, variables=(1, 2, 3, 4), key=jax.random.key(0), step=5)
  assert evaluate(Context(**{**fields, **given}), sections, ["mine"]) == {"eval/mine/high": 2}


@pytest.mark.parametrize(
  ("name", "kinds"),
  [
    ("masked_reconstruction", "images and videos"),
    ("reconstruction", "images and videos and tables"),
    ("imputation", "tables"),
    ("motion", "videos"),
  ],
)
def test_evaluators_are_refused_for_data_that_they_cannot_look_at(tiny, name, kinds):
  parts = make_parts(tiny.config())
  record = dataclasses.replace(parts.data.record, kind="text")
  with pytest.raises(BadInput, match=f"evals.{name} looks at {kinds}, the data set holds text"):
    check_evaluators({name: {"fn": f"train.evaluators.{name}"}}, record, parts.task)


def test_nothing_to_evaluate_is_said(tiny, tmp_path):
  with pytest.raises(BadInput, match="no checkpoint yet"):
    run.run(tiny.config(EVALUATED, job="evaluate"), tmp_path)


def test_features_of_texts_are_told_which_tokens_are_there_and_have_a_label_each(tmp_path):
  path, texts = tmp_path / "a.csv", ["abcdefgh", "ab", "abcd", "b", "abc"]
  path.write_text("text,label\n" + "".join(f"{t},{len(t) % 2}\n" for t in texts))
  data = pipeline.load(
    name="labelled_text",
    path=str(path),
    length=6,
    unit="characters",
    split=(1.0, 0, 0),
    test="train",
  )
  count = lambda variables, batch: {"mean": batch["valid"].sum(-1, keepdims=True) * 1.0}
  fields = {field.name: None for field in dataclasses.fields(Context)[:13]}
  mesh = make_mesh()
  known = dict(record=data.record, data=data, mesh=mesh, batch_size=8, encode=jax.jit(count))
  context = Context(**{**fields, **known, "pause": lambda: None, "cache": {}})
  x, y = context.features("train", "mean")
  assert x[:, 0].tolist() == [6, 2, 4, 1, 3]
  assert y.tolist() == [0, 0, 0, 1, 1]
