"""What a kind of data is, and how one is found by the name that a record has for it."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from maskjax import bind
from maskjax.data.batch import Batch
from maskjax.data.source import Example, Source, same
from maskjax.errors import BadInput, unknown
from maskjax.record import Record

HOME = "maskjax.data.kinds"

Scale = Mapping[str, Any]
Shapes = dict[str, jax.ShapeDtypeStruct]


class Ready(NamedTuple):
  """What stored examples go through on their way into a batch.

  Attributes:
    record: with what was measured over the training split.
    augment: random, `(example, rng) -> example`, for training; None where nothing is random.
    prepare: fixed, `example -> example`, for evaluation, and for training without `augment`.
    finish: `batch -> batch`, for stacked examples.
  """

  record: Record
  augment: Callable[[Example, np.random.Generator], Example] | None = None
  prepare: Callable[[Example], Example] = same
  finish: Callable[[Batch], Batch] = same


def as_stored(record: Record, source: Source) -> Ready:
  """Examples go into batches as their source has them."""
  return Ready(record)


@dataclasses.dataclass(frozen=True)
class Kind:
  """A kind of data: all that is not the same for images, text, graphs and the others.

  `Record.kind` is its name: that of one in `maskjax.data.kinds`, or "mypackage.module:name". A
  scale is what a config's NOTE says of its data, see `data.tiny`.

  Attributes:
    axes: names of the axes of `Record.shape`.
    shapes: `scale -> {array: shape and dtype}`, the arrays of one example as a training batch has
      them.
    tiny: `(scale, size, rng) -> batch`, examples of these shapes drawn with `rng`.
    needs: what a scale must say beside `shape` and `examples`.
    facts: `scale -> fields of the record` beyond its kind, shape, sizes and class names; they
      stand for those of real data.
    stored: `batch -> batch`, tiny examples as a source has them.
    ready: `(record, source, **options) -> Ready`, from the training split; its options are
      arguments of `pipeline.load` that only some kinds take.
    preprocess: `(examples, record) -> batch` of raw examples, prepared as evaluation does; None
      where a trained run takes none.
    masks: name of the function `(views, record) -> picture` that draws what is hidden. Functions
      that lie below data are named, not imported; "" where there is none.
    reconstruction: likewise, of what the model makes of it.
    generate: likewise, `(parts, seed, folder, step, state) -> text` that writes what a trained run
      generates and says where; "" where a writer of `maskjax.train.jobs.generation` does.
  """

  axes: tuple[str, ...]
  shapes: Callable[[Scale], Shapes]
  tiny: Callable[[Scale, int, np.random.Generator], Batch]
  needs: tuple[str, ...] = ()
  facts: Callable[[Scale], Mapping[str, Any]] = lambda scale: {}
  stored: Callable[[Batch], Batch] = same
  ready: Callable[..., Ready] = as_stored
  preprocess: Callable[..., Batch] | None = None
  masks: str = ""
  reconstruction: str = ""
  generate: str = ""


def find(name: str) -> Kind:
  """The kind of this name, or that of any package when written "package.module:name".

  Raises:
    BadInput: there is none; the nearest is named.

  >>> find("image").axes
  ('height', 'width', 'channels')
  """
  module, _, attribute = name.rpartition(":")
  owner = bind.imported(module or HOME, f"the kind of data {name!r}")
  found = getattr(owner, attribute, None)
  if not isinstance(found, Kind):
    known = [key for key, value in vars(owner).items() if isinstance(value, Kind)]
    raise unknown(f"kind of data of {owner.__name__}", attribute, known)
  return found


def linked(record: Record, what: str) -> Callable[..., Any]:
  """The function that the kind of a record names as its `masks`, `reconstruction` or `generate`.

  Raises:
    BadInput: it names none.
  """
  name = getattr(find(record.kind), what)
  if not name:
    raise BadInput(f"data of kind {record.kind} have no function for {what}")
  return bind.resolve(name, "")


def expect(record: Record, who: str, kind: str) -> None:
  """Makes sure that `who` gets data of the kind that it is for.

  Raises:
    BadInput: it does not.

  >>> expect(Record("text", (8,), {}), "data.mel", "audio")
  Traceback (most recent call last):
  ...
  maskjax.errors.BadInput: data.mel is for data of kind audio, the data set holds text
  """
  if record.kind != kind:
    raise BadInput(f"{who} is for data of kind {kind}, the data set holds {record.kind}")


def array(dtype: Any, *shape: int) -> jax.ShapeDtypeStruct:
  """The shape and dtype of an array of an example.

  >>> array(np.int32, 2, 3).shape
  (2, 3)
  """
  return jax.ShapeDtypeStruct(shape, dtype)


def label(scale: Scale) -> Shapes:
  """The label of an example, where the scale has classes."""
  return {"label": array(np.int32)} if scale.get("classes") else {}


def labels(scale: Scale, size: int, rng: np.random.Generator) -> Batch:
  """Random labels, where the scale has classes."""
  classes = scale.get("classes")
  return {"label": rng.integers(0, classes, size, dtype=np.int32)} if classes else {}


def words(count: int, unit: str) -> dict[str, Any]:
  """The fields of a record of `count` tokens, each called by its id."""
  return {"vocabulary": tuple(map(str, range(count))), "unit": unit}
