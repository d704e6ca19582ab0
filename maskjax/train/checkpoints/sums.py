"""A digest of an array that does not depend on how it is cut: those of its parts add up to it."""

import math
from collections.abc import Sequence

import numpy as np

# Words mixed at a time: few enough to stay in a core's cache.
BLOCK = 1 << 15
MASK = (1 << 64) - 1
# Odd, so that indices are spread over all words without two meeting: 2**64 over the golden ratio.
STRIDE = np.uint64(0x9E3779B97F4A7C15)


def digest(part: np.ndarray, start: Sequence[int] = (), shape: Sequence[int] | None = None) -> int:
  """The digest of an array, or what one part adds to it, modulo 2**64.

  `D = sum_i mix(w_i xor (i + 1) c) mod 2**64`, over the elements `w_i` as unsigned words, by their
  flat index `i` in the whole array. The sum commutes, so parts come in any order and from any
  process. `mix` is one to one: one changed element is always seen. Elements that change places,
  blocks of zeros and shifted rows change the arguments of `mix`, and go unseen by chance only,
  once in 2**64. It is no defence against somebody who means it.

  Args:
    part: elements `[*p]`.
    start: the index of its first element in the whole array; its beginning unless given.
    shape: of the whole array; the part's own unless given.

  Returns:
    An integer from 0 to 2**64 - 1.

  >>> whole = np.arange(6.0).reshape(2, 3)
  >>> parts = [digest(whole[:, :1], (0, 0), (2, 3)), digest(whole[:, 1:], (0, 1), (2, 3))]
  >>> sum(parts) % 2**64 == digest(whole)
  True

  Source: Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", 2014, section 4,
  with Stafford's constants: `mix`.
  """
  shape = tuple(part.shape if shape is None else shape)
  start = tuple(start) or (0,) * len(shape)
  words = np.ascontiguousarray(part)
  if part.dtype.itemsize > 8:  # complex numbers of two words
    words = words.reshape(-1).view(np.uint64).reshape(*part.shape, part.dtype.itemsize // 8)
    shape, start = (*shape, words.shape[-1]), (*start, 0)
  else:
    words = words.reshape(-1).view(f"u{part.dtype.itemsize}").reshape(part.shape)
  # Axes that are whole lie together in memory, here as in the whole array.
  axis = len(shape)
  while axis and words.shape[axis - 1] == shape[axis - 1]:
    axis -= 1
  outer, inner = words.shape[: max(axis - 1, 0)], math.prod(shape[axis:])
  run = math.prod(words.shape[len(outer) :])
  flat, total = words.reshape(-1, run) if run else words.reshape(0, 1), 0
  offset = start[axis - 1] * inner if axis else 0
  rows = max(BLOCK // max(run, 1), 1)
  for row in range(0, len(flat), rows):
    numbers = np.arange(row, min(row + rows, len(flat)))
    first = np.zeros(len(numbers), np.uint64)
    for number, begin, size in zip(
      np.unravel_index(numbers, outer) if outer else (), start, shape, strict=False
    ):
      first = first * np.uint64(size) + (number + begin).astype(np.uint64)
    first = first * np.uint64(math.prod(shape[len(outer) :])) + np.uint64(offset + 1)
    for column in range(0, run, BLOCK):
      piece = flat[row : row + rows, column : column + BLOCK]
      index = first[:, None] + np.arange(column, column + piece.shape[1], dtype=np.uint64)
      total += int(_mixed(piece ^ (index * STRIDE)).sum(dtype=np.uint64))
  return total & MASK


def _mixed(x: np.ndarray) -> np.ndarray:
  for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
    x ^= x >> np.uint64(shift)
    x *= np.uint64(factor)
  return x ^ (x >> np.uint64(31))
