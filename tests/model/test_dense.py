"""Dense layers: joined rows give what apart ones do, and only on one CPU."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maskjax.model import flash
from maskjax.model.dense import Dense


def _both(layer, shape):
  key = jax.random.key(0)
  x = jax.random.normal(key, (*shape, 6))
  variables = nn.Dense(5).init(key, x)
  told = lambda variables, x: layer.apply(variables, x)
  out, back = jax.vjp(told, variables, x)
  return out, back(jax.random.normal(jax.random.key(1), out.shape)), jax.make_jaxpr(back)(out)


@pytest.mark.parametrize("shape", [(), (4,), (3, 4), (2, 3, 4), (0, 4)])
def test_as_flax_forward_and_backward(shape):
  ours, slopes, _ = _both(Dense(5), shape)
  plain, expected, _ = _both(nn.Dense(5), shape)
  np.testing.assert_allclose(ours, plain, rtol=1e-6, atol=1e-6)
  jax.tree.map(
    lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-5), slopes, expected
  )


def test_its_gradient_contracts_one_axis_on_a_cpu_and_all_elsewhere(monkeypatch):
  contracted = lambda jaxpr: {
    len(e.params["dimension_numbers"][0][0])
    for e in jaxpr.eqns
    if e.primitive.name == "dot_general"
  }
  assert contracted(_both(Dense(5), (3, 4))[2]) == {1}
  monkeypatch.setattr(flash, "placed", lambda: "gpu")
  assert contracted(_both(Dense(5), (3, 4))[2]) == {1, 2}


def test_axes_that_a_mesh_cuts_stay_apart():
  mesh = jax.sharding.AbstractMesh((2,), ("data",))
  with jax.sharding.use_abstract_mesh(mesh):
    jaxpr = jax.make_jaxpr(Dense(5).apply)(
      {"params": {"kernel": jnp.ones((6, 5)), "bias": jnp.ones(5)}}, jnp.ones((3, 4, 6))
    )
  assert "reshape" not in str(jaxpr).split("dot_general")[0]
