"""Seconds from the command line to the first step, and for `import maskjax`."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import Any

from maskjax import lab
from maskjax.bench import harness
from maskjax.bench.harness import ROOT, Contender, Line, Results, Row, Size, at_most

IMPORT = "import jax, time; t = time.perf_counter(); import maskjax; print(time.perf_counter() - t)"


def launch(size: Size) -> Mapping[str, Any]:
  """`launch.py` until it reports its first step; what compiles is cached by the run before it."""
  cache = tempfile.TemporaryDirectory()
  env = {**os.environ, "XDG_CACHE_HOME": cache.name}
  env.pop("JAX_COMPILATION_CACHE_DIR", None)
  evaluators = [] if size["evaluators"] else lab.read(f"mae:{size['preset']}").evals
  changes = [f"--config.evals.{name}=None" for name in evaluators]
  config = f"{ROOT}/configs/image_mim/mae.py:{size['preset']},log.every=1"
  command = [sys.executable, str(ROOT / "launch.py"), f"--config={config}", *changes]
  facts: dict[str, Any] = {"cache": cache.name}

  def run() -> None:
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
      first_step([*command, f"--workdir={folder}"], env)
    facts.setdefault("cold", time.perf_counter() - began)

  return {"run": run, "facts": facts, "keep": cache}


def first_step(command: Sequence[str], env: Mapping[str, str]) -> None:
  """Runs a launch until its first step is done, and ends it there.

  Raises:
    RuntimeError: it ended before; what it said is told.
  """
  said = []
  process = subprocess.Popen(command, env=env, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
  assert process.stderr is not None
  for line in process.stderr:
    said.append(line.decode(errors="replace"))
    if said[-1].startswith("step 1/"):
      break
  else:
    raise RuntimeError("no first step:\n" + "".join(said))
  process.kill()
  process.communicate()


def imported(size: Size) -> Mapping[str, Any]:
  """`import maskjax` in a fresh interpreter that has imported jax."""
  run = lambda: float(subprocess.check_output([sys.executable, "-c", IMPORT]))
  return {"run": run}


def report(size: Size, results: Results) -> tuple[Sequence[Line], Sequence[str]]:
  """Seconds."""
  goal = lambda number: at_most(number, "s", of_ratio=False)
  line = lambda name, ours, number: Line(f"{name}, s", ours, None, None, goal(number))
  lines = [
    line("launch", harness.median(results, "launch"), 8),
    line("with an empty cache", results["launch"].facts.get("cold"), 25),
    line("import", harness.median(results, "import"), 1.5),
  ]
  bare = harness.median(results, "launch, no evaluators")
  return lines, [f"without evaluators {bare:.1f} s"]


def _row() -> Row:
  launches = {"launch": True, "launch, no evaluators": False}
  contenders = [
    Contender(name, "maskjax.bench.start:launch", own={"evaluators": evaluators})
    for name, evaluators in launches.items()
  ]
  return Row(
    name="start",
    what="launch.py with mae:laptop to its first step, compile cache warm; import maskjax",
    contenders=[*contenders, Contender("import", "maskjax.bench.start:imported")],
    sizes={"full": dict(preset="laptop"), "smoke": dict(preset="smoke")},
    report=report,
  )


ROW = _row()
