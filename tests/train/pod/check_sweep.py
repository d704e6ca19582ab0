"""What two processes do together that somebody else made of jax: a sweep, and beginning from it.

`tests/train/checkpoints/check_shards.py` runs it in its processes.
"""

import json
import os
import pathlib
import runpy
import signal
import sys
import time

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

import maskjax as mj
from maskjax.errors import Restart
from maskjax.train import loop
from maskjax.train.checkpoints import verified
from maskjax.train.checkpoints.checkpoint import Checkpoints
from maskjax.train.checkpoints.load import stored
from maskjax.train.pod.member import FALLBACK
from maskjax.train.run import plain
from maskjax.train.setup.build import make_parts
from maskjax.train.setup.initial import first_state
from maskjax.train.sweeps import points, run

BESIDE = pathlib.Path(__file__).parent
OF_GRAPH = ("over", "model", "score", "select", "hide", "target", "losses")
KNN = {"fn": "train.evaluators.knn", "k": 3, "test": "train", "every": 2}
CUT = {"preset": "fsdp", "least": 8}
CHANGES = ({"ema": 0.0}, {"ema": 0.5, "total_steps": 50, "evals": {"knn": KNN}})


def swept(folder):
  """Two points: of four steps, and of fifty, with evaluations."""
  sys.path.append(str(BESIDE))
  run_tests = runpy.run_path(str(BESIDE.parent / "test_run.py"))
  tiny = {name: value for name, value in run_tests["TINY"].items() if name not in OF_GRAPH}
  changes = {
    "data.path": str(folder / "images.npz"),
    "data.test": "",
    "task.fn": "smallest:linear",
    "evals": {},
  }
  changes |= {"total_steps": 4, "checkpoint.every": 100, "batch_size": 8}
  config = run_tests["merged"](tiny, {**changes, "mesh": {"preset": "data", "least": 8}})
  made = lambda change: ConfigDict({**config, **change})
  return [points.Point(i, "toy", change, made(change)) for i, change in enumerate(CHANGES)]


def main(folder):
  """SIGTERM to one in the last step of a point; again; `on_eval` of the first ends the second."""
  found, index, step, count = swept(folder), jax.process_index(), loop.Run._step, 0

  def stepping(self, *args, **kwargs):
    nonlocal count
    count += 1
    out = step(self, *args, **kwargs)
    if count == 4:
      if index == 1:
        os.kill(os.getpid(), signal.SIGTERM)
      time.sleep(3)  # jax looks for a signal once a second
    return out

  loop.Run._step = stepping
  asked = lambda step, metrics: index == 0 and "eval/knn/accuracy" in metrics and step >= 2
  run.train = lambda config, folder: mj.train(config, folder, on_eval=asked)
  with pytest.raises(Restart, match=f"{FALLBACK} before point 1: the same command goes on"):
    run.run(found, str(folder / "sweep"))
  said = run.run(found, str(folder / "sweep"))
  assert bool(said) == (index == 0)
  assert count == 6
  rows = json.loads((folder / "sweep" / "results.json").read_text())
  assert [(row["overrides"]["ema"], row["step"]) for row in rows] == [(0.0, 4), (0.5, 2)]
  begin(pathlib.Path(found[1].folder(folder / "sweep")), found[1].config, folder / "begun")


def begin(source, config, workdir):
  """Where a run begins from another, and where one is loaded on a mesh, each reads its part."""
  read, parts = [0], verified.parts

  def counting(*given):
    found = parts(*given)
    read[0] += sum(array.nbytes for copies in found.values() for _, array in copies)
    return found

  verified.parts = counting
  whole = stored(source)
  size = sum(leaf.nbytes for leaf in jax.tree.leaves(whole))
  assert read == [size]
  read[0] = 0
  made = make_parts(plain({**config, "mesh": CUT, "init_from": str(source)}))
  state, _ = first_state(made, Checkpoints(workdir), 0, workdir)
  assert read[0] < 0.6 * size, read
  assert not state.variables["params"]["kernel"].is_fully_addressable
  jax.tree.map(np.testing.assert_array_equal, made.mesh.get(dict(state.variables)), whole)
  read[0] = 0
  cut = mj.load(source, trust=("smallest",), mesh=CUT)
  assert read[0] < 0.6 * size, read
  batch = cut.preprocess([np.full((8, 8, 1), 9 * i, np.uint8) for i in range(3)])
  alone = mj.load(source, trust=("smallest",))
  ours, theirs = (run.apply(run.variables, batch)["mean"] for run in (cut, alone))
  np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
