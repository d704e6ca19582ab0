"""Which config file a name means: an id, which is found from any folder, or a path."""

import pathlib

from maskjax.errors import nearest, unknown

_PACKAGE = pathlib.Path(__file__).parent
# Inside the package where it is installed, beside it in the source tree.
CONFIGS = next(
  (path for path in (_PACKAGE / "configs", _PACKAGE.parent / "configs") if path.is_dir()),
  _PACKAGE / "configs",
)


def ids(folder: pathlib.Path = CONFIGS) -> dict[str, pathlib.Path]:
  """The config files below a folder by their ids, the names of the files.

  >>> ids()["mae"].relative_to(CONFIGS).as_posix()
  'image_mim/mae.py'
  """
  return {p.stem: p for p in sorted(folder.rglob("*.py")) if not p.name.startswith("_")}


def locate(place: str) -> tuple[pathlib.Path, str | None]:
  """The file of `ID[:arg]` or `file.py[:arg]`, and what stands after the colon, None without one.

  Raises:
    BadInput: no config has this id; the nearest is named.

  >>> path, arg = locate("mae:laptop,seed=1")
  >>> path.name, arg
  ('mae.py', 'laptop,seed=1')
  >>> locate("mine/a.py")
  (PosixPath('mine/a.py'), None)
  """
  head, colon, arg = place.partition(":")
  if ".py:" in place:  # a folder's name may have a colon
    head, colon, arg = place.partition(".py:")
    head += ".py"
  path, rest, known = pathlib.Path(head).expanduser(), arg if colon else None, ids()
  if head in known:
    return known[head], rest
  if path.suffix or len(path.parts) != 1 or path.is_file():
    return path, rest
  raise unknown("config", head, known)


def nearest_file(path: pathlib.Path) -> str:
  """Names what a path that is no file may have meant: one beside it, or the id of a config."""
  beside = nearest(path.name, [p.name for p in path.parent.glob("*.py")])
  return beside or nearest(path.stem, ids(), cutoff=1.0)
