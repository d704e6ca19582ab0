"""A sweep that is trained: rows, going on, and tables."""

import contextlib
import json
import os
import pathlib
import runpy
import shutil
import signal

import pytest
from ml_collections import ConfigDict

from maskjax.errors import BadInput, Restart
from maskjax.train import result
from maskjax.train.log import compare
from maskjax.train.pod.signals import asked_to_stop
from maskjax.train.sweeps import points, rows, run

toy = runpy.run_path(str(pathlib.Path(__file__).parents[1] / "test_run.py"))["toy"]
KNN = {"evals.knn": {"fn": "train.evaluators.knn", "k": 3, "every": 0}, "total_steps": 2}


def swept(toy, *changes, **fields):
  """Points of the least config."""
  found = []
  for number, change in enumerate(changes):
    config = ConfigDict(toy.config({**KNN, **fields, **change}))
    found.append(points.Point(number, "toy", change, config))
  return found


@pytest.fixture(scope="module")
def trained(toy, tmp_path_factory):
  """A sweep of two rates, the second of two seeds, and its workdir."""
  workdir = tmp_path_factory.mktemp("sweep")
  found = swept(toy, {"ema": 0.0}, {"ema": 0.5, "seeds": 2})
  return found, workdir, run.run(found, str(workdir))


def test_each_seed_of_a_finished_run_is_a_row(trained):
  found, workdir, said = trained
  one, *two = rows.read(workdir / "results.json")
  assert (one["config"], one["overrides"]) == ("toy", {"ema": 0.0, "seed": 0})
  assert [row["overrides"] for row in two] == [{"ema": 0.5, "seeds": 2, "seed": s} for s in (0, 1)]
  assert (one["step"], one["parameters"]) == (2, 40 + 72 + 36)
  written = json.loads(
    (pathlib.Path(found[0].folder(workdir)) / "metrics.jsonl").open().readlines()[-1]
  )
  assert one["metrics"]["eval/knn/accuracy"] == written["eval/knn/accuracy"]
  assert not [name for name in one["metrics"] if name.startswith("perf/")]
  assert one["seconds"] > 0
  assert one["examples_per_second"] == pytest.approx(16 / one["seconds"], rel=0.1)
  assert len((workdir / "results.json").read_text().splitlines()) == 5  # a row a line
  assert [line.split()[:3] for line in said.splitlines()[1:3]] == [
    ["toy", "ema=0.0", f"{one['metrics']['eval/knn/accuracy']:.3f}"],
    ["toy", "ema=0.5", "seeds=2"],
  ]


def test_the_command_goes_on_with_what_has_no_row(toy, trained, tmp_path, monkeypatch, caplog):
  found, workdir, _ = trained
  shutil.copytree(workdir, tmp_path, dirs_exist_ok=True)
  before, asked = rows.read(tmp_path / "results.json"), []

  def train(config, folder):
    asked.append((config.ema, config.batch_size, folder))
    if config.batch_size == 5:
      raise BadInput("loss is not finite")
    return result.Result(folder, 2, {}, "", {config.seed: {"eval/knn/accuracy": 1.0}}, 3)

  monkeypatch.setattr(run, "train", train)
  assert run.run(found, str(tmp_path)).startswith(" ")  # the table
  assert asked == []
  (tmp_path / "results.json").write_text(json.dumps(before[:2]))  # one of two seeds
  run.run(found, str(tmp_path))
  assert [folder for *_, folder in asked] == [found[1].folder(tmp_path)]
  rows.add(tmp_path / "results.json", before)
  asked.clear()
  # Another setting of the same name: its row takes the place of the old one.
  new = swept(toy, {"ema": 0.0}, {"ema": 0.5, "seeds": 2}, batch_size=8)
  bad = swept(toy, {"ema": 0.1}, batch_size=5)
  with pytest.raises(BadInput, match="1 of 3 points could not be trained: 0: loss is not finite"):
    run.run([*bad, new[0], found[1]], str(tmp_path))
  assert [ask[:2] for ask in asked] == [(0.1, 5), (0.0, 8)]
  assert asked[1][2] == new[0].folder(tmp_path) != found[0].folder(tmp_path)
  after = rows.read(tmp_path / "results.json")
  assert after[1:] == before[1:]
  assert (after[0]["overrides"], after[0]["parameters"]) == (before[0]["overrides"], 3)
  assert after[0]["settings"] != before[0]["settings"]
  new[0].config.job = "evaluate"
  with pytest.raises(BadInput, match="point 0 is to do another job"):
    run.run(new[:1], str(tmp_path))


@pytest.mark.parametrize("when", ["in a run", "between runs"])
def test_a_signal_that_comes_too_late_for_a_point_keeps_the_next_from_beginning(
  toy, tmp_path, monkeypatch, when
):
  found, done, signals = swept(toy, {"ema": 0.0}, {"ema": 0.5}), [], [signal.SIGTERM]

  def train(config, folder):
    done.append(config.ema)
    with asked_to_stop() if when == "in a run" else contextlib.nullcontext():
      if signals:
        os.kill(os.getpid(), signals.pop())
    return result.Result(folder, 2, {}, "", {0: {"eval/knn/accuracy": 1.0}}, 3)

  monkeypatch.setattr(run, "train", train)
  with pytest.raises(Restart, match="SIGTERM before point 1: the same command goes on"):
    run.run(found, str(tmp_path))
  assert len(rows.read(tmp_path / "results.json")) == 1
  run.run(found, str(tmp_path))
  assert done == [0.0, 0.5]
  assert len(rows.read(tmp_path / "results.json")) == 2


def test_points_of_equal_seconds_take_their_steps_from_a_row(toy, trained, tmp_path, monkeypatch):
  found, workdir, _ = trained
  file, trained_for = tmp_path / "results.json", []
  first, second = rows.read(workdir / "results.json")[:2]
  rows.add(file, [{**first, "examples_per_second": 80.0}, {**second, "examples_per_second": 9.0}])

  def train(config, folder):
    trained_for.append((config.total_steps, config.seed))
    return result.Result(folder, 2, {}, "", {config.seed: {"eval/knn/accuracy": 1.0}}, 3)

  monkeypatch.setattr(run, "train", train)
  timed = found[0]._replace(seconds=2.5, overrides={"ema": 0.0, "seconds": 2.5})
  run.run([timed], str(tmp_path))
  timed.config.seed = 4  # the speed is that of another seed
  run.run([timed], str(tmp_path))
  assert trained_for == [(12, 0), (12, 4)]  # 2.5 · 80 / 16, half to even
  assert timed.config.total_steps == 2
  assert [row["overrides"].get("seconds") for row in rows.read(file)] == [None, None, 2.5, 2.5]
  timed.config.seed = 0
  assert timed.settings(0) != found[0].settings(0)
  (slow,) = swept(toy, {"ema": 0.0}, batch_size=8)  # of which no row is there
  with pytest.raises(BadInput, match="0: no row says how fast toy is"):
    run.run([slow._replace(seconds=2.5)], str(tmp_path))


def test_tables_of_rows(trained, capsys):
  _, workdir, _ = trained
  found = rows.read(workdir / "results.json")
  values = [row["metrics"]["eval/knn/accuracy"] for row in found]
  page = rows.markdown(found, {"eval/knn/accuracy": "kNN", "parameters": "parameters"})
  assert page.splitlines()[0] == "| run | kNN | parameters |"
  assert page.splitlines()[2] == f"| toy ema=0.0 | {values[0]:.4g} | 148 |"
  assert f"| {sum(values[1:]) / 2:.4g} ± " in page.splitlines()[3]
  file, png = str(workdir / "results.json"), workdir / "plot.png"
  words = [file, "--y=eval/knn/accuracy", "--x=parameters", f"--png={png}"]
  assert compare.main(words) == 0
  assert "toy ema=0.5" in capsys.readouterr().out
  assert png.stat().st_size > 0
  assert compare.main([file, "--y=eval/knn/acuracy"]) == 2
  assert "did you mean 'eval/knn/accuracy'" in capsys.readouterr().err
  assert compare.main([str(workdir), "--y=eval/knn/accuracy"]) == 0  # of the folders of points
  shown = capsys.readouterr().out.splitlines()
  assert [line.split()[0].split("/")[1][:4] for line in shown[1:3]] == ["000-", "001-"]


@pytest.mark.parametrize("text", ["{", '{"a": 1}', '[{"config": "a"}]', "[3]"])
def test_a_file_that_holds_no_rows_is_refused_and_kept(tmp_path, text):
  path = tmp_path / "results.json"
  path.write_text(text)
  with pytest.raises(BadInput, match=r"results\.json holds no rows of finished runs"):
    rows.add(path, [])
  assert path.read_text() == text
