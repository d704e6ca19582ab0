"""Recipes: files that run maskjax on Slurm, Kubernetes, Ray and others, to be copied and changed.

Each starts the same command on every node, gives it time to save when it is asked to leave, and
starts it again when it ends with status 75, but not after 2 (bad input) or 1 (a bug).
"""

import pathlib

from maskjax.errors import unknown

FOLDER = pathlib.Path(__file__).parent
# A module may not be called as the package that it imports: on_ray.py.
FILES = {
  path.stem.removeprefix("on_").lower(): path
  for path in FOLDER.iterdir()
  if path.is_file() and not path.name.startswith("_")
}


def recipe(name: str) -> str:
  """The text of a recipe, or the list of all where none is named.

  Raises:
    BadInput: no such recipe; the nearest is named.

  >>> recipe("slurm").splitlines()[0]
  '#!/bin/bash'
  """
  if name:
    if name not in FILES:
      raise unknown("recipe", name, FILES)
    return FILES[name].read_text().rstrip("\n")
  return "\n".join(
    f"--recipe={name:<11} {about(path.read_text())}" for name, path in sorted(FILES.items())
  )


def about(text: str) -> str:
  """What a recipe says of itself: the first words after `#` or quotes that are no interpreter."""
  line = next(x for x in text.splitlines() if x.startswith(("# ", '"""')))
  return line.strip('#" ')
