"""Classes by the folders that files lie in, and folders that are none."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from maskjax.data import patterns
from maskjax.data.listing import Listing, counted
from maskjax.errors import BadInput, nearest

_log = logging.getLogger("maskjax")

NO_CLASS = "_background_noise_"  # of Speech Commands
# What lies beside classes without being one.
_NOTES = frozenset(
  (
    *(".txt", ".xml", ".json", ".jsonl", ".csv", ".tsv", ".md", ".mat", ".html", ".htm", ".yaml"),
    *(".yml", ".pdf", ".py", ".npy", ".npz", ".log", ".rst", ".ini", ".cfg", ".m", ".gz", ".sh"),
    ".parquet",
  )
)
# What a folder of pictures or sounds is called, and what belongs to each of them.
_WHOLE = frozenset(("images", "image", "imgs", "img", "jpegimages", "audio", "wavs"))
_MASKS = frozenset(
  (
    *("masks", "mask", "segmentation", "segmentations", "segmentationclass", "segmentationobject"),
    *("annotations", "annotation", "labels", "trimaps", "groundtruth", "ground_truth"),
    *("rgb", "depth", "normals", "disparity"),
  )
)


def check_fit(
  names: Sequence[str],
  fields: Sequence[patterns.Fields | None],
  of: Sequence[str] | None,
  keep: Sequence[int],
  label: str,
) -> None:
  """Refuses names that do not fit the pattern, but for a split without labels, as of contests."""
  fit = {of[i] if of else "train" for i in keep if fields and fields[i]}
  for i in keep if fields else ():
    if not fields[i] and (of is None or of[i] in {*fit, "train"}):
      raise BadInput(f"{names[i]} does not fit the label pattern {label!r}")


def classes(
  names: Sequence[str],
  inner: Sequence[Sequence[str]],
  of: Sequence[str] | None,
  keep: Sequence[int],
  label: str,
  fields: Sequence[patterns.Fields | None],
) -> list[str | None]:
  """The class of each file: by the pattern, the outer or the inner folder."""
  if fields:
    return [field["label"] if field else None for field in fields]
  if not label:
    return [None] * len(names)
  flat: dict[str, int] = {}
  deep: dict[str, int] = {}
  for i in keep:
    (deep if len(inner[i]) > 1 else flat).setdefault(of[i] if of else "", i)
  for split in flat:
    if split in deep:
      a, b = names[flat[split]], names[deep[split]]
      raise BadInput(
        f"files both outside and inside class folders: {a} and {b} (data.label='' for no labels)"
      )
  levels = Counter(len(inner[i]) - 1 for i in keep if len(inner[i]) > 1)
  if levels and max(levels) > 1 and label == "folder":
    example = next(names[i] for i in keep if len(inner[i]) > 2)
    told = "folders of %s levels (%s): the outer one is the class; data.label='inner' or a pattern"
    _log.warning(told, " and ".join(map(str, sorted(levels))), example)
  at = 0 if label == "folder" else -2
  return [parts[at] if len(parts) > 1 else None for parts in inner]


def check_empty(
  listing: Listing,
  names: Sequence[str],
  inner: Sequence[Sequence[str]],
  keep: Sequence[int],
) -> None:
  """Refuses a folder beside classes in which nothing can be read, unless it holds notes only."""
  above: dict[str, set[str]] = {}
  for i in keep:
    if len(inner[i]) > 1:
      prefix = names[i].removesuffix("/".join(inner[i]))
      above.setdefault(prefix, set()).add(inner[i][0])
  held: dict[tuple[str, str], list[str]] = {}
  for name in listing.passed:
    for prefix, classes in above.items():
      top, slash, _ = name.removeprefix(prefix).partition("/")
      if name.startswith(prefix) and slash and top not in {*classes, NO_CLASS}:
        held.setdefault((prefix, top), []).append(name)
  for (prefix, top), files in held.items():
    suffixes = {PurePosixPath(name).suffix.lower() for name in files if not name.endswith("/")}
    if suffixes - _NOTES - {""} or not suffixes:
      raise BadInput(
        f"class folder {prefix}{top} of {listing.path!r} holds nothing that is read, but "
        f"{counted(files)}: convert or remove it"
      )


def tell(
  held: Mapping[str, Sequence[int]],
  classes: Sequence[str | None],
  class_names: Sequence[str],
) -> None:
  """Logs examples by split and class, and warns of classes that a split alone has."""
  if not class_names:
    return
  counts = {split: Counter(classes[i] for i in indices) for split, indices in held.items()}
  for split, count in counts.items():
    shown = [f"{name} {n}" for name, n in sorted(count.items(), key=str) if name is not None]
    more = f" and {len(shown) - 12} more" if len(shown) > 12 else ""
    _log.info("%s: %s%s", split, ", ".join(shown[:12]) or "no labels", more)
    if not shown:
      _log.warning("split %s has no labels: for looking and generating, not for probes", split)
  if "train" not in counts or not any(name is not None for name in counts["train"]):
    return
  known = [name for name in counts["train"] if name is not None]
  for split, count in counts.items():
    if extra := [name for name in count if name is not None and name not in counts["train"]]:
      lower = {name.lower(): name for name in known}
      near = nearest(extra[0].lower(), lower)
      told = "%d classes of %s are not in train (%s)%s"
      _log.warning(told, len(extra), split, extra[0], near)


def check_contents(classes: Sequence[str | None], keep: Sequence[int]) -> None:
  """Refuses folders of pictures beside folders of what belongs to each, which are no classes.

  Raises:
    BadInput: there are some; the two keys that settle it are named.
  """
  names = sorted({name for i in keep if (name := classes[i]) is not None})
  odd = [name for name in names if name.lower() in _WHOLE | _MASKS]
  if odd and len(names) > 1:
    other = next(name for name in names if name != odd[0])
    raise BadInput(
      f"folders {odd[0]!r} and {other!r} look like files and what belongs to each, not like "
      "classes: data.path is the folder that is wanted, or data.splits=() if all are classes"
    )
