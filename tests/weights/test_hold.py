"""Held weights: exactly zero after every step, exact counts, whatever the optimiser does."""

import itertools
from functools import partial

import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from maskjax import schedule, select, weights
from maskjax.bind import Moving
from maskjax.errors import BadInput

KEY = jax.random.key(0)
SHAPES = {"attention": {"out": (8, 6)}, "norm": (6,), "stack": [(2, 4, 3), None, (5, 7)]}
SIZES = {"attention/out": 48, "stack/0": 24, "stack/2": 35}
half = partial(select.top, ratio=0.5)


def is_shape(node):
  return isinstance(node, tuple)


def draw(key, dtype=jnp.float32):
  """Parameters of `SHAPES`: a dict, a list, a hole."""
  shapes, tree = jax.tree.flatten(SHAPES, is_leaf=is_shape)
  keys = jax.random.split(key, len(shapes))
  return tree.unflatten([jax.random.normal(k, s, dtype) for k, s in zip(keys, shapes, strict=True)])


def train(tx, steps=6, dtype=jnp.float32, params=None, each=lambda *args: None):
  """Steps with gradients of noise; `each` sees the parameters and the state after every one."""
  params = draw(KEY, dtype) if params is None else params
  state = tx.init(params)

  @jax.jit
  def step(params, state, i):
    noise = jax.random.normal(jax.random.fold_in(KEY, i + 1), (2,))
    grads = jax.tree.map(lambda p: (noise[0] * jnp.cos(7 * p) + noise[1]).astype(p.dtype), params)
    updates, state = tx.update(grads, state, params)
    return optax.apply_updates(params, updates), state

  for i in range(steps):
    params, state = step(params, state, i)
    each(i + 1, params, state)
  assert step._cache_size() == 1
  return params, state


def pairs(params, state):
  """Weights and masks of every leaf that has one, by name."""
  masks = weights.masks(state)
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
  seen = []

  def each(step, params, state):
    for leaf, (w, hidden) in pairs(params, state).items():
      assert (w[hidden] == 0).all()
      assert hidden.sum() == round(0.5 * SIZES[leaf])
      assert (w[~hidden] != 0).any()
    assert all(leaf.dtype == dtype for leaf in jax.tree.leaves(params))
    seen.append(step)

  params, _ = train(weights.hold(OPTIMIZERS[name], select=half), dtype=dtype, each=each)
  assert seen == [1, 2, 3, 4, 5, 6]
  assert (params["norm"] != 0).all()


def test_the_smallest_weights_are_hidden_and_random_scores_hide_others():
  kept = {}
  for score in (weights.magnitude, weights.random):
    still = optax.sgd(0.0)
    _, state = train(weights.hold(still, select=half, score=score), steps=1)
    before = pairs(draw(KEY), state)
    kept[score] = np.mean([np.abs(w[~m]).min() > np.abs(w[m]).max() for w, m in before.values()])
  assert kept == {weights.magnitude: 1, weights.random: 0}


def test_all_leaves_compete_where_the_scope_is_global():
  _, state = train(weights.hold(optax.sgd(0.0), select=half, scope="global"), steps=1)
  before = pairs(draw(KEY), state)
  w, m = (np.concatenate([np.ravel(x[i]) for x in before.values()]) for i in range(2))
  assert m.sum() == round(0.5 * sum(SIZES.values()))
  assert np.abs(w[~m]).min() > np.abs(w[m]).max()
  assert len({round(x[1].mean(), 3) for x in before.values()}) > 1


def test_a_weight_once_hidden_never_comes_back():
  # Zeros among the living weights tie with the hidden ones, and come first.
  params = draw(KEY)
  params["attention"]["out"] = params["attention"]["out"].at[:2].set(0)
  lazy = optax.stateless(lambda u, p: jax.tree.map(lambda x: 0.3 * jnp.sign(x), p))
  ratio = Moving(schedule.at_step(schedule.linear(0.2, 0.8), 6))
  history = []
  each = lambda step, params, state: history.append(pairs(params, state))
  for score in (weights.magnitude, lambda gradients: jnp.sin(99 * gradients)):
    history.clear()
    tx = weights.hold(lazy, select=partial(select.top, ratio=ratio), score=score)
    train(tx, params=params, each=each)
    for earlier, later in itertools.pairwise(history):
      assert all((later[leaf][1] >= earlier[leaf][1]).all() for leaf in SIZES)
    assert history[0]["stack/2"][1].sum() < history[-1]["stack/2"][1].sum()


def test_weights_come_back_where_they_may():
  score = lambda gradients: -jnp.abs(gradients)
  masks = []
  tx = weights.hold(optax.sgd(0.1), select=half, score=score, regrow=True)
  train(tx, each=lambda step, params, state: masks.append(pairs(params, state)["stack/2"][1]))
  assert any((earlier & ~later).any() for earlier, later in itertools.pairwise(masks))
  assert {mask.sum() for mask in masks} == {round(0.5 * 35)}


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_each_step_has_the_rounded_count_of_its_schedule(scope):
  curve = schedule.at_step(schedule.polynomial(0.0, 0.9, power=3.0), 6)
  counts = {}

  def each(step, params, state):
    counts[step] = {leaf: int(m.sum()) for leaf, (_, m) in pairs(params, state).items()}

  tx = optax.adamw(0.01)
  train(weights.hold(tx, select=partial(select.top, ratio=Moving(curve)), scope=scope), each=each)
  for step in range(1, 7):
    share = np.float32(curve(step))
    if scope == "layer":
      assert counts[step] == {
        leaf: int(np.round(share * np.float32(n))) for leaf, n in SIZES.items()
      }
    else:
      assert sum(counts[step].values()) == int(np.round(share * np.float32(sum(SIZES.values()))))
  assert float(curve(6)) == np.float32(0.9)


def test_masks_are_chosen_every_so_many_updates():
  masks = {}

  def each(step, params, state):
    masks[step] = pairs(params, state)["attention/out"][1]
    assert all((w[m] == 0).all() for w, m in pairs(params, state).values())

  ratio = Moving(schedule.at_step(schedule.linear(0.0, 1.0), 6))
  train(weights.hold(optax.adam(0.1), select=partial(select.top, ratio=ratio), every=2), each=each)
  assert [masks[step].sum() for step in range(1, 7)] == [0, 16, 16, 32, 32, 48]
  np.testing.assert_array_equal(masks[2], masks[3])


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_units_are_hidden_whole_and_counted_as_units(scope):
  units = {"attention": {"out": (0, 2)}, "norm": None, "stack": [(-1, 1), None, (0, 1)]}
  tx = weights.hold(optax.adam(0.1), select=half, units=units, scope=scope)
  params, state = train(tx)
  found, total = pairs(params, state), 0
  for leaf, (axis, size) in {"attention/out": (0, 2), "stack/0": (2, 1), "stack/2": (0, 1)}.items():
    w, hidden = found[leaf]
    assert (w[hidden] == 0).all()
    rows = np.moveaxis(hidden, axis, 0).reshape(hidden.shape[axis] // size, -1)
    assert (rows.all(1) == rows.any(1)).all()
    total += rows.all(1).sum()
    assert scope == "global" or rows.all(1).sum() == round(0.5 * len(rows))
  assert total == round(0.5 * (4 + 3 + 5)) or scope == "layer"


def test_the_heads_of_least_mean_magnitude_are_hidden():
  params = {"out": jnp.ones((6, 3)) * jnp.array([5.0, 1.0, 2.0, 2.0, 9.0, 0.0])[:, None]}
  tx = weights.hold(optax.sgd(0.0), select=partial(select.top, count=1), units=(0, 2))
  params, _ = train(tx, steps=1, params=params)
  assert params["out"][:, 0].tolist() == [5, 1, 0, 0, 9, 0]


def test_every_group_along_the_input_axis_keeps_two_of_four():
  params = {"kernel": jax.random.normal(KEY, (16, 5)), "deep": jax.random.normal(KEY, (2, 8, 3))}
  tx = weights.hold(optax.adamw(0.1), select=partial(select.n_of_m, keep=2, of=4, axis=-2))
  params, state = train(tx, params=params)
  for w, hidden in pairs(params, state).values():
    groups = np.moveaxis(hidden, -2, -1).reshape(-1, 4)
    assert (groups.sum(1) == 2).all()
    assert (w[hidden] == 0).all()


def test_clipping_counts_only_the_living_weights():
  spy = optax.stateless(lambda u, p: jax.tree.map(lambda x: -x, u))
  norm = lambda u, p: jax.tree.map(lambda x: x * 0 + optax.tree.norm(u), u)
  params = {"w": jnp.array([[1.0, 2.0, 3.0, 4.0]])}
  tx = weights.hold(optax.chain(optax.stateless(norm), spy), select=half)
  state, update = tx.init(params), jax.jit(tx.update)
  grads = {"w": jnp.array([[300.0, jnp.nan, 3.0, 4.0]])}
  _, state = update({"w": jnp.ones((1, 4))}, state, params)
  updates, _ = update(grads, state, {"w": jnp.array([[0.0, 0.0, 3.0, 4.0]])})
  assert updates["w"].tolist() == [[0.0, 0.0, -5.0, -5.0]]


def test_zero_clears_an_average():
  average = draw(jax.random.key(9))
  _, state = train(weights.hold(optax.adam(0.1), select=half), steps=2)
  cleared = weights.zero(average, (optax.EmptyState(), state))
  for leaf, (w, hidden) in pairs(cleared, state).items():
    assert (w[hidden] == 0).all()
    assert (w[~hidden] == pairs(average, state)[leaf][0][~hidden]).all()
  np.testing.assert_array_equal(cleared["norm"], average["norm"])


def test_sparsity_of_a_state_and_of_parameters():
  params, state = train(weights.hold(optax.adam(0.1), select=half), steps=2)
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
  tx = weights.hold(optax.adam(0.1), select=half)
  params, state = train(tx)
  leaves, tree = jax.tree.flatten(state)
  flat = jax.tree.unflatten(tree, [np.array(leaf) for leaf in leaves])
  read = flax.serialization.from_bytes(tx.init(params), flax.serialization.to_bytes(state))
  for again in (flat, read):
    jax.tree.map(np.testing.assert_array_equal, weights.masks(again), weights.masks(state))
    assert int(again.step) == 6


def test_masks_take_one_bit_a_weight_and_the_padding_of_a_row():
  params = {"a": jnp.ones((3, 100)), "b": jnp.ones((7, 3))}
  hidden = weights.hold(optax.sgd(0.1), select=half).init(params).hidden
  assert sum(leaf.nbytes for leaf in jax.tree.leaves(hidden)) == 3 * 13 + 7 * 1


def test_where_names_the_leaves():
  chosen = {"attention": {"out": False}, "norm": True, "stack": [False, None, True]}
  for where in (chosen, lambda params: chosen):
    tx = weights.hold(optax.adam(0.1), select=half, where=where)
    params, state = train(tx, steps=2)
    assert set(pairs(params, state)) == {"norm", "stack/2"}


def test_the_keys_of_leaves_differ_and_stay():
  params = {"a": jnp.ones((8, 8)), "b": jnp.ones((8, 8))}
  masks = []
  for seed in (0, 0, 1):
    tx = weights.hold(optax.sgd(0.1), select=half, score=weights.random, seed=seed, regrow=True)
    masks += [weights.masks(train(tx, steps=n, params=params)[1]) for n in (1, 3)]
  same = lambda x, y: bool((x == y).all())
  assert not same(masks[0]["a"], masks[0]["b"])
  assert all(same(masks[0]["a"], other["a"]) for other in masks[1:4])
  assert not same(masks[0]["a"], masks[4]["a"])


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
    weights.hold(optax.sgd(0.1), **{"select": half, **given}).init(draw(KEY))


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
