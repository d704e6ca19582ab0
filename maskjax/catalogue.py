"""Every method that maskjax holds, read from its configs."""

import itertools
import pathlib
import textwrap
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from maskjax import lab, note
from maskjax.errors import BadInput

WHOLLY = "wholly"
BASE = "base"  # the folder of what is no method, but what methods are measured against


def entries(folder: pathlib.Path) -> list[dict[str, Any]]:
  """One entry per config file below `folder`, sorted by id.

  Each has its `id`, the name of the file; its `family`, the name of the folder, `families`, beside
  that the one which a base is a method of, and `kind`, "base" or "method"; of its docstring the
  paper's `title`, `citation` and `claim`, the `tables` of what was measured, one line of them,
  `measured`, and `states`, what became of the claims; its `config`, `presets` and the `functions`
  that its default names; and whether it is `held` "wholly", or "partly: " and what is missing, as
  its NOTE says.

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
    "families": list(filter(None, (path.parent.name, note.family(doc)))),
    "title": title,
    "citation": note.citation(doc),
    "claim": claim,
    "measured": f"{note.line(tables)}{f' ({old})' if old else ''}",
    "states": note.states(doc),
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


def table(rows: Sequence[Mapping[str, Any]], family: str = "", width: int = 80) -> str:
  """The catalogue as text: by family, each method with its title and what became of its claims.

  Args:
    rows: entries.
    family: the only one that is shown; "" for all.
    width: of a line.

  >>> row = dict(id="mae", families=["image_mim"], states=["reproduced"])
  >>> print(table([row | dict(title="Masked Autoencoders Are Scalable")], width=40))
  image_mim
    mae  Masked Autoencoders Are Scalable
         (reproduced)
  """
  room = max(len(row["id"]) for row in rows) + 2
  lines = []
  for name in [family] if family else sorted({name for row in rows for name in row["families"]}):
    lines.append(name)
    for row in (row for row in rows if name in row["families"]):
      part = "" if row.get("held", WHOLLY) == WHOLLY else f"; {row['held']}"
      said = f"{row['title']} ({', '.join(row['states']) or 'a baseline'}{part})"
      head = f"  {row['id']:{room}}"
      below = " " * len(head)
      made = textwrap.TextWrapper(width, head, below, break_on_hyphens=False)
      lines.append(made.fill(said))
  return "\n".join(lines)
