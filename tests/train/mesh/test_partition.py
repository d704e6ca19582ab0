"""What is cut over which axis: by rule, by size, and what belongs together alike."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import PartitionSpec

from maskjax import select, weights
from maskjax.errors import BadInput
from maskjax.train.checkpoints.leaves import named
from maskjax.train.mesh.partition import by_size, partition
from maskjax.train.state import State

SIZES = {"data": 1, "fsdp": 4, "tensor": 2}
SHAPES = {
  "block": {
    "attention": {"qkv": {"kernel": (16, 48), "bias": (48,)}, "out": {"kernel": (16, 16)}},
    "mlp": {"up": {"kernel": (16, 64)}, "down": {"kernel": (64, 16)}},
    "norm": {"scale": (16,)},
  },
  "embed": {"embedding": (9, 16)},
}


def state(tx=None):
  """Shapes of a state of these parameters."""
  is_shape = lambda x: isinstance(x, tuple)
  params = jax.tree.map(lambda s: jax.ShapeDtypeStruct(s, jnp.float32), SHAPES, is_leaf=is_shape)
  scalar = jax.ShapeDtypeStruct((), jnp.int32)
  moments = jax.eval_shape((tx or optax.adam(1.0)).init, params)
  return State(scalar, scalar, {"params": params}, moments, {"params": params})


def specs(tx=None, sizes=None, **options):
  """The partition of each leaf by name."""
  options = {"least": 64, **options}
  return {k: tuple(v) for k, v in named(partition(state(tx), sizes or SIZES, **options)).items()}


def test_matrices_of_blocks_go_over_tensor_and_what_is_left_over_fsdp():
  found = specs()
  params = {
    k.removeprefix("variables/params/"): v
    for k, v in found.items()
    if k.startswith("variables/params/")
  }
  assert params == {
    "block/attention/qkv/kernel": ("fsdp", "tensor"),
    "block/attention/qkv/bias": (),
    "block/attention/out/kernel": ("tensor", "fsdp"),
    "block/mlp/up/kernel": ("fsdp", "tensor"),
    "block/mlp/down/kernel": ("tensor", "fsdp"),
    "block/norm/scale": (),
    # Nine entries cannot be halved.
    "embed/embedding": (None, "fsdp"),
  }
  assert found["step"] == ()


@pytest.mark.parametrize("options", [{}, {"rules": (("up/kernel$", ("fsdp",)),)}])
def test_moments_and_averages_lie_as_their_parameters(options):
  found = specs(**options)
  for name, spec in found.items():
    if name.startswith("variables/params/"):
      name = name.removeprefix("variables/params/")
      for other in ("ema/params", "opt_state/0/mu", "opt_state/0/nu"):
        assert found[f"{other}/{name}"] == spec


def test_moments_of_another_shape_go_by_size_and_packed_masks_are_whole():
  factored = specs(optax.adafactor(1e-3, min_dim_size_to_factor=8), least=16)
  rows = {k: v for k, v in factored.items() if "v_row" in k or "v_col" in k}
  assert any(spec == ("fsdp",) for spec in rows.values())
  held = specs(weights.hold(optax.sgd(1.0), select=partial(select.top, ratio=0.5)), least=1)
  assert [v for k, v in held.items() if k.endswith("bits")] == [()] * 5


def test_rules_go_before_all_else_also_for_what_is_small():
  rules = (("up/kernel$", (("fsdp", "tensor"), None)), ("scale$", ["fsdp"]), ("down", ()))
  found = specs(rules=rules, least=10**9)
  assert found["variables/params/block/mlp/up/kernel"] == (("fsdp", "tensor"), None)
  assert found["ema/params/block/norm/scale"] == ("fsdp",)
  assert found["ema/params/block/mlp/down/kernel"] == ()
  assert set(found.values()) == {(), ("fsdp",), (("fsdp", "tensor"), None)}


@pytest.mark.parametrize(
  ("rule", "said"),
  [
    (("upp/kernel$", ("fsdp",)), "matches no parameter"),
    (("up/kernel$", ("fdsp",)), "unknown axis in mesh.rules 'fdsp'.*fsdp"),
    (("embedding$", ("fsdp",)), r"fsdp=4 does not divide embed/embedding of shape \(9, 16\)"),
    (("scale$", ("fsdp", None)), "cannot cut block/norm/scale"),
    (("up/kernel$", ("fsdp", "fsdp")), "cannot cut"),
    (("up/kernel$", "fsdp"), "is no tuple of axes"),
    ("up/kernel$", "is no rule"),
  ],
)
def test_rules_that_cannot_be_followed_are_refused(rule, said):
  with pytest.raises(BadInput, match=said):
    specs(rules=(rule,))


@settings(deadline=None)
@given(st.lists(st.integers(1, 12), max_size=3).map(tuple), st.integers(1, 6), st.integers(1, 200))
def test_the_largest_axis_that_can_be_is_cut(shape, fsdp, least):
  spec = by_size(shape, {"fsdp": fsdp}, least)
  even = [n for n in shape if n % fsdp == 0]
  if math.prod(shape) < least or fsdp == 1 or not even:
    assert spec == PartitionSpec()
  else:
    assert shape[tuple(spec).index("fsdp")] == max(even)
