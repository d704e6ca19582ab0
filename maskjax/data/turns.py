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
  "blocks" the answer is number `blocks`, the turns before it are `blocks` - 1, … 1, and all that
  precedes them is 0. At the start of the text there is too little to fill the window, and it is
  padded with id 0 and marked.

  Attributes:
    ids: the text.
    starts: where each turn starts in it, from 0 on, and its end.
    length: of a window, at least 2.
    blocks: of how many a prompt consists at most.
  """

  ids: np.ndarray
  starts: np.ndarray
  length: int
  blocks: int

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
    window = np.zeros(self.length, np.int32)
    window[: len(known)] = known
    return {
      "tokens": window,
      "valid": here < stop,
      "asked": (here >= start) & (here < stop),
      "blocks": np.clip(number - turn + self.blocks, 0, self.blocks).astype(np.int32),
    }
