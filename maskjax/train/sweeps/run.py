"""The points of a sweep, trained one after another; what is finished stands in a file of rows."""

import logging
import os
from collections.abc import Sequence

import jax
from ml_collections import ConfigDict

from maskjax.errors import BadInput, Restart
from maskjax.train.pod.member import me
from maskjax.train.pod.signals import Stop, asked_to_stop
from maskjax.train.run import train
from maskjax.train.sweeps import rows
from maskjax.train.sweeps.points import Point

log = logging.getLogger("maskjax")


def run(points: Sequence[Point], workdir: str, results: str | os.PathLike[str] = "") -> str:
  """Trains the points that have no row yet, each in its own folder, and adds their rows.

  One that cannot be trained, as its loss is not finite, does not keep the others from it.

  Args:
    points: of a sweep.
    workdir: of the sweep, a folder or a URL.
    results: the file of rows; by default `results.json` in the workdir.

  Returns:
    The table of all the points.

  Raises:
    BadInput: a point could not be trained, or is to do another job; no file for the rows of a
      workdir that is a URL.
    Restart: asked to stop; the same command goes on from there.
  """
  if not results and "://" in workdir:
    raise BadInput("rows go to a local file: give --results=FILE with a workdir that is a URL")
  place = results or os.path.join(workdir, "results.json")
  if others := [p.number for p in points if p.config.get("job", "train") != "train"]:
    raise BadInput(f"rows are of trained runs: point {others[0]} is to do another job")
  # One block for all: a signal between two points, or in the last step of one, is not lost.
  with asked_to_stop() as stop:
    _trained(points, workdir, place, stop)
  return _said(points, place) if me().first else ""


def _trained(
  points: Sequence[Point], workdir: str, place: str | os.PathLike[str], stop: Stop
) -> None:
  failed = {}
  for i, point in enumerate(points):
    if stop.here():
      before = f"before point {point.number}"
      raise Restart(f"{stop.reason} {before}: the same command goes on from there")
    there = rows.known(place) if me().first else []
    mine = [rows.finished(there, point), rows.steps(there, point) if point.seconds else 0]
    done, steps = me().barrier("the rows", mine)[0]
    if done:
      log.info("point %d has its row in %s", point.number, place)
      continue
    log.info("point %d (%d of %d): %s", point.number, i + 1, len(points), point.words)
    try:
      found = train(lasting(point, steps), point.folder(workdir))
    except BadInput as error:
      if me().count > 1:  # the others may not have failed, and wait
        raise
      failed[point.number] = error
      log.error("point %d: %s", point.number, error)
      continue
    if me().first:
      rows.add(place, rows.rows_of(point, found))
    jax.clear_caches()  # the next point is another program
  if failed:
    said = "; ".join(f"{number}: {error}" for number, error in failed.items())
    raise BadInput(f"{len(failed)} of {len(points)} points could not be trained: {said}")


def lasting(point: Point, steps: int) -> ConfigDict:
  """The config of a point, of so many steps where it says how many seconds it trains.

  Raises:
    BadInput: it says so, and nothing is known of its speed.
  """
  if not point.seconds:
    return point.config
  if not steps:
    what = f"how fast {point.place} is: it needs a row of the same fields without seconds"
    raise BadInput(f"no row says {what}, of any seed")
  config = point.config.copy_and_resolve_references()
  with config.ignore_type():
    config.total_steps = steps
  return config


def _said(points: Sequence[Point], place: str | os.PathLike[str]) -> str:
  wanted = {point.settings(seed) for point in points for seed in point.seeds}
  shown = rows.table([row for row in rows.read(place) if row["settings"] in wanted])
  return f"{shown}\n\nrows of finished runs in {os.fspath(place)}"
