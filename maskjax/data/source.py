"""What all data looks like to the pipeline: a sequence of examples, each a dictionary of arrays."""

from collections.abc import Sequence
from typing import Protocol, SupportsIndex, runtime_checkable

import numpy as np

Example = dict[str, np.ndarray | int]


@runtime_checkable
class Source(Protocol):
  """Examples by index: any order, any thread, and picklable, since worker processes get copies.

  Image sources yield `{"image": uint8 [h, w, c], "label": int}` as stored, without "label" where
  there is none; text, wav, series, table and graph sources yield their final numpy arrays. Every
  opener is `open(path, **kwargs) -> (Record, {split: Source})`.
  """

  def __len__(self) -> int:
    """Number of examples."""
    ...

  def __getitem__(self, index: SupportsIndex, /) -> Example:
    """The example at `index`, the same at every call."""
    ...


class Part:
  """Some examples of a source, by their indices in it."""

  def __init__(self, whole: Source, indices: Sequence[int] | np.ndarray):
    self.whole, self.indices = whole, indices

  def __len__(self) -> int:
    """Number of examples."""
    return len(self.indices)

  def __getitem__(self, index: SupportsIndex, /) -> Example:
    """The example at `index` of the part."""
    return self.whole[int(self.indices[index.__index__()])]
