"""Images and videos."""

import copy
import dataclasses
import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from maskjax.data import augment as augmentations
from maskjax.data.batch import Batch
from maskjax.data.kinds.base import Kind, Ready, Scale, Shapes, array, label, labels, words
from maskjax.data.maps import checked, standardised
from maskjax.data.source import Example, Source, no_paths, same
from maskjax.data.statistics import mean_std
from maskjax.errors import BadInput
from maskjax.record import Record

TAKEN = ("position", "valid", "other")  # fields that a batch gets beside those of its examples
OWN = ("image", "label", "caption")


def _image_shapes(scale: Scale) -> Shapes:
  """float32 [h, w, c], also of further looks, and with a caption its ids, -1 behind the last.

  Of a map float32 [h, w, 1], or int32 where it has labels.
  """
  caption = {"caption": array(np.int32, scale["caption"])} if scale.get("caption") else {}
  names = ("image", *scale.get("looks", ()))
  side = (*scale["shape"][:2], 1)
  kind = lambda classes: np.int32 if classes else np.float32
  maps = {name: array(kind(n), *side) for name, n in scale.get("maps", {}).items()}
  return dict.fromkeys(names, array(np.float32, *scale["shape"])) | label(scale) | caption | maps


def _tiny_images(scale: Scale, size: int, rng: np.random.Generator) -> Batch:
  """Smooth pictures: a random plane of each channel's, with noise on it, of each look its own."""
  h, w, c = scale["shape"]
  y, x = np.linspace(-1, 1, h)[:, None, None], np.linspace(-1, 1, w)[None, :, None]
  a, b = rng.uniform(-1, 1, (2, size, 1, 1, c))
  made = {"image": (a * y + b * x + rng.uniform(-1, 1, (size, h, w, c))).astype(np.float32)}
  made |= labels(scale, size, rng)
  if caption := scale.get("caption"):
    ids = rng.integers(0, scale["words"], (size, caption), dtype=np.int32)
    length = rng.integers(1, caption + 1, (size, 1))
    made["caption"] = np.where(np.arange(caption) < length, ids, np.int32(-1))
  for name, classes in scale.get("maps", {}).items():
    numbers = rng.uniform(-1, 1, (size, h, w, 1)).astype(np.float32)
    drawn = rng.integers(0, classes or 1, (size, h, w, 1), dtype=np.int32)
    made[name] = drawn if classes else numbers
  for name in scale.get("looks", ()):
    made[name] = (a * y + b * x + rng.uniform(-1, 1, (size, h, w, c))).astype(np.float32)
  return made


def _moments(scale: Scale) -> dict[str, Any]:
  channels = scale["shape"][-1]
  return {"mean": (0.5,) * channels, "std": (0.25,) * channels}


def _image_facts(scale: Scale) -> Mapping[str, Any]:
  if not scale.get("caption"):
    return _moments(scale)
  return {**_moments(scale), "caption": scale["caption"], **words(scale["words"], "words")}


def _video_shapes(scale: Scale) -> Shapes:
  """float32 [t, h, w, c]."""
  return {"video": array(np.float32, *scale["shape"]), **label(scale)}


def _tiny_videos(scale: Scale, size: int, rng: np.random.Generator) -> Batch:
  made = {"video": rng.uniform(-1, 1, (size, *scale["shape"])).astype(np.float32)}
  return made | labels(scale, size, rng)


def _image_ready(
  record: Record,
  source: Source,
  *,
  augment: Mapping[str, Any] | None = None,
  looks: Mapping[str, Mapping[str, Any]] | None = None,
  mean: Sequence[float] | None = None,
  std: Sequence[float] | None = None,
  maps: Mapping[str, Mapping[str, Any]] | None = None,
) -> Ready:
  """Images are fitted to the record's size, or augmented to it, and normalised.

  `looks` names further fields of a training example, each the same image augmented by itself.
  `maps` are fields that are cropped and flipped as the image is; numbers are standardised map by
  map, see `maskjax.data.maps`.
  """
  size = record.shape[0], record.shape[1]
  if looks and (taken := {*source[0], *TAKEN} & {*looks}):
    raise BadInput(f"data.looks: an example has a field {min(taken)!r} already; give another name")
  bound = {name: augmentations.bind(own, size) for name, own in (looks or {}).items()}
  fn, classes = augmentations.bind(augment, size), checked(maps or {}, (*OWN, *bound, *TAKEN))
  alike = dict.fromkeys(classes, augmentations.bind(augmentations.geometry(augment), size))
  random = partial(_augment, fn=fn, looks=bound, maps=alike) if augment or looks else None
  prepare = partial(_fit, size=size, names=("image", *classes))
  made = _normalised("image", record, source, mean, std, prepare, tuple(bound))
  numbers = [name for name, labels in classes.items() if not labels]
  finish = partial(_standardise, finish=made.finish, names=numbers) if numbers else made.finish
  return made._replace(augment=random, finish=finish)


def _video_ready(
  record: Record,
  source: Source,
  *,
  mean: Sequence[float] | None = None,
  std: Sequence[float] | None = None,
) -> Ready:
  """Clips keep their size and are normalised."""
  return _normalised("video", record, source, mean, std)


def _normalised(
  name: str,
  record: Record,
  source: Source,
  mean: Sequence[float] | None,
  std: Sequence[float] | None,
  prepare: Callable[[Example], Example] = same,
  looks: Sequence[str] = (),
) -> Ready:
  """Mean and deviation of each channel as given, or over the prepared training split."""
  if mean is None or std is None:
    measured = mean_std(source, name, prepare)
  channels = record.shape[-1]
  mean = measured[0] if mean is None else _per_channel("mean", mean, channels)
  std = measured[1] if std is None else _per_channel("std", std, channels)
  known = dataclasses.replace(record, mean=mean, std=std)
  finish = partial(_normalise, names=(name, *looks), mean=mean, std=std)
  return Ready(known, prepare=prepare, finish=finish)


def _augment(
  example: Example,
  rng: np.random.Generator,
  *,
  fn: Callable[..., np.ndarray],
  looks: Mapping[str, Callable[..., np.ndarray]],
  maps: Mapping[str, Callable[..., np.ndarray]],
) -> Example:
  """Looks draw far behind the image in the stream of its position, each at a place of its name.

  Maps draw what the image draws: where it is cut and whether it is flipped, before its colours.
  """
  image: Any = example["image"]
  apart = lambda name: rng.bit_generator.jumped(1 + zlib.crc32(name.encode()))  # type: ignore[attr-defined]
  further = {name: look(image, np.random.Generator(apart(name))) for name, look in looks.items()}
  alike: Any = {name: own(example[name], copy.deepcopy(rng)) for name, own in maps.items()}
  return {**example, **alike, "image": fn(image, rng), **further}


def _fit(example: Example, *, size: tuple[int, int], names: Sequence[str] = ("image",)) -> Example:
  fit = lambda name: augmentations.fit(np.asarray(example[name]), size)
  return {**example, **{name: fit(name) for name in names}}


def _standardise(batch: Batch, *, finish: Callable[[Batch], Batch], names: Sequence[str]) -> Batch:
  return finish({**batch, **{name: standardised(batch[name]) for name in names}})


def _normalise(
  batch: Batch, *, names: Sequence[str], mean: Sequence[float], std: Sequence[float]
) -> Batch:
  there = [name for name in names if name in batch]
  return {**batch, **{name: augmentations.normalise(batch[name], mean, std) for name in there}}


def _bytes(batch: Batch, *, name: str) -> Batch:
  bright = 127.5 + 48 * np.asarray(batch[name])
  return {**batch, name: np.clip(bright, 0, 255).astype(np.uint8)}


def _per_channel(key: str, values: Sequence[float], channels: int) -> tuple[float, ...]:
  out = tuple(float(v) for v in values)
  if len(out) != channels or (key == "std" and min(out) <= 0):
    raise BadInput(f"data.{key}={values!r} does not fit images of {channels} channels")
  return out


def _preprocess(images: Sequence[Any], record: Record) -> Batch:
  """Images of any size are resized, cropped at the centre and normalised.

  Raises:
    BadInput: a single image, a path, another number of channels, or values out of the range that
      the run's images have; the cure is named.
  """
  no_paths(images, "images", "[PIL.Image.open(path) for path in paths]")
  channels, dims = record.shape[-1], getattr(images, "ndim", 0)
  last = images.shape[-1] if isinstance(images, np.ndarray) else 0
  if hasattr(images, "convert") or dims == 2 or (dims == 3 and last == channels):
    raise BadInput("preprocess takes a list of images, got a single one: [image]")
  size = record.shape[0], record.shape[1]
  fitted = np.stack([augmentations.fit(_pixels(image, record), size) for image in images])
  return {"image": augmentations.normalise(fitted, record.mean, record.std)}


def _pixels(image: Any, record: Record) -> np.ndarray:
  """A PIL image, an array or a list as [h, w, c], of a dtype that tells what stands for 1."""
  pixels, channels, peak = np.asarray(image), record.shape[-1], record.peak
  pixels = pixels[..., None] if pixels.ndim == 2 else pixels
  if pixels.ndim != 3 or not pixels.size or pixels.dtype.kind not in "uibf":
    raise BadInput(f"an image is numbers [h, w] or [h, w, c], got {pixels.dtype} {pixels.shape}")
  if pixels.shape[-1] != channels:
    modes = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
    cure = f": image.convert({modes[channels]!r}) of Pillow" if channels in modes else ""
    raise BadInput(f"an image has {pixels.shape[-1]} channels, the run's have {channels}{cure}")
  if pixels.dtype in (np.uint8, np.uint16) or peak == 1:
    return pixels if pixels.dtype.kind in "uf" else pixels.astype(np.float32)
  top = peak if pixels.dtype.kind in "ui" else 1
  low, high = pixels.min(), pixels.max()
  if not (low >= 0 and high <= top):  # not even if one is NaN
    what = "integers" if top == peak else "floats"
    raise BadInput(f"{what} of an image lie in [0, {top:g}], got {low:g} to {high:g}: divide them")
  whole = np.uint8 if peak == 255 else np.uint16
  return pixels.astype(whole if pixels.dtype.kind in "ui" else np.float32)


image = Kind(
  axes=("height", "width", "channels"),
  shapes=_image_shapes,
  tiny=_tiny_images,
  facts=_image_facts,
  stored=partial(_bytes, name="image"),
  ready=_image_ready,
  preprocess=_preprocess,
  masks="maskjax.view.masks:masks",
  reconstruction="maskjax.view.reconstruction:images",
)
video = Kind(
  axes=("frames", "height", "width", "channels"),
  shapes=_video_shapes,
  tiny=_tiny_videos,
  facts=_moments,
  stored=partial(_bytes, name="video"),
  ready=_video_ready,
  masks="maskjax.view.video:masks_video",
  reconstruction="maskjax.view.reconstruction:clips",
)
