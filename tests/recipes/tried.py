"""Runs a recipe for real and interrupts it: python tests/recipes/tried.py slurm|openmpi|ray.

Not in CI: it takes minutes, and what the recipe is for has to be there: a Slurm whose one node has
two CPUs (SLURM_CONF), mpirun, or ray beside maskjax. In the end the weights of the run that was
interrupted are compared, bit by bit, with those of one that was not.
"""

import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

import numpy as np

from maskjax.bench.soak import Soak, free_port, result
from maskjax.recipes import recipe

STEPS = 100
PATIENCE = 1800.0  # seconds until an attempt counts as hanging


def environment():
  """That of a program that finds maskjax."""
  root = str(pathlib.Path(__file__).parents[2])
  python = str(pathlib.Path(sys.executable).parent)
  paths = {"PYTHONPATH": root, "PATH": f"{python}:{os.environ['PATH']}"}
  return {**os.environ, **paths, "JAX_PLATFORMS": "cpu"}


def words(soak, name):
  """The command line of the run `name`."""
  return [f"--config={soak.folder / 'config.py'}", f"--workdir={soak.folder / name}"]


def until(what, wanted):
  """Waits until `wanted()` is true, and returns it."""
  end = time.monotonic() + PATIENCE
  while not (value := wanted()):
    assert time.monotonic() < end, f"waited in vain for {what}"
    time.sleep(0.2)
  return value


def slurm(soak):
  """SIGTERM to a step of two tasks; the job is requeued; bad input is not."""
  file = soak.folder / "slurm.sh"
  # One node without GPUs is here.
  text = recipe("slurm").replace("--nodes=2", "--nodes=1").replace("-per-node=1", "-per-node=2")
  text = text.replace("#SBATCH --gpus-per-node=8\n", "").replace("-task=32", "-task=1")
  file.write_text(text)

  def submit(name, *more):
    command = ["sbatch", "--parsable", str(file), *words(soak, name), *more]
    kwargs = {"cwd": soak.folder, "env": environment(), "text": True}
    return subprocess.check_output(command, **kwargs).strip()

  def show(job):
    said = subprocess.check_output(["scontrol", "show", "job", job], text=True).split()
    return dict(word.partition("=")[::2] for word in said)

  def ended(job):
    end = until("the job", lambda: show(job)["JobState"] in ("COMPLETED", "FAILED") and show(job))
    return end["JobState"], end["ExitCode"], f"{end['Restarts']} restarts"

  whole = submit("whole")
  print("uninterrupted:", *ended(whole), flush=True)
  job = submit("killed")
  until("steps", lambda: soak.step("killed") > STEPS // 4)
  subprocess.check_call(["scancel", "--signal=TERM", job])
  until("a requeue", lambda: show(job)["Restarts"] == "1")
  print("requeued at step", soak.step("killed"), show(job)["JobState"], flush=True)
  print("interrupted:", *ended(job), flush=True)
  print("bad input:", *ended(submit("killed", "--config.seed=none")), flush=True)
  print("".join((soak.folder / f"maskjax-{job}.log").read_text().splitlines(True)[-40:]))


def interrupted(soak, name, command, act):
  """Runs a command until its end, and `act(program)` once a quarter of its steps are done."""
  log = soak.folder / f"{name}.log"
  with log.open("a") as file:
    program = subprocess.Popen(command, env=environment(), stdout=file, stderr=file)
    if act:
      until("steps", lambda: soak.step(name) > STEPS // 4 or program.poll() is not None)
      act(program)
    status = program.wait(PATIENCE)
  print(name, "ended with", status, "at step", soak.step(name), flush=True)
  return status


def openmpi(soak):
  """Two ranks: one killed, then SIGTERM to the script, then the rest."""
  file = soak.folder / "openmpi.sh"
  file.write_text(recipe("openmpi"))
  os.environ.update(OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")

  def command(name, *more):
    os.environ["JAX_COORDINATOR_ADDRESS"] = f"127.0.0.1:{free_port()}"
    return ["sh", str(file), "localhost:2", *words(soak, name), *more]

  def kill(program):
    [mpirun] = children(program.pid)
    os.kill(children(mpirun)[-1], signal.SIGKILL)
    before = soak.step("killed")
    until("more steps", lambda: soak.step("killed") > before + STEPS // 4)
    program.terminate()

  interrupted(soak, "whole", command("whole"), None)
  assert interrupted(soak, "killed", command("killed"), kill) == 75
  assert interrupted(soak, "killed", command("killed"), None) == 0
  assert interrupted(soak, "killed", command("killed", "--config.seed=none"), None) == 2


def ray(soak):
  """Two nodes of a local cluster, of which one is removed; then SIGTERM; then the rest."""
  from ray.cluster_utils import Cluster

  cluster = Cluster()
  nodes = [cluster.add_node(num_cpus=1, num_gpus=1) for _ in range(2)]
  os.environ["RAY_ADDRESS"] = cluster.address
  file = soak.folder / "on_ray.py"
  file.write_text(recipe("ray").replace("= 8, ray", "= 1, ray"))
  command = lambda name, *more: [sys.executable, str(file), *words(soak, name), *more]

  def remove(program):
    cluster.remove_node(nodes[1], allow_graceful=False)
    before = soak.step("killed")
    until("more steps", lambda: soak.step("killed") > before + STEPS // 4)
    cluster.add_node(num_cpus=1, num_gpus=1)
    program.terminate()

  interrupted(soak, "whole", command("whole"), None)
  assert interrupted(soak, "killed", command("killed"), remove) == 75
  assert interrupted(soak, "killed", command("killed"), None) == 0
  assert interrupted(soak, "killed", command("killed", "--config.seed=none"), None) == 2


def children(pid):
  """The processes that a process started (Linux)."""
  text = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text()
  return [int(word) for word in text.split()]


def main():
  """Tries the recipe that is named; 1 where the weights differ.

  They do by rounding where one node went on alone.
  """
  soak = Soak(pathlib.Path(tempfile.mkdtemp(prefix="tried-")), 2, STEPS, 0)
  print(soak.folder, flush=True)
  {"slurm": slurm, "openmpi": openmpi, "ray": ray}[sys.argv[1]](soak)
  killed, whole = (result(soak.folder / name) for name in ("killed", "whole"))
  if killed == whole:
    print("the weights are equal, bit by bit")
    return 0
  read = lambda found: [np.frombuffer(v, "f4") for k, v in found[1].items() if "params" in k]
  gaps = [np.abs(a - b).max() for a, b in zip(read(killed), read(whole), strict=True)]
  print(f"steps {killed[0]} and {whole[0]}; the weights are at most {max(gaps):.1e} apart")
  return 1


if __name__ == "__main__":
  sys.exit(main())
