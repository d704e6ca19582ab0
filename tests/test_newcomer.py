"""What a newcomer types: help, lists, pages, ids from any folder, checks, continued workdirs."""

import contextlib
import json
import logging
import os
import pathlib
import pty
import shlex
import sys
from types import SimpleNamespace

import pytest

import maskjax.train.run
from maskjax import cli, config_files, flags, lab
from maskjax.task.base import Task
from maskjax.train.jobs.offered import results
from maskjax.train.log.progress import Progress
from maskjax.train.workdirs.workdir import write_config

ROOT = pathlib.Path(__file__).parents[1]
USER = '''
"""A method of a user."""
from maskjax import lab
BASE = lab.base("image_mim/mae")
NOTE = dict(scale=BASE.NOTE["scale"], laptop=BASE.NOTE["laptop"])
def method(c):
  c.select.ratio = 0.5
@lab.preset
def laptop(c):
  """Less than all."""
'''


@pytest.fixture
def launch(monkeypatch, capsys, tmp_path):
  """Launches from a folder of its own, with a stand-in for the jobs, whose configs `seen` has."""
  monkeypatch.chdir(tmp_path)
  monkeypatch.setattr(logging.getLogger("maskjax"), "handlers", [])
  seen = []
  monkeypatch.setattr(maskjax.train.run, "run", lambda *given: seen.append(given) or "done")

  def call(*words):
    status = cli.main(["launch.py", *words])
    return status, *capsys.readouterr()

  call.seen = seen
  return call


def test_help_is_short_and_its_examples_are_command_lines(launch):
  for words in ([], ["--help"], ["-h"], ["--config=mae", "-h"]):
    assert launch(*words) == (0, f"{flags.HELP}\n", "")
  assert len(flags.HELP.splitlines()) <= 25
  lines = [line for line in flags.HELP.splitlines() if line.startswith(f"  {flags.RUN} ")]
  given = []
  for line in lines:
    words = shlex.split(
      line.partition("  ")[2].partition("  ")[0].replace("[", "").replace("]", "")
    )
    given.append(flags.parse(words[len(flags.RUN.split()) :]))
  said = {name for flag in given for name, value in vars(flag).items() if value}
  assert {"list", "describe", "check", "config", "workdir", "job", "plan"} <= said


def test_one_family_is_listed(launch):
  for words in (["--list=image_mim"], ["--list", "image_mim"]):
    lines = launch(*words)[1].splitlines()[1:]
    assert {"colormae", "hpm", "mae"} <= {line.split()[0] for line in lines}
    assert not {"md4", "magnitude"} & {line.split()[0] for line in lines}
  assert [e["family"] for e in json.loads(launch("--list=base", "--json")[1])] == ["base"] * 4
  status, out, err = launch("--list=image_min")
  assert (status, out) == (2, "")
  assert err.startswith("error: unknown family 'image_min'; did you mean 'image_mim'? (known: ")


def test_a_method_on_one_page(launch):
  status, out, _ = launch("--describe", "mae:laptop", "--config.select.ratio=0.5")
  module = lab.base("image_mim/mae")
  assert status == 0
  assert all(f"  {line}".rstrip() in out for line in module.__doc__.strip().splitlines())
  entry = next(e for e in json.loads(launch("--list=image_mim", "--json")[1]) if e["id"] == "mae")
  assert entry["measured"].splitlines()[0] in out
  assert "mae:cifar   ViT-Ti/4 on CIFAR-10, 8 epochs" in out
  assert "mae         ViT-L/16, 1600 epochs of ImageNet-1k." in out
  assert "--config=mae:laptop --workdir=runs/mae\n" in out
  assert "hidden = select.top(scores, allowed=positions.allowed, ratio=0.5, rounding='up')" in out
  assert launch("--describe=mea")[2].startswith("error: unknown config 'mea'; did you mean 'mae'?")


def test_a_config_of_the_user_on_one_page(launch, tmp_path):
  (tmp_path / "mine.py").write_text(USER)
  status, out, err = launch("--describe=mine.py")
  assert status == 0, err
  assert "A method of a user." in out
  assert "mine.py:laptop  Less than all." in out
  assert "mine.py:cifar   ViT-Ti/4 on CIFAR-10" in out  # as its base says
  assert "--config=mine.py:laptop --check" in out


@pytest.mark.parametrize("name", ["mae", "{mae}"])
def test_configs_by_id_or_by_path_from_any_folder(launch, name):
  place = name.format(mae=config_files.ids()["mae"])
  assert launch(f"--config={place}:smoke,seed=3", "--workdir=w")[:2] == (0, "done\n")
  ((config, _),) = launch.seen
  assert (config.seed, config.total_steps) == (3, 2)


@pytest.mark.parametrize(
  ("place", "says"),
  [
    ("mea:smoke", "unknown config 'mea'; did you mean 'mae'? (known: "),
    ("mae:smok", "unknown preset 'smok'; did you mean 'smoke'?"),
    ("configs/image_mim/mae.py", "there is no config file configs/image_mim/mae.py; did you mean"),
    ("mae.yaml", "there is no config file mae.yaml"),
    ("minn.py:smoke", "there is no config file minn.py; did you mean 'mine.py'?"),
  ],
)
def test_configs_that_are_not_there(launch, tmp_path, place, says):
  (tmp_path / "mine.py").write_text(USER)
  status, out, err = launch(f"--config={place}", "--workdir=w")
  assert (status, out) == (2, "")
  assert err.startswith(f"error: {says}")


@pytest.fixture
def begun(tmp_path):
  """A workdir that a run of mae left, as far as its config."""
  workdir = tmp_path / "runs" / "mae"
  workdir.mkdir(parents=True)
  write_config(workdir, lab.read("mae:smoke,seeds=2").to_dict())
  return workdir


def test_a_workdir_alone_is_continued(launch, begun):
  assert launch("--workdir=runs/mae")[:2] == (0, "done\n")
  words = "--job=evaluate", "--config.log.every=7", "--config.mesh.shape.data=1"
  assert launch("--workdir=runs/mae", *words)[0] == 0
  (same, workdir), (changed, _) = launch.seen
  assert workdir == "runs/mae"
  assert same.to_dict() == lab.read("mae:smoke,seeds=2").to_dict()  # with its tuples
  assert (changed.job, changed.log.every, changed.mesh.shape.data) == ("evaluate", 7, 1)


def test_workdirs_that_cannot_be_continued(launch, begun):
  said = lambda *words: (launch(*words), launch.seen)[0][2].removeprefix("error: ")
  assert said("--workdir=runs/mea").startswith(
    "runs/mea holds no run: there is no config.json; did you mean 'mae'?; begin one with --config="
  )
  assert said("--workdir=runs/mae", "--config.log.evry=7").startswith(
    "unknown config key 'log.evry'; did you mean 'log.every'"
  )
  seed = begun / "seeds" / "1"
  seed.mkdir(parents=True)
  write_config(seed, lab.read("mae:smoke,seeds=2,seed=1").to_dict())
  assert "holds one of several seeds: name the workdir of all" in said("--workdir=runs/mae/seeds/1")
  assert launch.seen == []


def test_a_workdir_may_name_functions_of_no_package_that_is_not_trusted(launch, begun, monkeypatch):
  config = lab.read("mae:smoke").to_dict()
  write_config(begun, {**config, "score": {"fn": "math:sqrt"}})
  run = lambda config, workdir: lab.sections.find(config.score.fn).__name__
  monkeypatch.setattr(maskjax.train.run, "run", run)
  status, _, err = launch("--workdir=runs/mae")
  assert (status, err.endswith("see trust=('math',), --trust=math\n")) == (2, True)
  assert launch("--workdir=runs/mae", "--trust=math")[:2] == (0, "sqrt\n")
  monkeypatch.setattr(maskjax.train.run, "run", lambda config, workdir: "any of one's own")
  assert launch("--config=mae:smoke,score.fn=math:sqrt", "--workdir=w")[0] == 0


def test_a_check_builds_everything_and_writes_nothing(launch, tmp_path, monkeypatch):
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path.parent / "cache"))
  status, out, err = launch("--config=mae:smoke,evals.knn=None", "--check", "--workdir=w")
  assert status == 0, err
  said = dict(line.split(maxsplit=1) for line in out.splitlines())
  assert "image (8, 8, 1), 10 classes" in said["data"]
  assert said["steps"].startswith("2 of ")
  assert int(said["parameters"].replace(",", "")) > 1000
  assert said["jobs"].startswith("train, ")
  assert "view" in said["jobs"]
  status, _, err = launch("--config=mae:smoke", "--check", "--job=evalute")
  assert (status, err[:45]) == (2, "error: unknown job 'evalute'; did you mean 'e")
  assert "ema must lie in [0, 1)" in launch("--config=mae:smoke,ema=2.0", "--check")[2]
  assert list(tmp_path.iterdir()) == []
  assert launch.seen == []


def test_a_run_says_where_its_results_are_and_how_to_go_on(tmp_path):
  workdir = tmp_path / "my runs"
  (workdir / "views").mkdir(parents=True)
  task = Task(init=None, loss=None, answers={"views": len})
  record = SimpleNamespace(kind="image", classes=0)
  config = dict(task=dict(fn="task.masked"), evals=dict(a=dict(fn="mine.scores:a", every=-1)))
  parts = SimpleNamespace(config=config, task=task, data=SimpleNamespace(record=record))
  command = f"maskjax --workdir='{workdir}' --trust=mine"
  assert results(parts, workdir).splitlines() == [
    f"results in {workdir}: views",
    f"continue  {command}",
    f"view      {command} --job=view",
  ]
  config["evals"]["a"]["every"] = 0
  assert f"evaluate  {command} --job=evaluate" in results(parts, workdir).splitlines()
  # What flatters a figure is said below the table that it stands in.
  parts.task = task._replace(told="the true mean")
  config["evals"]["a"]["fn"] = "train.evaluators.knn"
  assert "note" not in results(parts, workdir)
  config["evals"]["a"]["fn"] = "train.evaluators.masked_reconstruction"
  last = results(parts, workdir).splitlines()[-1]
  assert last.split(maxsplit=1) == [
    "note", "predictions are shown and measured given the true mean, which flatters them",
  ]  # fmt: skip


def test_on_a_terminal_what_is_logged_leaves_the_moving_line_whole(monkeypatch):
  monkeypatch.setenv("TERM", "xterm")
  monkeypatch.setenv("COLUMNS", "100")
  monkeypatch.setattr(logging.getLogger("maskjax"), "handlers", [])
  screen, terminal = pty.openpty()
  with open(terminal, "w") as stream:
    monkeypatch.setattr(sys, "stderr", stream)
    cli.speak()
    progress = Progress(10)
    progress.show(1, "step 1 · ETA 0:00:09")
    logging.getLogger("maskjax").info("evaluating knn")
    progress.close()
  shown = b""
  with contextlib.suppress(OSError):  # so Linux ends a terminal that was closed
    while part := os.read(screen, 1 << 16):
      shown += part
  os.close(screen)
  # The line is erased before what is logged, and drawn anew below it.
  before, after = shown.decode().split("evaluating knn")
  assert before.endswith("\x1b[2K")
  assert "ETA 0:00:09" in after
