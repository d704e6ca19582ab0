"""What every op of the grammar keeps, one row each in conformance.py."""

import importlib
import pathlib
import runpy
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

HERE = pathlib.Path(__file__).parent
TABLE = runpy.run_path(str(HERE / "conformance.py"))
ROWS, BATCH = TABLE["ROWS"], TABLE["BATCH"]
WORDS = ("score", "select", "hide", "recover", "schedule")
every_row = pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)


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
    np.testing.assert_allclose(a, b, rtol=2e-6, atol=1e-6)


def in_a_process(script):
  command = [sys.executable, "-c", script]
  done = subprocess.run(command, capture_output=True, text=True, cwd=HERE.parent, timeout=900)
  assert done.returncode == 0, done.stderr[-3000:]
  return done.stdout


def test_every_exported_op_has_a_row():
  assert {name.partition("/")[0] for name in ROWS} == set(exported())


@every_row
def test_jit_equals_eager_and_compiles_once(row):
  traces = []

  def op(*inputs):
    traces.append(None)
    return row.op(*inputs)

  compiled = jax.jit(op)
  inputs = row.inputs(jax.random.key(0))
  agree(compiled(*inputs), row.op(*inputs))
  traces.clear()
  compiled(*row.inputs(jax.random.key(1)))
  assert traces == []


@every_row
def test_vmap_equals_a_loop(row):
  inputs = row.inputs(jax.random.key(0))
  single = jax.jit(row.op)
  each = [single(*(x[i] for x in inputs)) for i in range(BATCH)]
  agree(jax.jit(jax.vmap(row.op))(*inputs), jax.tree.map(lambda *x: jnp.stack(x), *each))


@every_row
def test_leading_axes_are_any_number(row):
  inputs = row.inputs(jax.random.key(0))
  fold = lambda x: x.reshape(2, BATCH // 2, *x.shape[1:])
  folded = jax.jit(row.op)(*map(fold, inputs))
  plain = jax.jit(row.op)(*inputs)
  agree(folded, plain if row.sums else jax.tree.map(fold, plain))


@pytest.mark.parametrize("name", [name for name in ROWS if name.startswith("select.t")])
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_masks_do_not_depend_on_the_precision_of_scores(name, dtype):
  scores, *rest = ROWS[name].inputs(jax.random.key(0))
  np.testing.assert_array_equal(scores, scores.astype(dtype).astype(jnp.float32))
  agree(ROWS[name].op(scores.astype(dtype), *rest), ROWS[name].op(scores, *rest))


def test_sharded_equals_one_device():
  script = f"import runpy; runpy.run_path({str(HERE / 'check_sharded.py')!r}, run_name='__main__')"
  assert in_a_process(script) == f"{len(ROWS)} rows on 8 devices\n"


REFUSES = """
import jax.numpy as jnp
from maskjax import hide, recover, reduce, select
x, ints = jnp.ones((3, 2)), jnp.array([1, 0, 1])
takers = {
  "top": lambda: select.top(x[:, 0], count=1, allowed=ints),
  "threshold": lambda: select.threshold(x[:, 0], above=0.5, allowed=ints),
  "top_up": lambda: select.top_up(x[:, 0], count=1, allowed=ints),
  "per_axis": lambda: select.per_axis(x[:, 0], grid=(3,), counts=(1,), allowed=ints),
  "drop": lambda: hide.drop(x, ints, keep=1),
  "restore": lambda: hide.restore(x, ints, 0.0),
  "fill": lambda: hide.fill(x, ints, 0.0),
  "mix": lambda: hide.mix(x, ints, x),
  "noise": lambda: hide.noise(x, ints, None, alpha=0.5),
  "smooth_l1": lambda: recover.smooth_l1(x, x, ints),
  "average": lambda: hide.average(x, ints),
  "blur": lambda: hide.blur(x, ints, grid=(3,), sigma=1.0),
  "carry": lambda: hide.carry(x, ints),
  "neighbours": lambda: hide.neighbours(x, ints, grid=(3,)),
  "squared_error": lambda: recover.squared_error(x, x, ints),
  "absolute_error": lambda: recover.absolute_error(x, x, ints),
  "shares": lambda: select.shares(x[:, 0], segment=ints, segments=2, allowed=ints),
  "harden": lambda: select.harden(x[:, 0], allowed=ints),
  "straight_through": lambda: select.straight_through(x[:, 0], ints),
  "softmax over patterns": lambda: select.softmax(x[0], patterns=jnp.eye(2, dtype=jnp.int32)),
  "token": lambda: hide.token(ints, ints, 0),
  "corrupt": lambda: hide.corrupt(ints, ints, None, vocabulary=2, mask_id=0),
  "info_nce": lambda: recover.info_nce(x, x, valid=ints),
  "negative_si_snr": lambda: recover.negative_si_snr(x, x, ints),
  "serving": lambda: recover.serving(x, x, ints),
  "policy_gradient": lambda: recover.policy_gradient(x[:, 0], x[:, 0], ints),
  "pairwise_ranking": lambda: recover.pairwise_ranking(x[:, 0], x[:, 0], ints),
  "count": lambda: reduce.count(ints),
  **{name: lambda fn=getattr(reduce, name): fn(x[:, 0], ints)
     for name in ("sum", "mean", "var", "softmax", "term")},
}
for name, take in takers.items():
  try:
    take()
  except TypeError as error:
    assert "is a mask of bool, got an array of int32" in str(error), (name, error)
  else:
    raise SystemExit(f"{name} takes a mask of integers")
print("all refuse")
"""


def test_masks_that_are_not_bool_are_refused():
  # In a process of its own, where no test hook checks types first.
  assert in_a_process(REFUSES) == "all refuse\n"
