"""Examples of every kind of data out of nothing but their shapes, for smokes and abstract runs."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from maskjax.data.batch import Batch
from maskjax.errors import BadInput, unknown
from maskjax.record import Record

RATE = 8000


def record(scale: Mapping[str, Any], split: str = "train") -> Record:
  """The record of data of a scale: what a NOTE says of the examples that a config is made for.

  Args:
    scale: `shape` of an example and number of `examples`, what is not an image its `kind`, text
      its number of tokens as `vocabulary`; `classes`; `edges` of a graph; with `caption`, its
      length, how many `words` captions have.
    split: of these examples.

  Returns:
    A record whose names, means and deviations stand for those of real data.

  Raises:
    BadInput: no shape, no number of examples, or an unknown kind.

  >>> record(dict(shape=(8, 8, 1), classes=10, examples=100)).classes
  10
  >>> record(dict(shape=(16,), vocabulary=27, examples=100)).kind
  'text'
  """
  if missing := [name for name in ("shape", "examples") if name not in scale]:
    raise BadInput(f"a scale is dict(shape=…, examples=…): no {missing[0]}")
  kind = scale.get("kind", "text" if "vocabulary" in scale else "image")
  if kind not in MAKERS:
    raise unknown("kind of data", kind, MAKERS)
  shape = tuple(scale["shape"])
  channels = shape[-1] if kind in ("image", "video") else 1
  caption = scale.get("caption", 0)
  words = scale["words"] if caption else scale.get("vocabulary", 0)
  return Record(
    kind,
    shape,
    {split: scale["examples"]},
    class_names=tuple(map(str, range(scale.get("classes", 0)))),
    mean=() if kind in ("text", "mixture") else (0.5,) * channels,
    std=() if kind in ("text", "mixture") else (0.25,) * channels,
    vocabulary=tuple(map(str, range(words))),
    unit="words" if caption else "characters" if words else "",
    caption=caption,
    rate=RATE if kind == "mixture" else 0,
  )


def batch(scale: Mapping[str, Any], size: int, *, seed: int = 0) -> Batch:
  """The first examples of data of a scale, drawn from `seed`, with their positions.

  Args:
    scale: see `record`; of a text, `units` and `turns` say that it tells the unit of each token and
      which turn it belongs to; of a table, `missing` is the share of values that are not there.
    size: number of examples.
    seed: of all draws.

  Returns:
    Arrays as the pipeline gives them, from draws that are the same on every machine.

  >>> x = batch(dict(shape=(8, 8, 1), classes=10, examples=100), 2)
  >>> x["image"].shape, x["label"].shape, x["position"].tolist()
  ((2, 8, 8, 1), (2,), [0, 1])
  """
  known, rng = record(scale), np.random.default_rng(seed)
  made = MAKERS[known.kind](known, scale, size, rng)
  return {**made, "position": np.arange(size, dtype=np.int32)}


def _images(known: Record, scale: Mapping[str, Any], size: int, rng: np.random.Generator) -> Batch:
  """Smooth pictures: a random plane of each channel's, with noise on it."""
  h, w, c = known.shape
  y, x = np.linspace(-1, 1, h)[:, None, None], np.linspace(-1, 1, w)[None, :, None]
  a, b = rng.uniform(-1, 1, (2, size, 1, 1, c))
  made = {"image": (a * y + b * x + rng.uniform(-1, 1, (size, h, w, c))).astype(np.float32)}
  if known.classes:
    made["label"] = rng.integers(0, known.classes, size, dtype=np.int32)
  if known.caption:
    ids = rng.integers(0, len(known.vocabulary), (size, known.caption), dtype=np.int32)
    length = rng.integers(1, known.caption + 1, (size, 1))
    made["caption"] = np.where(np.arange(known.caption) < length, ids, np.int32(-1))
  return made


def _videos(known: Record, scale: Mapping[str, Any], size: int, rng: np.random.Generator) -> Batch:
  return {"video": rng.uniform(-1, 1, (size, *known.shape)).astype(np.float32)}


def _texts(known: Record, scale: Mapping[str, Any], size: int, rng: np.random.Generator) -> Batch:
  """Random ids; the last text ends early."""
  (n,) = known.shape
  ids = rng.integers(0, len(known.vocabulary), (size, n), dtype=np.int32)
  length = np.where(np.arange(size) < size - 1, n, n - n // 4)[:, None]
  valid = np.arange(n) < length
  made = {"tokens": np.where(valid, ids, 0), "valid": valid}
  begins = rng.random((size, n)) < 0.5
  if scale.get("units"):
    count = np.cumsum(begins, axis=1, dtype=np.int32) - begins[:, :1]
    made["unit"] = np.where(valid, count, np.int32(-1))
  if scale.get("turns"):
    # A quarter of each text answers the turns before it, which half of it precedes.
    place = np.broadcast_to(np.arange(n), (size, n))
    made["asked"] = valid & (place >= length - n // 4)
    made["blocks"] = np.where(made["asked"], 2, place >= n // 2).astype(np.int32)
  return made


def _tables(known: Record, scale: Mapping[str, Any], size: int, rng: np.random.Generator) -> Batch:
  values = rng.random((size, *known.shape)).astype(np.float32)
  valid = rng.random((size, *known.shape)) >= scale.get("missing", 0.0)
  return {"table": np.where(valid, values, np.float32(0)), "valid": valid}


def _graphs(known: Record, scale: Mapping[str, Any], size: int, rng: np.random.Generator) -> Batch:
  """A ring of the nodes with random chords, each edge in both directions, sorted as files' are."""
  (n, features), m = known.shape, scale["edges"]
  node = np.arange(n)
  pairs = np.concatenate([np.stack([node, (node + 1) % n], 1), rng.integers(0, n, (m, 2))])
  pairs = np.unique(np.sort(pairs[pairs[:, 0] != pairs[:, 1]], 1), axis=0)
  pairs = pairs[np.sort(rng.permutation(len(pairs))[: m // 2])]
  edges = np.concatenate([pairs, pairs[:, ::-1]])
  unit = np.tile(np.arange(len(pairs)), 2)
  order = np.lexsort((edges[:, 0], edges[:, 1]))
  room = m - len(edges)
  edges = np.pad(edges[order], ((0, room), (0, 0)), constant_values=n).astype(np.int32)
  one = {
    "nodes": (rng.random((n, features)) < 0.02).astype(np.float32),
    "edges": edges,
    "unit": np.pad(unit[order], (0, room), constant_values=-1).astype(np.int32),
    "size": np.int32(n),
    "valid": np.ones(n, bool),
  }
  labels = {"label": (node % known.classes).astype(np.int32)} if known.classes else {}
  return {k: np.repeat(np.asarray(v)[None], size, axis=0) for k, v in {**one, **labels}.items()}


def _mixtures(
  known: Record, scale: Mapping[str, Any], size: int, rng: np.random.Generator
) -> Batch:
  sources = rng.uniform(-1, 1, (size, *known.shape)).astype(np.float32)
  return {"mixture": sources.sum(axis=1), "sources": sources}


MAKERS: dict[str, Callable[[Record, Mapping[str, Any], int, np.random.Generator], Batch]] = {
  "image": _images,
  "video": _videos,
  "text": _texts,
  "table": _tables,
  "graph": _graphs,
  "mixture": _mixtures,
}
