"""Whether a launch is one of several, and which: by its flags, its environment or its cluster."""

import os
import pathlib
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from maskjax.errors import BadInput
from maskjax.train.pod.devices import local_devices
from maskjax.train.pod.place import SECONDS, Place, dumps, place

FLAGS = ("coordinator", "num_processes", "process_id")
VARIABLES = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
COUNT = VARIABLES[1]
INDEXED = "JOB_COMPLETION_INDEX"  # in every pod of an indexed job of Kubernetes, and of a JobSet
EPHEMERAL = 65536 - 4096  # jax takes the coordinator's port, of Slurm and Open MPI, from here on

# How many processes, and which of them: what launchers tell each process that they start.
TOLD = {
  "SLURM_NTASKS": "SLURM_PROCID",
  "OMPI_COMM_WORLD_SIZE": "OMPI_COMM_WORLD_RANK",  # Open MPI 5, where jax finds no address
  "PMI_SIZE": "PMI_RANK",  # MPICH, Intel MPI, Cray
  "MV2_COMM_WORLD_SIZE": "MV2_COMM_WORLD_RANK",
  "FLUX_JOB_SIZE": "FLUX_TASK_RANK",
  "WORLD_SIZE": "RANK",  # torchrun, PyTorchJob
  "NUM_PROCESSES": "PROCESS_ID",  # JAXJob
  "JAX_PROCESS_COUNT": "JAX_PROCESS_INDEX",
  "NNODES": "NODE_RANK",  # xpk on GPUs
  "LWS_GROUP_SIZE": "LWS_WORKER_INDEX",  # LeaderWorkerSet
  "SKYPILOT_NUM_NODES": "SKYPILOT_NODE_RANK",
  "AWS_BATCH_JOB_NUM_NODES": "AWS_BATCH_JOB_NODE_INDEX",
  "MEGASCALE_NUM_SLICES": "MEGASCALE_SLICE_ID",
}
HOSTS = ("TPU_PROCESS_ADDRESSES", "TPU_WORKER_HOSTNAMES")  # with commas between several


def find(given: Mapping[str, str]) -> Place | None:
  """The place of this launch, None where it is alone.

  The flags come first, then JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID, then jax
  is asked, which knows TPU pods, Slurm, Open MPI and indexed jobs of Kubernetes; what is missing of
  the three variables it fills in. `num_processes=1`, as flag or variable, asks nobody.

  Args:
    given: the flags `coordinator`, `num_processes`, `process_id`, `rendezvous_port`,
      `rendezvous_timeout` as text.

  Raises:
    BadInput: only some of the flags, one that is no number, a place that cannot be, a cluster that
      does not say what it must, an environment of several processes where none was found.
  """
  port = _number("--rendezvous_port", given.get("rendezvous_port") or "0")
  seconds = _number(
    "--rendezvous_timeout", given.get("rendezvous_timeout") or f"{SECONDS:g}", float
  )
  flags = [name for name in FLAGS if given.get(name)]
  if flags == ["num_processes"] and given["num_processes"] == "1":
    return None
  if missing := [f"--{name}" for name in FLAGS if flags and name not in flags]:
    said = " and ".join(f"--{name}" for name in flags)
    raise BadInput(f"{said} given without {' and '.join(missing)}: all three or none")
  if flags:
    count, index = (_number(f"--{name}", given[name]) for name in FLAGS[1:])
    found = given["coordinator"], count, index
  elif (told := around()) is not None:
    found, port = told, port or _beside(told[0])
  else:
    refuse_several()
    return None
  where = place(*found, port=port, seconds=seconds)
  if where.count == 1:
    return None
  return place(*found, local_devices(os.environ), port=port, seconds=seconds)


def _number(name: str, text: str, kind: Callable[[str], Any] = int) -> Any:
  try:
    return kind(text)
  except ValueError:
    raise BadInput(f"{name} must be a number, got {text!r}") from None


def around() -> tuple[str, int, int] | None:
  """Coordinator, count and index as the environment or jax's cluster detection has them."""
  given = [os.environ.get(name) or None for name in VARIABLES]
  if given[1] == "1":
    return None
  address, port = given[0], os.environ.get("JAX_COORDINATOR_PORT")
  if address and port and ":" not in address:
    address = f"{address}:{port}"
  numbers = zip(VARIABLES[1:], given[1:], strict=True)
  count, index = (None if text is None else _number(name, text) for name, text in numbers)
  known = address, count, index
  found = cluster(address, count, index) if None in known else known
  return None if found is None or None in found else found  # type: ignore[return-value]


def cluster(
  coordinator: str | None, count: int | None, index: int | None
) -> tuple[str | None, int | None, int | None] | None:
  """What is not given yet as jax's cluster detection has it; None where it knows no cluster."""
  from jax._src.clusters import ClusterEnv, K8sCluster  # the only way to ask without starting

  # Of a pod that is of no indexed job jax would raise; a TPU pod of KubeRay it knows all the same.
  kinds = [kind for kind in ClusterEnv._cluster_types if not kind.opt_in_only_method]
  if INDEXED not in os.environ:
    kinds.remove(K8sCluster)
  try:
    with warnings.catch_warnings(action="ignore"):  # of the package kubernetes: we say more
      if not any(kind.is_env_present() for kind in kinds):
        return None
    return ClusterEnv.auto_detect_unset_distributed_params(
      coordinator, count, index, None, None, int(SECONDS)
    )[:3]
  except Exception as error:
    said = " ".join(str(error).split())
    raise BadInput(f"this looks like a cluster, but {said}: {_cure()}") from error


def refuse_several() -> None:
  """Refuses an environment that speaks of several processes, of which this would be a run alone.

  Raises:
    BadInput: what speaks of them, and what to give.
  """
  environment = os.environ
  if environment.get(COUNT) == "1":
    return
  if given := [name for name in VARIABLES if environment.get(name)]:
    missing = [name for name in VARIABLES if name not in given]
    without = f" without {' and '.join(missing)}" if missing else ""
    raise BadInput(f"{' and '.join(given)} given{without}: {_cure()}")
  for count, index in TOLD.items():
    number = environment.get(count, "")
    if number.isdecimal() and int(number) > 1 and index in environment:
      raise BadInput(
        f"{count}={number} and {index}={environment[index]} speak of several processes, but jax "
        f"finds no cluster: {_cure(count=number, index=environment[index])}"
      )
  for name in HOSTS:
    if "," in (hosts := environment.get(name, "")):
      raise BadInput(
        f"{name} names {hosts.count(',') + 1} hosts, but jax finds no TPU here: {_cure()}"
      )
  if INDEXED in environment:
    raise BadInput(
      f"{INDEXED}={environment[INDEXED]} is of an indexed job of Kubernetes, which jax finds with "
      f"the package alone: pip install kubernetes, or {_cure(index=environment[INDEXED])}"
    )


def _cure(count: str = "N", index: str = "I") -> str:
  values = ("HOST:PORT", count, index)
  flags = " ".join(f"--{name}={value}" for name, value in zip(FLAGS, values, strict=True))
  variables = ", ".join(VARIABLES)
  return f"give {flags} (or {variables}), or --num_processes=1 ({COUNT}=1) for a run of its own"


def _beside(coordinator: str) -> int:
  """The roll's port beside a coordinator's; 0 for the next one.

  Of Slurm and Open MPI jax takes the port from the number of the job: the next port is that of the
  next job. The roll's lies 2^15 below, as much the job's own and below Linux's ephemeral ports.
  """
  port = coordinator.rpartition(":")[2]
  return int(port) - (1 << 15) if port.isdecimal() and int(port) >= EPHEMERAL else 0


def become_parent(where: Place, argv: Sequence[str]) -> None:
  """Turns this program into the small parent of one that runs `argv`; does not return.

  Raises:
    BadInput: the interpreter is not this program's alone, or jax has begun in it.
  """
  from jax._src import xla_bridge  # its public questions begin what they ask for

  if xla_bridge.backends_are_initialized() or list(argv) != sys.argv:
    begun = "jax has begun" if xla_bridge.backends_are_initialized() else "another program runs"
    raise BadInput(
      f"process {where.index} of {where.count} cannot start where {begun}: start maskjax by "
      "itself, or call jax.distributed.initialize first"
    )
  sys.stdout.flush()
  sys.stderr.flush()
  parent = str(pathlib.Path(__file__).parent)
  words = [sys.executable, parent, dumps(where), sys.executable, *_again(argv)]
  os.execv(sys.executable, words)


def _again(argv: Sequence[str]) -> list[str]:
  """How Python is told to run this program: a module as one, or its folder's names are for all."""
  spec = getattr(sys.modules["__main__"], "__spec__", None)
  if spec is None or spec.origin != argv[0]:
    return list(argv)
  return ["-m", spec.name.removesuffix(".__main__"), *argv[1:]]
