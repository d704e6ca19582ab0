"""The jobs of a config: train, evaluate, generate, explain, view; for one seed or several."""

import contextlib
import dataclasses
import functools
import hashlib
import logging
import operator
import os
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar, cast

import jax
import numpy as np

from maskjax.data import kinds, pipeline
from maskjax.errors import BadInput, Restart, unknown
from maskjax.keys import stream
from maskjax.record import COUNTED, DIGESTS, MEANING, STATISTICS, Record
from maskjax.task.answers import answer, require
from maskjax.train.checkpoints.checkpoint import Checkpoints
from maskjax.train.evaluators.evaluation import check_evaluators, on, tested
from maskjax.train.evaluators.evaluation import evaluate as run_evaluators
from maskjax.train.jobs import explanation
from maskjax.train.jobs.generation import writer
from maskjax.train.jobs.offered import results
from maskjax.train.log.loggers import open_writers
from maskjax.train.log.metrics import Writers
from maskjax.train.log.summary import summary
from maskjax.train.loop import fit, keep_picture, make_context
from maskjax.train.pod.devices import there
from maskjax.train.pod.member import check, me
from maskjax.train.pod.rendezvous import apart
from maskjax.train.pod.signals import asked_to_stop
from maskjax.train.result import OnEval, Result, collected
from maskjax.train.setup.build import Parts, make_parts
from maskjax.train.setup.checks import check as check_run
from maskjax.train.setup.checks import check_identity
from maskjax.train.setup.initial import first_state, snapshot
from maskjax.train.setup.remarks import remarks
from maskjax.train.setup.sections import checked
from maskjax.train.setup.stages import run_stages
from maskjax.train.state import State, parameter_count
from maskjax.train.stopping import Until
from maskjax.train.workdirs import remote
from maskjax.train.workdirs.workdir import changed, claim, flatten, known_record, read_record, saved
from maskjax.view.reconstruction import pick, spaced

log = logging.getLogger("maskjax")

Job = TypeVar("Job", bound=Callable[..., Any])
JOBS: dict[str, Callable[..., Any]] = {}


def door(job: Job) -> Job:
  """One of the jobs, whichever way it is called: its workdir may be a URL; see `remote`."""

  @functools.wraps(job)
  def opened(config: Mapping[str, Any], workdir: str | os.PathLike[str], **more: Any) -> Any:
    check()
    with remote.mirrored(workdir, write=True) as place:
      said = job(config, place, **more)
      return said.told(remote.told) if isinstance(said, Result) else remote.told(said)

  JOBS[job.__name__] = opened
  return cast(Job, opened)


def run(config: Mapping[str, Any], workdir: str | os.PathLike[str]) -> str:
  """Does the job that `config.job` names; returns what to tell the user.

  Raises:
    BadInput: whatever in the config or the workdir cannot work.
    Restart: asked to stop before the end, and everything is saved; or the store of a workdir that
      is a URL does not answer.
  """
  job = config.get("job", "train")
  if job not in JOBS:
    raise unknown("job", job, JOBS)
  return str(JOBS[job](config, workdir))


@door
def train(
  config: Mapping[str, Any],
  workdir: str | os.PathLike[str],
  *,
  on_eval: OnEval | None = None,
) -> Result:
  """Trains every seed of a config to its end, going on from wherever the workdir stands.

  Seed `config.seed` lives in the workdir itself, further ones under `seeds/`.

  Args:
    config: as a config file makes it: a ConfigDict or nested dicts.
    workdir: of the run, new or one to be continued; a folder, or a place such as `remote` takes.
    on_eval: called after every evaluation with the step and its scalars; where it returns True a
      checkpoint is written and the run ends, without the seeds that are left. The same call goes
      on from there. Of several processes all are given one, and that of the first is asked.

  Returns:
    What the run came to: its last step, the scalars there and the table of results.
  """
  # One block for all seeds: a signal in the last step of one must not begin the next.
  with _opened(config, workdir, before=check_identity) as (parts, folders), asked_to_stop() as stop:
    for folder in folders.values():
      check_run(parts, folder)  # of all seeds, before any stage is trained
    for line in remarks(parts) if me().first else ():
      log.warning("%s", line)
    steps: dict[int, int] = {}
    for seed, folder in folders.items():
      if stop.here():
        raise Restart(f"{stop.reason} before seed {seed}: the same command goes on from there")
      log.info("seed %d in %s", seed, remote.told(str(folder)))
      if me().first:
        folder.mkdir(parents=True, exist_ok=True)
      run_stages({**parts.config, "seed": seed}, folder, train)
      until = Until(parts.config, folder, on_eval)
      steps[seed] = until.ended() or fit(parts, folder, seed, stop, until.asked)
      if steps[seed] < parts.total_steps and not until.ended():
        break
    count = parameter_count(parts.state.variables)
    found = collected(folders, steps, total=parts.total_steps, parameters=count)
    commands = results(parts, folders[next(iter(steps))]) if me().first else ""
    return dataclasses.replace(found, commands=commands)


@door
def evaluate(config: Mapping[str, Any], workdir: str | os.PathLike[str]) -> str:
  """Runs the config's evaluators on the newest good checkpoint of every seed."""
  with _opened(config, workdir) as (parts, folders):
    for seed, folder in folders.items():
      step, state = trained(parts, folder, seed)
      with contextlib.closing(open_writers(parts.config, folder, None)) as writers:
        picture = lambda name, image: keep_picture(folder, writers, step, name, image)  # noqa: B023
        context = make_context(parts, state, seed, step, picture, folder)
        sections = parts.config.get("evals", {})
        names = [name for name, section in sections.items() if on(section)]
        writers.scalars(step, run_evaluators(context, sections, names))
    places = list(folders.values())
    return f"{summary(places)}\n\n{results(parts, places[0])}" if me().first else ""


@door
def generate(config: Mapping[str, Any], workdir: str | os.PathLike[str]) -> str:
  """Writes what the newest good checkpoint of the first seed generates, as `config.sample` asks.

  What that is follows from what the task answers on this data: see `maskjax.train.jobs.generation`.
  """
  with _opened(config, workdir) as (parts, folders):
    write = writer(parts.task, parts.data.record, parts.config["task"]["fn"])
    seed, folder = next(iter(folders.items()))
    return write(parts, seed, folder, *trained(parts, folder, seed))


@door
def explain(config: Mapping[str, Any], workdir: str | os.PathLike[str]) -> str:
  """Compares ways of hiding on the classifier of every seed, as `config.explain` asks.

  A seed without a checkpoint begins from what `init_from` names, a stage too. Figures go to
  metrics.jsonl, the table and the pictures to `views/`.
  """
  with _opened(config, workdir) as (parts, folders):
    require(explanation.explain, "explain", parts.task, parts.data.record)
    found = []
    for seed, folder in folders.items():
      log.info("explaining seed %d in %s", seed, remote.told(str(folder)))
      step, state = _begun(parts, folder, seed)
      context = make_context(parts, state, seed, step, lambda name, image: None, folder)
      look = tested(explanation.explain, parts.data.test)
      found.append(look(context, **(parts.config.get("explain") or {})))
      with contextlib.closing(open_writers(parts.config, folder, None)) as writers:
        writers.scalars(step, explanation.numbers(found[-1]))
        for name, image in explanation.pictures(found[-1], parts.data.record).items():
          keep_picture(folder, writers, step, name, image)
    table, plots = explanation.together(found)
    paths = [
      keep_picture(folders[parts.config["seed"]], Writers(()), step, *p) for p in plots.items()
    ]
    if not me().first:
      return ""
    paths[0].with_name(f"{step:08d}_explained.txt").write_text(f"{table}\n", encoding="utf-8")
    return f"{table}\n\npictures: {paths[0].parent}"


def _begun(parts: Parts, folder: pathlib.Path, seed: int) -> tuple[int, State]:
  """The step and the state of a run's newest good checkpoint, or what it would begin from."""
  if saved(folder):
    return trained(parts, folder, seed)
  if not (parts.config.get("init_from") or parts.config.get("resume")):
    raise BadInput(f"{folder} has no checkpoint yet: train first, or name weights by init_from")
  if me().first:
    folder.mkdir(parents=True, exist_ok=True)
  run_stages({**parts.config, "seed": seed}, folder, train)
  with Checkpoints(folder) as checkpoints:
    return 0, first_state(parts, checkpoints, seed, folder)[0]


def trained(parts: Parts, folder: pathlib.Path, seed: int) -> tuple[int, State]:
  """The step and the state of a run's newest good checkpoint.

  Raises:
    BadInput: there is none, or the workdir holds another run.
  """
  check_identity(folder, {**parts.config, "seed": seed})
  if me().first and (told := changed(folder, parts.data.found)):
    log.warning("the data are not those that the run in %s was trained on: %s", folder, told[0])
  with Checkpoints(folder) as checkpoints:
    found = checkpoints.restore(snapshot(parts.state, 0))
  if found is None:
    raise BadInput(f"{folder} has no checkpoint yet: train first")
  step, tree = found
  return step, tree["state"]


@door
def view(config: Mapping[str, Any], workdir: str | os.PathLike[str]) -> str:
  """Draws the masks of a config on its images and what the model sees; it does not train.

  Where masks depend on a network it is that of the newest good checkpoint, or before step 0.
  """
  with _opened(config, workdir) as (parts, folders):
    data = parts.data
    show = jax.jit(answer(parts.task, "views", "job=view"))
    split = data.test or data.train
    wanted = spaced(data.record.sizes[split], 8)
    batch = pick(pipeline.examples(data, split, batch_size=64), wanted)
    seed, folder = next(iter(folders.items()))
    begun = saved(folder)
    step, state = trained(parts, folder, seed) if begun else (0, parts.begin(jax.random.key(seed)))
    key = stream(stream(jax.random.key(seed), "evaluation"), "view")
    views = parts.mesh.get(show(state.variables, batch, key))
    picture = kinds.linked(data.record, "masks")(views, data.record)
    path = keep_picture(folder, Writers(()), step, "masks", picture)
    return f"masks: {path}" if me().first else ""


@contextlib.contextmanager
def _opened(
  config: Mapping[str, Any],
  workdir: str | os.PathLike[str],
  before: Callable[[pathlib.Path, Mapping[str, Any]], None] = lambda folder, config: None,
) -> Iterator[tuple[Parts, dict[int, pathlib.Path]]]:
  """The parts of a run and the folder of each seed, with the workdir held for this launch.

  `before` is asked of each seed's folder and config before the data are opened: what else differs
  follows from what it refuses.
  """
  config, path = checked(plain(config)), pathlib.Path(workdir)
  seeds, first = config.get("seeds", 1), config["seed"]
  if seeds < 1:
    raise BadInput(f"seeds must be at least 1, got {seeds}")
  if me().count > 1:
    own = jax.local_device_count()
    seen = there(os.environ) if jax.default_backend() == "gpu" else None
    log.info("%d of %d local devices", own, seen or own)
  folders = {first: path}
  folders |= {first + i: path / "seeds" / str(first + i) for i in range(1, seeds)}
  for seed, folder in folders.items():
    before(folder, {**config, "seed": seed})
  with debugging(config.get("debug", False)):
    # Statistics of a run that left a checkpoint are never measured anew.
    known = read_record(path) if saved(path) else known_record(path)
    looks = config.get("job") == "view" and not saved(path)
    parts = make_parts(config, known=None if looks else known)
    check_evaluators(config.get("evals", {}), parts.data.record, parts.task, parts.data)
    with claim(path) if me().first else contextlib.nullcontext():
      same_everywhere(config)
      same_data(parts.data.record)
      yield parts, folders


def same_everywhere(config: Mapping[str, Any]) -> None:
  """Waits for all processes, the first of which has the workdir by now.

  Raises:
    BadInput: they were not all given the same config.
  """
  digest = hashlib.sha256(repr(sorted(flatten(config).items())).encode()).hexdigest()
  others = [i for i, d in enumerate(me().barrier("the workdir", digest)) if d != digest]
  if others:
    raise BadInput("{} got another config than {}".format(*apart(others, me().count)))


def same_data(record: Record) -> None:
  """Makes sure that all processes opened the same data.

  Raises:
    BadInput: they did not; the processes and the first field that differs are named.
  """
  digest = lambda value: hashlib.sha256(repr(value).encode()).hexdigest()[:16]
  exact = {name: digest(getattr(record, name)) for name in (*MEANING, *COUNTED, *DIGESTS)}
  close = {name: list(getattr(record, name)) for name in STATISTICS}
  mine = {**exact, **close}
  # What is measured differs by rounding where processors do.
  same = lambda name, value: (_close if name in close else operator.eq)(value, mine[name])
  others = {}
  for i, theirs in enumerate(me().barrier("the data", mine)):
    if differ := [name for name, value in theirs.items() if not same(name, value)]:
      others[i] = differ[0]
  if others:
    odd, rest = apart(others, me().count)
    raise BadInput(f"{odd} opened other data than {rest}: {min(others.items())[1]} differs")


def _close(a: Sequence[float], b: Sequence[float]) -> bool:
  return len(a) == len(b) and np.allclose(a, b, rtol=1e-5)


@contextlib.contextmanager
def debugging(on: bool) -> Iterator[None]:
  """Stops at the first NaN and compiles nothing, so that a debugger sees every value."""
  with contextlib.ExitStack() as stack:
    if on:
      stack.enter_context(jax.debug_nans(True))
      stack.enter_context(jax.disable_jit())
    yield


def plain(config: Mapping[str, Any]) -> dict[str, Any]:
  """A config as nested dicts, whatever it came as, its sections too.

  >>> from ml_collections import ConfigDict
  >>> plain({"seed": 1, "select": ConfigDict({"ratio": 0.75})})
  {'seed': 1, 'select': {'ratio': 0.75}}
  """
  config = config.to_dict() if hasattr(config, "to_dict") else config
  section = lambda value: isinstance(value, Mapping) or hasattr(value, "to_dict")
  return {k: plain(v) if section(v) else v for k, v in config.items()}
