"""Consecutive parts of what has an order: train, then validation, then test."""

import itertools
import math
from collections.abc import Sequence
from fractions import Fraction
from numbers import Integral

import numpy as np

from maskjax.data.splits import SPLITS
from maskjax.errors import BadInput


def parts(total: int, split: Sequence[float]) -> dict[str, slice]:
  r"""Cuts `total` things in order into train, validation and test; an empty part is left out.

  `split` holds three shares that add up to at most 1, or three whole numbers of things; what is
  left over at the end belongs to no part. Shares are read as the decimals that they are written as
  and cut at $\lfloor n \sum_{j \le i} s_j \rfloor$.

  Raises:
    BadInput: not three numbers, a negative one, or more than there is.

  >>> parts(10, (0.9, 0.05, 0.05))
  {'train': slice(0, 9, None), 'test': slice(9, 10, None)}
  >>> parts(10, (4, 2, 2))
  {'train': slice(0, 4, None), 'validation': slice(4, 6, None), 'test': slice(6, 8, None)}
  """
  number = lambda s: isinstance(s, int | float | np.number) and 0 <= s < math.inf
  three = isinstance(split, Sequence) and len(split) == len(SPLITS)
  if not (three and all(map(number, split))):
    raise BadInput(f"split is three numbers from 0 up ({', '.join(SPLITS)}), got {split!r}")
  counted = all(isinstance(s, Integral) for s in split)
  limit = total if counted else 1
  # Through their decimals, since binary shares such as 0.7, 0.2 and 0.1 miss 1.
  ends = list(itertools.accumulate(Fraction(str(s)) for s in split))
  if ends[-1] > limit:
    raise BadInput(f"split {tuple(split)} adds up to {float(ends[-1]):g}, there is {limit} to cut")
  stops = [int(end if counted else end * total) for end in ends]
  cut = zip(SPLITS, [0, *stops[:-1]], stops, strict=True)
  return {name: slice(start, stop) for name, start, stop in cut if start < stop}
