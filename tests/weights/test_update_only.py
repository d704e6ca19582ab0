"""Updates of the selected only: the rest bit for bit, whatever the optimiser does."""

import pathlib
import runpy
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from maskjax import select, weights
from maskjax.errors import BadInput

beside = runpy.run_path(str(pathlib.Path(__file__).with_name("test_hold.py")))
OPTIMIZERS, KEY, draw = beside["OPTIMIZERS"], beside["KEY"], beside["draw"]
SIZE = 48 + 6 + 24 + 35
few = partial(select.top, ratio=0.9)
still = optax.sgd(0.0)


def bits(tree):
  """The bytes of every entry, by which zeros of either sign differ and NaN equals itself."""
  each = lambda x: np.ascontiguousarray(x).reshape(-1)
  return [each(x).view(np.uint8).reshape(x.size, -1) for x in jax.tree.leaves(jax.device_get(tree))]


def hidden_of(state):
  return [np.asarray(m).ravel() for m in jax.tree.leaves(weights.masks(state))]


def train(tx, params, steps=6, **given):
  """Steps with gradients of noise, among them NaN and infinity where weights are frozen."""
  state = tx.init(params, **given)
  masks = weights.masks(state)

  @jax.jit
  def step(params, state, i):
    noise = jax.random.normal(jax.random.fold_in(KEY, i + 1), (2,))
    broken = lambda p, m: jnp.where(m & (p > 0.5), jnp.where(p > 1, jnp.nan, jnp.inf), p)
    grads = jax.tree.map(lambda p: (noise[0] * jnp.cos(7 * p) + noise[1]).astype(p.dtype), params)
    grads = jax.tree.map(broken, grads, masks)
    updates, state = tx.update(grads, state, params)
    return optax.apply_updates(params, updates), state

  for i in range(steps):
    params, state = step(params, state, i)
  return params, state


@pytest.mark.parametrize(
  ("name", "dtype"),
  [*((name, jnp.float32) for name in OPTIMIZERS), ("adamw", jnp.bfloat16), ("grows", jnp.bfloat16)],
)
def test_what_is_not_selected_stays_bit_for_bit(name, dtype):
  params = draw(KEY, dtype)
  params["norm"] = params["norm"].at[:2].set(jnp.array([-0.0, 0.0], dtype))
  tx = weights.update_only(OPTIMIZERS[name], select=few, score=weights.random)
  after, state = train(tx, params)
  hidden = hidden_of(state)
  assert sum(m.sum() for m in hidden) == round(0.9 * SIZE)
  moved = 0
  for before, now, mask in zip(bits(params), bits(after), hidden, strict=True):
    np.testing.assert_array_equal(now[mask], before[mask])
    moved += (now != before).any(axis=1).sum()
  assert moved == SIZE - round(0.9 * SIZE)
  assert all(np.isfinite(np.float32(x)).all() for x in jax.tree.leaves(after))


def test_the_most_informative_are_selected_among_all_leaves_whatever_their_magnitude():
  params, found = draw(KEY), jax.tree.map(jnp.square, draw(jax.random.key(1)))
  tx = weights.update_only(still, select=few, score=weights.fisher)
  state = tx.init(params, squared_gradients=found)
  hidden = np.concatenate(hidden_of(state))
  flat = np.concatenate([np.ravel(x) for x in jax.tree.leaves(found)])
  kept = set(np.argsort(-flat)[: SIZE - round(0.9 * SIZE)].tolist())
  assert set(np.flatnonzero(~hidden).tolist()) == kept
  for other in (weights.random, weights.magnitude):
    twin = weights.update_only(still, select=few, score=other).init(params)
    theirs = set(np.flatnonzero(~np.concatenate(hidden_of(twin))).tolist())
    assert len(theirs & kept) < len(kept) / 2


def test_selected_parameters_move_as_they_would_alone():
  """An optimiser of the selected alone, the others being constants: the same steps."""
  params = draw(KEY)
  inner = optax.chain(optax.clip_by_global_norm(0.5), optax.adamw(0.1, weight_decay=0.5))
  tx = weights.update_only(inner, select=few, score=weights.random)
  state = tx.init(params)
  hidden = weights.masks(state)
  only = lambda tree: [
    x[~np.asarray(m)] for x, m in zip(jax.tree.leaves(tree), jax.tree.leaves(hidden), strict=True)
  ]
  alone, moments = only(params), inner.init(only(params))
  for i in range(4):
    grads = jax.tree.map(lambda p: jnp.sin((i + 3) * p), params)  # noqa: B023
    updates, state = tx.update(grads, state, params)
    small, moments = inner.update(only(grads), moments, alone)
    params, alone = optax.apply_updates(params, updates), optax.apply_updates(alone, small)
  for got, expected in zip(only(params), alone, strict=True):
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


def test_leaves_without_masks_are_trained_whole():
  params = draw(KEY)
  where = lambda tree: {**jax.tree.map(lambda _: True, tree), "norm": False}
  tx = weights.update_only(
    optax.sgd(0.1), select=partial(select.top, ratio=1.0), score=weights.random, where=where
  )
  state = tx.init(params)
  ones = jax.tree.map(jnp.ones_like, params)
  updates, _ = tx.update(ones, state, params)
  after = optax.apply_updates(params, updates)
  np.testing.assert_allclose(after["norm"], params["norm"] - 0.1, rtol=1e-6)
  assert all(map(np.array_equal, bits(after["stack"]), bits(params["stack"])))


def test_the_average_of_the_frozen_is_what_they_are():
  params = draw(KEY)
  tx = weights.update_only(optax.sgd(0.1), select=few, score=weights.random)
  state = tx.init(params)
  drifted = jax.tree.map(lambda p: p + 1e-6, params)
  got = weights.settle(drifted, params, state)
  for mask, now, was, drift in zip(
    hidden_of(state), bits(got), bits(params), bits(drifted), strict=True
  ):
    np.testing.assert_array_equal(now[mask], was[mask])
    np.testing.assert_array_equal(now[~mask], drift[~mask])


@pytest.mark.parametrize(
  ("given", "says"),
  [
    ({"score": weights.fisher}, "fisher needs squared_gradients; update_only offers"),
    ({"score": lambda params, gradients: params}, "needs gradients; update_only offers"),
    ({"scope": "layers"}, "unknown scope 'layers'; did you mean 'layer'"),
    ({"where": {"norm": True}}, "where is no tree shaped as the parameters"),
  ],
)
def test_what_cannot_be_selected_is_refused(given, says):
  with pytest.raises(BadInput, match=says):
    weights.update_only(still, **{"select": few, "score": weights.random, **given}).init(draw(KEY))


def test_statistics_of_another_shape_and_leaves_that_no_mask_fits_are_refused():
  tx = weights.update_only(still, select=few, score=weights.fisher)
  with pytest.raises(BadInput, match="squared_gradients is no tree shaped as the parameters"):
    tx.init(draw(KEY), squared_gradients={"norm": jnp.ones(6)})
  tx = weights.update_only(still, select=few, score=weights.random)
  with pytest.raises(BadInput, match="temperature is float32 of shape"):
    tx.init({"temperature": jnp.float32(1), "w": jnp.ones(3)})
  tx = weights.update_only(still, select=few, score=weights.random)
  with pytest.raises(BadInput, match="needs the parameters"):
    tx.update(draw(KEY), tx.init(draw(KEY)))
