"""Which split each file belongs to: by folders, by names of files, by lists, or by a hash."""

import hashlib
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from maskjax.data.listing import normal
from maskjax.data.lists import by_lists
from maskjax.errors import BadInput, unknown

_log = logging.getLogger("maskjax")

SPLITS = ("train", "validation", "test")
# As Hugging Face's `datasets`, whose "eval" is a test split and timm's a validation split.
_WORDS = {
  **dict.fromkeys(("train", "training"), "train"),
  **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
  **dict.fromkeys(("test", "testing"), "test"),
  **dict.fromkeys(("eval", "evaluation"), "eval"),
}
_PARTS = re.compile(r"[\W_]+|(?<=[a-z])(?=[A-Z])")  # of names such as DIV2K_train_HR and trainA
_LISTS = {"validation_list.txt": "validation", "testing_list.txt": "test"}

Chosen = Mapping[str, str | Sequence[str]] | Sequence[str] | None


def canonical(name: str) -> str:
  """The split that a name stands for, "" if none: in any case, and with digits behind it.

  >>> canonical("Train2017"), canonical("val"), canonical("testing"), canonical("train-clean")
  ('train', 'validation', 'test', '')
  """
  word = re.fullmatch(r"([a-z]+)\d*", name.lower())
  return _WORDS.get(word[1], "") if word else ""


def find(name: str, splits: Mapping[str, Any]) -> str:
  """The key of `splits` that a user's name for a split means: itself, or a synonym of it.

  >>> find("val", {"train": 0, "validation": 0})
  'validation'
  """
  if name in splits:
    return name
  alike = [split for split in splits if canonical(name) and canonical(split) == canonical(name)]
  return alike[0] if len(alike) == 1 else name


def by_folder(tops: Mapping[str, str]) -> dict[str, str]:
  """The split of each of some folders at the top, given with a file in each; {} if none is one.

  The folder "" stands for files beside the folders.

  Raises:
    BadInput: a split beside other folders, two folders of one split, "eval", or names that look
      like splits but are not.
  """
  found = {top: split for top in tops if (split := canonical(top))}
  if not found:
    parts = {top: [canonical(part) for part in _PARTS.split(top)] for top in tops}
    if len(tops) > 1 and all(map(any, parts.values())):
      held: dict[str, list[str]] = {}
      for top, words in parts.items():
        held.setdefault(next(filter(None, words)), []).append(top)
      such = ", ".join(f"{split}={held[split]}" for split in (*SPLITS, "eval") if split in held)
      raise BadInput(
        f"folders {', '.join(tops)} look like splits: say which is which, such as data.splits="
        f"dict({such}), or data.splits=() if they are classes"
      )
    return {}
  if others := [top for top in tops if top not in found]:
    what = f"folder {others[0]!r}" if others[0] else f"file {tops['']!r}"
    raise BadInput(
      f"{what} beside {next(iter(found))!r}, which is a split: name the folders of each split, "
      f"data.splits=dict(train=[...], test=[...]), or data.splits=() if all are classes"
    )
  return _single(found)


def by_file_name(names: Sequence[str]) -> dict[str, str]:
  """The split of each file by a word of its name, as in `wiki.train.tokens`; {} if none has one."""
  stems = {name: name.rpartition("/")[2].lower() for name in names}
  found = {}
  for name, stem in stems.items():
    words = {split for part in re.split(r"[\W_]+", stem) if (split := canonical(part))}
    if len(words) == 1:
      found[name] = words.pop()
  if len(found) == len(names):
    return _known(found)
  alone = [name for name in found if canonical(stems[name].partition(".")[0])]
  if alone:
    other = next(name for name in names if name not in found)
    raise BadInput(
      f"file {other!r} beside {alone[0]!r}, which is a split: name the files of each split, "
      f"data.splits=dict(train=[...], test=[...]), or data.splits=() if none is one"
    )
  return {}


def chosen(
  names: Sequence[str],
  folders: Sequence[str],
  splits: Mapping[str, str | Sequence[str]],
  text: Callable[[str], str],
  lists: Sequence[str],
) -> dict[str, tuple[str, str]]:
  """What `data.splits` says: for each file that is in a split, the split and what chose it.

  Args:
    names: of files, from the data's root.
    folders: what may be left out in front of them, as the folders around everything.
    splits: for each split folders or files, or one list of files.
    text: reads a list.
    lists: names of the files that may be lists.
  """
  found: dict[str, tuple[str, str]] = {}
  listed: dict[str, list[tuple[str, str]]] = {}
  around = "/".join(folders)
  shorter = {name: name.removeprefix(f"{around}/") if around else name for name in names}
  for called, given in splits.items():
    split = canonical(called) or called
    for place in [given] if isinstance(given, str) else given:
      at = normal(str(place)).strip("/")
      inside = [
        name
        for name in names
        for form in {name, shorter[name]}
        if form == at or form.startswith(f"{at}/")
      ]
      source = next((one for one in (at, f"{around}/{at}") if one in lists), "")
      if not inside and not source:
        tops = sorted({name.partition("/")[0] for name in shorter.values()})
        raise unknown(f"folder or file for data.splits.{called}", place, tops[:20])
      for name in inside:
        if found.setdefault(name, (split, at))[0] != split:
          raise BadInput(f"data.splits puts {name} into {found[name][0]} and into {split}")
      if not inside:
        folder = source.rpartition("/")[0]
        listed.setdefault(split, []).extend((folder, x) for x in text(source).splitlines())
  if listed:
    rest = None if "train" in splits else "train"
    for name, split in by_lists(names, listed, rest).items():
      found.setdefault(name, (split, ""))
  if left := [name for name in names if name not in found]:
    _log.warning("%d files are in no split of data.splits (%s)", len(left), left[0])
  return found


def by_hash(names: Sequence[str]) -> dict[str, list[int]]:
  """About 90/10 % of the names, each by its own hash, so that new files move no old ones.

  Of two names or more at least one goes to either side.
  """
  raw = [name.encode(errors="surrogateescape") for name in names]
  draw = [int.from_bytes(hashlib.sha256(name).digest()[:8]) / 2**64 for name in raw]
  order = np.argsort(draw, kind="stable")
  count = sum(d < 0.1 for d in draw)
  if len(names) > 1:
    count = min(max(count, 1), len(names) - 1)
  test = sorted(order[:count].tolist())
  splits = {"train": sorted(order[count:].tolist()), "test": test}
  return {split: indices for split, indices in splits.items() if indices}


def by_hash_of_classes(names: Sequence[str], labels: Sequence[Any]) -> dict[str, list[int]]:
  """`by_hash` of the names of each class, so that no class is missing in either split."""
  groups: dict[Any, list[int]] = {}
  for i, label in enumerate(labels):
    groups.setdefault(label, []).append(i)
  out: dict[str, list[int]] = {}
  for group in groups.values():
    for split, indices in by_hash([names[i] for i in group]).items():
      out.setdefault(split, []).extend(group[i] for i in indices)
  return {split: sorted(out[split]) for split in ("train", "test") if split in out}


def spoken_lists(names: Sequence[str], lists: Sequence[str], around: str) -> dict[str, str]:
  """Lists that Speech Commands has beside its classes: the split of each."""
  found = {f"{around}/{name}" if around else name: split for name, split in _LISTS.items()}
  return {name: split for name, split in found.items() if name in lists}


def _single(found: Mapping[str, str]) -> dict[str, str]:
  """The splits of folders, each of which has to be the only one of its split."""
  seen: dict[str, str] = {}
  for top, split in _known(found).items():
    if split in seen:
      raise BadInput(
        f"folders {seen[split]!r} and {top!r} are both a split {split}: "
        f"data.splits=dict({split}=[{seen[split]!r}, {top!r}], ...) takes both"
      )
    seen[split] = top
  return dict(found)


def _known(found: Mapping[str, str]) -> dict[str, str]:
  for name, split in found.items():
    if split == "eval":
      raise BadInput(
        f"{name!r} is a validation split to some and a test split to others: "
        f"data.splits=dict(validation=[{name!r}], ...) or dict(test=[{name!r}], ...)"
      )
  return dict(found)


def where(fields: Sequence[Mapping[str, str]], test_where: Mapping[str, Any]) -> list[str]:
  """Test where every field of `test_where` has one of its values, train elsewhere."""
  several = lambda values: [values] if isinstance(values, str | int) else values
  wanted = {field: {str(v) for v in several(values)} for field, values in test_where.items()}
  known = next(iter(fields))
  for field, values in wanted.items():
    if field not in known:
      raise unknown("field of test_where", field, known)
    if absent := sorted(values - {found[field] for found in fields}):
      raise BadInput(f"no file has {field} {absent[0]!r}, which test_where asks for")
  test = lambda found: all(found[field] in values for field, values in wanted.items())
  return ["test" if test(found) else "train" for found in fields]


def check_option(splits: Chosen) -> None:
  """Raises BadInput unless `data.splits` is a mapping, empty, or None."""
  if splits is None or isinstance(splits, Mapping) or not len(splits):
    return
  raise BadInput(f"data.splits is dict(train=[...], test=[...]) or (), got {splits!r}")
