"""Every contender of ours runs at its smallest size, and what is compared does the same."""

import jax
import numpy as np
import pytest

from maskjax.bench import __main__ as command
from maskjax.bench import harness, worker

# `start` launches processes: test_start.py.
ROWS = [name for name in command.ROWS if name != "start"]


@pytest.fixture(autouse=True)
def same_config():
  """Gives back what the row `compile` changes for its own process."""
  before = jax.config.jax_enable_compilation_cache
  yield
  jax.config.update("jax_enable_compilation_cache", before)


@pytest.mark.parametrize("name", ROWS)
def test_a_row_runs(name, tmp_path):
  row = command.load(name)
  size = row.prepare(row.sizes["smoke"], tmp_path)
  found = {one.name: harness.Result(absent="a peer") for one in row.contenders}
  for one in row.contenders:
    if one.peer:
      continue
    work = worker.resolve(one.target)({**size, **one.own})
    if "absent" in work:
      found[one.name] = harness.Result(absent=work["absent"])
      continue
    seconds = worker.measure({**work, "times": 1})
    assert np.all(np.array(seconds) > 0)
    found[one.name] = harness.Result(seconds=[seconds], facts=work.get("facts", {}))
  lines, notes = row.figures(size, found)
  assert lines
  assert notes
  assert all(line.ours is None or np.isfinite(line.ours) for line in lines)
  assert row.name == name
  if row.points:
    assert all(row.points(found).values())


@pytest.mark.parametrize("name", command.ROWS)
def test_sizes_and_targets(name):
  row = command.load(name)
  assert row.sizes.keys() == {"full", "smoke"}
  assert len({one.name for one in row.contenders}) == len(row.contenders)
  for one in row.contenders:
    target = str(harness.HERE / one.target) if one.peer else one.target
    assert callable(worker.resolve(target))
