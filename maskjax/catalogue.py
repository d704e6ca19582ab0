"""Every method that maskjax holds, read from its configs."""

import itertools
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from maskjax import lab
from maskjax.errors import BadInput, unknown

WIDEST = {"presets": 18, "measured": 20}
NOTE = ("id", "family", "title", "claim", "measured", "citation")


def entries(folder: pathlib.Path) -> list[dict[str, Any]]:
  """One entry per config file below `folder`, sorted by id.

  Each has the fields of the file's NOTE (`id`, `kind`, `family`, `title`, `claim`, `measured`,
  `citation`), its `config`, its `presets` and the `functions` that its default names.

  Raises:
    BadInput: no configs there, a file whose NOTE lacks a field, or one id twice.
  """
  found = sorted(p for p in folder.rglob("*.py") if not p.name.startswith("_"))
  if not found:
    raise BadInput(f"there are no configs below {folder}")
  result = sorted((entry(path) for path in found), key=lambda e: e["id"])
  for one, other in itertools.pairwise(result):
    if one["id"] == other["id"]:
      configs = f"{one['config']}, {other['config']}"
      raise BadInput(f"two configs are called {one['id']!r}: {configs}")
  return result


def place(name: str, folder: pathlib.Path) -> str:
  """The file of a config, with what follows its colon, from its id or as it was given.

  Raises:
    BadInput: no config below `folder` has this id; the nearest is named.
  """
  head, colon, rest = name.partition(":")
  if head.endswith(".py"):
    return name
  files = {p.stem: p for p in sorted(folder.rglob("*.py")) if not p.name.startswith("_")}
  if head not in files:
    raise unknown("config", head, files)
  return f"{files[head]}{colon}{rest}"


def entry(path: pathlib.Path) -> dict[str, Any]:
  """The entry of one config file."""
  module = lab.load(path)
  note = dict(getattr(module, "NOTE", {}))
  if missing := [name for name in NOTE if name not in note]:
    raise BadInput(f"{path}: NOTE lacks {', '.join(missing)}")
  return {
    "id": note["id"],
    "kind": note.get("kind", "method"),
    **{name: note[name] for name in NOTE[1:]},
    "config": nearby(path),
    "presets": sorted(module.PRESETS),
    "functions": sorted(functions(module.get_config().to_dict())),
  }


def markdown(entries: Sequence[Mapping[str, Any]]) -> str:
  """The table of the README: methods family by family, then what they are measured against."""
  rows = sorted(entries, key=lambda e: (e["kind"] != "method", e["family"], e["id"]))
  line = lambda *cells: f"| {' | '.join(cells)} |"
  name = lambda e: f"[`{e['id']}`]({e['config']})"
  columns = "kind", "family", "claim", "measured"
  head = line("id", "kind", "family", "claim of the paper", "measured here"), line(*["---"] * 5)
  return "\n".join([*head, *(line(name(e), *(e[c] for c in columns)) for e in rows)])


def nearby(path: pathlib.Path) -> str:
  """The path from the current folder where it lies below that, else the whole path."""
  whole, here = path.absolute(), pathlib.Path.cwd()
  return (whole.relative_to(here) if whole.is_relative_to(here) else whole).as_posix()


def functions(section: Mapping[str, Any], name: str = "") -> Iterator[str]:
  """The functions that a config names, as `word.function`, wherever they stand in it.

  >>> ratio = dict(fn="cosine", start=0.5, end=0.9)
  >>> sorted(functions(dict(hold=dict(fn="hold", select=dict(fn="top", ratio=ratio)))))
  ['hold.hold', 'schedule.cosine', 'select.top']
  """
  for key, value in section.items():
    if key == "fn":
      yield f"{name}.{value}"
    elif isinstance(value, Mapping):
      yield from functions(value, _word(name, key))


def _word(within: str, key: str) -> str:
  """Which word the section `key` within another one is about; "" for a config of its own."""
  if not within or (within in ("evals", "modalities") and key not in ("score", "select")):
    return within or key
  if within == "stages":
    return ""
  if within in ("explain", "hides"):  # the ways of hiding that are compared, by name
    return "hide" if within == "hides" else key
  if key == "score" and within in ("hold", "view"):
    return "weights"
  return key if key in ("score", "select", "modalities") else "schedule"


def table(rows: Sequence[Mapping[str, Any]], width: int = 100) -> str:
  """The catalogue as text, one method a line; titles are cut where lines would exceed `width`.

  >>> row = dict(id="mae", config="configs/mae.py", presets=["laptop", "smoke"])
  >>> print(table([row | dict(measured="none", title="Masked Autoencoders")], width=60))
  id   config          presets       measured  title
  mae  configs/mae.py  laptop smoke  none      Masked Autoenc…
  """
  columns = ("id", "config", "presets", "measured", "title")
  text = lambda value: value if isinstance(value, str) else " ".join(value)
  show = lambda row, c: cut(text(row[c]), WIDEST.get(c, width))
  cells = [columns, *(tuple(show(row, c) for c in columns) for row in rows)]
  widths = [max(len(row[i]) for row in cells) for i in range(len(columns) - 1)]
  room = max(width - sum(widths) - 2 * len(widths), len("title"))
  line = lambda row: "  ".join([*map(str.ljust, row, widths), cut(row[-1], room)])
  return "\n".join(map(line, cells))


def cut(text: str, width: int) -> str:
  """Text of at most `width` characters.

  >>> cut("masked", 4)
  'mas…'
  """
  return text if len(text) <= width else text[: width - 1] + "…"
