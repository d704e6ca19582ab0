"""Which arrays of an npz file are images and labels, by their names, and whether they can be."""

import logging
import re
from collections.abc import Mapping, Sequence

import numpy as np

from maskjax.data.splits import SPLITS, canonical
from maskjax.errors import BadInput, unknown

_log = logging.getLogger("maskjax")

_WHAT = "images?|imgs?|videos?|x|data"
_IMAGES = re.compile(rf"(?:(?P<a>\w+)_)?(?:{_WHAT})|(?:{_WHAT})_(?P<b>\w+)", re.IGNORECASE)
_LABELS = ("label", "labels", "y", "target", "targets")
_DTYPES = ("uint8", "uint16", "float16", "float32", "float64")
_USUAL = (1, 3, 4)  # channels of a picture
_AXES = {3: ("nhw",), 4: ("nhwc", "nthw"), 5: ("nthwc",)}
_NONE = "data.label='' reads no labels"


def pairs_of(
  path: str, arrays: Mapping[str, np.ndarray], label: str | None
) -> dict[str, tuple[str, str]]:
  """(image, label) array names by split, "" for no label or no split."""
  lower = {name.lower(): name for name in arrays}
  pairs: dict[str, tuple[str, str]] = {}
  for name in sorted(arrays):
    match = _IMAGES.fullmatch(name)
    if not arrays[name].ndim or not (match or (canonical(name) and arrays[name].ndim in _AXES)):
      continue
    given = (match["a"] or match["b"] or "" if match else name).lower()
    split = canonical(given) or given
    if split in pairs:
      other = pairs[split][0]
      raise BadInput(f"{other} and {name} in {path!r} are both images of {split or 'all'}")
    forms = [f for y in _LABELS for f in ((f"{given}_{y}", f"{y}_{given}") if given else (y,))]
    pairs[split] = name, next((lower[form] for form in forms if form in lower), "")
  if not pairs:
    raise BadInput(
      f"no images in {path!r}: arrays {', '.join(sorted(arrays)) or 'none'}; wanted "
      "train_images, train_labels, ... or images, labels"
    )
  if label == "":
    pairs = {split: (image, "") for split, (image, _) in pairs.items()}
  elif label is not None:
    if list(pairs) != [""]:
      raise BadInput(f"data.label={label!r} is for an npz without splits, not for {path!r}")
    if label not in arrays:
      raise unknown("array for data.label", label, arrays)
    pairs[""] = pairs[""][0], label
  return {split: pairs[split] for split in sorted(pairs, key=_rank)}


def _rank(split: str) -> tuple[int, str]:
  """Where a split stands among others: as in folders."""
  return (SPLITS.index(split) if split in SPLITS else len(SPLITS)), split


def check_rest(
  path: str,
  arrays: Mapping[str, np.ndarray],
  pairs: Mapping[str, tuple[str, str]],
  label: str | None,
) -> None:
  """What is neither images nor labels: refused where it may be labels, else told."""
  used = {name for pair in pairs.values() for name in pair} | {"class_names"}
  rest = sorted(set(arrays) - used)
  bare = {len(arrays[image]) for image, labels in pairs.values() if not labels}
  for name in rest:
    found = arrays[name]
    if label is None and found.ndim and len(found) in bare and found.dtype.kind in "iub":
      raise BadInput(
        f"{name} in {path!r} may be labels: call it labels, or set data.label={name!r} or ''"
      )
  if rest:
    _log.warning("%s: passed over the arrays %s", path, ", ".join(rest))


def axes_of(path: str, images: Mapping[str, np.ndarray], axes: str) -> str:
  name, found = next(iter(images.items()))
  known = _AXES.get(found.ndim, ("",))
  usual = known[0]
  if axes:
    if sorted(axes) not in map(sorted, known):
      what = " or ".join(map(repr, known))
      raise BadInput(f"data.axes={axes!r} does not name the axes {what} of {name} in {path!r}")
    return axes
  if usual == "nhw" and found.shape[-1] in (3, 4) and found.shape[-1] != found.shape[-2]:
    told = f"{name} in {path!r} has shape {found.shape}"
    raise BadInput(f"{told}: a single image wants an axis more, array[None]; else data.axes='nhw'")
  first = 1 if found.ndim == 4 else 2
  if found.ndim > 3 and found.shape[first] in _USUAL and found.shape[-1] not in _USUAL:
    other = "nchw" if found.ndim == 4 else "ntchw"
    raise BadInput(
      f"{name} in {path!r} has shape {found.shape}: channels first is data.axes={other!r}, "
      f"else data.axes={usual!r}"
    )
  if usual == "nhwc" and found.shape[-1] > max(_USUAL):
    told = "%s in %s has %d channels: data.axes='nthw' if these are frames, 'nhwc' if channels"
    _log.warning(told, name, path, found.shape[-1])
  return usual


def peak_of(path: str, images: Mapping[str, np.ndarray], peak: float | None) -> float:
  if peak is not None:
    if not peak > 0:
      raise BadInput(f"data.peak={peak!r} is not above 0")
    if any(found.dtype.kind != "f" for found in images.values()):
      raise BadInput(f"data.peak is for floats, the images of {path!r} are integers")
    return float(peak)
  for name, found in images.items():
    if found.dtype.kind == "f" and found.min() >= 0 and 2 < found.max() <= 255:
      raise BadInput(
        f"{name} in {path!r} holds floats from {found.min():g} to {found.max():g}: data.peak=255 "
        "if these are bytes, data.peak=1 if they are meant as they are"
      )
  return 1.0


def check(
  path: str,
  image: str,
  images: np.ndarray,
  label: str,
  labels: np.ndarray | None,
  axes: str,
) -> None:
  if images.ndim not in _AXES or images.ndim != len(axes) or not images.size:
    raise BadInput(
      f"{image} in {path!r} has shape {images.shape}, wanted (n, h, w, c), (n, h, w) or "
      "(n, t, h, w, c)"
    )
  if images.dtype.name not in _DTYPES:
    raise BadInput(f"{image} in {path!r} is {images.dtype}, wanted one of {', '.join(_DTYPES)}")
  if np.issubdtype(images.dtype, np.floating) and not np.isfinite(images).all():
    raise BadInput(f"{image} in {path!r} holds values that are not finite")
  if labels is None:
    return
  number = images.shape[axes.index("n")]
  if not labels.ndim or labels.size != number or labels.shape[0] != number:
    raise BadInput(f"{label} in {path!r} has shape {labels.shape} for {number} images; {_NONE}")
  whole = labels.dtype.kind in "iub" or (labels.dtype.kind == "f" and (labels % 1 == 0).all())
  if not whole or labels.min() < -1:
    told = f"{label} in {path!r} is not made of whole numbers from 0, or -1 for none"
    raise BadInput(f"{told}; {_NONE}")


def classes_of(
  path: str, arrays: Mapping[str, np.ndarray], labels: Sequence[str], relabel: bool
) -> tuple[tuple[str, ...], tuple[int, ...] | None]:
  """Names of the classes, and the labels that stand for them unless these are 0, 1, ..."""
  every = [arrays[name].ravel().astype(np.int64) for name in labels]
  held = np.unique(np.concatenate([np.zeros(0, np.int64), *every]))
  found = [int(label) for label in held if label >= 0]
  most = found[-1] + 1 if found else 0
  given = arrays.get("class_names")
  names = None if given is None else tuple(map(str, given))
  if relabel:
    if names is None or len(names) not in (len(found), most):
      names = tuple(map(str, range(most))) if names is None or len(names) < most else names
    if len(names) != len(found):
      names = tuple(names[label] for label in found)
    return names, tuple(found)
  if names is not None:
    if len(names) < most:
      raise BadInput(f"{len(names)} class_names in {path!r} for labels up to {most - 1}")
    return names, None
  if found != list(range(most)):
    raise BadInput(
      f"labels in {path!r} are {len(found)} numbers from {found[0]} to {found[-1]}, not 0 to "
      f"{len(found) - 1}: data.relabel=True counts them anew, or add an array class_names"
    )
  return tuple(map(str, range(most))), None
