"""What the names of files say: splits and classes, alike for folders, zips, images and sounds."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from maskjax.data import class_folders as folders
from maskjax.data import patterns
from maskjax.data import splits as by
from maskjax.data.listing import Listing
from maskjax.data.lists import by_lists
from maskjax.errors import BadInput

_log = logging.getLogger("maskjax")


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
  fields = patterns.match(names, label) if label not in ("", "folder", "inner") else []
  if test_where or "{split}" in label:
    folders.check_fit(names, fields, None, range(len(names)), label)
  of, split_depth = _splits(listing, rest, around, splits, by_file, fields, test_where)
  keep = [i for i in range(len(names)) if of is None or of[i]]
  folders.check_fit(names, fields, of, keep, label)
  inner = [rest[i][depth:] for i, depth in enumerate(split_depth)]
  if not fields and label:
    inner = _strip_below(inner, of, keep)
    if noise := {i for i in keep if inner[i][0] == folders.NO_CLASS}:
      _log.warning("%d files in %s are left out: that is no class", len(noise), folders.NO_CLASS)
      keep = [i for i in keep if i not in noise]
  classes = folders.classes(names, inner, of, keep, label, fields)
  if label in ("folder", "inner"):
    folders.check_empty(listing, names, inner, keep)
  if label == "folder" and splits is None:
    folders.check_contents(classes, keep)
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
  folders.tell(held, classes, class_names)
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
  fields: Sequence[patterns.Fields | None],
  test_where: Mapping[str, Any] | None,
) -> tuple[list[str] | None, list[int]]:
  """The split of each file ("" for none; None if nothing tells), and how many folders told it."""
  names, flat = list(listing.names), [0] * len(rest)
  if test_where:
    return by.where([field or {} for field in fields] or [{}], test_where), flat
  if splits:
    assert isinstance(splits, Mapping)
    found = by.chosen(names, around, splits, listing.text, listing.passed)
    depth = [_depth(name, rest[i], found.get(name)) for i, name in enumerate(names)]
    return [found[name][0] if name in found else "" for name in names], depth
  if any(field and "split" in field for field in fields):
    given = [field["split"] if field else "" for field in fields]
    return [by.canonical(split) or split for split in given], flat
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
    lines = {
      split: [("", line) for line in listing.text(name).splitlines()]
      for name, split in lists.items()
    }
    shown = ["/".join(r) for r in rest]
    by_name = by_lists(shown, lines, "train")
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
  """Without a folder around all files, or around all of a split that is no class elsewhere."""
  out = [list(parts) for parts in inner]
  groups: dict[str, list[int]] = {}
  for i in keep:
    groups.setdefault(of[i] if of else "", []).append(i)
  while all(len(out[i]) > 1 for i in keep) and len({out[i][0] for i in keep}) == 1:
    for i in keep:
      del out[i][0]
  tops = {split: {out[i][0] for i in held} for split, held in groups.items()}
  for split, held in groups.items():
    alone = tops[split]
    elsewhere = set().union(*(top for top in tops.values() if top != alone))
    one = len(groups) > 1 and len(alone) == 1 and all(len(out[i]) > 1 for i in held)
    if one and not alone & elsewhere:
      _log.info("%s has one folder, %r: no class", split, next(iter(alone)))
      for i in held:
        del out[i][0]
  return out
