"""Which accelerators of its machine are a process's own, where a launcher starts several there."""

import pathlib
import re
from collections.abc import Mapping

from maskjax.errors import BadInput

OWN = "JAX_LOCAL_DEVICE_IDS"
VISIBLE = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")
# Slurm gives each task its own of the devices, and lets it see no other.
BOUND = ("SLURM_GPUS_PER_TASK", "SLURM_GPU_BIND", "SLURM_NTASKS_PER_GPU")
NVIDIA = pathlib.Path("/proc/driver/nvidia/gpus")


def local_devices(environment: Mapping[str, str]) -> tuple[int, ...] | None:
  """The devices of this process, counted among those it sees; None for all of them.

  JAX_LOCAL_DEVICE_IDS says so; else a sole task of a machine has all, and several share what
  CUDA_VISIBLE_DEVICES lists, unless each sees its own ones only. Where nothing is listed each has
  the one of its local number, as jax has it.

  Raises:
    BadInput: JAX_LOCAL_DEVICE_IDS is no list of numbers; tasks that cannot share evenly.

  >>> local_devices({"OMPI_COMM_WORLD_LOCAL_RANK": "1", "OMPI_COMM_WORLD_LOCAL_SIZE": "2",
  ...                "CUDA_VISIBLE_DEVICES": "0,1,2,3"})
  (2, 3)
  """
  if text := environment.get(OWN):
    try:
      return tuple(int(word) for word in text.split(","))
    except ValueError:
      raise BadInput(f"{OWN} is a list of numbers, 0,1 say, got {text!r}") from None
  local, tasks = _among(environment)
  if local is None or tasks == 1:
    return None
  seen = listed(environment)
  if seen is None or tasks is None:
    return (local,)
  if seen == 1 or _bound(environment, seen):
    return None
  each, rest = divmod(seen, tasks)
  if rest or not each:
    raise BadInput(
      f"{tasks} processes on this machine cannot share {seen} device(s) evenly: give {OWN} to each"
    )
  return tuple(range(local * each, (local + 1) * each))


def _among(environment: Mapping[str, str]) -> tuple[int | None, int | None]:
  """The number of this process among those of its machine, and how many they are."""
  if "SLURM_LOCALID" in environment:
    tasks = _tasks(environment.get("SLURM_STEP_TASKS_PER_NODE", ""))
    node = int(environment.get("SLURM_NODEID", "0"))
    here = tasks[node] if node < len(tasks) else None
    return int(environment["SLURM_LOCALID"]), 1 if environment.get("SLURM_NTASKS") == "1" else here
  if "OMPI_COMM_WORLD_LOCAL_RANK" in environment:
    size = environment.get("OMPI_COMM_WORLD_LOCAL_SIZE")
    return int(environment["OMPI_COMM_WORLD_LOCAL_RANK"]), size and int(size)  # type: ignore[return-value]
  return None, None


def _tasks(text: str) -> list[int]:
  """Slurm's tasks on each node.

  >>> _tasks("2(x3),1")
  [2, 2, 2, 1]
  """
  found = re.findall(r"(\d+)(?:\(x(\d+)\))?", text)
  return [int(tasks) for tasks, nodes in found for _ in range(int(nodes or 1))]


def _bound(environment: Mapping[str, str], seen: int) -> bool:
  if any(environment.get(name, "none") != "none" for name in BOUND):
    return True
  if "gpu" in environment.get("SLURM_TRES_PER_TASK", ""):
    return True
  step = environment.get("SLURM_STEP_GPUS", "")  # of the step on this machine
  return bool(step) and seen < step.count(",") + 1


def listed(environment: Mapping[str, str]) -> int | None:
  """How many devices the environment lets this process see; None where it does not say."""
  for name in VISIBLE:
    if name in environment:
      return len([word for word in environment[name].split(",") if word])
  return None


def there(environment: Mapping[str, str], folder: pathlib.Path = NVIDIA) -> int | None:
  """How many accelerators this process could use: what it sees, or what the machine has."""
  seen = listed(environment)
  return len(list(folder.iterdir())) if seen is None and folder.is_dir() else seen
