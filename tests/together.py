"""Which tests run one after another in one process: those of a file, and those of a config.

What a config builds is traced and compiled once for its own file and its rows of test_configs.py,
and is forgotten before the next config is built, however many there are.
"""

from budget import method
from xdist.scheduler import LoadScopeScheduling

ALL = "tests/test_configs.py"  # has a row for every config


def group(nodeid: str) -> str:
  """The config of a test that reads what a config builds; of any other its file.

  >>> group("tests/test_configs.py::test_smoke[hpm]"), group("tests/configs/test_hpm.py::test_a")
  ('hpm', 'hpm')
  >>> group("tests/weights/test_hold.py::test_a[magnitude]")
  'tests/weights/test_hold.py'
  """
  file = nodeid.partition("::")[0]
  config = method(nodeid)
  return config if config and file.endswith((f"configs/test_{config}.py", ALL)) else file


def order(items: list) -> None:
  """Puts tests of a group one after another, where the first of them was."""
  first: dict[str, int] = {}
  for item in items:
    first.setdefault(group(item.nodeid), len(first))
  items.sort(key=lambda item: first[group(item.nodeid)])


class Groups(LoadScopeScheduling):
  """Gives whole groups to xdist's workers."""

  def _split_scope(self, nodeid: str) -> str:
    return group(nodeid)
