"""Held weights: exactly zero after every step, exact counts, whatever the optimiser does."""

import functools
import itertools
from functools import partial
from typing import Any, NamedTuple

import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from maskjax import schedule, select, weights
from maskjax.bind import Moving
from maskjax.errors import BadInput

SHAPES = {"attention": {"out": (8, 6)}, "norm": (6,), "stack": [(2, 4, 3), None, (5, 7)]}
SIZES = {"attention/out": 48, "stack/0": 24, "stack/2": 35}
half = partial(select.top, ratio=0.5)


def is_shape(node):
  return isinstance(node, tuple)


# Enough where only the optimiser matters: a leaf with a mask, one without, a hole.
FEW_SHAPES = {"attention": {"out": (8, 6)}, "norm": (6,), "stack": [None]}


def draw(seed=0, dtype=jnp.float32, shapes=SHAPES):
  """Parameters of such shapes: a dict, a list, a hole."""
  rng = np.random.default_rng(seed)
  one = lambda shape: rng.standard_normal(shape).astype(dtype)
  return jax.tree.map(one, shapes, is_leaf=is_shape)


class Trained(NamedTuple):
  """Parameters and state after all steps, and weights and masks by name after each of them."""

  params: Any
  state: Any
  history: list[dict[str, tuple[np.ndarray, np.ndarray]]]


def train(tx, steps=6, params=None):
  """Steps with gradients of noise, in one program, whose types no step may change."""
  noise = np.random.default_rng(1).standard_normal((steps, 2), np.float32)

  def step(carry, noise):
    params, state = carry
    grads = jax.tree.map(lambda p: (noise[0] * jnp.cos(7 * p) + noise[1]).astype(p.dtype), params)
    updates, state = tx.update(grads, state, params)
    params = optax.apply_updates(params, updates)
    return (params, state), (params, weights.masks(state))

  run = jax.jit(lambda params, noise: jax.lax.scan(step, (params, tx.init(params)), noise))
  given = draw() if params is None else params
  (params, state), each = jax.device_get(run(given, noise))
  history = [pairs(*jax.tree.map(lambda x: x[i], each)) for i in range(steps)]  # noqa: B023
  return Trained(params, state, history)


def pairs(params, masks):
  """Weights and masks of every leaf that has one, by name."""
  flat = jax.tree_util.tree_leaves_with_path(params)
  hidden = jax.tree.structure(params).flatten_up_to(masks)
  name = lambda path: jax.tree_util.keystr(path, simple=True, separator="/")
  return {
    name(path): (np.asarray(w, np.float32), np.asarray(m))
    for (path, w), m in zip(flat, hidden, strict=True)
    if m is not None
  }


OPTIMIZERS = {
  "adamw": optax.adamw(0.1, weight_decay=0.5),
  "momentum": optax.sgd(0.1, momentum=0.9, nesterov=True),
  "clipped": optax.chain(optax.clip_by_global_norm(0.5), optax.adam(0.1)),
  "several": optax.MultiSteps(optax.adamw(0.1, weight_decay=0.5), every_k_schedule=3),
  "bf16 moments": optax.adam(0.1, mu_dtype=jnp.bfloat16),
  "grows": optax.chain(
    optax.sgd(0.1), optax.stateless(lambda u, p: jax.tree.map(jnp.ones_like, u))
  ),
  "narrow": optax.stateless(lambda u, p: jax.tree.map(lambda x: x.astype(jnp.bfloat16), u)),
}


@pytest.mark.parametrize(
  ("name", "dtype"),
  [*((name, jnp.float32) for name in OPTIMIZERS), ("adamw", jnp.bfloat16), ("grows", jnp.bfloat16)],
)
def test_hidden_weights_are_exactly_zero_after_every_step(name, dtype):
  given = draw(dtype=dtype, shapes=FEW_SHAPES)
  params, _, history = train(weights.hold(OPTIMIZERS[name], select=half), params=given)
  assert len(history) == 6
  for step in history:
    assert set(step) == {"attention/out"}
    for leaf, (w, hidden) in step.items():
      assert (w[hidden] == 0).all()
      assert hidden.sum() == round(0.5 * SIZES[leaf])
      assert (w[~hidden] != 0).any()
  assert all(leaf.dtype == dtype for leaf in jax.tree.leaves(params))
  assert (params["norm"] != 0).all()


def first_chosen(score, scope="layer"):
  """The masks of the first step, with the weights that they were chosen of, by name."""
  tx = weights.hold(optax.sgd(0.0), select=half, score=score, scope=scope)
  return pairs(draw(), jax.jit(weights.masks)(train(tx, steps=1).state))


def test_the_smallest_weights_are_hidden_and_random_scores_hide_others():
  kept = {}
  for score in (weights.magnitude, weights.random):
    before = first_chosen(score).values()
    kept[score] = np.mean([np.abs(w[~m]).min() > np.abs(w[m]).max() for w, m in before])
  assert kept == {weights.magnitude: 1, weights.random: 0}


def test_all_leaves_compete_where_the_scope_is_global():
  before = first_chosen(weights.magnitude, scope="global")
  w, m = (np.concatenate([np.ravel(x[i]) for x in before.values()]) for i in range(2))
  assert m.sum() == round(0.5 * sum(SIZES.values()))
  assert np.abs(w[~m]).min() > np.abs(w[m]).max()
  assert len({round(x[1].mean(), 3) for x in before.values()}) > 1


def test_a_weight_once_hidden_never_comes_back():
  # Zeros among the living weights tie with the hidden ones, and come first.
  params = draw()
  params["attention"]["out"][:2] = 0
  lazy = optax.stateless(lambda u, p: jax.tree.map(lambda x: 0.3 * jnp.sign(x), p))
  ratio = Moving(schedule.at_step(schedule.linear(0.2, 0.8), 6))
  for score in (weights.magnitude, lambda gradients: jnp.sin(99 * gradients)):
    tx = weights.hold(lazy, select=partial(select.top, ratio=ratio), score=score)
    history = train(tx, params=params).history
    for earlier, later in itertools.pairwise(history):
      assert all((later[leaf][1] >= earlier[leaf][1]).all() for leaf in SIZES)
    assert history[0]["stack/2"][1].sum() < history[-1]["stack/2"][1].sum()


def test_weights_come_back_where_they_may():
  score = lambda gradients: -jnp.abs(gradients)
  tx = weights.hold(optax.sgd(0.1), select=half, score=score, regrow=True)
  masks = [step["stack/2"][1] for step in train(tx).history]
  assert any((earlier & ~later).any() for earlier, later in itertools.pairwise(masks))
  assert {mask.sum() for mask in masks} == {round(0.5 * 35)}


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_each_step_has_the_rounded_count_of_its_schedule(scope):
  curve = schedule.at_step(schedule.polynomial(0.0, 0.9, power=3.0), 6)
  tx = optax.adamw(0.01)
  held = weights.hold(tx, select=partial(select.top, ratio=Moving(curve)), scope=scope)
  shares = np.asarray(jax.jit(curve)(np.arange(1, 7)))
  for step, share in zip(train(held).history, shares, strict=True):
    counts = {leaf: int(m.sum()) for leaf, (_, m) in step.items()}
    if scope == "layer":
      assert counts == {leaf: int(np.round(share * np.float32(n))) for leaf, n in SIZES.items()}
    else:
      assert sum(counts.values()) == int(np.round(share * np.float32(sum(SIZES.values()))))
  assert shares[-1] == np.float32(0.9)


def test_masks_are_chosen_every_so_many_updates():
  ratio = Moving(schedule.at_step(schedule.linear(0.0, 1.0), 6))
  tx = weights.hold(optax.adam(0.1), select=partial(select.top, ratio=ratio), every=2)
  history = train(tx).history
  masks = [step["attention/out"][1] for step in history]
  assert all((w[m] == 0).all() for step in history for w, m in step.values())
  assert [mask.sum() for mask in masks] == [0, 16, 16, 32, 32, 48]
  np.testing.assert_array_equal(masks[1], masks[2])


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_units_are_hidden_whole_and_counted_as_units(scope):
  units = {"attention": {"out": (0, 2)}, "norm": None, "stack": [(-1, 1), None, (0, 1)]}
  tx = weights.hold(optax.adam(0.1), select=half, units=units, scope=scope)
  found, total = train(tx).history[-1], 0
  for leaf, (axis, size) in {"attention/out": (0, 2), "stack/0": (2, 1), "stack/2": (0, 1)}.items():
    w, hidden = found[leaf]
    assert (w[hidden] == 0).all()
    rows = np.moveaxis(hidden, axis, 0).reshape(hidden.shape[axis] // size, -1)
    assert (rows.all(1) == rows.any(1)).all()
    total += rows.all(1).sum()
    assert scope == "global" or rows.all(1).sum() == round(0.5 * len(rows))
  assert total == round(0.5 * (4 + 3 + 5)) or scope == "layer"


def test_the_heads_of_least_mean_magnitude_are_hidden():
  params = {"out": np.float32([5.0, 1.0, 2.0, 2.0, 9.0, 0.0])[:, None].repeat(3, 1)}
  tx = weights.hold(optax.sgd(0.0), select=partial(select.top, count=1), units=(0, 2))
  params = train(tx, steps=1, params=params).params
  assert params["out"][:, 0].tolist() == [5, 1, 0, 0, 9, 0]


def test_every_group_along_the_input_axis_keeps_two_of_four():
  rng = np.random.default_rng(0)
  shapes = {"kernel": (16, 5), "deep": (2, 8, 3)}
  params = {name: rng.standard_normal(shape, np.float32) for name, shape in shapes.items()}
  tx = weights.hold(optax.adamw(0.1), select=partial(select.n_of_m, keep=2, of=4, axis=-2))
  for w, hidden in train(tx, params=params).history[-1].values():
    groups = np.moveaxis(hidden, -2, -1).reshape(-1, 4)
    assert (groups.sum(1) == 2).all()
    assert (w[hidden] == 0).all()


def test_clipping_counts_only_the_living_weights():
  spy = optax.stateless(lambda u, p: jax.tree.map(lambda x: -x, u))
  norm = lambda u, p: jax.tree.map(lambda x: x * 0 + optax.tree.norm(u), u)
  tx = weights.hold(optax.chain(optax.stateless(norm), spy), select=half)

  @jax.jit
  def twice(params, first, second, later):
    _, state = tx.update({"w": first}, tx.init({"w": params}), {"w": params})
    return tx.update({"w": second}, state, {"w": later})[0]["w"]

  rows = [1, 2, 3, 4], [1, 1, 1, 1], [300, np.nan, 3, 4], [0, 0, 3, 4]
  assert twice(*(np.float32([row]) for row in rows)).tolist() == [[0.0, 0.0, -5.0, -5.0]]


def test_what_may_come_back_competes_as_zero_whatever_the_optimiser_makes_of_it():
  raised = optax.stateless(lambda u, p: jax.tree.map(jnp.ones_like, u))
  tx = weights.hold(raised, select=half, regrow=True)

  @jax.jit
  def twice(params, later):
    state = tx.update(params, tx.init(params), params)[1]
    return [weights.masks(s)["w"] for s in (state, tx.update(later, state, later)[1])]

  # At first 1.1, 1.2, 4 and 5, then 0.5 and 0.4 beside what would be 1.
  rows = [0.1, 0.2, 3, 4], [0, 0, -0.5, -0.6]
  hidden = twice(*({"w": np.float32([row])} for row in rows))
  assert [mask.tolist() for mask in hidden] == [[[True, True, False, False]]] * 2


@functools.cache
def half_held():
  """Six steps of Adam with half of the weights held."""
  return train(weights.hold(optax.adam(0.1), select=half))


def test_zero_clears_an_average():
  average, state = draw(9), half_held().state
  clear = jax.jit(lambda average, state: weights.zero(average, (optax.EmptyState(), state)))
  cleared, masks = clear(average, state), weights.masks(state)
  was = pairs(average, masks)
  for leaf, (w, hidden) in pairs(cleared, masks).items():
    assert (w[hidden] == 0).all()
    assert (w[~hidden] == was[leaf][0][~hidden]).all()
  np.testing.assert_array_equal(cleared["norm"], average["norm"])


def test_sparsity_of_a_state_and_of_parameters():
  params, state, _ = half_held()
  counts = {leaf: round(0.5 * n) for leaf, n in SIZES.items()}
  shares = {leaf: counts[leaf] / n for leaf, n in SIZES.items()}
  total = sum(counts.values())
  assert weights.sparsity(state) == {**shares, "total": total / sum(SIZES.values())}
  assert weights.sparsity(params) == {
    **shares,
    "norm": 0,
    "total": total / (6 + sum(SIZES.values())),
  }


def test_masks_survive_being_written_bitwise():
  params, state, history = half_held()
  leaves, tree = jax.tree.flatten(state)
  flat = jax.tree.unflatten(tree, [np.array(leaf) for leaf in leaves])
  empty = jax.tree.map(np.zeros_like, state)
  read = flax.serialization.from_bytes(empty, flax.serialization.to_bytes(state))
  for again in (flat, read):
    for leaf, (_, mask) in pairs(params, weights.masks(again)).items():
      np.testing.assert_array_equal(mask, history[-1][leaf][1])
    assert int(again.step) == 6


def test_masks_take_one_bit_a_weight_and_the_padding_of_a_row():
  params = {"a": jnp.ones((3, 100)), "b": jnp.ones((7, 3))}
  state = jax.eval_shape(weights.hold(optax.sgd(0.1), select=half).init, params)
  assert {leaf.dtype for leaf in jax.tree.leaves(state.hidden)} == {jnp.dtype(jnp.uint8)}
  assert sum(leaf.size for leaf in jax.tree.leaves(state.hidden)) == 3 * 13 + 7 * 1


def test_where_names_the_leaves():
  chosen = {"attention": {"out": False}, "norm": True, "stack": [False, None, True]}
  for where in (chosen, lambda params: chosen):
    tx = weights.hold(optax.adam(0.1), select=half, where=where)
    assert set(train(tx, steps=1).history[-1]) == {"norm", "stack/2"}


def test_the_keys_of_leaves_differ_and_stay():
  params = {"a": jnp.ones((8, 8)), "b": jnp.ones((8, 8))}
  masks = []
  for seed in (0, 1):
    tx = weights.hold(optax.sgd(0.1), select=half, score=weights.random, seed=seed, regrow=True)
    # Chosen at the first step and at the third, by each of two that were made alike.
    masks += [{n: m for n, (_, m) in step.items()} for step in train(tx, 3, params=params).history]
  tx = weights.hold(optax.sgd(0.1), select=half, score=weights.random, seed=0, regrow=True)
  masks.append({n: m for n, (_, m) in train(tx, 1, params=params).history[0].items()})
  first, second, third, other, *_, twin = masks
  assert not (first["a"] == first["b"]).all()
  for same in (second, third, twin):
    np.testing.assert_array_equal(same["a"], first["a"])
  assert not (first["a"] == other["a"]).all()


@pytest.mark.parametrize(
  ("given", "says"),
  [
    ({"scope": "layers"}, "unknown scope 'layers'; did you mean 'layer'"),
    ({"every": 0}, "every must be a positive number"),
    ({"score": lambda params, loss: params}, "needs loss; hold offers"),
    ({"select": select.n_of_m}, "n_of_m needs keep, of"),
    ({"select": partial(select.top, ratio=0.5, axis=-1), "scope": "global"}, "wants a selection"),
    ({"where": {"norm": True}}, "where is no tree shaped as the parameters"),
    ({"where": lambda p: jax.tree.map(lambda x: False, p)}, "no weights to hide among"),
    ({"units": (0, 5)}, "do not divide axis 0 of attention/out"),
    ({"units": {"norm": (0, 1)}}, "units is no tree shaped as the parameters"),
  ],
)
def test_what_cannot_be_held_is_refused(given, says):
  with pytest.raises(BadInput, match=says):
    jax.eval_shape(weights.hold(optax.sgd(0.1), **{"select": half, **given}).init, draw())


def test_what_is_no_weight_is_refused():
  params = {"count": jnp.ones((2, 2), jnp.int32), "scale": jnp.float32(1), "w": jnp.ones((2, 2))}
  for name in ("count", "scale"):
    where = {key: key == name for key in params}
    with pytest.raises(BadInput, match=name):
      weights.hold(optax.sgd(0.1), select=half, where=where).init(params)
  tx = weights.hold(optax.sgd(0.1), select=half)
  with pytest.raises(BadInput, match="needs the parameters"):
    tx.update(params, tx.init(params))
  with pytest.raises(BadInput, match="got one with 0"):
    weights.masks(optax.sgd(0.1).init(params))
