"""InfoNCE against numpy, blind to pairs that are not valid, and the same on 8 devices as on one."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maskjax.recover import info_nce

A, B = jax.random.normal(jax.random.key(0), (2, 8, 5))
VALID = jnp.array([True, True, False, True, True, False, True, True])
CAPTIONS = jnp.array([0, 1, 0, 2, 0, 1, 3, 3])
EQUAL = CAPTIONS[:, None] == CAPTIONS
SCRIPT = """
import os
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
from maskjax.recover import info_nce

mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
a, b = jax.random.normal(jax.random.key(0), (2, 32, 5))
valid = jnp.arange(32) % 5 != 0
positives = jax.random.uniform(jax.random.key(1), (32, 32)) < 0.1  # not symmetric
inputs = (a, b, positives, valid, jnp.float32(0.2))

def one(a, b, positives, valid, t):
  term = info_nce(a, b, temperature=t, positives=positives, valid=valid)
  return term.sum / term.count

def share(a, b, positives, valid, t):
  term = info_nce(a, b, temperature=t, positives=positives, valid=valid, axis_name="data")
  term = jax.lax.psum(term, "data")
  return term.sum / term.count

rows = P("data")
mapped = jax.shard_map(share, mesh=mesh, in_specs=(rows, rows, rows, rows, P()), out_specs=P())

def inside(*parts):  # the gradient taken on each device
  return jax.grad(share, (0, 1))(*parts)

expected = jax.jit(jax.value_and_grad(one, (0, 1, 4)))(*inputs)
placed = [jax.device_put(x, NamedSharding(mesh, rows)) for x in inputs[:4]] + [inputs[4]]
check = lambda got, want: jax.tree.map(
  lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6), got, want)
check(jax.jit(jax.value_and_grad(one, (0, 1, 4)))(*placed), expected)
check(jax.jit(jax.value_and_grad(mapped, (0, 1, 4)))(*placed), expected)
local = jax.shard_map(inside, mesh=mesh, in_specs=(rows,) * 4 + (P(),), out_specs=(rows, rows))
check(jax.jit(local)(*placed), expected[1][:2])
parts = [x.reshape(8, 4, *x.shape[1:]) for x in inputs[:4]]
pmapped = jax.pmap(share, "data", in_axes=(0, 0, 0, 0, None))(*parts, inputs[4])
check(pmapped, jnp.full(8, expected[0]))
print(jax.device_count())
"""


def by_hand(a, b, temperature, positives, valid):
  """Float64, pair by pair."""
  a, b = (np.asarray(x, np.float64) for x in (a, b))
  a, b = (x / np.linalg.norm(x, axis=-1, keepdims=True) for x in (a, b))
  logits = a @ b.T / temperature
  total = 0.0
  seen = np.flatnonzero(valid)
  for table, wanted in ((logits, positives), (logits.T, np.asarray(positives).T)):
    for i in seen:
      own = [p for p in seen if p == i or wanted[i, p]]
      total -= np.mean([table[i, p] - np.log(np.exp(table[i, seen]).sum()) for p in own]) / 2
  return total


@pytest.mark.parametrize("temperature", [0.07, 1.0])
@pytest.mark.parametrize("valid", [None, VALID])
@pytest.mark.parametrize(
  "positives", [None, EQUAL, jnp.triu(EQUAL, 1)], ids=["own", "equal", "one-way"]
)
def test_equals_numpy(temperature, valid, positives):
  got = info_nce(A, B, temperature=temperature, valid=valid, positives=positives)
  seen = np.ones(8, bool) if valid is None else np.asarray(valid)
  wanted = np.zeros((8, 8), bool) if positives is None else np.asarray(positives)
  np.testing.assert_allclose(got.sum, by_hand(A, B, temperature, wanted, seen), rtol=1e-5)
  assert got.count == seen.sum()


def test_knows_nothing_of_lengths():
  got, scaled = (info_nce(x, B, temperature=0.1).sum for x in (A, 1e4 * A))
  np.testing.assert_allclose(got, scaled, rtol=1e-5)


@pytest.mark.parametrize("leak", [np.nan, np.inf, 3.0])
@pytest.mark.parametrize("valid", [VALID, jnp.zeros(8, bool)], ids=["some", "none"])
def test_pairs_that_are_not_valid_reach_neither_value_nor_gradient(leak, valid):
  term = lambda a, b: info_nce(a, b, valid=valid, positives=EQUAL).sum
  both = jax.jit(jax.value_and_grad(term, (0, 1)))
  clean = both(A, B)
  dirty = both(*(jnp.where(valid[:, None], x, leak) for x in (A, B)))
  assert all(np.isfinite(x).all() for x in jax.tree.leaves(dirty))
  jax.tree.map(np.testing.assert_array_equal, clean, dirty)
  np.testing.assert_array_equal(clean[1][0][~valid], 0)


def test_vectors_of_zeros_have_a_value_and_a_gradient():
  value, slope = jax.value_and_grad(lambda a: info_nce(a, B).sum)(jnp.zeros_like(A))
  np.testing.assert_allclose(value, 8 * np.log(8), rtol=1e-3)
  assert np.isfinite(slope).all()


def test_half_precision_is_computed_in_float32():
  half = [x.astype(jnp.bfloat16) for x in (A, B)]
  got = info_nce(*half, temperature=0.05)
  assert got.sum.dtype == jnp.float32
  expected = info_nce(*(x.astype(jnp.float32) for x in half), temperature=0.05)
  np.testing.assert_array_equal(got.sum, expected.sum)


def test_a_mapped_axis_equals_one_batch():
  split = lambda x: x.reshape(4, 2, *x.shape[1:])
  term = lambda a, b, p, v: info_nce(a, b, positives=p, valid=v, axis_name="part")
  parts = jax.vmap(term, axis_name="part")(*map(split, (A, B, EQUAL, VALID)))
  whole = info_nce(A, B, positives=EQUAL, valid=VALID)
  np.testing.assert_allclose(parts.sum.sum(), whole.sum, rtol=1e-6)
  assert parts.count.sum() == whole.count


def test_eight_devices_equal_one_in_value_and_gradient():
  done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=300)
  assert done.returncode == 0, done.stderr[-3000:]
  assert done.stdout == "8\n"
