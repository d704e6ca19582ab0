"""The generated parts of the pages, written from the configs and the docstrings.

python -m maskjax.pages            says which pages are out of date
python -m maskjax.pages --write    writes them
python -m maskjax.pages --masks FILE.png    draws masks of many kinds
"""

import inspect
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from maskjax import catalogue
from maskjax.errors import BadInput

END = "<!-- end -->"
FEW = 4


def fill(page: str, name: str, body: str) -> str:
  r"""A page with what stands between two markers replaced.

  Args:
    page: the text of a page in Markdown.
    name: of the part: it begins with a line `<!-- NAME: … -->` and lasts until `<!-- end -->`.
    body: what is to stand there.

  Raises:
    BadInput: the page has no such part.

  >>> fill("<!-- a: generated -->\nold\n<!-- end -->", "a", "new").split()
  ['<!--', 'a:', 'generated', '-->', 'new', '<!--', 'end', '-->']
  """
  before, begin, rest = page.partition(f"<!-- {name}: ")
  mark, _, after = rest.partition("\n")
  _, end, after = after.partition(END)
  if not (begin and end):
    raise BadInput(f"a page lacks its part {name!r}: <!-- {name}: … --> and {END}")
  return f"{before}{begin}{mark}\n\n{body}\n\n{end}{after}"


def methods(rows: Sequence[Mapping[str, Any]], folder: str) -> str:
  """A table of methods for the page in a folder: id, claim, what became of it, measured."""
  columns = "claim of the paper", "here", "measured here"
  lines = [f"| id | {' | '.join(columns)} |", "| --- | --- | --- | --- |"]
  for row in rows:
    path = row["config"].removeprefix("configs/")
    path = (
      path.removeprefix(f"{folder}/") if row["family"] == folder or not folder else f"../{path}"
    )
    part = "" if row["held"] == catalogue.WHOLLY else f" ({row['held']})"
    told = ", ".join(row["states"]) or "a baseline"
    lines.append(f"| [`{row['id']}`]({path}){part} | {row['claim']} | {told} | {row['measured']} |")
  return "\n".join(lines)


def families(rows: Sequence[Mapping[str, Any]], configs: pathlib.Path) -> str:
  """One line a family: its title, how many it holds, and the first of them."""
  lines = []
  for name in sorted({row["family"] for row in rows}):
    title = (configs / name / "README.md").read_text(encoding="utf-8").partition("\n")[0]
    ids = [f"`{row['id']}`" for row in rows if name in row["families"]]
    more = ", …" if len(ids) > FEW else ""
    page = f"[{title.removeprefix('# ')}](configs/{name}/README.md)"
    lines.append(f"- {page} ({len(ids)}): {', '.join(ids[:FEW])}{more}")
  return "\n".join(lines)


def evaluators() -> str:
  """One line an evaluator: its name and what it measures."""
  from maskjax.train import evaluators

  found = [(name, getattr(evaluators, name)) for name in evaluators.__all__]
  said = [(name, (inspect.getdoc(fn) or "").partition("\n")[0]) for name, fn in found]
  lines = [f"| `{name}` | {line} |" for name, line in said]
  return "\n".join(["| evaluator | what it measures |", "| --- | --- |", *lines])


def pages(root: pathlib.Path) -> dict[pathlib.Path, str]:
  """Every page with generated parts, by its path, as it should be.

  Args:
    root: the folder of the README, with `configs` below it.
  """
  configs, read = root / "configs", lambda path: path.read_text(encoding="utf-8")
  rows = catalogue.entries(configs)
  rows = [{**r, "config": f"configs/{r['family']}/{r['id']}.py"} for r in rows]
  home = root / "README.md"
  measures = root / "maskjax" / "train" / "evaluators" / "README.md"
  made = {
    home: fill(read(home), "families", families(rows, configs)),
    configs / "README.md": fill(read(configs / "README.md"), "methods", methods(rows, "")),
    measures: fill(read(measures), "evaluators", evaluators()),
  }
  for name in sorted({row["family"] for row in rows}):
    path = configs / name / "README.md"
    own = [row for row in rows if name in row["families"]]
    made[path] = fill(read(path), "methods", methods(own, name))
  return made


def main(argv: Sequence[str]) -> int:
  """Writes the pages, or says which are out of date, 1 if some are; or draws the picture of masks.

  Raises:
    BadInput: `--masks` without one file.
  """
  if "--masks" in argv:
    return _picture(argv)
  root, write = pathlib.Path.cwd(), "--write" in argv
  old = {p: text for p, text in pages(root).items() if p.read_text(encoding="utf-8") != text}
  for path, text in old.items():
    if write:
      path.write_text(text, encoding="utf-8")
    print(path.relative_to(root), "written" if write else "is out of date")
  return 0 if write or not old else 1


def _picture(argv: Sequence[str]) -> int:
  """Draws masks of many kinds into the file that follows `--masks`."""
  from maskjax.view.families import families
  from maskjax.view.grid import save_png

  if len(argv) != 2 or argv[0] != "--masks":
    raise BadInput(f"--masks FILE.png is all that is said, got {' '.join(argv)}")
  save_png(argv[1], families())
  return 0


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
