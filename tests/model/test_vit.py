import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maskjax.errors import BadInput
from maskjax.model.vit import ViT
from maskjax.train import flops


def model(**changes):
  given = {"width": 16, "depth": 1, "heads": 2, "mlp": 32, "patch": (2, 2), "grid": (2, 3)}
  return ViT(**{**given, **changes})


def patches(n=6, p=12, seed=0):
  return jnp.asarray(np.random.default_rng(seed).normal(size=(2, n, p)), jnp.float32)


def init(vit, x):
  shapes, rng = jax.eval_shape(vit.init, jax.random.key(0), x), np.random.default_rng(1)
  draw = lambda leaf: jnp.asarray(rng.normal(size=leaf.shape) / 4, jnp.float32)
  return jax.tree.map(draw, shapes)


def apply(vit, *inputs, **options):
  """One compile, where eager calls would compile every operation by itself."""
  static = {k: options.pop(k) for k in ("grid",) if k in options}
  return jax.jit(functools.partial(vit.apply, **static))(*inputs, **options)


@pytest.mark.parametrize("class_token", [True, False])
@pytest.mark.parametrize("position", ["sincos", "learned"])
def test_shapes_names_and_where_positions_live(class_token, position):
  vit, x = model(class_token=class_token, position=position, depth=2), patches()
  variables = init(vit, x)
  assert jax.eval_shape(vit.apply, variables, x).shape == (2, 6 + class_token, 16)
  names = {"embed", "block_00", "block_01", "norm"} | ({"class_token"} if class_token else set())
  names |= {"position"} if position == "learned" else set()
  assert set(variables["params"]) == names
  assert set(variables["params"]["block_00"]) == {"norm1", "attention", "norm2", "mlp"}
  assert ("buffers" in variables) == (position == "sincos")


def test_index_says_where_a_patch_lies_and_the_order_does_not_matter():
  vit, x = model(), patches()
  variables, order = init(vit, x), jnp.array([3, 0, 5, 1, 4, 2])
  straight = apply(vit, variables, x)
  index = jnp.broadcast_to(order, (2, 6))
  moved = apply(vit, variables, x[:, order], index=index)
  np.testing.assert_allclose(moved[:, 0], straight[:, 0], atol=1e-5)
  np.testing.assert_allclose(moved[:, 1:], straight[:, 1:][:, order], atol=1e-5)
  misplaced = apply(vit, variables, x[:, order])
  assert jnp.abs(misplaced - moved).max() > 1e-2


@pytest.mark.parametrize("class_token", [True, False])
def test_padding_is_seen_by_none(class_token):
  vit, x = model(class_token=class_token), patches()
  variables, index = init(vit, x), jnp.array([[1, 4, 5, 0, 0, 0]] * 2)
  valid = jnp.array([[True] * 3 + [False] * 3] * 2)
  padded = apply(vit, variables, x.at[:, 3:].set(jnp.nan), index=index, valid=valid)
  short = apply(vit, variables, x[:, :3], index=index[:, :3])
  np.testing.assert_allclose(padded[:, : 3 + class_token], short, atol=1e-5)


def test_another_grid_resizes_the_stored_table():
  vit, small, large = model(grid=(2, 2)), patches(4), patches(12)
  variables = init(vit, small)
  out = apply(vit, variables, large, grid=(3, 4))
  assert out.shape == (2, 13, 16)
  table = variables["buffers"]["position"]
  same = apply(vit, variables, small, grid=(2, 2))
  np.testing.assert_array_equal(same, apply(vit, variables, small))
  assert table.shape == (5, 16)
  with pytest.raises(BadInput, match="12 patches do not fill grid"):
    apply(vit, variables, large)


def test_bfloat16_computes_in_bfloat16_on_float32_parameters():
  vit, x = model(dtype="bfloat16"), patches()
  variables = init(vit, x)
  assert {leaf.dtype.name for leaf in jax.tree.leaves(variables)} == {"float32"}
  out = apply(vit, variables, x)
  assert out.dtype == jnp.bfloat16
  exact = apply(model(), variables, x)
  np.testing.assert_allclose(out.astype(jnp.float32), exact, atol=0.1)


@pytest.mark.parametrize(
  "changes", [{"remat": True}, {"scan": True}, {"remat": True, "scan": True}]
)
def test_remat_and_scan_change_neither_names_nor_gradient(changes):
  x, deep = patches(), functools.partial(model, depth=3)
  variables = init(deep(), x)
  assert jax.tree.structure(init(deep(**changes), x)) == jax.tree.structure(variables)
  loss = lambda vit: lambda v: jnp.sum(vit.apply(v, x) ** 3)
  slope = lambda vit: jax.grad(loss(vit))
  again, plain = (jax.jit(slope(vit))(variables) for vit in (deep(**changes), deep()))
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4, rtol=1e-4), plain, again)
  assert ("scan[" in str(jax.make_jaxpr(slope(deep(**changes)))(variables))) == ("scan" in changes)
  assert flops.count(loss(deep(**changes)), variables) == flops.count(loss(deep()), variables)


def test_one_and_three_axes():
  x = patches(8)
  for grid in ((8,), (2, 2, 2)):
    vit = model(grid=grid, patch=(1,) * len(grid))
    assert jax.eval_shape(vit.apply, init(vit, x), x).shape == (2, 9, 16)


def test_an_unknown_kind_of_position_is_refused():
  with pytest.raises(BadInput, match="unknown position 'learnt'; did you mean 'learned'"):
    init(model(position="learnt"), patches())
