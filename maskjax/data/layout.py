"""What the names of files say: splits and classes, alike for folders, zips, images and sounds."""

import logging
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from maskjax.data import splits as by
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


class Layout(NamedTuple):
  """Which files make up each split, as indices into the given names, and the class of each file.

  `told` says whether anything told splits.
  """

  splits: dict[str, list[int]]
  labels: list[int | None]
  class_names: tuple[str, ...]
  told: bool


def lay_out(
  listing: Listing,
  *,
  splits: by.Chosen = None,
  label: str = "folder",
  test_where: Mapping[str, Any] | None = None,
  by_file: bool = False,
  by_hash: bool = True,
) -> Layout:
  """Splits and classes of the readable files of a listing.

  A folder around everything tells nothing and is left out, before splits are looked for and, of
  each split, after. Splits are, the first that there is: `test_where`; `splits`; folders or, with
  `by_file`, files called so (see `splits.canonical`); the lists of Speech Commands; a field
  `{split}` of the label's pattern. Else a tenth of each class, by a hash of the names, is "test".

  Args:
    listing: of a folder or a zip.
    splits: folders or files of each split, or one list of files: `dict(train=["train-clean-100"],
      test="test.txt")`; () if no folder is a split, though it is called so.
    label: "folder", the class is the outer folder; "inner", it is the one that a file lies in; "",
      no labels; or a pattern of the file's name, with as many folders as it has slashes, each field
      as short as fits: "{label}_{speaker}_{n}.wav".
    test_where: fields of the pattern and the values, such as `{"n": ("0", "1")}`, that put a file
      into test; all others are train.
    by_file: whether names of files tell splits.
    by_hash: whether, where nothing tells splits, a hash does; else all files are "train".

  Raises:
    BadInput: what can be read in two ways; the key that settles it is named.
  """
  by.check_option(splits)
  names = list(listing.names)
  around = _around([name.split("/")[:-1] for name in names])
  rest = [name.split("/")[len(around) :] for name in names]
  fields = _match(names, label) if label not in ("", "folder", "inner") else []
  of, split_depth = _splits(listing, rest, around, splits, by_file, fields, test_where)
  keep = [i for i in range(len(names)) if of is None or of[i]]
  inner = [rest[i][depth:] for i, depth in enumerate(split_depth)]
  if not fields and label:
    inner = _strip_below(inner, of, keep)
    if noise := {i for i in keep if inner[i][0] == NO_CLASS}:
      _log.warning("%d files in %s are left out: that is no class", len(noise), NO_CLASS)
      keep = [i for i in keep if i not in noise]
  classes = _classes(names, inner, of, keep, label, fields)
  if label in ("folder", "inner"):
    _empty_classes(listing, around, of, names, inner, keep)
  if of is None and not by_hash:
    held = {"train": keep}
  elif of is None:
    shown = ["/".join(rest[i]) for i in keep]
    parts = by.by_hash_of_classes(shown, [classes[i] for i in keep])
    held = {split: [keep[i] for i in indices] for split, indices in parts.items()}
    told = ", ".join(f"{split} {len(indices)}" for split, indices in held.items())
    _log.info("no split folders: split by a hash of the names into %s", told)
  else:
    order = dict.fromkeys([*by.SPLITS, *filter(None, of)])
    held = {split: [i for i in keep if of[i] == split] for split in order}
    held = {split: indices for split, indices in held.items() if indices}
  class_names = tuple(sorted({name for i in keep if (name := classes[i]) is not None}))
  index: dict[str | None, int] = {name: i for i, name in enumerate(class_names)}
  labels = [index.get(name) for name in classes]  # None for files that are in no split
  _tell(held, classes, class_names)
  return Layout(held, labels, class_names, of is not None)


def _around(folders: Sequence[Sequence[str]]) -> list[str]:
  """The folders that all files share from the top on, up to a split."""
  shared = []
  for column in zip(*folders, strict=False):
    if len(set(column)) > 1 or by.canonical(column[0]):
      break
    shared.append(column[0])
  return shared


def _splits(
  listing: Listing,
  rest: Sequence[Sequence[str]],
  around: Sequence[str],
  splits: by.Chosen,
  by_file: bool,
  fields: Sequence[Mapping[str, str]],
  test_where: Mapping[str, Any] | None,
) -> tuple[list[str] | None, list[int]]:
  """The split of each file ("" for none; None if nothing tells), and how many folders told it."""
  names, flat = list(listing.names), [0] * len(rest)
  if test_where:
    return by.where(fields or [{}], test_where), flat
  if splits:
    assert isinstance(splits, Mapping)
    found = by.chosen(names, around, splits, listing.text, listing.passed)
    depth = [_depth(name, rest[i], found.get(name)) for i, name in enumerate(names)]
    return [found[name][0] if name in found else "" for name in names], depth
  if fields and "split" in fields[0]:
    return [by.canonical(field["split"]) or field["split"] for field in fields], flat
  if splits is not None:
    return None, flat
  tops = {r[0] if len(r) > 1 else "": name for r, name in zip(rest, names, strict=True)}
  if folders := by.by_folder(tops):
    return [folders[r[0]] for r in rest], [1] * len(rest)
  _inside(tops, rest)
  if by_file and (files := by.by_file_name(names)):
    return [files[name] for name in names], flat
  lists = by.spoken_lists(names, listing.passed, "/".join(around))
  if lists and not by_file:
    lines = {split: listing.text(name).splitlines() for name, split in lists.items()}
    shown = ["/".join(r) for r in rest]
    by_name = by.by_lists(shown, lines, "train")
    return [by_name[name] for name in shown], flat
  return None, flat


def _depth(name: str, rest: Sequence[str], found: tuple[str, str] | None) -> int:
  """How many of the remaining folders of a file belong to the place that chose its split."""
  if found is None or not found[1]:
    return 0
  place, inside = found[1].split("/"), name.split("/")
  cut = len(inside) - len(rest)  # folders around everything
  whole = len(place) if inside[: len(place)] == place else len(place) + cut
  return min(max(whole - cut, 0), len(rest) - 1)


def _inside(tops: Mapping[str, str], rest: Sequence[Sequence[str]]) -> None:
  """Refuses splits inside of classes, which folders alone do not tell."""
  seconds = {r[1] for r in rest if len(r) > 2}
  if seconds and all(len(r) > 2 for r in rest) and all(map(by.canonical, seconds)):
    raise BadInput(
      f"splits inside of folders, as in {next(iter(tops.values()))}: a pattern of the names tells "
      'which is which, such as data.label="{label}/{split}/{name}"'
    )


def _strip_below(
  inner: Sequence[Sequence[str]], of: Sequence[str] | None, keep: Sequence[int]
) -> list[list[str]]:
  """Without a folder around all files, or around all of a split and in no other split."""
  out = [list(parts) for parts in inner]
  groups: dict[str, list[int]] = {}
  for i in keep:
    groups.setdefault(of[i] if of else "", []).append(i)
  while all(len(out[i]) > 1 for i in keep) and len({out[i][0] for i in keep}) == 1:
    for i in keep:
      del out[i][0]
  for split, held in groups.items():
    elsewhere = {out[i][0] for other, more in groups.items() if other != split for i in more}
    alone = {out[i][0] for i in held}
    one = len(groups) > 1 and len(alone) == 1 and all(len(out[i]) > 1 for i in held)
    if one and not alone & elsewhere:
      _log.info("%s has one folder, %r: no class", split, next(iter(alone)))
      for i in held:
        del out[i][0]
  return out


def _classes(
  names: Sequence[str],
  inner: Sequence[Sequence[str]],
  of: Sequence[str] | None,
  keep: Sequence[int],
  label: str,
  fields: Sequence[Mapping[str, str]],
) -> list[str | None]:
  """The class of each file: by the pattern, the outer or the inner folder."""
  if fields:
    return [field["label"] for field in fields]
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


def _match(names: Sequence[str], label: str) -> list[dict[str, str]]:
  """What each name says by the pattern."""
  try:
    pattern = re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+?)", re.escape(label)))
  except re.error as error:
    raise BadInput(f"label pattern {label!r}: {error}") from error
  if "label" not in pattern.groupindex:
    raise BadInput(f"label is 'folder', 'inner', '' or a pattern with {{label}}, got {label!r}")
  found = []
  for name in names:
    tail = "/".join(name.split("/")[-1 - label.count("/") :])
    if not (match := pattern.fullmatch(tail)):
      raise BadInput(f"{name} does not fit the label pattern {label!r}")
    found.append(match.groupdict())
  return found


def _empty_classes(
  listing: Listing,
  around: Sequence[str],
  of: Sequence[str] | None,
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


def _tell(
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
