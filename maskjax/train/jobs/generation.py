"""What a trained run generates, and how it is written down.

Texts, with a transcript of how they were revealed; pictures of images; a table with its missing
cells filled in; separated sources to listen to. Which of these follows from what a task answers.
"""

import contextlib
import dataclasses
import pathlib
import re
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from maskjax.data import kinds, wav
from maskjax.data.table import written
from maskjax.data.tokens import decode, encode
from maskjax.errors import BadInput
from maskjax.keys import keys
from maskjax.record import Record
from maskjax.sections import bound
from maskjax.task.answers import answer, lacks, needed, needs
from maskjax.task.base import Task, Variables
from maskjax.train.evaluators.evaluation import tested
from maskjax.train.evaluators.imputation import fill_in
from maskjax.train.log.loggers import open_writers
from maskjax.train.loop import keep_picture, make_context
from maskjax.train.mesh.mesh import get
from maskjax.train.pod.member import me
from maskjax.train.setup.build import Parts
from maskjax.train.state import State, with_ema
from maskjax.view.reconstruction import pick, spaced
from maskjax.view.separation import recordings
from maskjax.view.text import reveal, reveal_picture

GAP = re.compile(r"\[(\d+)\]")
# Writes what a run generates into its folder and says where: (parts, seed, folder, step, state).
Writer = Callable[[Parts, int, pathlib.Path, int, State], str]


class Samples(NamedTuple):
  """What was generated: tokens `[count, n]`, their steps, a transcript and a picture."""

  tokens: np.ndarray
  step: np.ndarray
  text: str
  picture: np.ndarray


def writer(task: Task, record: Record, name: str) -> Writer:
  """The writer of the data's own kind, or the first below whose needs a task meets on its data.

  Raises:
    BadInput: there is none; what the task offers and what the writers need are named.
  """
  if kinds.find(record.kind).generate:
    return kinds.linked(record, "generate")
  for write in WRITERS:
    if not lacks(write, task, record):
      return write
  wanted = (f"{' and '.join(of.answers)} of {of.seen}" for of in map(needed, WRITERS))
  offers = ", ".join(sorted(task.answers)) or "nothing beside its loss"
  raise BadInput(
    f"the task {name} generates nothing as configured: of {record.kind} data it offers {offers}; "
    f"job=generate needs {', or '.join(wanted)}"
  )


@needs("generate", kinds=("text",))
def _texts(parts: Parts, seed: int, folder: pathlib.Path, step: int, state: State) -> str:
  """Texts, how each was revealed, and a picture of that."""
  wanted = parts.config.get("sample", {})
  samples = sample(parts.task, with_ema(state), parts.data.record, **wanted)
  with contextlib.closing(open_writers(parts.config, folder, None)) as writers:
    path = keep_picture(folder, writers, step, "samples", samples.picture)
  if not me().first:
    return ""
  path.with_suffix(".txt").write_text(samples.text, encoding="utf-8")
  return f"{samples.text}\n\npicture: {path}"


@needs("sample", kinds=("image",))
def _painted(parts: Parts, seed: int, folder: pathlib.Path, step: int, state: State) -> str:
  """The pictures of the evaluator `samples`, whose arguments `config.sample` holds."""
  paths: list[pathlib.Path] = []
  with contextlib.closing(open_writers(parts.config, folder, None)) as writers:
    picture = lambda name, image: paths.append(keep_picture(folder, writers, step, name, image))
    context = make_context(parts, state, seed, step, picture, folder)
    draw = bound({"fn": "train.evaluators.samples", **parts.config.get("sample", {})})
    tested(draw, parts.data.test)(context)
  return "\n".join(f"picture: {path}" for path in paths) if me().first else ""


@needs("impute", kinds=("table",))
def _filled(parts: Parts, seed: int, folder: pathlib.Path, step: int, state: State) -> str:
  """The table of a run with its missing cells filled in, all else as it stands in its file."""
  data, train = parts.data, parts.data.train
  whole = getattr(data.splits[train], "whole", data.splits[train])  # without data.limit
  sizes = {**data.record.sizes, train: len(whole)}
  record = dataclasses.replace(data.record, sizes=sizes)
  data = data._replace(record=record, splits={**data.splits, train: whole})
  parts = parts._replace(data=data)
  context = make_context(parts, state, seed, step, lambda name, image: None, folder)
  rows = fill_in(context, train, context.batch_size)
  path = folder / "views" / f"{step:08d}_filled.csv"
  if me().first:
    path.parent.mkdir(exist_ok=True)
    path.write_text(written(whole, rows, record), encoding="utf-8", newline="")
  return f"filled in: {path}" if me().first else ""


@needs("views", kinds=("mixture",))
def _separated(parts: Parts, seed: int, folder: pathlib.Path, step: int, state: State) -> str:
  """Recordings of some mixtures, their sources, and the estimates of these."""
  context = make_context(parts, state, seed, step, lambda name, image: None, folder)
  split = parts.data.test or parts.data.train
  wanted = spaced(parts.data.record.sizes[split], parts.config.get("sample", {}).get("count", 4))
  batch = pick(context.examples(split, context.batch_size), wanted)
  show = jax.jit(answer(parts.task, "views", "job=generate"))
  views = context.mesh.get(show(context.variables, batch, context.key))
  place = folder / "views" / f"{step:08d}_separated"
  if not me().first:
    return ""
  place.mkdir(parents=True, exist_ok=True)
  for name, signal in recordings(views).items():
    wav.write(place / f"{name}.wav", signal, parts.data.record.rate)
  return f"recordings: {place}"


WRITERS: tuple[Writer, ...] = (_texts, _painted, _filled, _separated)


def sample(
  task: Task,
  variables: Variables,
  record: Record,
  *,
  count: int = 4,
  prompt: str = "",
  length: int = 0,
  seed: int = 0,
) -> Samples:
  """Generates `count` texts of at most `length` tokens (0: as long as the training windows).

  `prompt` is given text. Where it has gaps, `[12]` for twelve tokens, these are filled; otherwise
  it is continued.

  Raises:
    BadInput: no text to generate, a prompt that does not fit, a character that is not known.
  """
  generate = answer(task, "generate", "job=generate")
  if count < 1:
    raise BadInput(f"sample.count must be at least 1, got {count}")
  if length < 0:
    raise BadInput(f"sample.length must not be negative, got {length}")
  tokens, hidden = request(prompt, record, length or record.shape[0])
  stack = lambda row: np.broadcast_to(row, (count, *row.shape))
  gaps = jnp.asarray(stack(hidden))
  # What is hidden is a constant of the program: a task that cannot fill it says so.
  write = lambda *rest: generate(*rest, gaps)
  made = jax.jit(write)(variables, keys(jax.random.key(seed), count), stack(tokens))
  filled, step = get((made["tokens"], made["step"]))
  show = lambda ids: decode(ids, record)
  return Samples(filled, step, reveal(filled, step, show), reveal_picture(filled, step, record))


def request(prompt: str, record: Record, length: int) -> tuple[np.ndarray, np.ndarray]:
  """Token ids and which of them are to be filled, both `[n]`.

  Raises:
    BadInput: more tokens than `length`, or nothing to fill.

  >>> record = Record("text", (8,), {}, vocabulary=("a", "b"), unit="characters")
  >>> tokens, hidden = request("ab[2]a", record, 8)
  >>> hidden.tolist()
  [False, False, True, True, False]
  """
  ids: list[int] = []
  hidden: list[bool] = []
  pieces = GAP.split(prompt)
  for i, piece in enumerate(pieces):
    gap = i % 2 == 1
    new = [0] * int(piece) if gap else encode(piece, record).tolist()
    ids, hidden = ids + new, hidden + [gap] * len(new)
  if len(pieces) == 1:
    rest = max(length - len(ids), 0)
    ids, hidden = ids + [0] * rest, hidden + [True] * rest
  if len(ids) > length:
    raise BadInput(f"the prompt asks for {len(ids)} tokens, at most {length} fit: sample.length")
  if not any(hidden):
    raise BadInput(f"the prompt of {len(ids)} tokens leaves nothing to generate: sample.length")
  return np.array(ids, np.int32), np.array(hidden)
