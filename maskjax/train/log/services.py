"""Services that keep runs: Weights & Biases, MLflow. A relaunch continues the run that it began."""

import contextlib
import os
import pathlib
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any, SupportsFloat

from maskjax.errors import BadInput
from maskjax.train.log.metrics import Image, writing
from maskjax.train.workdirs.workdir import flatten

PARAMETERS, CHARACTERS = 100, 500  # of a call to MLflow, of a value


def _missing(name: str, extra: str) -> BadInput:
  off = f"--config.log.loggers.{extra}=None switches it off"
  return BadInput(f"{name} is not installed: pip install 'maskjax[{extra}]'; {off}")


def _kept(file: pathlib.Path, begin: Callable[[], str]) -> tuple[str, bool]:
  """The id of a run that a file keeps, begun on first use, and whether it is new."""
  with writing(file):
    if file.exists():
      return file.read_text(), False
    file.parent.mkdir(parents=True, exist_ok=True)
    found = begin()
    file.write_text(found)
    return found, True


class WandB:
  """A Weights & Biases run, continued by every run on the same directory.

  Its x-axis is `step`, not the order of arrival, so that a resumed run may write a step again.
  """

  def __init__(self, directory: pathlib.Path, config: Mapping[str, Any], **options: Any):
    try:
      import wandb
    except ImportError as error:
      raise _missing("Weights & Biases", "wandb") from error
    self._wandb = wandb
    run_id, _ = _kept(directory / "wandb" / "run_id", lambda: secrets.token_hex(8))
    options = {"name": directory.name, **options}
    self._run = wandb.init(
      config=dict(config), dir=os.fspath(directory), id=run_id, resume="allow", **options
    )
    self._run.define_metric("*", step_metric="step")

  def scalars(self, step: int, values: Mapping[str, SupportsFloat]) -> None:
    """Logs the numbers as one row."""
    self._run.log({"step": int(step), **{k: float(v) for k, v in values.items()}})

  def image(self, step: int, name: str, pixels: Image) -> None:
    """Logs one picture."""
    self._run.log({"step": int(step), name: self._wandb.Image(pixels)})

  def close(self) -> None:
    """Uploads what is left and ends the run."""
    self._run.finish()


def wandb(
  workdir: pathlib.Path, config: Mapping[str, Any], *, project: str = "", **options: Any
) -> WandB | None:
  """A run of Weights & Biases.

  Args:
    workdir: of a run, which keeps the id in `wandb/run_id`.
    config: of the run, which is shown beside it.
    project: that it belongs to; without one, nothing goes there.
    **options: of `wandb.init`: entity, group, tags, mode; the name is by default the workdir's.

  Raises:
    BadInput: the package is not installed.
  """
  return WandB(workdir, config, project=project, **options) if project else None


class MLflow:
  """A run of an MLflow tracking server or store, continued by every run on the same directory.

  The fields of the config are its parameters, as they were at the first launch.
  """

  def __init__(
    self, directory: pathlib.Path, config: Mapping[str, Any], experiment: str, uri: str, name: str
  ):
    try:
      import mlflow
      from mlflow.entities import Metric, Param
    except ImportError as error:
      raise _missing("MLflow", "mlflow") from error
    self._metric = Metric
    try:
      self._client = mlflow.MlflowClient(tracking_uri=uri or None)
      begin = lambda: self._begun(experiment, name, mlflow.MlflowException)
      self._id, new = _kept(directory / "mlflow" / "run_id", begin)
      if not new:
        self._client.update_run(self._id, status="RUNNING")
      fields = flatten(config).items() if new else ()
      told = [Param(key, str(value)[:CHARACTERS]) for key, value in fields]
      for i in range(0, len(told), PARAMETERS):
        self._client.log_batch(self._id, params=told[i : i + PARAMETERS])
    except mlflow.MlflowException as error:
      raise BadInput(
        f"MLflow: {error}; --config.log.loggers.mlflow=None switches it off"
      ) from error

  def _begun(self, experiment: str, name: str, error: type[Exception]) -> str:
    """The id of a new run of an experiment, which another process may be making just now."""
    find = self._client.get_experiment_by_name
    if find(experiment) is None:
      with contextlib.suppress(error):
        self._client.create_experiment(experiment)
    if (found := find(experiment)) is None:
      raise BadInput(f"MLflow has no experiment {experiment!r} and makes none")
    return self._client.create_run(found.experiment_id, run_name=name).info.run_id

  def scalars(self, step: int, values: Mapping[str, SupportsFloat]) -> None:
    """Logs the numbers of a step together."""
    now = time.time_ns() // 1_000_000
    told = [self._metric(name, float(value), now, int(step)) for name, value in values.items()]
    self._client.log_batch(self._id, metrics=told)

  def image(self, step: int, name: str, pixels: Image) -> None:
    """Keeps one picture as an artifact."""
    self._client.log_image(self._id, pixels, artifact_file=f"{name}/{int(step):08d}.png")

  def close(self) -> None:
    """Marks the run as ended."""
    self._client.set_terminated(self._id)


def mlflow(
  workdir: pathlib.Path,
  config: Mapping[str, Any],
  *,
  experiment: str = "",
  uri: str = "",
  name: str = "",
) -> MLflow | None:
  """A run of MLflow.

  Args:
    workdir: of a run, which keeps the id in `mlflow/run_id`.
    config: of the run, whose fields are the parameters there.
    experiment: that it belongs to; without one, nothing goes there.
    uri: of the tracking server or store; by default what MLflow's environment says.
    name: of the run, by default the workdir's.

  Raises:
    BadInput: the package is not installed; the server or store refuses.
  """
  if not experiment:
    return None
  return MLflow(workdir, config, experiment, uri, name or workdir.name)
