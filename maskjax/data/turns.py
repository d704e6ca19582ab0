"""Text as turns: what somebody says is an answer to what was said before."""

import dataclasses
from typing import SupportsIndex

import numpy as np

from maskjax.data.source import Example, inside


@dataclasses.dataclass(frozen=True, eq=False)
class Turns:
  """Each turn of a text but the first, with as much of what precedes it as fits before it.

  Example i is `{"tokens": int32 [length], "valid": bool [length], "asked": bool [length], "blocks":
  int32 [length]}`: a prompt and turn i + 1, which is asked, of a long one its first half window. In
  "blocks" turns are numbered in order, each a block of its own. Two take turns: the last turn of
  the prompt is the other's, the one before it an earlier answer, and so on back; each token of an
  earlier answer is a block of its own, so that answers are causal wherever they stand. At the start
  of the text there is too little to fill the window, and it is padded with id 0 and marked.

  Source: Katz et al., "Segment-Based Attention Masking for GPTs", 2025, section 3.

  Attributes:
    ids: the text.
    starts: where each turn starts in it, from 0 on, and its end.
    length: of a window, at least 2.
    digest: of the text.
  """

  ids: np.ndarray
  starts: np.ndarray
  length: int
  digest: str = ""

  def __len__(self) -> int:
    """Number of turns that answer."""
    return max(len(self.starts) - 2, 0)

  def __getitem__(self, index: SupportsIndex, /) -> Example:
    """The turn after that of `index`, and its prompt."""
    turn = inside(index, len(self)) + 1
    start = self.starts[turn]
    stop = min(self.starts[turn + 1], start + self.length // 2)
    first = max(stop - self.length, 0)
    here = np.arange(first, first + self.length)
    number = np.searchsorted(self.starts, here, side="right") - 1
    known = self.ids[first:stop]
    new = np.diff(number, prepend=number[:1] - 1) > 0
    alone = (number < turn) & ((turn - number) % 2 == 0)
    window = np.zeros(self.length, np.int32)
    window[: len(known)] = known
    return {
      "tokens": window,
      "valid": here < stop,
      "asked": (here >= start) & (here < stop),
      "blocks": (np.cumsum(new | alone) - 1).astype(np.int32),
    }
