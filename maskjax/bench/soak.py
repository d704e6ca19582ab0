"""A small run of several processes, killed again and again until it ends; was anything lost?

python -m maskjax.bench.soak [--kills=25] [--seconds=1200] [--processes=2] [--seed=0] [--bare]

Both signals, to a parent or its child, of any process, while starting or at any step. After each
kill all must leave with status 75 by themselves and every checkpoint must be readable; in the end
weights and figures must equal, bit by bit, those of a run that nothing interrupted. `--bare` is a
run without our parents: each process calls `jax.distributed.initialize`, and of how they leave no
more is asked than that they do.
"""

import argparse
import collections
import contextlib
import dataclasses
import json
import os
import pathlib
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

from maskjax.train.checkpoints.checkpoint import Checkpoints
from maskjax.train.pod.rendezvous import DONE, RESTART

EVERY = 3  # steps from one checkpoint to the next
SOON = 2 * EVERY  # steps after a start within which it is killed
STEPS = 40  # of the whole run for every kill, so that it cannot end before the last one
ROLL = 30.0  # seconds that a start waits for one killed before it could answer
PATIENCE = 120.0  # seconds after which those left alone count as hanging

LAUNCH = "import sys\nfrom maskjax.cli import main\nsys.exit(main(sys.argv))\n"
BARE = f"""
import sys, jax
coordinator, count, index = (word.partition("=")[2] for word in sys.argv[-3:])
jax.distributed.initialize(coordinator, int(count), int(index), heartbeat_timeout_seconds=10,
  cluster_detection_method="deactivate", initialization_timeout={ROLL:.0f})
from maskjax.cli import main
sys.exit(main(sys.argv[:-3]))
"""
CONFIG = """
import json, pathlib
from ml_collections import ConfigDict
def get_config():
  return ConfigDict(json.loads(pathlib.Path(__file__).with_name("config.json").read_text()))
"""
RUN = {
  "job": "train",
  "seed": 0,
  "batch_size": 16,
  "ema": 0.9,
  "task": {"fn": "task.masked"},
  "over": {"fn": "over.patches", "patch": (2, 2)},
  "model": {
    "encoder": {"fn": "model.vit", "width": 8, "depth": 1, "heads": 2},
    "decoder": {"fn": "model.masked_decoder", "width": 8, "depth": 1, "heads": 2},
  },
  "score": {"fn": "score.uniform"},
  "select": {"fn": "select.top", "ratio": 0.75},
  "hide": {"fn": "hide.drop"},
  "target": {"fn": "recover.pixels", "normalise": False},
  "losses": {"recover": {"fn": "recover.squared_error"}},
  "data": {"name": "npz", "augment": {"crop": (0.5, 1.0), "flip": True}},
  "optimizer": {"fn": "adamw", "learning_rate": 0.01, "warmup_steps": 1, "schedule": "cosine"},
  "checkpoint": {"every": EVERY, "keep": 2},
  "log": {"every": 1},
}


@dataclasses.dataclass
class Count:
  """What a soak came to."""

  kills: collections.Counter = dataclasses.field(default_factory=collections.Counter)
  launches: int = 0
  read: int = 0
  statuses: collections.Counter = dataclasses.field(default_factory=collections.Counter)
  seconds: dict[str, list[float]] = dataclasses.field(default_factory=dict)  # to leave, by kill
  faults: list[str] = dataclasses.field(default_factory=list)


class Soak:
  """A run in a folder of its own, and the figures so far."""

  def __init__(
    self, folder: pathlib.Path, processes: int, steps: int, seed: int, bare: bool = False
  ):
    self.folder, self.processes, self.bare, self.count = folder, processes, bare, Count()
    self.random = random.Random(seed)
    images = np.random.default_rng(seed).integers(256, size=(40, 8, 8, 1), dtype=np.uint8)
    np.savez(folder / "images.npz", train_images=images, train_labels=np.arange(40) % 4)
    data = {**RUN["data"], "path": str(folder / "images.npz"), "test": ""}  # type: ignore[dict-item]
    config = {**RUN, "data": data, "total_steps": steps}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "config.py").write_text(CONFIG)
    (folder / "launch.py").write_text(BARE if bare else LAUNCH)

  def launch(self, name: str, *more: str) -> list[subprocess.Popen]:
    """Starts all processes on the workdir `name`; of words given twice the last counts."""
    self.count.launches += 1
    command = [sys.executable, str(self.folder / "launch.py")]
    command += [f"--config={self.folder / 'config.py'}", f"--workdir={self.folder / name}"]
    command += [*more] if self.bare else [f"--rendezvous_timeout={ROLL:g}", *more]
    command += [f"--coordinator=127.0.0.1:{free_port()}", f"--num_processes={self.processes}"]
    threshold = {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1"}
    package = {"PYTHONPATH": str(pathlib.Path(__file__).parents[2]), "JAX_PLATFORMS": "cpu"}
    environment = {**threshold, **os.environ, **package}
    with open(self.folder / f"{name}.log", "a") as log:
      return [
        subprocess.Popen([*command, f"--process_id={i}"], env=environment, stdout=log, stderr=log)
        for i in range(self.processes)
      ]

  def whole(self) -> float:
    """The run that nothing interrupts; returns the seconds until its first step."""
    start = time.monotonic()
    processes = self.launch("whole")
    while self.step("whole") < 1 and processes[0].poll() is None:
      time.sleep(0.1)
    began = time.monotonic() - start
    if any(process.wait() != DONE for process in processes):
      raise SystemExit(f"the uninterrupted run failed: see {self.folder / 'whole.log'}")
    return began

  def step(self, name: str) -> int:
    """The step of the last whole row of figures."""
    path = self.folder / name / "metrics.jsonl"
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    return max((json.loads(x)["step"] for x in lines if x.endswith(b"\n")), default=0)

  def kill(self, began: float) -> None:
    """Launches, waits for a moment by chance, kills by chance, and sees what becomes of it."""
    before, processes = self.step("killed"), self.launch("killed")
    starting, until = self.random.random() < 1 / 3, time.monotonic() + self.random.uniform(0, began)
    goal = before + self.random.randint(1, SOON)
    early = lambda: time.monotonic() < until and self.step("killed") == before
    while early() if starting else self.step("killed") < goal:
      time.sleep(0.01)
      if all(process.poll() is not None for process in processes):
        break
    time.sleep(self.random.uniform(0, 0.1))
    number = self.random.choice([signal.SIGTERM, signal.SIGKILL])
    victim = self.random.choice(processes).pid
    child = not self.bare and self.random.random() < 1 / 2 and children(victim)
    try:
      os.kill(child[0] if child else victim, number)
    except ProcessLookupError:
      return
    whom = "child" if child else "process" if self.bare else "parent"
    what = f"{number.name} to a {whom}"
    what += f" while {'starting' if starting else 'running'}"
    self.count.kills[what] += 1
    self.leave(processes, what)
    self.read()

  def leave(self, processes: list[subprocess.Popen], what: str) -> None:
    """Waits until all processes have left by themselves."""
    start = time.monotonic()
    for process in processes:
      try:
        status = process.wait(max(PATIENCE - (time.monotonic() - start), 1))
      except subprocess.TimeoutExpired:
        self.count.faults.append(f"{what}: a process hangs")
        process.kill()
        continue
      self.count.statuses[status] += 1
      if status not in (DONE, RESTART, -signal.SIGKILL, -signal.SIGTERM) and not self.bare:
        self.count.faults.append(f"{what}: a process left with {status}")
    self.count.seconds.setdefault(what, []).append(time.monotonic() - start)

  def read(self) -> None:
    """Reads every checkpoint that is there."""
    checkpoints = Checkpoints(self.folder / "killed")
    for step in checkpoints.steps():
      self.count.read += 1
      try:
        checkpoints.read(step=step)
      except ValueError as error:
        self.count.faults.append(f"checkpoint: {error}")

  def end(self) -> None:
    """Lets the run go on to its end and compares."""
    for process in self.launch("killed"):
      if process.wait() != DONE:
        self.count.faults.append(f"the last launch failed: see {self.folder / 'killed.log'}")
    self.read()
    if result(self.folder / "killed") != result(self.folder / "whole"):
      self.count.faults.append("the result is not that of the uninterrupted run")


def result(workdir: pathlib.Path) -> tuple[int, dict[str, bytes], list[dict]]:
  """The newest step, every array as bytes, and the figures that do not depend on speed."""
  found = Checkpoints(workdir).read()
  assert found is not None, f"{workdir} has no checkpoint"
  rows = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
  figures = [{k: v for k, v in row.items() if not k.startswith("perf/")} for row in rows]
  return found[0], {name: array.tobytes() for name, array in found[1].items()}, figures


def children(pid: int) -> list[int]:
  """The processes that a process started (Linux)."""
  try:
    return [int(p) for p in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
  except OSError:
    return []


def free_port() -> int:
  """A port of this machine that is free and followed by a free one."""
  while True:
    with (
      socket.socket() as one,
      socket.socket() as two,
      contextlib.suppress(OSError, OverflowError),
    ):
      one.bind(("", 0))
      two.bind(("", one.getsockname()[1] + 1))
      return one.getsockname()[1]


def main() -> int:
  """Soaks and prints the figures; 1 where anything was lost."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
  parser.add_argument("--kills", type=int, default=25)
  parser.add_argument("--seconds", type=float, default=1200.0)
  parser.add_argument("--processes", type=int, default=2)
  parser.add_argument("--seed", type=int, default=0)
  parser.add_argument("--bare", action="store_true")
  given = parser.parse_args()
  start = time.monotonic()
  folder = pathlib.Path(tempfile.mkdtemp(prefix="soak-"))
  soak = Soak(folder, given.processes, given.kills * STEPS, given.seed, given.bare)
  began = soak.whole()
  while soak.count.kills.total() < given.kills and time.monotonic() - start < given.seconds:
    soak.kill(began)
    print(f"{soak.count.kills.total()} kills, step {soak.step('killed')}", flush=True)
  soak.end()
  count = soak.count
  for what, times in sorted(count.seconds.items()):
    middle, most = statistics.median(times), max(times)
    print(f"{len(times):4d} {what}: all gone after {middle:.1f} s, {most:.1f} s at most")
  print(f"{count.kills.total()} kills of {given.processes} processes in {count.launches} launches")
  print(f"{time.monotonic() - start:.0f} s; left with {dict(count.statuses)}")
  print(f"{count.read} checkpoints read; {len(count.faults)} faults")
  print("\n".join(count.faults) or "the result equals that of the uninterrupted run, bit by bit")
  return int(bool(count.faults))


if __name__ == "__main__":
  sys.exit(main())
