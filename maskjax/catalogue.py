"""Every method that maskjax holds, read from its configs."""

import itertools
import pathlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from maskjax import lab, note
from maskjax.errors import BadInput

WIDEST = {"presets": 18, "measured": 20}
WHOLLY = "wholly"
BASE = "base"  # the folder of what is no method, but what methods are measured against


def entries(folder: pathlib.Path) -> list[dict[str, Any]]:
  """One entry per config file below `folder`, sorted by id.

  Each has its `id`, the name of the file; its `family`, the name of the folder, and `kind`, "base"
  or "method"; of its docstring the paper's `title`, `citation` and `claim`, the `tables` of what
  was measured and one line of them, `measured`; its `config`, `presets` and the `functions` that
  its default names; and whether it is `held` "wholly", or "partly: " and what is missing, as its
  NOTE says.

  Raises:
    BadInput: no configs there, a file whose docstring lacks something, whose NOTE says `held`
      otherwise, or one id twice.
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


def entry(path: pathlib.Path) -> dict[str, Any]:
  """The entry of one config file."""
  module = lab.load(path)
  doc = module.__doc__ or ""
  try:
    title, claim, tables = note.title(doc), note.claim(doc), note.measured(doc)
  except BadInput as error:
    raise BadInput(f"{path}: {error}") from error
  held = getattr(module, "NOTE", {}).get("held", WHOLLY)
  if held != WHOLLY and not held.startswith("partly: "):
    raise BadInput(f"{path}: NOTE's held is 'partly: ' and what is missing, got {held!r}")
  old = note.outdated(doc)
  return {
    "id": path.stem,
    "kind": BASE if path.parent.name == BASE else "method",
    "family": path.parent.name,
    "title": title,
    "citation": note.citation(doc),
    "claim": claim,
    "measured": f"{note.line(tables)}{f' ({old})' if old else ''}",
    "tables": [table._asdict() for table in tables],
    "held": held,
    "config": nearby(path),
    "presets": sorted(module.PRESETS),
    "functions": sorted(functions(module.get_config().to_dict())),
  }


def nearby(path: pathlib.Path) -> str:
  """The path from the current folder where it lies below that, else the whole path."""
  whole, here = path.absolute(), pathlib.Path.cwd()
  return (whole.relative_to(here) if whole.is_relative_to(here) else whole).as_posix()


def functions(section: Mapping[str, Any], networks: Collection[str] = ()) -> Iterator[str]:
  """The functions that a config names, wherever they stand in it: "select.top".

  Those of its own networks, "NETWORK.METHOD", and what only an optimizer knows are not among them.

  >>> ratio = dict(fn="schedule.cosine", start=0.5, end=0.9)
  >>> select = dict(fn="select.top", ratio=ratio)
  >>> sorted(functions(dict(hold=dict(fn="weights.hold", select=select))))
  ['schedule.cosine', 'select.top', 'weights.hold']
  """
  networks = {*networks, *_networks(section.get("model"))}
  for key, value in section.items():
    if key == "fn" and value.split(".")[0] not in networks and ("." in value or ":" in value):
      yield value
    for part in value if isinstance(value, tuple) else (value,):
      if isinstance(part, Mapping):
        yield from functions(part, networks)


def _networks(model: Any) -> Iterator[str]:
  """The names that values call the networks of a model section by."""
  if isinstance(model, Mapping):
    yield from ["network"] if "fn" in model else model


def table(rows: Sequence[Mapping[str, Any]], width: int = 100) -> str:
  """The catalogue as text, one method a line; titles are cut where lines would exceed `width`.

  The config of a method is `configs/FAMILY/ID.py`. A method that is held partly has a star.

  >>> row = dict(id="mae", family="image_mim", presets=["laptop", "smoke"])
  >>> print(table([row | dict(measured="none", title="Masked Autoencoders")], width=55))
  id   family     presets       measured  title
  mae  image_mim  laptop smoke  none      Masked Autoenc…
  """
  columns = ("id", "family", "presets", "measured", "title")
  text = lambda value: value if isinstance(value, str) else " ".join(value)
  star = lambda row, c: "*" if c == "id" and row.get("held", WHOLLY) != WHOLLY else ""
  show = lambda row, c: cut(text(row[c]), WIDEST.get(c, width)) + star(row, c)
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
