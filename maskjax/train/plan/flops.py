"""Model FLOPs counted from a traced function, a device's peak, and the share of it that is used."""

import functools
import math
import time
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core


def count(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> float:
  """FLOPs of the matrix products and convolutions in one call of `fn`, all devices together.

  Arguments are arrays or `jax.ShapeDtypeStruct`s; nothing is computed. A product of (m, k) by
  (k, n) is 2·m·n·k, a convolution 2·outputs·taps·channels/groups (zeros between dilated inputs
  are not counted, padding is). Scans count by their length, kernels by their grid, `shard_map` by
  its devices, `cond` as its dearest branch, `platform_dependent` as its default. A `while` has no
  length before it runs: its products are counted once, with a warning. Products inside opaque calls
  (FFI) are not seen.

  >>> x, w = jax.ShapeDtypeStruct((8, 16), jnp.float32), jax.ShapeDtypeStruct((16, 4), jnp.float32)
  >>> count(jnp.matmul, x, w)
  1024.0
  """
  return float(_total(jax.make_jaxpr(fn)(*args, **kwargs).jaxpr))


def model_flops(loss: Callable[..., Any], *args: Any, **kwargs: Any) -> float:
  """FLOPs that one training step needs: 3 · forward, whatever is recomputed.

  The backward pass takes two products for each one forward. A forward pass without gradient
  (a frozen teacher) is counted as if it had one.

  Source: Chowdhery et al. 2022 (PaLM), appendix B.
  """
  return 3 * count(loss, *args, **kwargs)


def _total(jaxpr: core.Jaxpr) -> int:
  return sum(_equation(eqn) for eqn in jaxpr.eqns)


def _equation(eqn: core.JaxprEqn) -> int:
  params = eqn.params
  match eqn.primitive.name:
    case "dot_general":
      return _dot(eqn)
    case "conv_general_dilated":
      return _conv(eqn)
    case "cond":
      totals = [_total(branch.jaxpr) for branch in params["branches"]]
      platforms = params.get("branches_platforms") or ()
      # The ways of single platforms compute the same, some of them with padding.
      return totals[platforms.index(None)] if None in platforms else max(totals)
    case "custom_linear_solve":
      return _total(params["jaxprs"].solve.jaxpr)
  inner = sum(_total(jaxpr) for jaxpr in core.jaxprs_in_params(params))
  return inner * _times(eqn) if inner else 0


def _times(eqn: core.JaxprEqn) -> int:
  """How often an equation runs the code inside it."""
  params = eqn.params
  match eqn.primitive.name:
    case "scan":
      return params["length"]
    case "shard_map":
      return math.prod(params["mesh"].shape[axis] for axis in params["newly_manual_axes"])
    case "pallas_call":
      grid = params["grid_mapping"].grid
      if all(isinstance(n, int) for n in grid):
        return math.prod(grid)
      warnings.warn(
        "a kernel of unknown grid is counted once: FLOPs are a lower bound", stacklevel=2
      )
    case "while":
      warnings.warn("a while loop is counted once: FLOPs are a lower bound", stacklevel=2)
  return 1


def _dot(eqn: core.JaxprEqn) -> int:
  (contracted, _), _ = eqn.params["dimension_numbers"]
  left, out = _shape(eqn.invars[0]), _shape(eqn.outvars[0])
  return 2 * math.prod(out) * math.prod(left[axis] for axis in contracted)


def _conv(eqn: core.JaxprEqn) -> int:
  kernel, out = _shape(eqn.invars[1]), _shape(eqn.outvars[0])
  features = kernel[eqn.params["dimension_numbers"].rhs_spec[0]]
  taps = math.prod(kernel) // features  # the kernel's input axis is channels / groups already
  return 2 * math.prod(out) * taps // math.prod(eqn.params["lhs_dilation"])


def _shape(variable: Any) -> tuple[int, ...]:
  return variable.aval.shape


class Peak(NamedTuple):
  """FLOP/s that one device could reach at most, and where the number comes from."""

  flops: float
  source: str

  def __str__(self) -> str:
    """As a line of a log.

    >>> str(Peak(197e12, "TPU v5e: data sheet, dense bf16"))
    '197 TFLOP/s (TPU v5e: data sheet, dense bf16)'
    """
    return f"{self.flops / 1e12:.3g} TFLOP/s ({self.source})"


# Dense bf16 with f32 accumulation, without sparsity, per JAX device; the first name found in the
# device's kind counts. TPU v2, v3 and v7 show two devices a chip.
_BF16 = (
  ("TPU v2", 22.5e12),
  ("TPU v3", 61.5e12),
  ("TPU v4 lite", 137e12),
  ("TPU v4", 275e12),
  ("TPU v5 lite", 197e12),
  ("TPU v5e", 197e12),
  ("TPU v5", 459e12),
  ("TPU v6", 918e12),
  ("TPU7", 1153.5e12),
  ("GB200", 2500e12),
  ("B200", 2250e12),
  ("H200", 989e12),
  ("H100 PCIe", 756e12),
  ("H100 NVL", 835e12),
  ("H100", 989e12),
  ("A100", 312e12),
  ("L40S", 362e12),
  ("L40", 181e12),
  ("L4", 121e12),
  ("A10G", 70e12),
)


def peak(device: jax.Device | None = None, dtype: Any = jnp.bfloat16) -> Peak:
  """The peak of a device for products of `dtype`, from its data sheet, or measured if not listed.

  f32 means JAX's default precision: one bf16 pass on TPUs, TF32 at half the bf16 rate on GPUs.
  CPUs, and devices that the table does not know, are measured once per process by a short
  product (f32 on CPUs); devices that share a host's CPU share its peak.
  """
  device = device or jax.devices()[0]
  kind, dtype = device.device_kind, jnp.dtype(dtype)
  if device.platform == "cpu":
    return _measured(device, jnp.dtype(jnp.float32), len(jax.local_devices(backend="cpu")))
  listed = next((flops for name, flops in _BF16 if name.lower() in kind.lower()), None)
  if listed is None or dtype not in (jnp.bfloat16, jnp.float16, jnp.float32):
    return _measured(device, dtype, 1)
  if dtype == jnp.float32 and device.platform != "tpu":
    return Peak(listed / 2, f"{kind}: TF32, half the data sheet's dense bf16")
  return Peak(listed, f"{kind}: data sheet, dense bf16")


@functools.cache
def _measured(device: jax.Device, dtype: np.dtype, sharing: int) -> Peak:
  """The median of the products that fit into a tenth of a second: a clock may jump in one."""
  n = 1024 if device.platform == "cpu" else 8192
  x = jax.device_put(jnp.ones((n, n), dtype), device)
  product = jax.jit(jnp.matmul)
  product(x, x).block_until_ready()
  times: list[float] = []
  start = time.perf_counter()
  while (began := time.perf_counter()) < start + 0.1 or not times:
    product(x, x).block_until_ready()
    times.append(time.perf_counter() - began)
  shared = f", shared by {sharing} devices" if sharing > 1 else ""
  source = f"{device.device_kind}: measured, {dtype.name} product of {n} by {n}{shared}"
  return Peak(2 * n**3 / float(np.median(times)) / sharing, source)


def mfu(model_flops: float, steps_per_second: float, peak: Peak, devices: int) -> float:
  """Model FLOPs utilisation, the share of the devices' peak that the model's FLOPs take.

  model_flops · steps/s / (peak · devices), with `model_flops` those of one step on all devices.

  Source: Chowdhery et al. 2022 (PaLM), appendix B.

  >>> mfu(197e12, 0.5, Peak(197e12, "TPU v5e"), devices=2)
  0.25
  """
  return model_flops * steps_per_second / (peak.flops * devices)
