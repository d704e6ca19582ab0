"""What every op of the grammar keeps, one row each in conformance.py."""

import functools
import importlib
import pathlib
import runpy
import subprocess
import sys
import tempfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest

HERE = pathlib.Path(__file__).parent
TABLE = runpy.run_path(str(HERE / "conformance.py"))
ROWS, BATCH, drawn = TABLE["ROWS"], TABLE["BATCH"], TABLE["drawn"]
WORDS = ("score", "select", "hide", "recover", "schedule")
every_row = pytest.mark.parametrize("name", ROWS)
# Eager, every primitive of every shape is a program of its own. Ops do not ask whether their arrays
# are traced, so a sample has to agree: one row in eight, and those that count in 64 bits for a
# moment, which are the ones that depend on how they are run.
SAMPLE = sorted({*list(ROWS)[::8], "select.top/ratios", "select.top/share"})


def exported():
  """The functions that the words export; types such as Seen are none."""
  for word in WORDS:
    module = importlib.import_module(f"maskjax.{word}")
    for name in module.__all__:
      if not isinstance(getattr(module, name), type):
        yield f"{word}.{name}"


def agree(got, expected):
  assert jax.tree.structure(got) == jax.tree.structure(expected)
  for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
    assert a.dtype == b.dtype
    # Sums of dozens of terms in other orders; a fault gives what is another example's.
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def fold(x):
  return x.reshape(2, BATCH // 2, *x.shape[1:])


@functools.cache
def outcome(name):
  """What a row gives in each way of calling it, and how often a second call traced it again.

  The ways are a batch in two axes, `vmap`, example after example, and, where the batch is summed, a
  batch in one axis. They are one program: that costs less than one each, and less than a program of
  many rows; where a row fails it is named. What is traced for an example is mapped and looped over.
  """
  row, traces = ROWS[name], []

  @jax.jit
  def op(*arrays):
    traces.append(None)
    return row.op(*arrays)

  @jax.jit
  def in_all_ways(*inputs):
    ways = {
      "folded": op(*map(fold, inputs)),
      "mapped": jax.vmap(op)(*inputs),
      "looped": jax.lax.map(lambda example: op(*example), inputs),
    }
    return ways | ({"plain": op(*inputs)} if row.sums else {})

  results = jax.device_get(in_all_ways(*drawn(name)))
  assert traces
  traces.clear()
  in_all_ways(*drawn(name, seed=1))
  return results, len(traces)


def flat(name):
  """What a row gives of a batch in one axis, put together from one in two where that is all."""
  results, _ = outcome(name)
  whole = lambda x: x.reshape(BATCH, *x.shape[2:])
  return results["plain"] if ROWS[name].sums else jax.tree.map(whole, results["folded"])


def test_every_exported_op_has_a_row():
  assert {name.partition("/")[0] for name in ROWS} == set(exported())


@every_row
def test_a_row_compiles_once(name):
  _, again = outcome(name)
  assert again == 0


@pytest.mark.parametrize("name", SAMPLE)
def test_jit_equals_eager(name):
  agree(flat(name), ROWS[name].op(*drawn(name)))


@every_row
def test_vmap_equals_a_loop(name):
  results, _ = outcome(name)
  agree(results["mapped"], results["looped"])


@every_row
def test_leading_axes_are_any_number(name):
  """None and two are alike here; that one is like two, test_sharded_equals_one_device sees."""
  results, _ = outcome(name)
  agree(flat(name), results["folded" if ROWS[name].sums else "looped"])


COARSE = {"bfloat16": jnp.bfloat16, "float16": jnp.float16}
RANKED = [name for name in ROWS if name.startswith("select.t")]


@functools.cache
def hidden_at_every_precision():
  """Of the rows that rank scores: rounded scores and their masks, of one program for all."""

  def masks(name, scores, *rest):
    rounded = {kind: scores.astype(dtype) for kind, dtype in COARSE.items()}
    return {k: (x.astype(jnp.float32), ROWS[name].op(x, *rest)) for k, x in rounded.items()}

  given = {name: drawn(name) for name in RANKED}
  of_all = lambda given: {name: masks(name, *given[name]) for name in given}
  return jax.device_get(jax.jit(of_all)(given))


@pytest.mark.parametrize("name", RANKED)
@pytest.mark.parametrize("dtype", COARSE)
def test_masks_do_not_depend_on_the_precision_of_scores(name, dtype):
  scores, hidden = hidden_at_every_precision()[name][dtype]
  np.testing.assert_array_equal(scores, drawn(name)[0])
  agree(hidden, flat(name))


@functools.cache
def elsewhere():
  """What check_sharded.py says, in a process with eight devices and no hook that checks types.

  It is told what one device gives of every row.
  """
  with tempfile.TemporaryDirectory() as folder:
    file = pathlib.Path(folder, "one_device.npz")
    leaves = {name: enumerate(jax.tree.leaves(flat(name))) for name in ROWS}
    np.savez(file, **{f"{name} {i}": x for name, found in leaves.items() for i, x in found})
    command = [sys.executable, str(HERE / "check_sharded.py"), str(file)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=HERE.parent, timeout=900)
  return done.stdout.splitlines(), done.stderr[-3000:]


def test_sharded_equals_one_device():
  said, error = elsewhere()
  assert f"{len(ROWS)} rows on 8 devices" in said, error


def test_masks_that_are_not_bool_are_refused():
  said, error = elsewhere()
  assert "all refuse" in said, error
