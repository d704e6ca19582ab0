"""Loggers by name: each is a writer, and a relaunch continues the run that the first one began."""

import sys
import types

import numpy as np
import pytest

from maskjax import lab
from maskjax.errors import BadInput
from maskjax.train.log.loggers import bind_loggers, open_writers
from maskjax.train.log.metrics import Writer
from maskjax.train.run import plain
from maskjax.train.setup.sections import checked
from maskjax.train.workdirs.continued import continued
from maskjax.train.workdirs.workdir import write_config

NEEDED = {"data": {"name": ""}, "optimizer": {}, "batch_size": 1}
PICTURE = np.zeros((2, 3, 1), np.uint8)


class Records:
  """A writer of a user's own."""

  def __init__(self, workdir, step, prefix):
    self.told = [(workdir.name, step, prefix)]
    Records.made.append(self)

  def scalars(self, step, values):
    self.told.append((step, dict(values)))

  def image(self, step, name, pixels):
    self.told.append((step, name, pixels.shape))

  def close(self):
    self.told.append("closed")


@pytest.fixture
def users(monkeypatch):
  """A user's module `mine`."""
  mine = types.ModuleType("mine")
  mine.records = lambda workdir, step, *, prefix="": Records(workdir, step, prefix)
  mine.strange = lambda config: "no writer"
  mine.greedy = lambda weights: None
  mine.records.__name__, mine.greedy.__name__ = "records", "greedy"
  monkeypatch.setitem(sys.modules, "mine", mine)
  monkeypatch.setattr(Records, "made", [], raising=False)


def launch(workdir, step, **loggers):
  """What a launch writes that goes on at a step."""
  writers = open_writers({"seed": 0, "log": {"loggers": loggers}}, workdir, step)
  writers.scalars(step + 1, {"loss": np.float32(0.5)})
  writers.image(step + 1, "views/masks", PICTURE)
  writers.close()


def test_a_logger_of_ones_own_gets_what_it_names(users, tmp_path):
  launch(tmp_path / "w", 3, one={"fn": "mine:records", "prefix": "a"}, off=None)
  (one,) = Records.made
  assert one.told == [
    ("w", 3, "a"), (4, {"loss": 0.5}), (4, "views/masks", (2, 3, 1)), "closed",
  ]  # fmt: skip
  assert isinstance(one, Writer)


@pytest.mark.parametrize(
  ("section", "says"),
  [
    ({"fn": "train.log.tensorbord"}, "did you mean 'tensorboard'"),
    ({"fn": "train.log.mlflow", "experimnt": "a"}, "did you mean 'experiment'"),
    ({"fn": "mine:greedy"}, "greedy needs weights; a run offers config, step, workdir"),
    ({"fn": "mine:strange"}, r"log\.loggers\.one made 'no writer': a writer has scalars, image"),
  ],
)
def test_what_is_no_logger(users, tmp_path, section, says):
  with pytest.raises(BadInput, match=says):
    launch(tmp_path, 0, one=section)


def test_every_config_has_tensorboard_and_services_that_wait_for_a_name(tmp_path, monkeypatch):
  for name in ("wandb", "mlflow"):
    monkeypatch.setitem(sys.modules, name, None)
  config = lab.common().to_dict()
  assert sorted(bind_loggers(config)) == ["mlflow", "tensorboard", "wandb"]
  open_writers(config, tmp_path, 0).close()
  assert sorted(path.name for path in tmp_path.iterdir()) == ["metrics.jsonl", "tensorboard"]
  for key, extra in (("wandb.project", "wandb"), ("mlflow.experiment", "mlflow")):
    config = lab.common()
    lab.assign(config, f"log.loggers.{key}", "mae")
    with pytest.raises(BadInput, match=rf"maskjax\[{extra}\]'; --config.log.loggers.{extra}=None"):
      open_writers(config.to_dict(), tmp_path, 0)
    lab.assign(config, f"log.loggers.{extra}", "None")
    open_writers(checked({**NEEDED, **plain(config)}), tmp_path, 0).close()


def test_a_run_of_wandb_is_continued(tmp_path, monkeypatch):
  inits, logged, axes = [], [], []
  fake = types.SimpleNamespace(
    init=lambda **kwargs: inits.append(kwargs) or fake,
    define_metric=lambda name, step_metric: axes.append((name, step_metric)),
    log=logged.append,
    Image=lambda pixels: ("image", pixels.shape),
    finish=lambda: logged.append("finished"),
  )
  monkeypatch.setitem(sys.modules, "wandb", fake)
  for step in (0, 5):
    launch(tmp_path, step, w={"fn": "train.log.wandb", "project": "mae", "mode": "offline"})
  assert inits[0] == inits[1]
  assert len(inits[0].pop("id")) == 16
  assert inits[0].pop("config")["seed"] == 0
  assert inits[0] == {
    "project": "mae", "mode": "offline", "resume": "allow", "dir": str(tmp_path),
    "name": tmp_path.name,
  }  # fmt: skip
  assert axes == [("*", "step")] * 2
  row = {"step": 1, "loss": 0.5}, {"step": 1, "views/masks": ("image", (2, 3, 1))}, "finished"
  assert logged[:3] == [*row]
  assert [row["step"] for row in logged[3:5]] == [6, 6]


class Mlflow(types.ModuleType):
  """What is used of MLflow, writing down its calls."""

  class MlflowException(Exception):  # noqa: N818
    """As theirs."""

  def __init__(self):
    super().__init__("mlflow")
    self.calls, self.experiments, self.clash = [], {}, False
    pair = lambda *parts: parts
    self.entities = types.SimpleNamespace(Metric=pair, Param=pair)

  def __getattr__(self, name):
    return lambda *args, **kwargs: self.calls.append((name, *args, *kwargs.items()))

  def MlflowClient(self, tracking_uri):  # noqa: N802
    self.calls.append(("client", tracking_uri))
    if tracking_uri == "refused":
      raise self.MlflowException("no such store")
    return self

  def get_experiment_by_name(self, name):
    return self.experiments.get(name)

  def create_experiment(self, name):
    self.experiments[name] = types.SimpleNamespace(experiment_id="7")
    if self.clash:
      raise self.MlflowException("RESOURCE_ALREADY_EXISTS")

  def create_run(self, number, run_name):
    self.calls.append(("create", number, run_name))
    return types.SimpleNamespace(info=types.SimpleNamespace(run_id="id3"))


@pytest.mark.parametrize("clash", [False, True])
def test_a_run_of_mlflow_is_continued(tmp_path, monkeypatch, clash):
  fake = Mlflow()
  fake.clash = clash
  monkeypatch.setitem(sys.modules, "mlflow", fake)
  monkeypatch.setitem(sys.modules, "mlflow.entities", fake.entities)
  for step in (0, 5):
    launch(tmp_path, step, m={"fn": "train.log.mlflow", "experiment": "mae", "uri": "file:///x"})
  batches = [call for call in fake.calls if call[0] == "log_batch"]
  (_, run_id, (_, parameters)), (_, _, (_, metrics)), (_, _, (_, later)) = batches
  assert run_id == "id3"
  assert ("seed", "0") in parameters  # at the first launch only: MLflow has them for good
  assert [(name, value, step) for name, value, _, step in (*metrics, *later)] == [
    ("loss", 0.5, 1), ("loss", 0.5, 6),
  ]  # fmt: skip
  others = [call for call in fake.calls if call[0] not in ("log_batch", "log_image")]
  assert others == [
    ("client", "file:///x"), ("create", "7", tmp_path.name), ("set_terminated", "id3"),
    ("client", "file:///x"), ("update_run", "id3", ("status", "RUNNING")),
    ("set_terminated", "id3"),
  ]  # fmt: skip
  images = [call[-1] for call in fake.calls if call[0] == "log_image"]
  assert images == [("artifact_file", f"views/masks/{s:08d}.png") for s in (1, 6)]
  with pytest.raises(BadInput, match=r"MLflow: no such store; .*loggers\.mlflow=None"):
    launch(tmp_path, 0, m={"fn": "train.log.mlflow", "experiment": "mae", "uri": "refused"})


def test_a_workdir_of_before_loggers_were_sections_is_continued(tmp_path):
  write_config(tmp_path, {"seed": 0, "log": {"every": 5, "tensorboard": False, "wandb": "mae"}})
  log = continued(tmp_path).log.to_dict()
  assert log == {"every": 5, "loggers": {"wandb": {"fn": "train.log.wandb", "project": "mae"}}}
  write_config(tmp_path, {"seed": 0, "log": {"every": 5, "tensorboard": True}})
  assert list(continued(tmp_path).log.loggers) == ["tensorboard"]
