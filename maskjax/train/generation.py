"""Samples of a trained run: a request in words becomes tokens to fill, and back."""

import re
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from maskjax.data.tokens import decode, encode
from maskjax.errors import BadInput
from maskjax.keys import keys
from maskjax.record import Record
from maskjax.task.base import Task, Variables
from maskjax.train.mesh import get
from maskjax.view.text import reveal, reveal_picture

GAP = re.compile(r"\[(\d+)\]")


class Samples(NamedTuple):
  """What was generated: tokens `[count, n]`, their steps, a transcript and a picture."""

  tokens: np.ndarray
  step: np.ndarray
  text: str
  picture: np.ndarray


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
  if record.kind != "text":
    raise BadInput(f"generation writes text, the data set holds {record.kind}")
  if count < 1:
    raise BadInput(f"sample.count must be at least 1, got {count}")
  if length < 0:
    raise BadInput(f"sample.length must not be negative, got {length}")
  tokens, hidden = request(prompt, record, length or record.shape[0])
  stack = lambda row: np.broadcast_to(row, (count, *row.shape))
  gaps = jnp.asarray(stack(hidden))
  # What is hidden is a constant of the program: a task that cannot fill it says so.
  write = lambda *rest: task.generate(*rest, gaps)  # type: ignore[misc]
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
