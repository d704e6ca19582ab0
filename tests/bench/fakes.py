"""Contenders that need nothing: run by the bench's worker, they note when they ran."""

import pathlib
import subprocess
import sys


def steady(size):
  """Writes its name at every run, and has measured what it was told."""
  seconds = iter(size["seconds"])

  def run():
    with pathlib.Path(size["log"]).open("a") as file:
      file.write(size["name"])
    return next(seconds)

  print("libraries print to standard output")
  return {"run": run, "warm": False, "facts": {"seen": size["shared"]}}


def several(size):
  """Measures two things in a run."""
  return {"run": lambda: [1.0, size["shared"]]}


def timed(size):
  """Is measured by the worker, three runs at a time; counts its runs."""
  counts = {"before": 0, "run": 0}

  def count(name):
    counts[name] += 1
    return counts if name == "before" else "no number"

  return {
    "run": lambda: count("run"),
    "before": lambda: count("before"),
    "times": 3,
    "facts": {"counts": counts},
  }


def lacking(size):
  """Needs what nobody has."""
  import no_such_package

  return no_such_package


def unfit(size):
  """Knows why there is nothing to measure."""
  return {"absent": "not offered"}


def broken(size):
  """Fails at its first run."""

  def run():
    sys.stderr.write("about to fail\n")
    raise ValueError("the reason")

  return {"run": run, "warm": False}


def parent(size):
  """Leaves a child behind."""
  child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
  pathlib.Path(size["log"]).write_text(str(child.pid))
  return {"run": lambda: 1.0}


def greedy(size):
  """Needs 64 MB while it runs, and keeps nothing."""
  return {"run": lambda: len(bytearray(b"x") * (64 << 20))}
