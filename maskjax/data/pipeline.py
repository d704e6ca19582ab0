"""One pipeline for every kind of data: what to load, and batches whose order is one integer."""

import dataclasses
import inspect
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import grain
import numpy as np
from absl import flags

from maskjax.data import batch, digests, kinds, labels, spectrograms, tiny
from maskjax.data import captions as describe
from maskjax.data import splits as by
from maskjax.data.batch import Batch
from maskjax.data.classes import Classes, only, renumbered, spoken
from maskjax.data.images import evenly
from maskjax.data.openers import OURS, opened, opener
from maskjax.data.source import Example, Part, Source
from maskjax.errors import BadInput, unknown
from maskjax.record import STATISTICS, Record, compared, difference

CHANGED = ("refuse", "accept")


class Data(NamedTuple):
  """An open data set and what its examples go through.

  Attributes:
    record: its facts; sizes, channels and classes of a run come from here.
    splits: the examples of every split as stored.
    train: name of the split that `batches` draws from.
    test: name of the split meant for evaluation; "" for none.
    augment: random, `(example, rng) -> example`, for training; None where nothing is random.
    prepare: fixed, `example -> example`, for evaluation, and for training without `augment`.
    finish: `batch -> batch`, for stacked examples: normalises images.
    found: the record of what lies there, where `record` has statistics of before; else None.
    unseen: the classes of splits that the training split has none of, as far as that is known.
  """

  record: Record
  splits: dict[str, Source]
  train: str
  test: str
  augment: Callable[[Example, np.random.Generator], Example] | None
  prepare: Callable[[Example], Example]
  finish: Callable[[Batch], Batch]
  found: Record | None = None
  unseen: Mapping[str, Sequence[str]] = {}


def load(
  *,
  name: str,
  path: str = "",
  train: str = "train",
  test: str = "test",
  limit: int | None = None,
  size: tuple[int, int] | None = None,
  classes: Classes | None = None,
  class_names: str = "",
  augment: Mapping[str, Any] | None = None,
  looks: Mapping[str, Mapping[str, Any]] | None = None,
  on_error: str = "raise",
  mean: Sequence[float] | None = None,
  std: Sequence[float] | None = None,
  mel: Mapping[str, Any] | None = None,
  captions: Mapping[str, Any] | None = None,
  maps: Mapping[str, Mapping[str, Any]] | None = None,
  scale: Mapping[str, Any] | None = None,
  changed: str = "refuse",
  known: Record | None = None,
  **kwargs: Any,
) -> Data:
  """Opens a data set: images, text, wav, csv, table, motion, graph, of files, or TFDS by name.

  "mypackage.module:open" names an opener of another package; see `source.Source` for what it gives.
  `train` and `test` name splits (`test=""` for none), or synonyms of theirs, such as "val".
  `class_names` is a file of words for the names of classes, see `classes.spoken`. `classes`, names
  or numbers, keeps the examples of these only, and labels them in that order; of the training split
  `limit` then takes so many evenly spaced examples, or all. `size`, (height, width), is what images
  are resized to; without it all must be equally large. `augment` is that of `augment.bind`; `looks`
  are further fields by name, the same image each augmented by itself while training. `mean`
  and `std` replace those of the training split. `mel` makes images of audio, see `spectrograms.of`;
  `captions` describes images, see `captions.of`; with a `column` it reads those that come with
  them, see `captions.read`; `maps` are those that come with images, see `maps.beside`. Other
  arguments are those of the kind's opener. "tiny" makes examples of `scale`, see `tiny.source`, as
  they come out of all this: other arguments change their shape at most. No other name reads
  `scale`.

  `known` is the record of the data that a network was trained on: its vocabulary, its classes by
  name and its statistics are used in place of learned and measured ones, and what ids, labels and
  axes mean must be the same. Whether a run goes on where other things have `changed` since its
  first launch, "refuse" or "accept", is for the run to ask. All that cannot work is a BadInput of
  one line.
  """
  if changed not in CHANGED:
    raise unknown("data.changed", changed, CHANGED)
  size = sides(size)
  if name == "tiny":
    kwargs = {"scale": tiny.fitted(scale or {}, {**kwargs, "size": size, "maps": maps})}
    kwargs["splits"] = [split for split in (train, test) if split]
    size, limit, classes, mel, captions, on_error = None, None, None, None, None, "raise"
  of_reader: list[tuple[str, Any]] = [("size", size), ("on_error", on_error)]
  given = {k: v for k, v in of_reader if v not in (None, "raise")}
  if captions is not None and "column" in captions:
    captions = dict(captions)
    given["captions"] = captions.pop("column")
  if maps and name != "tiny":
    given["maps"] = maps
  record, splits = opened(name, os.path.expanduser(path), {**given, **kwargs}, known)
  train, test = by.find(train, splits), by.find(test, splits)
  for role, split in (("train", train), ("test", test)):
    if split not in splits and (split or role == "train"):
      raise unknown(f"split for data.{role}", split, splits)
  if class_names:
    record = spoken(record, class_names)
  if classes is not None:
    record, splits = only(record, splits, classes)
  if known and record.class_names and {*record.class_names} <= {*known.class_names}:
    record, splits = renumbered(record, splits, known.class_names)
  labels.check({split: splits[split] for split in (train, test) if split})
  unseen = {} if known else labels.unseen(splits, train, record)
  record = dataclasses.replace(record, examples=digests.examples(splits))
  if record.class_names:
    record = dataclasses.replace(record, labels=digests.labels(splits))
  if mel is not None:
    record, splits = spectrograms.of(record, splits, **mel)
  if captions is not None:
    if "captions" in given:
      record, splits = describe.read(record, splits, train, known=known, **captions)
    else:
      record, splits = describe.of(record, splits, **captions)
  if limit is not None:
    record, splits = _limited(record, splits, train, limit)
  options = {"augment": augment, "looks": looks or None, "mean": mean, "std": std}
  options["maps"] = maps or None
  return _ready(name, record, splits, (train, test), options, known, unseen)


def _limited(
  record: Record, splits: dict[str, Source], train: str, limit: int
) -> tuple[Record, dict[str, Source]]:
  """With evenly spaced examples of the training split alone."""
  if limit < 1:
    raise BadInput(f"data.limit must be positive, got {limit}")
  part = Part(splits[train], evenly(len(splits[train]), limit))
  labels.tell_left_out(part, record)
  sizes = {**record.sizes, train: len(part)}
  return dataclasses.replace(record, sizes=sizes), {**splits, train: part}


def _ready(
  name: str,
  record: Record,
  splits: dict[str, Source],
  roles: tuple[str, str],
  given: Mapping[str, Any],
  known: Record | None,
  unseen: dict[str, list[str]],
) -> Data:
  """Data with what their kind makes of examples, by the statistics of a `known` record."""
  train, test = roles
  options = dict(given)
  ready = kinds.find(record.kind).ready
  takes = [key for key in list(inspect.signature(ready).parameters)[2:] if key != "name"]
  found = None
  if known is not None:
    if other := difference(known, record, compared(known)):
      raise BadInput(f"the data of {name!r} are not those that the run was made for: {other}")
    offers = {"mean": known.mean, "std": known.std, "known": known}
    options |= {key: value for key, value in offers.items() if key in takes and value}
    kept = {field: getattr(known, field) for field in STATISTICS}
    # Where a reader scales by them they tell whether the data are the same.
    found = record if "known" in takes else dataclasses.replace(record, **kept)
    record = dataclasses.replace(found, peak=known.peak)
  options = {key: value for key, value in options.items() if value is not None}
  for key in options:
    if key not in takes:
      others = f"known: {', '.join(set(takes) - {'known'}) or 'none'}"
      raise BadInput(f"data.{key} is not for data of kind {record.kind}, as {name!r} is ({others})")
  made = ready(record, splits[train], **options)
  through = made.augment, made.prepare, made.finish
  return Data(made.record, splits, train, test, *through, found, unseen)


def batches(
  data: Data,
  *,
  batch_size: int,
  seed: int,
  position: int = 0,
  process: tuple[int, int] = (0, 1),
  workers: int = 0,
  threads: int = 4,
  prefetch: int = 4,
) -> Iterator[Batch]:
  """Training batches without end, from the example at `position` of an order that `seed` fixes.

  Every run of `len(train)` examples from position 0 is a permutation of the training split; batches
  straddle epochs. Order and augmentation depend on (seed, position) only: not on workers, threads,
  processes, or on where the run was resumed. `process=(i, n)` gets the i-th of n equal parts of
  every batch. Beside the examples' arrays a batch holds `position`, int32: the index of each
  example in the global batch. `position` counts examples and is below 2^62.
  """
  index, processes = process
  if batch_size < 1 or processes < 1 or batch_size % processes or not 0 <= index < processes:
    raise BadInput(f"batch_size={batch_size} has no part {index} of {processes} equal parts")
  if min(workers, threads, prefetch) < 0:
    raise BadInput(f"{workers=}, {threads=}, {prefetch=}: none may be negative")
  if not 0 <= seed < 2**32:
    raise BadInput(f"data seed {seed} is not in [0, 2^32)")
  if not 0 <= position < 2**62:
    raise BadInput(f"data position {position} is not in [0, 2^62)")
  source = data.splits[data.train]
  assemble = partial(
    batch.training,
    source=source,
    order=grain.MapDataset.range(len(source)).seed(seed).shuffle().repeat(),
    seed=seed,
    start=position,
    step=batch_size,
    rows=range(index * batch_size // processes, (index + 1) * batch_size // processes),
    augment=data.augment,
    prepare=data.prepare,
    finish=data.finish,
  )
  stream = (
    grain.MapDataset.range((sys.maxsize - position) // batch_size - 1)
    .map(assemble)
    .to_iter_dataset(_options(threads, prefetch))
  )
  if workers:
    if not flags.FLAGS.is_parsed():
      flags.FLAGS([sys.argv[0]])  # Grain reads absl's flags when it starts worker processes
    options = grain.MultiprocessingOptions(workers, per_worker_buffer_size=max(prefetch, 1))
    stream = stream.mp_prefetch(options)
  return iter(stream)


def examples(
  data: Data, split: str, *, batch_size: int, limit: int | None = None, threads: int = 4
) -> Iterator[Batch]:
  """One pass over a split in order, nothing random, the last batch padded by zeros.

  `valid`, bool [batch_size], is True for examples; where a source has a `valid` of its own, that
  stands, False all over the padding. `limit` takes so many evenly spaced examples.
  """
  if split not in data.splits:
    raise unknown("split", split, data.splits)
  if batch_size < 1 or (limit is not None and limit < 1):
    raise BadInput(f"batch_size={batch_size} and limit={limit} must be positive")
  source = data.splits[split]
  indices = evenly(len(source), limit)
  assemble = partial(
    batch.testing,
    source=source,
    indices=indices,
    size=batch_size,
    prepare=data.prepare,
    finish=data.finish,
  )
  return iter(
    grain.MapDataset.range(-(-len(indices) // batch_size))
    .map(assemble)
    .to_iter_dataset(_options(threads, threads))
  )


def keys(name: str) -> set[str]:
  """What a config may say of data of this name, in its section `data`.

  >>> {"limit", "splits"} <= keys("folder"), "splits" in keys("npz"), "known" in keys("text")
  (True, False, False)
  """
  of_all = [p.name for p in inspect.signature(load).parameters.values() if p.kind is p.KEYWORD_ONLY]
  return ({*of_all, *opener(name)[1]} - {*OURS}) | {"name", "path"}


def _options(threads: int, prefetch: int) -> grain.ReadOptions:
  return grain.ReadOptions(num_threads=threads, prefetch_buffer_size=max(prefetch, threads))


def sides(size: Any) -> tuple[int, int] | None:
  """Height and width as `data.size` has them; None for none.

  Raises:
    BadInput: something else than two positive numbers.
  """
  if size is None:
    return None
  try:
    height, width = (int(s) for s in size)
  except (TypeError, ValueError):
    height = width = 0
  if height < 1 or width < 1:
    raise BadInput(f"data.size={size!r} is not (height, width)")
  return height, width
