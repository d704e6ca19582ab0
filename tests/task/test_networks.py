"""Networks as values: which calls make variables."""

import flax.linen as nn
import jax
import numpy as np

from maskjax.task.networks import networks_of


def test_a_call_like_one_before_only_reads_the_variables():
  making = []

  class Net(nn.Module):
    @nn.compact
    def __call__(self, x, *, more=False):
      making.append(self.is_initializing())
      x = nn.Dense(3, name="below")(x)
      return nn.Dense(2, name="above")(x) if more else x

  net = networks_of({"net": Net()}, None, key=jax.random.key(0))["net"]
  x = np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)
  first, again = net(x), net(x + 1)
  assert making == [True, False]
  assert set(net.variables["params"]) == {"below"}
  # Another option may need other variables, and so may another shape.
  above = net(x, more=True)
  net(x[:2])
  assert making == [True, False, True, True]
  assert set(net.variables["params"]) == {"below", "above"}
  kernel, bias = (np.asarray(net.variables["params"]["below"][k]) for k in ("kernel", "bias"))
  for given, made in ((x, first), (x + 1, again)):
    np.testing.assert_allclose(made, given @ kernel + bias, rtol=1e-5, atol=1e-6)
  assert above.shape == (4, 2)
