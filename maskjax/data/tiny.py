"""Data of a scale, without any files: its record, its shapes, tiny examples of it.

A scale is what the NOTE of a config says of the examples that the config is made for: `shape` of an
example and number of `examples`; what is not an image its `kind`; `classes`; text its number of
tokens as `vocabulary`, and `units`, `documents` and `turns` where it tells of each token which it
belongs to; images with a `caption` its length and how many `words` captions have; a graph its
`edges` and how many of them are `held` out; of a table or series `missing`, the share of values
that are not there.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, SupportsIndex

import jax
import numpy as np

from maskjax.data import kinds
from maskjax.data.batch import Batch
from maskjax.data.kinds import Kind, Scale, Shapes
from maskjax.data.source import Example, Source, inside
from maskjax.errors import BadInput
from maskjax.record import Record


def kind_of(scale: Scale) -> Kind:
  """The kind of data of a scale.

  Raises:
    BadInput: an unknown kind, something that it needs is not said, or a shape of another kind.
  """
  kind = kinds.find(name_of(scale))
  needs = ("shape", "examples", *kind.needs)
  if missing := [name for name in needs if name not in scale]:
    said = ", ".join(f"{name}=…" for name in needs)
    raise BadInput(f"a scale of kind {name_of(scale)} is dict({said}): no {missing[0]}")
  if len(shape := scale["shape"]) != len(kind.axes):
    axes = f"({', '.join(kind.axes)}{',' * (len(kind.axes) == 1)})"
    raise BadInput(f"the shape of data of kind {name_of(scale)} is {axes}, a scale has {shape}")
  return kind


def name_of(scale: Scale) -> str:
  """The name of its kind."""
  return scale.get("kind", "image")


def fitted(scale: Scale, data: Mapping[str, Any]) -> Scale:
  """The scale with a shape as a config's section `data` has it, where that names its axes.

  `size` names height and width, `looks` and `maps` further fields of an image.

  >>> fitted(dict(shape=(224, 224, 3), examples=9), dict(size=(32, 48)))["shape"]
  (32, 48, 3)
  """
  scale = {name: value for name, value in scale.items() if value is not None}
  named = {**data, **dict(zip(("height", "width"), data.get("size") or (), strict=False))}
  axes = zip(kind_of(scale).axes, scale["shape"], strict=True)
  looks = {"looks": tuple(sorted(data["looks"]))} if data.get("looks") else {}
  maps = {"maps": {k: v.get("classes") or 0 for k, v in (data.get("maps") or {}).items()}}
  shape = tuple(named.get(axis) or size for axis, size in axes)
  return {**scale, "shape": shape, **looks, **(maps if data.get("maps") else {})}


def record(scale: Scale, split: str = "train") -> Record:
  """The record of data of a scale, all of whose examples are in one split.

  Raises:
    BadInput: see `kind_of`.

  >>> record(dict(shape=(8, 8, 1), classes=10, examples=100)).classes
  10
  """
  kind = kind_of(scale)
  names = tuple(map(str, range(scale.get("classes", 0))))
  sizes, facts = {split: scale["examples"]}, kind.facts(scale)
  return Record(name_of(scale), tuple(scale["shape"]), sizes, class_names=names, **facts)


def shapes(scale: Scale, size: int = 1) -> Shapes:
  """Shapes and dtypes of a training batch of `size` examples.

  Raises:
    BadInput: see `kind_of`.

  >>> shapes(dict(kind="text", shape=(256,), vocabulary=27, examples=100))["tokens"].shape
  (1, 256)
  """
  wide = lambda x: jax.ShapeDtypeStruct((size, *x.shape), x.dtype)
  made = {name: wide(x) for name, x in kind_of(scale).shapes(scale).items()}
  return {**made, "position": wide(kinds.array(np.int32))}


def batch(scale: Scale, size: int, *, seed: int = 0) -> Batch:
  """The first examples of data of a scale, drawn from `seed`, with their positions.

  Args:
    scale: see above.
    size: number of examples.
    seed: of all draws.

  Returns:
    Arrays of `shapes`, from draws that are the same on every machine.

  Raises:
    BadInput: see `kind_of`.

  >>> x = batch(dict(shape=(8, 8, 1), classes=10, examples=100), 2)
  >>> x["image"].shape, x["label"].shape, x["position"].tolist()
  ((2, 8, 8, 1), (2,), [0, 1])
  """
  made = kind_of(scale).tiny(scale, size, np.random.default_rng(seed))
  return {**made, "position": np.arange(size, dtype=np.int32)}


class Tiny:
  """The first examples of data of a scale as a source has them."""

  def __init__(self, scale: Scale, size: int):
    self.size = size
    kind = kind_of(scale)
    self.rows = kind.stored(kind.tiny(scale, size, np.random.default_rng(0)))

  def __len__(self) -> int:
    """Number of examples."""
    return self.size

  def __getitem__(self, index: SupportsIndex, /) -> Example:
    """The example at `index`."""
    i = inside(index, self.size)
    return {name: np.asarray(row)[i] for name, row in self.rows.items()}


def source(
  path: str = "", *, scale: Scale, splits: Sequence[str] = ("train", "test"), examples: int = 32
) -> tuple[Record, dict[str, Source]]:
  """Opens tiny data of a scale, `data.name="tiny"`, for runs without files.

  Args:
    path: of nothing, "".
    scale: see above.
    splits: the names of splits, each with the same examples.
    examples: in each split, no more than the scale has: enough for kNN with its 20 neighbours.

  Raises:
    BadInput: see `kind_of`; a path.

  >>> record, found = source(scale=dict(shape=(8, 8, 1), classes=10, examples=100))
  >>> record.sizes, found["test"][3]["image"].shape
  ({'train': 32, 'test': 32}, (8, 8, 1))
  """
  if path:
    raise BadInput(f"data.name='tiny' reads no file: data.path={path!r} needs another data.name")
  size = min(examples, scale["examples"])
  # Looks are made of the images, as those of any source.
  made = Tiny({key: value for key, value in scale.items() if key != "looks"}, size)
  facts = dataclasses.replace(record(scale), sizes=dict.fromkeys(splits, size))
  return facts, dict.fromkeys(splits, made)
