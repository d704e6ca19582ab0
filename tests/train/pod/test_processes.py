"""Real processes on loopback: one order of the data, one step to stop at, no loss."""

import json
import os
import pathlib
import runpy
import signal
import subprocess
import sys

import numpy as np
import pytest

from maskjax.bench.soak import free_port
from maskjax.train import loop, run
from maskjax.train.pod import place as places
from maskjax.train.pod import threads

BESIDE = pathlib.Path(__file__)
ROOT = BESIDE.parents[3]
POD = pathlib.Path(places.__file__).parent
run_tests = runpy.run_path(str(BESIDE.parents[1] / "test_run.py"))
final, rows = run_tests["final"], run_tests["rows"]

# Forty examples, each its own label; twelve steps of eight, so that batches straddle epochs.
COUNT, STEPS, BATCH = 40, 12, 8
MESH = {"preset": "data", "least": 8}
OF_GRAPH = ("over", "model", "score", "select", "hide", "target", "losses")

# A config file that has everything seen by a process written down, and something done on the way.
CONFIG = """
import json, os, pathlib, signal, sys, time
from ml_collections import ConfigDict
from maskjax.train import loop, run
from maskjax.train.checkpoints import checkpoint
from maskjax.train.pod.member import me
folder = pathlib.Path(__file__).parent
sys.path.append(os.environ["BESIDE"])
process, event, at, victim, number = os.environ.get("ACT", "-1 no 0 self 0").split()
def act(kind, now):
  if (kind, now, me().index) == (event, int(at), int(process)):
    os.kill(os.getpid() if victim == "self" else os.getppid(), int(number))
    if int(number) == signal.SIGKILL:
      signal.pause()
    time.sleep(3)  # jax looks for a signal once a second
batches = loop.pipeline.batches
def seen(*args, batch_size, position=0, **kwargs):
  if "process" not in kwargs:  # one example, for its shapes
    yield from batches(*args, batch_size=batch_size, position=position, **kwargs)
  with open(folder / f"seen{me().index}of{me().count}", "a") as file:
    for i, batch in enumerate(batches(*args, batch_size=batch_size, position=position, **kwargs)):
      start = position + i * batch_size
      act("load", start // batch_size + 1)
      for row, label in zip(batch["position"].tolist(), batch["label"].tolist()):
        file.write(json.dumps([start + row, label]) + "\\n")
      file.flush()
      yield batch
loop.pipeline.batches = seen
step = loop.Run._step
def stepping(self, state, *args, **kwargs):
  out = step(self, state, *args, **kwargs)
  act("step", position(self))
  return out
def position(run):
  run.count = getattr(run, "count", 0) + 1
  return run.count
loop.Run._step = stepping
write = checkpoint.verified.write
def writing(path, *args):
  half = path.with_suffix(checkpoint.verified.TEMPORARY + "-1")
  half.mkdir(parents=True)
  (half / "half").write_text("written")
  act("save", int(path.name))
  half.joinpath("half").unlink()
  half.rmdir()
  write(path, *args)
checkpoint.verified.write = writing
job = run.run
def both(config, workdir):
  jobs = [config["job"], *os.environ.get("THEN", "").split()]
  said = [job({**config, "job": name}, workdir) for name in jobs]
  return "\\n".join(filter(None, said))
run.run = both
def get_config(arg=None):
  return ConfigDict(json.loads((folder / "config.json").read_text()))
"""


# Points of that file, which is executed once though they are configs of this one.
SWEEP = """
import pathlib, sys
sys.path.append(str(pathlib.Path(__file__).parent))
from pod import get_config
def sweep():
  return [{"batch_size": 8}, {"ema": 0.0, "total_steps": 2}]
"""


def on_two_cores():
  """As few as anybody has: what hangs for want of threads hangs here too."""
  os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])


@pytest.fixture(scope="module")
def site(tmp_path_factory):
  """A folder with data and a config file; `site(name, count, devices, act)` launches and waits.

  A launch is that of the small parent, with the words that launch.py turns into; what turns them,
  which costs one more import of jax, is passed by but where `entry` is "launch".
  """
  folder = tmp_path_factory.mktemp("site")
  images = np.random.default_rng(0).integers(256, size=(COUNT, 8, 8, 1), dtype=np.uint8)
  data = folder / "images.npz"
  np.savez(data, train_images=images, train_labels=np.arange(COUNT))
  changes = {"data.path": str(data), "total_steps": STEPS, "batch_size": BATCH, "ema": 0.9}
  knn = {"fn": "train.evaluators.knn", "k": 3, "test": "train", "every": 8}
  changes |= {"task.fn": "smallest:linear", "optimizer.learning_rate": 0.01}
  config = run_tests["merged"](
    {name: value for name, value in run_tests["TINY"].items() if name not in OF_GRAPH},
    {**changes, "data.test": "", "evals": {"knn": knn}, "checkpoint.every": 3, "mesh": MESH},
  )
  (folder / "config.json").write_text(json.dumps(config))
  (folder / "pod.py").write_text(CONFIG)
  (folder / "swept.py").write_text(SWEEP)

  def launch(name, count, devices=1, act="-1 no 0 self 0", words=(), entry="parent", **more):
    flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count={devices}"
    environment = {**os.environ, "XLA_FLAGS": flags, "ACT": act, "BESIDE": str(BESIDE.parent)}
    environment |= more
    for variable in threads.VARIABLES:  # whoever runs this may have set them
      environment.pop(variable, None)
    command = [sys.executable, str(ROOT / "launch.py"), f"--config={folder / 'pod.py'}"]
    place = name if "://" in name else folder / name
    coordinator = f"127.0.0.1:{free_port()}"
    command += [f"--workdir={place}", f"--coordinator={coordinator}", *words]
    command.append(f"--num_processes={count}")
    parent = [sys.executable, str(POD)] if entry == "parent" else []
    at = lambda index: [places.dumps(places.place(coordinator, count, index))] if parent else []
    processes = [
      subprocess.Popen(
        [*parent, *at(index), *command, f"--process_id={index}"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=on_two_cores,
      )
      for index in range(count)
    ]
    try:
      said = [process.communicate(timeout=400) for process in processes]
    finally:
      for process in processes:
        process.kill()
    return [process.returncode for process in processes], said

  launch.folder = folder
  return launch


@pytest.fixture(scope="module")
def whole(site):
  """The workdir of a run of two processes that nothing interrupted, and what they printed.

  The first point of a sweep.
  """
  words = [f"--config={site.folder / 'swept.py'}", "--sweep=all"]
  statuses, said = site("whole", 2, entry="launch", words=words)
  assert statuses == [0, 0], said[0][1][-3000:]
  return next((site.folder / "whole").glob("000-*")), said


def read(site, count):
  """What each of `count` processes read last at every position of the global order."""
  found: dict[int, int] = {}
  for index in range(count):
    lines = (site.folder / f"seen{index}of{count}").read_text().splitlines()
    mine = dict(map(json.loads, lines))
    assert not set(mine) & set(found)  # each only its part
    found |= mine
  return found


def check_order(found):
  """Every epoch of the global order is a permutation, wherever batches and processes begin."""
  for epoch in range(STEPS * BATCH // COUNT):
    assert sorted(found[epoch * COUNT + i] for i in range(COUNT)) == list(range(COUNT))


def printed(said):
  """What each process put on its standard output, without its transport's greeting."""
  keep = lambda out: [line for line in out.splitlines() if not line.startswith("[Gloo]")]
  return ["\n".join(keep(out)) for out, _ in said]


def last_lines(said):
  return [(err.splitlines() or [""])[-1] for _, err in said]


def test_two_processes_read_each_its_part_and_only_the_first_writes(site, whole):
  workdir, said = whole
  check_order(read(site, 2))
  assert printed(said)[1] == ""
  assert "step 12/12" in said[0][1]
  assert "step 12/12" not in said[1][1]
  steps = [row["step"] for row in rows(workdir) if "train/loss" in row]
  assert steps == list(range(1, STEPS + 1))
  assert not [p for p in workdir.rglob("*") if p.name.endswith(".new")]


def test_two_processes_train_all_points_of_a_sweep(site, whole):
  _, said = whole
  made = json.loads((site.folder / "whole" / "results.json").read_text())
  assert [row["step"] for row in made] == [STEPS, 2]
  assert [row["overrides"].get("ema") for row in made] == [None, 0.0]
  assert f"rows of finished runs in {site.folder / 'whole' / 'results.json'}" in printed(said)[0]


@pytest.fixture(scope="module")
def stopped(site):
  """A run in a store, stopped by a signal to one: its folder and URL, what was said and saved."""
  workdir = site.folder / "store" / "run"
  statuses, said = site(workdir.as_uri(), 2, act=f"1 load 5 parent {int(signal.SIGTERM)}")
  assert statuses == [75, 75], last_lines(said)
  return workdir, workdir.as_uri(), said, final(workdir)["step"]


@pytest.fixture(scope="module")
def resumed(site, stopped):
  """The same run, killed in a save and then let go on to its end; what became of both.

  The processes that end it do the other jobs too, of what they read from the store. Killed as a
  folder of this machine: what two processes put into the store is a whole run.
  """
  workdir, url, *_ = stopped
  killed = site("store/run", 2, act=f"0 save 9 parent {int(signal.SIGKILL)}")
  half = [p for p in (workdir / "checkpoints").iterdir() if "tmp" in p.name]
  statuses, said = site(url, 2, THEN="evaluate view")
  assert statuses == [0, 0], last_lines(said)
  return *killed, half, said


def named(statuses, said, wanted, lost):
  """All who are left end with one line, which names who is lost."""
  assert statuses == wanted, last_lines(said)
  alive = [line for line, status in zip(last_lines(said), statuses, strict=True) if status == 75]
  host = alive[0].partition("(")[2].partition(")")[0]
  expected = f"stopped: {lost % host}; the same command goes on from the last checkpoint"
  assert alive == [expected] * len(alive)
  assert not any("Traceback" in err for _, err in said)


def test_a_signal_to_one_saves_one_step_for_all(stopped):
  *_, said, saved = stopped
  lines = last_lines(said)
  assert len(set(lines)) == 1
  assert "SIGTERM at process 1" in lines[0]
  step = int(lines[0].partition(" at step ")[2].partition(":")[0])
  assert 5 <= step < 9  # so that what follows finds a step 9 to be killed in
  assert saved == bytes([step])


def test_who_was_killed_in_a_save_is_named(resumed):
  statuses, said, half, _ = resumed
  named(statuses, said, [-9, 75], "process 0 (%s) vanished")
  assert half  # what was half-written


def test_what_was_stopped_and_killed_ends_as_if_it_had_not_been(stopped, resumed, whole):
  assert final(stopped[0]) == final(whole[0])
  trained = rows(whole[0])
  assert rows(stopped[0])[: len(trained)] == trained


def test_the_other_jobs_read_a_store(stopped, resumed, whole):
  workdir, url, *_ = stopped
  before, said = rows(whole[0]), resumed[-1]
  evaluation, _, views = printed(said)[0].partition("masks: ")
  assert evaluation.strip()
  assert views.startswith(f"{url}/views")
  assert printed(said)[1] == ""
  added = rows(workdir)[len(before) :]
  assert added == [{"step": STEPS, **evaluated(before)}]


def evaluated(found):
  """The evaluations of a run's last step."""
  return {k: v for k, v in found[-1].items() if k.startswith("eval/")}


def test_a_run_goes_on_with_other_counts_of_processes_and_devices(site, whole, monkeypatch):
  # Cut over devices of both processes, of which each writes its cells.
  words = ["--config.mesh.preset=fsdp"]
  act = f"1 step 7 self {int(signal.SIGKILL)}"
  statuses, said = site("2x2", 2, devices=2, act=act, words=words)
  named(statuses, said, [75, 75], "process 1 (%s) was killed by SIGKILL")
  assert f"2 devices simulated with {threads.needed(2)} threads: PJRT_NPROC" in said[0][1]
  workdir, order, batches = site.folder / "2x2", read(site, 2), loop.pipeline.batches

  def seen(*args, position=0, **kwargs):
    for batch in batches(*args, position=position, **kwargs):
      if "process" in kwargs:
        order.update(zip(range(position, position + BATCH), batch["label"].tolist(), strict=True))
      position += BATCH
      yield batch

  monkeypatch.setattr(loop.pipeline, "batches", seen)
  monkeypatch.syspath_prepend(BESIDE.parent)
  run.run(json.loads((site.folder / "config.json").read_text()), workdir)
  check_order(order)
  ours, theirs = rows(workdir), rows(whole[0])
  assert [row["step"] for row in ours] == [row["step"] for row in theirs]
  for one, two in zip(ours, theirs, strict=True):
    assert one.keys() == two.keys()
    np.testing.assert_allclose([*one.values()], [*two.values()], rtol=1e-3, atol=1e-5)
