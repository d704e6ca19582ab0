"""Evaluators of a config, run on the weights of one step."""

import dataclasses
import functools
import inspect
import itertools
import logging
import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np

from maskjax.data import pipeline
from maskjax.errors import BadInput, unknown
from maskjax.keys import stream
from maskjax.record import Record
from maskjax.sections import bound
from maskjax.task.answers import lacks, needed
from maskjax.task.base import Task, Variables
from maskjax.train.mesh.mesh import Mesh

log = logging.getLogger("maskjax")

# What the loop reads of an evaluator's section; the rest is the evaluator's.
SCHEDULING = ("every", "pixels")
# What evaluators call the split that they look at, which stands for that of `data.test`.
TEST = "test"


@dataclasses.dataclass
class Context:
  """What an evaluator may use; see `maskjax.train.evaluators.context`.

  Attributes:
    record: facts about the data set.
    task: the run's task.
    variables: the weights that are evaluated, never changed.
    opt_state: the optimiser's state, with its masks.
    key: the evaluator's key, the same at every step.
    step: the step of the weights.
    data: the open data set.
    mesh: where batches lie.
    batch_size: examples at a time where features are computed.
    picture: takes `(name, uint8 [h w 3])`.
    encode: the task's features, compiled.
    place: where a run lies that the config names, "stages/NAME" within the workdir.
    pause: called before each batch; may raise to end the evaluation early.
  """

  record: Record
  task: Task
  variables: Variables
  opt_state: Any
  key: jax.Array
  step: int
  data: pipeline.Data
  mesh: Mesh
  batch_size: int
  picture: Callable[[str, np.ndarray], None]
  encode: Callable[..., Mapping[str, jax.Array]]
  place: Callable[[str], pathlib.Path] = pathlib.Path
  pause: Callable[[], None] = lambda: None
  cache: dict[Any, dict[str, np.ndarray]] = dataclasses.field(default_factory=dict)

  def features(
    self, split: str, pooling: str, limit: int | None = None
  ) -> tuple[np.ndarray, np.ndarray]:
    """Frozen features `[n, d]` and labels `[n]` of a split, computed once for all evaluators.

    Labels are -1 where a split has none.
    Of all that is `valid`: examples, at most `limit` evenly spaced ones, or the nodes of graphs. An
    example with one label for all its positions is there if one of these is.
    """
    if (split, limit) not in self.cache:
      self.cache[split, limit] = self._encode(split, limit)
    found = self.cache[split, limit]
    if pooling not in found:
      poolings = ", ".join(name for name in found if name != "label")
      raise BadInput(f"the task has no features pooled by {pooling!r} (known: {poolings})")
    return found[pooling], found.get("label", np.full(len(found[pooling]), -1, np.int32))

  def _encode(self, split: str, limit: int | None) -> dict[str, np.ndarray]:
    self.mesh.check(self.batch_size, 1)
    parts: list[dict[str, np.ndarray]] = []
    for batch in self.examples(split, self.batch_size, limit):
      valid = batch.pop("valid")
      if "label" in batch and batch["label"].ndim < valid.ndim:
        batch["valid"] = valid
        valid = np.asarray(valid.any(axis=tuple(range(1, valid.ndim))))
      pooled = self.mesh.get(self.encode(self.variables, self.mesh.put_whole(batch)))
      part = {k: v[valid] for k, v in pooled.items() if v.ndim == valid.ndim + 1}
      if "label" in batch:
        part["label"] = batch["label"][valid]
      parts.append(part)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

  def examples(
    self, split: str, batch_size: int, limit: int | None = None
  ) -> Iterator[dict[str, np.ndarray]]:
    """One pass over a split, or `limit` evenly spaced examples of it.

    Not augmented, the last batch padded: `valid` tells.
    """
    for batch in pipeline.examples(self.data, split, batch_size=batch_size, limit=limit):
      self.pause()
      yield batch

  def batches(self, batch_size: int, seed: int, steps: int) -> Iterator[dict[str, np.ndarray]]:
    """`steps` augmented training batches in the order of `seed`."""
    endless = pipeline.batches(self.data, batch_size=batch_size, seed=seed)
    for batch in itertools.islice(endless, steps):
      self.pause()
      yield batch


def pixels(variables: Variables, batch: Mapping[str, Any]) -> dict[str, Any]:
  """The features to beat: an example's normalised values as they are, whatever the pooling."""
  values = batch["video" if "video" in batch else "image"]
  flat = values.reshape(len(values), -1)
  return {"mean": flat, "class": flat}


def bind_evaluators(
  evals: Mapping[str, Mapping[str, Any]], test: str = TEST
) -> dict[str, functools.partial]:
  """Binds every evaluator of a config; `test` is the split that they look at unless they say.

  Raises:
    BadInput: an unknown evaluator or argument.
  """
  clean = lambda section: {
    k: v for k, v in section.items() if k not in SCHEDULING and v is not None
  }
  return {name: tested(bound(clean(part)), test) for name, part in evals.items() if part}


def tested(fn: Callable[..., Any], test: str) -> functools.partial:
  """A function whose `test` or `split` is `test` where it would be the split of that name.

  >>> tested(functools.partial(lambda split="test", train="train": split), "validation")()
  'validation'
  """
  bare = inspect.signature(getattr(fn, "func", fn)).parameters
  said = getattr(fn, "keywords", {})
  roles = [role for role in ("test", "split") if role in bare and role not in said]
  own = {role: test for role in roles if test and bare[role].default == TEST}
  return functools.partial(fn, **own)


def check_evaluators(
  sections: Mapping[str, Mapping[str, Any]],
  record: Record,
  task: Task,
  data: pipeline.Data | None = None,
) -> None:
  """Finds out before a run begins whether its evaluators can work on this data and task.

  With the open `data` also whether the splits that need labels have them.

  Raises:
    BadInput: an unknown evaluator, argument or split, or what an evaluator `needs` and this run
      has not: an answer, a kind of data, labels.
  """
  for name, evaluator in bind_evaluators(sections, data.test if data else TEST).items():
    if not on(sections[name]):
      continue
    if lacking := lacks(evaluator.func, task, record):
      off = f"--config.evals.{name}=None switches it off"
      raise BadInput(f"evals.{name} {lacking}; {off}")
    for role in ("train", "test", "split"):
      takes = inspect.signature(evaluator).parameters.get(role)
      if takes and takes.default not in record.sizes:
        raise unknown(f"split for evals.{name}.{role}", takes.default, record.sizes)
      if takes and data and needed(evaluator.func).labels:
        _labelled(data, takes.default, f"evals.{name}")


def _labelled(data: pipeline.Data, split: str, who: str) -> None:
  if "label" not in data.splits[split][0]:
    said = f"{who} needs labels, and the split {split!r} has none"
    raise BadInput(f"{said}; --config.{who}=None switches it off")
  if lost := data.unseen.get(split):
    said = f"{len(lost)} classes of {split!r} are not in {data.train!r}, {lost[0]!r} for one"
    raise BadInput(f"{said}: {who} cannot tell them; data.classes chooses classes")


def on(section: Mapping[str, Any] | None) -> bool:
  """Whether an evaluator runs at all: neither None nor with a negative `every`."""
  return section is not None and len(section) > 0 and section.get("every", 0) >= 0


def due(section: Mapping[str, Any] | None, step: int, total: int) -> bool:
  """Whether an evaluator runs at a step: the first, the last, and each `every`-th (0 for none)."""
  every = section.get("every", 0) if section else 0
  return on(section) and (step in (0, total) or bool(every and step % every == 0))


def evaluate(
  context: Context, sections: Mapping[str, Mapping[str, Any]], names: list[str]
) -> dict[str, float]:
  """Runs the named evaluators; numbers are called `eval/<name>/<figure>`.

  An evaluator with `pixels` runs at step 0 on the raw pixels too, as `eval/<name>/pixels/<figure>`.
  """
  evaluators, results = bind_evaluators(sections, context.data.test if context.data else TEST), {}
  for i, name in enumerate(names):
    log.info("evaluating %s at step %d (%d of %d)", name, context.step, i + 1, len(names))
    mine = dataclasses.replace(context, key=stream(context.key, name))
    results.update({f"eval/{name}/{k}": v for k, v in evaluators[name](mine).items()})
    if sections[name].get("pixels") and context.step == 0:
      raw = dataclasses.replace(mine, encode=pixels, cache={})
      results.update({f"eval/{name}/pixels/{k}": v for k, v in evaluators[name](raw).items()})
  return results
