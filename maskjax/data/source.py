"""What all data looks like to the pipeline: a sequence of examples, each a dictionary of arrays."""

import operator
import os
from collections.abc import Sequence
from numbers import Integral
from typing import Any, Protocol, SupportsIndex, runtime_checkable

import numpy as np

from maskjax.errors import BadInput

Example = dict[str, np.ndarray | int]


@runtime_checkable
class Source(Protocol):
  """Examples by index: any order, any thread, and picklable, since worker processes get copies.

  Image sources yield `{"image": uint8 [h, w, c], "label": int}` as stored, without "label" where
  there is none; of video sources it is "video", uint8 [t, h, w, c]; text, wav, series, table and
  graph sources yield their final numpy arrays. Every opener is
  `open(path, **kwargs) -> (Record, {split: Source})`; one that takes `known` gets the record of the
  data that a run began with.

  A source may have `label_of(index)`, which gives a label or None and need not read the example,
  and `content_of(index)`, bytes that change where the example does, or a `digest` of all examples.
  """

  def __len__(self) -> int:
    """Number of examples."""
    ...

  def __getitem__(self, index: SupportsIndex, /) -> Example:
    """The example at `index`, the same at every call."""
    ...


def content_of(source: Source, index: int) -> bytes:
  """What tells an example from a changed one, as its source says; empty where that says nothing."""
  of = getattr(source, "content_of", None)
  return of(index) if of else b""


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


def same(value: Any) -> Any:
  """What was given."""
  return value


def no_paths(examples: Any, what: str, cure: str) -> None:
  """Refuses names of files where `preprocess` takes what is in them.

  Raises:
    BadInput: a path, or a list with one in it.

  >>> no_paths(["cat.jpg"], "images", "PIL.Image.open(path)")
  Traceback (most recent call last):
  ...
  maskjax.errors.BadInput: preprocess takes images, got the path 'cat.jpg': PIL.Image.open(path)
  """
  path = (str, bytes, os.PathLike)
  several = examples if isinstance(examples, list | tuple) else ()
  for one in (examples, *several):
    if isinstance(one, path):
      raise BadInput(f"preprocess takes {what}, got the path {os.fspath(one)!r}: {cure}")


def inside(index: SupportsIndex, size: int) -> int:
  """The index as an int; raises IndexError outside 0 to `size` - 1, which ends a plain `for`."""
  i = operator.index(index)
  if not 0 <= i < size:
    raise IndexError(f"example {i} of {size}")
  return i


def generator(key: Sequence[int], index: int) -> np.random.Generator:
  """Randomness of one draw: a counter-based generator, so that no other draw has to come first."""
  return np.random.Generator(np.random.Philox(key=key, counter=[0, 0, 0, index]))


def whole(name: str, value: object, *, least: int) -> None:
  """Raises BadInput unless `value` is a whole number from `least` up."""
  if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
    raise BadInput(f"{name} is a whole number from {least} up, got {value!r}")
