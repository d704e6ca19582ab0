"""Small programs, one for each kind of leaf, make what one program would."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

from maskjax.train.setup import by_kind as module
from maskjax.train.setup.by_kind import by_kind

# As a run compiles, where tests do without optimisation: it decides about the last bit.
OPTIMISED = {k: True for k in module.ON_CPUS if k.endswith("emitters")}
OPTIMISED |= {"xla_backend_optimization_level": 3}
ONE = jax.sharding.SingleDeviceSharding(jax.devices()[0])


@pytest.fixture
def programs(monkeypatch):
  """Makes the number of programs of what is made next known."""
  found, kinds = [], module._kinds

  def counted(*arguments):
    found.append(kinds(*arguments))
    return found[-1]

  monkeypatch.setattr(module, "_kinds", counted)
  return lambda: len(found[-1])


def made(function, key):
  """What `by_kind` makes of a function, held against the function as one program."""
  whole = jax.jit(function)(key)
  lies = jax.tree.map(lambda _: ONE, whole)
  parts = by_kind(function, lies)(key)
  assert jax.tree.structure(parts) == jax.tree.structure(whole)
  bits = lambda x: jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x
  for a, b in zip(jax.tree.leaves(parts), jax.tree.leaves(whole), strict=True):
    assert a.dtype == b.dtype
    np.testing.assert_array_equal(bits(a), bits(b))
  return parts


class Net(nn.Module):
  depth: int

  @nn.compact
  def __call__(self, x):
    for _ in range(self.depth):
      x = x + nn.Dense(4, kernel_init=nn.initializers.uniform(0.02))(nn.LayerNorm()(x))
    return nn.Dense(3, kernel_init=nn.initializers.uniform(0.02))(x)


def begun(depth):
  def begin(key):
    params = Net(depth).init(jax.random.fold_in(key, 5), jnp.ones((2, 4)))["params"]
    average = jax.tree.map(jnp.copy, params)
    return jnp.int32(0), key, params, optax.adamw(1e-3).init(params), average

  return begin


def test_a_deeper_network_has_no_more_programs(programs):
  made(begun(1), jax.random.key(1))
  assert programs() == 1
  made(begun(4), jax.random.key(1))
  four = programs()
  state = made(begun(5), jax.random.key(1))
  assert programs() == four < 15
  kernels = [state[2][f"Dense_{i}"]["kernel"] for i in range(5)]
  assert len({np.asarray(x).tobytes() for x in kernels}) == 5
  # No two leaves lie in the same memory: a train step gives that of its state away.
  places = [x.unsafe_buffer_pointer() for x in jax.tree.leaves(state) if x.dtype == jnp.float32]
  assert len(set(places)) == len(places)


def test_leaves_that_share_more_than_keys_are_made_together(programs, monkeypatch):
  monkeypatch.setattr(module, "LEAST_ALIKE", 1)

  def function(key):
    x = jax.random.uniform(jax.random.fold_in(key, 1), (3,))
    split = jax.random.split(key, 2)
    draws = [jax.random.uniform(split[i], (2,)) for i in range(2)]
    # Alike but for what is folded in; alike but for a number.
    folded = [jax.random.fold_in(jax.random.fold_in(key, i), i + 7) for i in range(3)]
    scaled = [jax.random.uniform(k, (2,), maxval=1.0 + i) for i, k in enumerate(folded)]
    return [x, x.max(), draws, folded, scaled, 2.0]

  made(function, jax.random.key(2))
  assert programs() == 1 + 1 + 1 + 3 + 1


def test_what_is_compiled_in_less_time_draws_what_a_run_would():
  def draws(key):
    return jax.random.normal(key, (64,)), jax.random.truncated_normal(key, -2.0, 2.0, (64,))

  key = jax.random.key(3)
  slow, fast = (jax.jit(draws, compiler_options=o)(key) for o in (OPTIMISED, module.ON_CPUS))
  np.testing.assert_array_equal(slow, fast)
