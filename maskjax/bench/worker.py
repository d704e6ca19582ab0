"""One contender in a process of its own: sets up, then runs once for every "go" on its stdin.

PYTHON worker.py TARGET JSON. TARGET is "package.module:function" or "file.py:function"; JSON holds
`cores`, which the process is kept on, `size`, which the function gets, and `optional`, whether a
missing package means that the contender is absent. This file needs only the standard library, so
that a peer's interpreter may lack jax and maskjax.

A contender is `size -> work`, a dict: `run`, one repeat; `times`, how often a measurement runs it
(1); `before`, what to do untimed before each; `warm`, whether to run once beforehand (True);
`facts`, figures to hand on; or `absent`, why there is nothing to measure. A `run` that gives a
number, or a list of them, has measured itself, in seconds; other results are ignored.

Replies are lines of JSON: `ready`, `seconds` after each "go", and after "end" the peak memory.
"""

import ctypes
import gc
import importlib
import importlib.util
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Work = Mapping[str, Any]
VERSIONS = ("jax", "jaxlib", "torch", "transformers")


def main(argv: Sequence[str]) -> int:
  """Serves one contender until its stdin says "end" or closes."""
  target, given = argv[1], json.loads(argv[2])
  os.sched_setaffinity(0, given["cores"])
  # Libraries print to standard output; that goes to the log, and replies where it went before.
  replies = os.fdopen(os.dup(1), "w", buffering=1)
  os.dup2(2, 1)
  say = lambda **reply: print(json.dumps(reply), file=replies, flush=True)
  try:
    work = resolve(target)(given["size"])
    if "absent" not in work and work.get("warm", True):
      measure({**work, "times": 1})
  except ModuleNotFoundError as error:
    if not given["optional"]:
      raise
    work = {"absent": f"{error.name} is not installed"}
  if "absent" in work:
    say(absent=work["absent"])
    return 0
  before = forget_peak()
  say(ready=True, facts=work.get("facts", {}), versions=versions())
  while sys.stdin.readline().strip() == "go":
    say(seconds=measure(work))
  peak = memory("VmHWM")
  say(peak_bytes=peak, extra_bytes=None if before is None else peak - before)
  return 0


def resolve(target: str) -> Callable[[Any], Work]:
  """The function that a target names.

  >>> resolve("math:sqrt")(4)
  2.0
  """
  place, _, name = target.rpartition(":")
  if not place.endswith(".py"):
    return getattr(importlib.import_module(place), name)
  spec = importlib.util.spec_from_file_location("contender", place)
  if spec is None or spec.loader is None:
    raise ImportError(f"{place} is no Python file")
  module = importlib.util.module_from_spec(spec)
  sys.modules["contender"] = module  # worker processes of a data loader look it up
  spec.loader.exec_module(module)
  return getattr(module, name)


def measure(work: Work) -> float | list[float]:
  """Seconds that one run takes, as the mean of `times` runs."""
  work.get("before", lambda: None)()
  times = work.get("times", 1)
  began = time.perf_counter()
  for _ in range(times):
    found = work["run"]()
  seconds = (time.perf_counter() - began) / times
  return found if isinstance(found, float | list) else seconds


def versions() -> dict[str, str]:
  """Those of the libraries that are loaded."""
  return {name: sys.modules[name].__version__ for name in VERSIONS if name in sys.modules}


def memory(field: str) -> int:
  """Bytes of this process' memory, now ("VmRSS") or at the peak ("VmHWM")."""
  with open("/proc/self/status") as file:
    return next(int(line.split()[1]) * 1024 for line in file if line.startswith(field))


def forget_peak() -> int | None:
  """Gives free memory back, begins a new peak, and says what is in use; None where it cannot."""
  gc.collect()
  if hasattr(ctypes.CDLL(None), "malloc_trim"):
    ctypes.CDLL(None).malloc_trim(0)
  try:
    with open("/proc/self/clear_refs", "w") as file:
      file.write("5")
  except OSError:
    return None
  return memory("VmRSS")


if __name__ == "__main__":
  # The files of this folder are no top-level modules.
  sys.path[:] = [path for path in sys.path if path != os.path.dirname(os.path.abspath(__file__))]
  sys.exit(main(sys.argv))
