"""Every contender of ours runs at its smallest size, and what is compared does the same."""

import json

import jax
import numpy as np
import pytest

from maskjax.bench import __main__ as command
from maskjax.bench import harness, mae_step, steps, worker

# `start` launches processes: test_start.py. What forgets what was compiled comes last.
LAST = "compile", "compile_plain"
ROWS = [name for name in command.ROWS if name not in ("start", *LAST)] + [*LAST]
# Growth begins at the step of the row mae_step, which is there already.
LIKE = ("patch", "width", "heads", "decoder_width", "decoder_heads")
SMALLER = {
  "growth": {name: mae_step.SIZES["smoke"][name] for name in LIKE},
  "compile": {"depth": 1},
}


def zeros(state):
  """A state that nothing has to be compiled for."""
  is_key = lambda leaf: jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
  fill = lambda leaf: jax.random.key(0) if is_key(leaf) else np.zeros(leaf.shape, leaf.dtype)
  return jax.device_put(jax.tree.map(fill, state), jax.tree.map(lambda leaf: leaf.sharding, state))


@pytest.fixture(scope="module", autouse=True)
def built_once():
  """Rows with steps of equal sizes share them; all but the first begin with zeros.

  Of those that only growth asks for all is made but the program: that they trace is seen.
  """
  parts, built = steps.parts, {}

  def once(size, **changes):
    of_decoder = [f"decoder_{name}" for name in steps.DECODER]
    names = ("batch", "image", "patch", "dtype", *steps.ENCODER, *of_decoder)
    own = {name: size[name] for name in names if name in size}
    key = json.dumps([own, changes], sort_keys=True)
    if key not in built:
      made = parts(size, **changes)
      built[key] = made._replace(begin=lambda _: zeros(made.state)) if built else made
      if "axis" in size:
        trace = lambda state, batch: (state, jax.eval_shape(made.step, state, batch)[1])
        built[key] = built[key]._replace(step=trace)
    return built[key]

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(steps, "parts", once)
    yield


@pytest.fixture(autouse=True)
def same_config():
  """Gives back what the row `compile` changes for its own process."""
  before = jax.config.jax_enable_compilation_cache
  yield
  jax.config.update("jax_enable_compilation_cache", before)


@pytest.mark.parametrize("name", ROWS)
def test_a_row_runs(name, tmp_path):
  row = command.load(name)
  size = row.prepare({**row.sizes["smoke"], **SMALLER.get(name, {})}, tmp_path)
  found = {one.name: harness.Result(absent="a peer") for one in row.contenders}
  for one in row.contenders:
    if one.peer:
      continue
    work = worker.resolve(one.target)({**size, **one.own})
    if "absent" in work:
      found[one.name] = harness.Result(absent=work["absent"])
      continue
    if name == "compile" and found["scanned"].seconds:
      # The other one is lowered too; that one more program compiles tells nothing.
      found[one.name] = found["scanned"]._replace(facts=work["facts"])
      continue
    seconds = worker.measure({**work, "times": 1})
    assert np.all(np.array(seconds) > 0)
    found[one.name] = harness.Result(seconds=[seconds], facts=work.get("facts", {}))
  lines, notes = row.report(size, found)
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
