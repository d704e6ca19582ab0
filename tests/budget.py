"""What the suite costs: CPU-seconds of every test, those of the processes that it starts included.

`conftest.py` registers `Budget`, which ends a run with the dearest files, methods and tests.
Nothing fails by its cost; tests/README.md says what a method may take.
"""

import collections
import os
import pathlib
import re
from collections.abc import Iterable, Mapping

CONFIGS = pathlib.Path(__file__).parents[1] / "configs"
METHODS = frozenset(p.stem for p in CONFIGS.rglob("*.py"))
MEAN, MOST = 8.0, 12.0  # CPU-seconds of all tests of a method


def spent() -> float:
  """CPU-seconds of this process and of those of its children that have ended."""
  return sum(os.times()[:4])


def method(nodeid: str) -> str | None:
  """The method whose test this is: it names its file, or is one of its parameters.

  >>> method("tests/test_configs.py::test_smoke[hpm]"), method("tests/task/test_mage.py::test_a")
  ('hpm', 'mage')
  """
  file, _, rest = nodeid.partition("::")
  _, _, parameters = rest.partition("[")
  words = [pathlib.Path(file).stem.removeprefix("test_"), *re.split(r"[-\]]", parameters)]
  return next((word for word in words if word in METHODS), None)


class Budget:
  """A pytest plugin; under xdist the costs travel with the reports of the workers."""

  def __init__(self) -> None:
    self.costs: collections.Counter[str] = collections.Counter()
    self.since = spent()

  def pytest_runtest_logstart(self) -> None:
    self.since = spent()

  def pytest_runtest_makereport(self, item) -> None:
    # Called after each of setup, call and teardown, here where the test runs.
    now = spent()
    cost, self.since = now - self.since, now
    item.user_properties[:] = [("cpu", cost)]

  def pytest_runtest_logreport(self, report) -> None:
    self.costs[report.nodeid] += dict(report.user_properties).get("cpu", 0.0)

  def pytest_terminal_summary(self, terminalreporter) -> None:
    if self.costs and not hasattr(terminalreporter.config, "workerinput"):
      terminalreporter.section("CPU-seconds")
      for line in report(self.costs):
        terminalreporter.write_line(line)


def report(costs: Mapping[str, float], most: int = 10) -> Iterable[str]:
  """The dearest files, methods and tests, with the sum of all."""
  files: collections.Counter[str] = collections.Counter()
  methods: collections.Counter[str] = collections.Counter()
  for nodeid, cost in costs.items():
    files[nodeid.partition("::")[0]] += cost
    if name := method(nodeid):
      methods[name] += cost
  yield f"{sum(costs.values()):.0f} in {len(costs)} tests of {len(files)} files"
  tables = {"by file": files, "by test": collections.Counter(costs)}
  for title, table in tables.items():
    yield title
    yield from (f"{cost:8.1f}  {name}" for name, cost in table.most_common(most))
  if methods:
    mean = sum(methods.values()) / len(methods)
    yield f"by method: mean {mean:.1f} of at most {MEAN:g}, each at most {MOST:g}"
    yield from (f"{cost:8.1f}  {name}" for name, cost in methods.most_common())
