"""The TPU's attention kernel, interpreted on the CPU, against the plain layer."""

import pathlib
import runpy
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.pallas import tpu as pltpu

from maskjax.model import attention as plain
from maskjax.model import flash

within_rounding = runpy.run_path(str(pathlib.Path(__file__).parents[1] / "closeness.py"))["close"]


def draw(batch, heads, n, m, d, *, hidden=True):
  rng = np.random.default_rng(n + m)
  q, k, v = (rng.normal(size=(batch, heads, x, d)).astype(np.float32) for x in (n, m, m))
  seen = rng.random((batch, 1, 1, m)) < (0.6 if hidden else 1)
  if hidden:
    seen[0] = False
  return (
    q,
    np.where(np.swapaxes(seen, -1, -2), k, 0),
    np.where(np.swapaxes(seen, -1, -2), v, 0),
    seen,
  )


def with_gradients(function, q, k, v, seen):
  """The output, and gradients of a loss; what becomes of unseen keys and values is cut off."""

  def loss(q, k, v):
    k, v = (jnp.where(jnp.swapaxes(seen, -1, -2), x, 0) for x in (k, v))
    out = function(q, k, v, jnp.asarray(seen))
    return jnp.sum(jnp.sin(out)), out

  return jax.jit(jax.grad(loss, argnums=(0, 1, 2), has_aux=True))(q, k, v)


def close(got, expected):
  # Logits, sums of weights and mixed values over up to 300 keys, and backward as many again.
  within_rounding(got, expected, depth=6, terms=300, axis=None)


@pytest.mark.parametrize(("n", "m", "d"), [(150, 150, 16), (20, 300, 8)])
def test_equals_the_plain_layer_backward_too(n, m, d):
  arrays = draw(2, 2, n, m, d)
  with pltpu.force_tpu_interpret_mode():
    got = with_gradients(flash.attention, *arrays)
  close(got, with_gradients(plain._mixed, *arrays))
  assert not np.any(got[1][0])  # The first example sees no key.


def test_every_device_meets_its_own_examples_and_heads():
  path = str(pathlib.Path(__file__).with_name("check_flash.py"))
  script = f"import runpy; runpy.run_path({path!r}, run_name='__main__')"
  done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
  assert done.returncode == 0, done.stderr
  assert done.stdout == "4 of 4 on 8 devices\n"


@pytest.mark.parametrize(
  ("n", "edge", "whole"), [(1024, 512, 1024), (1568, 128, 1664), (1900, 512, 2048), (1, 128, 128)]
)
def test_padding_adds_an_eighth_at_most_or_fills_the_smallest_block(n, edge, whole):
  assert flash._edge(n) == edge
  assert flash._padded(jnp.ones((n, 2)), edge, -2).shape == (whole, 2)


def test_it_is_for_large_attention_on_tpus_alone(monkeypatch):
  long = jax.ShapeDtypeStruct((1, 2, flash.LEAST, 8), jnp.float32)
  short = jax.ShapeDtypeStruct((1, 2, 8, 8), jnp.float32)
  assert not flash.able(long, long, long)
  described = jax.sharding.get_abstract_mesh
  tpu = type("Device", (), {"platform": "tpu"})
  mesh = type("Mesh", (), {"empty": False, "abstract_device": tpu})
  monkeypatch.setattr(jax.sharding, "get_abstract_mesh", lambda: mesh)
  assert flash.able(long, long, long)
  assert not flash.able(short, long, long)
  assert not flash.able(long, short, short)
  wide = jax.ShapeDtypeStruct((1, 2, flash.LEAST, flash.LEAST), jnp.float32)
  assert not flash.able(long, long, wide)
  monkeypatch.setattr(jax.sharding, "get_abstract_mesh", described)
  monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
  assert flash.able(long, long, long) == (jax.device_count() == 1)
