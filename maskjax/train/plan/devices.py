"""Devices of a machine that is not here, as a compiler ahead of time takes them."""

import contextlib
import importlib.util
import os
from collections.abc import Iterator
from typing import Any

import jax
from jax.experimental import topologies

from maskjax.errors import BadInput
from maskjax.train.plan.topology import Topology

ABSENT = {
  "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",  # Other plans may run beside this one.
  "TPU_SKIP_MDS_QUERY": "1",
  "TPU_WORKER_HOSTNAMES": "localhost",
  "TPU_ACCELERATOR_TYPE": "v5litepod-4",  # Any: it is not looked at, only missed.
  "TPU_MIN_LOG_LEVEL": "3",
  "TPU_STDERR_LOG_LEVEL": "3",
}


def devices_of(topology: Topology) -> list[Any]:
  """The devices of a topology: of a TPU as libtpu describes it, of GPUs simulated on the CPU.

  Raises:
    BadInput: libtpu is not installed, or this process began with too few simulated devices.
  """
  return _simulated(topology.devices) if topology.family == "gpu" else _described(topology)


def coordinates(device: Any, index: int) -> tuple[int, ...]:
  """Where a device stands: a TPU chip by its axes, others by their number."""
  return tuple(device.coords) if device.platform == "tpu" else (index,)


def _described(topology: Topology) -> list[Any]:
  if importlib.util.find_spec("libtpu") is None:
    raise BadInput(
      f"--plan={topology.name} needs libtpu to compile for TPUs, in an environment of its own: "
      "pip install 'maskjax[tpu]'"
    )
  options: dict[str, Any] = {}
  if topology.family == "v4":
    options["chip_config_name"] = "megacore"  # Both cores of a chip as one device.
  if topology.devices == 1:
    options["chips_per_host_bounds"] = (1, 1, 1)
  with _absent():
    described = topologies.get_topology_desc(platform="tpu", topology_name=topology.name, **options)
  return list(described.devices)


@contextlib.contextmanager
def _absent() -> Iterator[None]:
  """Tells libtpu, which reads this once, that there is no TPU to ask about and nobody to shut out.

  What the environment says already stands.
  """
  added = {name: value for name, value in ABSENT.items() if name not in os.environ}
  os.environ.update(added)
  try:
    yield
  finally:
    for name in added:
      del os.environ[name]


def _simulated(count: int) -> list[Any]:
  # Where JAX has begun already, the count of now stands.
  with contextlib.suppress(RuntimeError):
    jax.config.update("jax_num_cpu_devices", count)
  found = jax.devices("cpu")
  if len(found) < count:
    raise BadInput(
      f"--plan=gpu:{count} needs {count} simulated devices, this process has {len(found)}: "
      "plan in a process of its own"
    )
  return found[:count]
