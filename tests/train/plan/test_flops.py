"""FLOPs against hand counts; peaks by name; MFU."""

import warnings
from unittest import mock

import jax
import jax.numpy as jnp
import pytest
from jax.experimental import pallas as pl
from jax.sharding import AxisType, Mesh
from jax.sharding import PartitionSpec as P

from maskjax.train.plan.flops import Peak, count, mfu, model_flops, peak


def arr(*shape, dtype=jnp.float32):
  return jax.ShapeDtypeStruct(shape, dtype)


def test_mlp():
  mlp = lambda x, w, v: jnp.tanh(x @ w) @ v
  args = arr(32, 10), arr(10, 40), arr(40, 3)
  assert count(mlp, *args) == 2 * 32 * (10 * 40 + 40 * 3)
  assert model_flops(mlp, *args) == 3 * count(mlp, *args)


def test_model_flops_are_those_of_the_gradient():
  loss = lambda w, x: (x @ w[0] @ w[1]).sum()
  w, x = (arr(16, 16), arr(16, 16)), arr(16, 16)
  both = lambda w, x: jax.grad(loss, (0, 1))(w, x)
  assert count(both, w, x) == model_flops(loss, w, x)


def test_attention():
  b, h, n, d = 2, 3, 17, 8

  def attention(q, k, v):
    weights = jax.nn.softmax(jnp.einsum("bnhd,bmhd->bhnm", q, k))
    return jnp.einsum("bhnm,bmhd->bnhd", weights, v)

  qkv = [arr(b, n, h, d)] * 3
  assert count(attention, *qkv) == 2 * (2 * b * h * n * n * d)
  assert count(jax.nn.dot_product_attention, *qkv) == 2 * (2 * b * h * n * n * d)


@pytest.mark.parametrize("groups", [1, 2, 6])
@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 1), (3, 1), (1, 2)])
def test_conv(groups, stride, dilation):
  conv = lambda x, w: jax.lax.conv_general_dilated(
    x,
    w,
    (stride, stride),
    "VALID",
    rhs_dilation=(dilation, dilation),
    dimension_numbers=("NHWC", "HWIO", "NHWC"),
    feature_group_count=groups,
  )
  reach = 2 * dilation  # of a kernel 3 wide
  high, wide = (16 - reach - 1) // stride + 1, (13 - reach - 1) // stride + 1
  expected = 2 * (4 * high * wide * 12) * 9 * 6 // groups
  assert count(conv, arr(4, 16, 13, 6), arr(3, 3, 6 // groups, 12)) == expected


def test_conv_in_any_layout():
  layout = ("NCHW", "OIHW", "NCHW")
  conv = lambda x, w: jax.lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=layout)
  assert count(conv, arr(2, 3, 8, 9), arr(5, 3, 3, 7)) == 2 * (2 * 5 * 8 * 9) * 3 * 7 * 3


def test_transposed_conv_counts_no_inserted_zeros():
  up = lambda x, w: jax.lax.conv_transpose(x, w, (2, 2), "VALID")
  assert count(up, arr(1, 8, 8, 3), arr(2, 2, 3, 5)) == 2 * 64 * 4 * 3 * 5


def body(x, w):
  return jnp.tanh(x @ w), None


def test_scan_equals_unrolled():
  def unrolled(x, ws):
    for i in range(5):
      x, _ = body(x, ws[i])
    return x

  args = arr(4, 8), arr(5, 8, 8)
  assert count(lambda x, ws: jax.lax.scan(body, x, ws)[0], *args) == count(unrolled, *args)
  fori = lambda x, ws: jax.lax.fori_loop(0, 5, lambda i, x: body(x, ws[i])[0], x)
  assert count(fori, *args) == count(unrolled, *args)


@jax.custom_vjp
def custom(x):
  return x @ x


custom.defvjp(lambda x: (x @ x, x), lambda x, g: (g @ x.T + x.T @ g,))
jvp = jax.custom_jvp(lambda x: x @ x)
jvp.defjvp(lambda x, t: (x[0] @ x[0], t[0] @ x[0] + x[0] @ t[0]))


@pytest.mark.parametrize("wrap", [jax.jit, jax.checkpoint, lambda f: jax.jit(jax.jit(f))])
@pytest.mark.parametrize("inner", [custom, jvp, lambda x: x @ x])
def test_wrappers_are_seen_through(wrap, inner):
  assert count(wrap(inner), arr(6, 6)) == 2 * 6**3


def test_vmap_multiplies():
  assert count(jax.vmap(jnp.matmul), arr(7, 4, 5), arr(7, 5, 3)) == 7 * 2 * 4 * 5 * 3


def test_cond_is_its_dearest_branch():
  choose = lambda i, x: jax.lax.switch(i, [lambda x: x, lambda x: x @ x, lambda x: x @ x @ x], x)
  assert count(choose, arr(dtype=jnp.int32), arr(4, 4)) == 2 * 2 * 4**3


def test_what_depends_on_the_platform_is_its_default():
  cubed = lambda x: jax.lax.platform_dependent(x, default=lambda x: x @ x, tpu=lambda x: x @ x @ x)
  assert count(cubed, arr(4, 4)) == 2 * 4**3


def test_while_with_products_warns_and_others_do_not():
  def loop(step):
    return lambda x: jax.lax.while_loop(lambda x: x.sum() > 0, step, x)

  with pytest.warns(UserWarning, match="while loop is counted once"):
    assert count(loop(lambda x: x @ x), arr(4, 4)) == 2 * 4**3
  with warnings.catch_warnings():
    warnings.simplefilter("error")
    assert count(loop(lambda x: x - 1), arr(4, 4)) == 0


def test_shard_map_counts_every_device():
  mesh = jax.sharding.AbstractMesh((4, 2), ("data", "model"), axis_types=(AxisType.Auto,) * 2)
  args = arr(8, 16), arr(16, 6)
  split = jax.shard_map(
    jnp.matmul, mesh=mesh, in_specs=(P("data"), P(None, "model")), out_specs=P("data", "model")
  )
  assert count(split, *args) == count(jnp.matmul, *args)
  one = Mesh(jax.devices()[:1], "data", axis_types=(AxisType.Auto,))
  alone = jax.shard_map(jnp.matmul, mesh=one, in_specs=(P("data"), P()), out_specs=P("data"))
  assert count(jax.jit(alone), *args) == count(jnp.matmul, *args)


def test_a_kernel_counts_by_its_grid():
  def kernel(x, y, out):
    out[...] = x[...] @ y[...]

  tiled = pl.pallas_call(
    kernel,
    out_shape=arr(32, 16),
    grid=(4, 2),
    in_specs=[
      pl.BlockSpec((8, 24), lambda i, j: (i, 0)),
      pl.BlockSpec((24, 8), lambda i, j: (0, j)),
    ],
    out_specs=pl.BlockSpec((8, 8), lambda i, j: (i, j)),
  )
  assert count(tiled, arr(32, 24), arr(24, 16)) == 2 * 32 * 24 * 16


def test_solving_counts_the_solver_only():
  def solve(a, b):
    inverse = lambda _, b: a @ (a @ b)
    return jax.lax.custom_linear_solve(lambda x: a @ x, b, inverse, inverse)

  assert count(solve, arr(4, 4), arr(4)) == 2 * (2 * 4 * 4)


def test_keys_and_keywords_are_taken():
  fn = lambda key, *, x: jax.random.normal(key, x.shape) @ x
  key = jax.eval_shape(lambda: jax.random.key(0))
  assert count(fn, key, x=arr(4, 4)) == 2 * 4**3


@pytest.mark.parametrize(
  ("kind", "platform", "dtype", "flops"),
  [
    ("TPU v4", "tpu", jnp.bfloat16, 275e12),
    ("TPU v5 lite", "tpu", jnp.bfloat16, 197e12),
    ("TPU v5e", "tpu", jnp.float32, 197e12),
    ("TPU v5", "tpu", jnp.bfloat16, 459e12),
    ("TPU v5p", "tpu", jnp.bfloat16, 459e12),
    ("TPU v6 lite", "tpu", jnp.bfloat16, 918e12),
    ("NVIDIA A100-SXM4-40GB", "gpu", jnp.bfloat16, 312e12),
    ("NVIDIA H100 80GB HBM3", "gpu", jnp.bfloat16, 989e12),
    ("NVIDIA H100 PCIe", "gpu", jnp.bfloat16, 756e12),
    ("NVIDIA H100 80GB HBM3", "gpu", jnp.float32, 494.5e12),
    ("NVIDIA H200", "gpu", jnp.bfloat16, 989e12),
    ("NVIDIA GH200 480GB", "gpu", jnp.bfloat16, 989e12),
    ("NVIDIA GB200", "gpu", jnp.bfloat16, 2500e12),
    ("NVIDIA L40S", "gpu", jnp.bfloat16, 362e12),
    ("NVIDIA L4", "gpu", jnp.bfloat16, 121e12),
  ],
)
def test_listed_peaks(kind, platform, dtype, flops):
  found = peak(mock.NonCallableMock(spec=jax.Device, device_kind=kind, platform=platform), dtype)
  assert found.flops == flops
  assert kind in found.source


def test_cpu_peak_is_measured_once_and_says_so():
  found = peak()
  assert found.flops > 0
  assert "measured, float32" in found.source
  assert peak(jax.devices()[0], jnp.bfloat16) is found


def test_mfu():
  assert mfu(1e12, 3.0, Peak(4e12, "test"), devices=2) == 3 / 8
