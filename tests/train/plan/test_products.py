"""FLOPs of products and convolutions against XLA's own count, and against shapes written out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskjax.train.plan import hlo
from maskjax.train.plan.cost import cost
from maskjax.train.plan.products import flops, meetings


@pytest.mark.parametrize(
  "options",
  [
    dict(window_strides=(1, 1), padding="VALID"),
    dict(window_strides=(2, 1), padding="SAME"),
    dict(window_strides=(1, 1), padding=((3, 1), (0, 2)), rhs_dilation=(2, 1)),
    dict(window_strides=(1, 1), padding=((2, 1), (0, 3)), lhs_dilation=(3, 2)),
    dict(window_strides=(1, 2), padding="SAME", feature_group_count=2),
  ],
)
def test_convolutions_count_as_xla_counts_them(options):
  inputs = jnp.ones((2, 4, 9, 11))
  kernel = jnp.ones((6, 4 // options.get("feature_group_count", 1), 3, 3))
  convolve = lambda x, k: jax.lax.conv_general_dilated(x, k, **options)
  compiled = jax.jit(convolve).lower(inputs, kernel).compile()
  counted = cost(hlo.parse(compiled.as_text())).flops
  assert counted == compiled.cost_analysis()["flops"]


def test_batched_products_count_as_xla_counts_them():
  left, right = jnp.ones((3, 5, 7)), jnp.ones((3, 7, 11))
  compiled = jax.jit(jnp.matmul).lower(left, right).compile()
  assert cost(hlo.parse(compiled.as_text())).flops == 2 * 3 * 5 * 7 * 11


def test_a_batched_product_as_a_tpu_writes_it():
  """A batch of 16 x 16 heads by window, its holes not counted."""
  line = (
    "  %c = bf16[16,16,50,50]{3,2,1,0} convolution(%a, %b), "
    "window={size=16x16 stride=15x15 lhs_dilate=16x16}, dim_labels=01bf_01io->01bf"
  )
  left, right = "bf16[16,16,50,64]{3,2,1,0}", "bf16[16,16,64,50]{3,2,1,0}"
  assert flops(hlo.operation(line), left, right) == 2 * 16 * 16 * 50 * 50 * 64


sizes = st.integers(1, 6)


@settings(deadline=None)
@given(sizes, sizes, st.integers(1, 3), st.integers(0, 3), st.integers(1, 3), st.integers(1, 3))
def test_meetings_are_the_ones_of_a_dilated_convolution(
  inputs, taps, stride, pad, dilation, spread
):
  ones = np.zeros((inputs - 1) * dilation + 1)
  ones[::dilation] = 1
  padded = np.pad(ones, pad)
  reach = (taps - 1) * spread + 1
  outputs = (len(padded) - reach) // stride + 1
  windows = [padded[i * stride : i * stride + reach : spread] for i in range(max(outputs, 0))]
  options = dict(stride=stride, pad=pad, input_dilation=dilation, kernel_dilation=spread)
  assert meetings(inputs, taps, max(outputs, 0), **options) == sum(map(np.sum, windows))
