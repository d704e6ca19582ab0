"""A dense layer over any number of axes, as flax's, and what its gradient compiles to."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maskjax.model.dense import Dense


@pytest.mark.parametrize("shape", [(3,), (5, 3), (2, 5, 3), (2, 1, 5, 3), (0, 5, 3)])
@pytest.mark.parametrize("options", [{}, {"use_bias": False}, {"dtype": "bfloat16"}])
def test_it_is_the_dense_layer_of_flax(shape, options):
  x = jax.random.normal(jax.random.key(0), shape)
  ours, plain = Dense(4, **options), nn.Dense(4, **options)
  variables = plain.init(jax.random.key(1), x)
  jax.tree.map(np.testing.assert_array_equal, ours.init(jax.random.key(1), x), variables)
  got, expected = ours.apply(variables, x), plain.apply(variables, x)
  assert got.dtype == expected.dtype
  np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-6)
  loss = lambda layer: lambda v, x: jnp.sum(jnp.sin(layer.apply(v, x).astype(jnp.float32)))
  close = lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-2 if options.get("dtype") else 1e-5)
  jax.tree.map(close, *(jax.grad(loss(layer), (0, 1))(variables, x) for layer in (ours, plain)))


def test_nothing_is_written_out_transposed():
  def compiled(layer):
    x = jnp.ones((16, 40, 64))
    variables = layer.init(jax.random.key(0), x)
    loss = lambda v, x: jnp.sum(layer.apply(v, jnp.tanh(x)) ** 2)
    return jax.jit(jax.grad(loss, (0, 1))).lower(variables, x).compile().as_text()

  assert " transpose(" not in compiled(Dense(128))
