"""Whether a launch is one of several, and which: by its flags, or by the cluster it runs on."""

import os
import pathlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from maskjax.errors import BadInput
from maskjax.train.pod.place import SECONDS, Place, dumps, place

FLAGS = ("coordinator", "num_processes", "process_id")


def find(given: Mapping[str, str], environment: Mapping[str, str] = os.environ) -> Place | None:
  """The place of this launch, None where it is alone.

  `given` holds the flags `coordinator`, `num_processes`, `process_id`, `roll_port`, `roll_timeout`
  as text. Without the first three jax is asked, which knows TPU pods, Slurm, Open MPI and indexed
  jobs of Kubernetes. `num_processes=1` asks nobody.

  Raises:
    BadInput: only some of the flags, one that is no number, a place that cannot be, a cluster that
      does not say what it must.
  """
  port = _number("roll_port", given.get("roll_port") or "0")
  seconds = _number("roll_timeout", given.get("roll_timeout") or f"{SECONDS:g}", float)
  flags = [name for name in FLAGS if given.get(name)]
  if flags == ["num_processes"] and given["num_processes"] == "1":
    return None
  if not flags:
    found = cluster(environment)
    if found is None or found[1] == 1:
      return None
    return place(*found, port=port, seconds=seconds)
  if missing := [f"--{name}" for name in FLAGS if name not in flags]:
    said = " and ".join(f"--{name}" for name in flags)
    raise BadInput(f"{said} given without {' and '.join(missing)}: all three or none")
  count, index = (_number(name, given[name]) for name in FLAGS[1:])
  where = place(given["coordinator"], count, index, port=port, seconds=seconds)
  return where if where.count > 1 else None


def _number(name: str, text: str, kind: Callable[[str], Any] = int) -> Any:
  try:
    return kind(text)
  except ValueError:
    raise BadInput(f"--{name} must be a number, got {text!r}") from None


def cluster(
  environment: Mapping[str, str] = os.environ,
) -> tuple[str, int, int, tuple[int, ...] | None] | None:
  """Coordinator, count, index and devices of this process, as jax's cluster detection has them."""
  from jax._src.clusters import ClusterEnv  # the only way to ask without starting

  if "KUBERNETES_SERVICE_HOST" in environment and "JOB_COMPLETION_INDEX" not in environment:
    return None  # a pod, but of no indexed job
  try:
    found = ClusterEnv.auto_detect_unset_distributed_params(
      None, None, None, None, None, int(SECONDS)
    )
  except Exception as error:
    said = " ".join(str(error).split())
    flags = ", ".join(f"--{name}" for name in FLAGS)
    raise BadInput(f"this looks like a cluster, but {said}: give {flags}") from error
  coordinator, count, index, devices = found
  if coordinator is None or count is None or index is None:
    return None
  return coordinator, count, index, None if devices is None else tuple(devices)


def become_parent(where: Place, argv: Sequence[str]) -> None:
  """Turns this process into the small parent of one that runs `argv`; does not return."""
  sys.stdout.flush()
  sys.stderr.flush()
  parent = str(pathlib.Path(__file__).parent)
  words = [sys.executable, parent, dumps(where), sys.executable, *argv]
  os.execv(sys.executable, words)
