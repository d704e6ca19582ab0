"""Threads enough for simulated devices: XLA's CPU client has one a core, and with too few it hangs.

A collective keeps a thread of the client on each simulated device until all processes have come. So
does the launch of the next program while many are under way: it waits for one of them to end. A
process that runs ahead of the others, as where many arrays are gathered, needs
both at once, two threads a device; with fewer its launches have the threads that its collectives
wait for. XLA reads how many there are from the environment, when jax starts its backend.
"""

import logging
import os
import re

import jax

log = logging.getLogger("maskjax")

# PJRT_NPROC is the client's own name and goes first; NPROC is also read by others.
VARIABLES = ("PJRT_NPROC", "NPROC")
EACH = 2  # threads a simulated device: one in a collective, one at the launch of the next
FLAG = re.compile(r"--xla_force_host_platform_device_count=(\d+)")


def simulated() -> int:
  """How many devices the CPU of this process is to be; 1 where none are simulated."""
  platforms = jax.config.jax_platforms or "cpu"  # type: ignore[attr-defined]
  if "cpu" not in platforms.split(","):
    return 1
  if (option := jax.config.jax_num_cpu_devices) > 0:  # type: ignore[attr-defined]
    return option
  return int([1, *FLAG.findall(os.environ.get("XLA_FLAGS", ""))][-1])  # the last one stands


def enough() -> None:
  """Gives a CPU that simulates several devices its threads, unless the user said how many.

  To be called before jax starts its backend; later it changes nothing.
  """
  devices = simulated()
  if devices < 2 or any(name in os.environ for name in VARIABLES):
    return
  os.environ[VARIABLES[0]] = str(needed(devices))
  log.info("%d devices simulated with %d threads: %s", devices, needed(devices), VARIABLES[0])


def needed(devices: int) -> int:
  """Threads with which so many simulated devices certainly go on; at least one a core."""
  return max(cores(), EACH * devices)


def cores() -> int:
  """How many cores this process may use, which in a container are fewer than the machine has."""
  return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def hint() -> str:
  """What may be amiss where a run stands still; empty where no device is simulated."""
  devices = simulated()
  if devices < 2:
    return ""
  given = next((f"{n}={os.environ[n]}" for n in VARIABLES if n in os.environ), "not given")
  return (
    f"; its {devices} simulated devices hang with too few threads ({given}): "
    f"start all processes with {VARIABLES[0]}={needed(devices)} or more"
  )
