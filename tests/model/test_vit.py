import functools
import itertools
import pathlib
import runpy

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maskjax.errors import BadInput
from maskjax.model import layers
from maskjax.model.vit import POSITIONS, ViT, sized
from maskjax.train.plan import flops

close = runpy.run_path(str(pathlib.Path(__file__).parents[1] / "closeness.py"))["close"]
# A block of six products, and what embeds.
SUMS = dict(depth=6 + 1, terms=32)


def model(**changes):
  given = {"width": 16, "depth": 1, "heads": 2, "mlp": 32, "patch": (2, 2), "grid": (2, 3)}
  return ViT(**{**given, **changes})


def patches(n=6, p=12, seed=0):
  return np.random.default_rng(seed).normal(size=(2, n, p)).astype(np.float32)


def init(vit, x):
  shapes, rng = jax.eval_shape(vit.init, jax.random.key(0), x), np.random.default_rng(1)
  draw = lambda leaf: (rng.normal(size=leaf.shape) / 4).astype(np.float32)
  return jax.tree.map(draw, shapes)


def apply(vit, *inputs, **options):
  """One compile, where eager calls would compile every operation by itself."""
  static = {k: options.pop(k) for k in ("grid",) if k in options}
  return jax.jit(functools.partial(vit.apply, **static))(*inputs, **options)


@pytest.mark.parametrize("class_token", [True, False])
@pytest.mark.parametrize("position", POSITIONS)
def test_shapes_names_and_where_positions_live(class_token, position):
  vit, x = model(class_token=class_token, position=position, depth=2), patches()
  variables = init(vit, x)
  assert jax.eval_shape(vit.apply, variables, x).shape == (2, 6 + class_token, 16)
  names = {"embed", "block_00", "block_01", "norm"} | ({"class_token"} if class_token else set())
  names |= {"learned": {"position"}, "relative": {"relative_position"}}.get(position, set())
  assert set(variables["params"]) == names
  assert set(variables["params"]["block_00"]) == {"norm1", "attention", "norm2", "mlp"}
  assert ("buffers" in variables) == (position == "sincos")


def test_a_residual_comes_between_the_blocks_and_the_last_normalisation():
  vit, x, added = model(), patches(), patches(p=16, seed=2)
  variables = init(vit, x)
  tell = lambda v, x, r: (
    vit.apply(v, vit.apply(v, x, method=lambda m, x: m.embed(x)), residual=r, method="attend"),
    layers.apply(vit, v, x, taps=["-1/output"]).found["-1/output"],
  )
  out, blocks = jax.jit(tell)(variables, x, added)
  # The class token, which comes first, has none.
  blocks, norm = np.array(blocks), variables["params"]["norm"]
  blocks[:, 1:] += added
  blocks -= blocks.mean(-1, keepdims=True)
  blocks /= np.sqrt((blocks**2).mean(-1, keepdims=True) + 1e-6)
  close(out, blocks * norm["scale"] + norm["bias"], **SUMS)


def test_layer_scale_scales_what_each_layer_adds():
  x, plain = patches(), model(depth=2)
  scaled = model(depth=2, layer_scale=0.1)
  variables = init(plain, x)
  made = jax.tree.map(np.zeros_like, jax.eval_shape(scaled.init, jax.random.key(0), x)["params"])
  assert set(made["block_01"]) - set(variables["params"]["block_01"]) == {"scale1", "scale2"}
  # A scale s in front of the last product of each branch is that product's weights times s.
  own = jax.tree.map(lambda leaf: leaf, variables["params"])
  less = jax.tree.map(lambda leaf: leaf, variables["params"])
  for name in ("block_00", "block_01"):
    own[name] = {**own[name], "scale1": np.full(16, 0.5, np.float32), "scale2": np.full(16, 2.0)}
    for part, last, scale in (("attention", "out", 0.5), ("mlp", "down", 2.0)):
      smaller = jax.tree.map(lambda leaf, s=scale: leaf * np.float32(s), less[name][part][last])
      less[name] = {**less[name], part: {**less[name][part], last: smaller}}
  got = apply(scaled, {**variables, "params": own}, x)
  close(got, apply(plain, {**variables, "params": less}, x), **SUMS)


@pytest.mark.parametrize("position", ["sincos", "relative"])
def test_index_says_where_a_patch_lies_and_the_order_does_not_matter(position):
  vit, x = model(position=position), patches()
  variables, order = init(vit, x), np.array([3, 0, 5, 1, 4, 2])

  @jax.jit
  def run(v):
    index = np.broadcast_to(order, (2, 6))
    return vit.apply(v, x), vit.apply(v, x[:, order], index=index), vit.apply(v, x[:, order])

  straight, moved, misplaced = jax.device_get(run(variables))
  close(moved[:, 0], straight[:, 0], **SUMS)
  close(moved[:, 1:], straight[:, 1:][:, order], **SUMS)
  assert np.abs(misplaced - moved).max() > 1e-2


@pytest.mark.parametrize("class_token", [True, False])
def test_padding_is_seen_by_none(class_token):
  vit, x = model(class_token=class_token), patches()
  variables, index = init(vit, x), np.array([[1, 4, 5, 0, 0, 0]] * 2)
  valid = np.array([[True] * 3 + [False] * 3] * 2)
  spoilt = np.where(valid[..., None], x, np.nan).astype(np.float32)

  @jax.jit
  def both(v):
    padded = vit.apply(v, spoilt, index=index, valid=valid)
    return padded, vit.apply(v, x[:, :3], index=index[:, :3])

  padded, short = both(variables)
  close(padded[:, : 3 + class_token], short, **SUMS)


def test_another_grid_resizes_the_stored_table():
  vit, small, large = model(grid=(2, 2)), patches(4), patches(12)
  variables = init(vit, small)
  larger = functools.partial(vit.apply, grid=(3, 4))
  assert jax.eval_shape(larger, variables, large).shape == (2, 13, 16)
  table = variables["buffers"]["position"]
  same = apply(vit, variables, small, grid=(2, 2))
  np.testing.assert_array_equal(same, apply(vit, variables, small))
  assert table.shape == (5, 16)
  with pytest.raises(BadInput, match="12 patches do not fill grid"):
    jax.eval_shape(vit.apply, variables, large)


def test_relative_positions_see_offsets_and_the_class_token_alone():
  vit, x = model(position="relative", grid=(1, 4)), patches(4)[0]
  # Two patches next to each other, wherever they lie, and two that are not.
  variables, pair = init(vit, x[None]), x[:2]
  near, moved = np.array([[0, 1], [1, 2], [0, 2]]), np.broadcast_to(pair, (3, 2, 12))
  one, other, far = apply(vit, variables, moved, index=near)
  close(other, one, **SUMS)
  assert np.abs(far - one).max() > 1e-3
  larger = functools.partial(vit.apply, grid=(2, 6))
  assert jax.eval_shape(larger, variables, patches(12)).shape == (2, 13, 16)


def test_bfloat16_computes_in_bfloat16_on_float32_parameters():
  vit, x = model(dtype="bfloat16"), patches()
  variables = init(vit, x)
  assert {leaf.dtype.name for leaf in jax.tree.leaves(variables)} == {"float32"}
  out, exact = jax.jit(lambda v: (vit.apply(v, x), model().apply(v, x)))(variables)
  assert out.dtype == jnp.bfloat16
  np.testing.assert_allclose(out.astype(jnp.float32), exact, atol=0.1)


CHANGES = [{"remat": True}, {"scan": True}, {"remat": True, "scan": True}]


@pytest.fixture(scope="module")
def slopes():
  """Gradients of a deep network, plain and with each of the changes, in one program."""
  # Of the positions those that all blocks share.
  x, deep = patches(), functools.partial(model, depth=2, position="relative")
  loss = lambda vit: lambda v: jnp.sum(vit.apply(v, x) ** 3)
  networks = [deep(**changes) for changes in ({}, *CHANGES)]
  every = lambda v: [jax.grad(loss(vit))(v) for vit in networks]
  return networks, loss, jax.device_get(jax.jit(every)(init(networks[0], x)))


@pytest.mark.parametrize("which", range(3), ids=["remat", "scan", "both"])
def test_remat_and_scan_change_neither_names_nor_gradient(slopes, which):
  networks, loss, found = slopes
  (plain, changed), x = (networks[0], networks[1 + which]), patches()
  variables = init(plain, x)
  shapes = jax.eval_shape(changed.init, jax.random.key(0), x)
  assert jax.tree.map(jnp.shape, shapes) == jax.tree.map(jnp.shape, variables)
  # Backward there are as many products again, and slopes are sums over all tokens.
  close(found[1 + which], found[0], depth=2 * 2 * 7, terms=2 * 7 * 32, axis=None)
  jaxpr = jax.make_jaxpr(jax.grad(loss(changed)))(variables)
  assert ("scan[" in str(jaxpr)) == ("scan" in CHANGES[which])
  assert flops.count(loss(changed), variables) == flops.count(loss(plain), variables)


def test_blocks_that_are_alike_are_traced_once_where_they_are_drawn_and_drawn_apart():
  vit, x, key = model(depth=3), patches(), jax.random.key(0)
  program = jax.make_jaxpr(vit.init_with_output)(key, x)
  drawn = [eqn.params["jaxpr"] for eqn in program.eqns if eqn.params.get("name") == "_begun"]
  assert len(drawn) == 3
  assert all(one is drawn[0] for one in drawn)
  out, variables = jax.jit(vit.init_with_output)(key, x)
  close(out, apply(vit, variables, x), depth=3 * SUMS["depth"], terms=SUMS["terms"])
  blocks = [variables["params"][f"block_{i:02d}"]["mlp"]["up"]["kernel"] for i in range(3)]
  assert all((a != b).mean() > 0.99 for a, b in itertools.pairwise(blocks))
  # As xavier_uniform draws it: between the roots of 6 over the sum of both widths.
  assert all(0.9 < abs(x).max() / np.sqrt(6 / (16 + 32)) <= 1 for x in blocks)


def test_one_and_three_axes():
  x = patches(8)
  for grid in ((8,), (2, 2, 2)):
    vit = model(grid=grid, patch=(1,) * len(grid))
    assert jax.eval_shape(vit.apply, init(vit, x), x).shape == (2, 9, 16)


def test_an_unknown_kind_of_position_is_refused():
  with pytest.raises(BadInput, match="unknown position 'learnt'; did you mean 'learned'"):
    init(model(position="learnt"), patches())


@pytest.mark.parametrize("name", ["width", "heads", "mlp", "depth"])
def test_a_size_of_nothing_is_not_that_of_the_table(name):
  if name == "depth":
    assert sized("Ti", depth=0).depth == 0
  with pytest.raises(BadInput, match=f"{name} of a transformer is"):
    sized("Ti", **{name: -1 if name == "depth" else 0})
