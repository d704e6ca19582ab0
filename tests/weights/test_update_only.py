"""Updates of the selected only: the rest bit for bit, whatever the optimiser does."""

import functools
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
OPTIMIZERS, draw, FEW_SHAPES = (beside[name] for name in ("OPTIMIZERS", "draw", "FEW_SHAPES"))
SIZE = 48 + 6 + 24 + 35
few = partial(select.top, ratio=0.9)
still = optax.sgd(0.0)


def bits(tree):
  """The bytes of every entry, by which zeros of either sign differ and NaN equals itself."""
  each = lambda x: np.ascontiguousarray(x).reshape(-1)
  return [each(x).view(np.uint8).reshape(x.size, -1) for x in jax.tree.leaves(jax.device_get(tree))]


def hidden_of(masks):
  return [np.asarray(m).ravel() for m in jax.tree.leaves(masks)]


def train(tx, params, steps=6):
  """Parameters and masks after gradients of noise, with NaN and infinity where all is frozen."""
  noise = np.random.default_rng(1).standard_normal((steps, 2), np.float32)

  @jax.jit
  def run(params, noise):
    state = tx.init(params)
    masks = weights.masks(state)
    broken = lambda p, m: jnp.where(m & (p > 0.5), jnp.where(p > 1, jnp.nan, jnp.inf), p)

    def step(carry, noise):
      params, state = carry
      grads = jax.tree.map(lambda p: (noise[0] * jnp.cos(7 * p) + noise[1]).astype(p.dtype), params)
      updates, state = tx.update(jax.tree.map(broken, grads, masks), state, params)
      return (optax.apply_updates(params, updates), state), None

    (params, state), _ = jax.lax.scan(step, (params, state), noise)
    return params, weights.masks(state)

  return jax.device_get(run(params, noise))


def begun(tx, params, **given):
  """The state before the first step, and its masks."""
  begin = lambda params, given: (state := tx.init(params, **given), weights.masks(state))
  return jax.jit(begin)(params, given)


@pytest.mark.parametrize(
  ("name", "dtype"),
  [*((name, jnp.float32) for name in OPTIMIZERS), ("adamw", jnp.bfloat16), ("grows", jnp.bfloat16)],
)
def test_what_is_not_selected_stays_bit_for_bit(name, dtype):
  params, size = draw(dtype=dtype, shapes=FEW_SHAPES), 48 + 6
  params["norm"][:2] = [-0.0, 0.0]
  tx = weights.update_only(OPTIMIZERS[name], select=few, score=weights.random)
  after, masks = train(tx, params)
  hidden = hidden_of(masks)
  assert sum(m.sum() for m in hidden) == round(0.9 * size)
  moved = 0
  for before, now, mask in zip(bits(params), bits(after), hidden, strict=True):
    np.testing.assert_array_equal(now[mask], before[mask])
    moved += (now != before).any(axis=1).sum()
  assert moved == size - round(0.9 * size)
  assert all(np.isfinite(np.float32(x)).all() for x in jax.tree.leaves(after))


def test_the_most_informative_are_selected_among_all_leaves_whatever_their_magnitude():
  params, found = draw(), jax.tree.map(np.square, draw(1))
  tx = weights.update_only(still, select=few, score=weights.fisher)
  hidden = np.concatenate(hidden_of(begun(tx, params, squared_gradients=found)[1]))
  flat = np.concatenate([np.ravel(x) for x in jax.tree.leaves(found)])
  kept = set(np.argsort(-flat)[: SIZE - round(0.9 * SIZE)].tolist())
  assert set(np.flatnonzero(~hidden).tolist()) == kept
  for other in (weights.random, weights.magnitude):
    _, twin = begun(weights.update_only(still, select=few, score=other), params)
    theirs = set(np.flatnonzero(~np.concatenate(hidden_of(twin))).tolist())
    assert len(theirs & kept) < len(kept) / 2


def test_selected_parameters_move_as_they_would_alone():
  """An optimiser of the selected alone, the others being constants: the same steps."""
  params = draw()
  inner = optax.chain(optax.clip_by_global_norm(0.5), optax.adamw(0.1, weight_decay=0.5))
  tx = weights.update_only(inner, select=few, score=weights.random)
  state, hidden = begun(tx, params)
  only = lambda tree: [
    x[~np.asarray(m)] for x, m in zip(jax.tree.leaves(tree), jax.tree.leaves(hidden), strict=True)
  ]

  @jax.jit
  def steps(params, state, alone):
    moments = inner.init(alone)
    for i in range(4):
      grads = jax.tree.map(lambda p: jnp.sin((i + 3) * p), params)  # noqa: B023
      updates, state = tx.update(grads, state, params)
      small, moments = inner.update(only(grads), moments, alone)
      params, alone = optax.apply_updates(params, updates), optax.apply_updates(alone, small)
    return params, alone

  after, alone = steps(params, state, only(params))
  for got, expected in zip(only(after), alone, strict=True):
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


def test_leaves_without_masks_are_trained_whole():
  params = draw()
  where = lambda tree: {**jax.tree.map(lambda _: True, tree), "norm": False}
  tx = weights.update_only(
    optax.sgd(0.1), select=partial(select.top, ratio=1.0), score=weights.random, where=where
  )

  @jax.jit
  def step(params):
    updates, _ = tx.update(jax.tree.map(jnp.ones_like, params), tx.init(params), params)
    return optax.apply_updates(params, updates)

  after = step(params)
  np.testing.assert_allclose(after["norm"], params["norm"] - 0.1, rtol=1e-6)
  assert all(map(np.array_equal, bits(after["stack"]), bits(params["stack"])))


def test_the_average_of_the_frozen_is_what_they_are():
  params = draw()
  tx = weights.update_only(optax.sgd(0.1), select=few, score=weights.random)
  state, masks = begun(tx, params)
  drifted = jax.tree.map(lambda p: p + np.float32(1e-6), params)
  got = jax.jit(weights.settle)(drifted, params, state)
  for mask, now, was, drift in zip(
    hidden_of(masks), bits(got), bits(params), bits(drifted), strict=True
  ):
    np.testing.assert_array_equal(now[mask], was[mask])
    np.testing.assert_array_equal(now[~mask], drift[~mask])


SHAPES = {"one": (4, 5), "two": (6,)}


def draws(seed, count):
  rng = np.random.default_rng(seed)
  return {k: rng.standard_normal((count, *shape), np.float32) for k, shape in SHAPES.items()}


@functools.cache
def anew(frozen=True, every=1, count=3):
  """Parameters before and after updates by Adam, its first moments, masks, averages; gradients."""
  inner = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(0.1, b1=0.5))
  gradients, params = draws(1, count), jax.tree.map(lambda x: x[0], draws(2, 1))
  tx = weights.update_only(
    inner,
    select=partial(select.top, ratio=0.7),
    score=weights.gradient,
    scope="layer",
    every=every,
    frozen=frozen,
  )

  def step(carry, gradients):
    params, state, average = carry
    updates, state = tx.update(gradients, state, params)
    after = optax.apply_updates(params, updates)
    average = jax.tree.map(lambda a, p: (a + p) / 2, average, after)
    average = weights.settle(average, after, state)
    moments = optax.tree.get(state, "mu")
    return (after, state, average), (params, after, moments, weights.masks(state), average)

  begin = params, tx.init(params), params
  return gradients, *jax.device_get(jax.jit(lambda: jax.lax.scan(step, begin, gradients)[1])())


@pytest.mark.parametrize("every", [1, 3])
def test_masks_that_are_chosen_anew_follow_the_largest_gradients_of_their_step(every):
  gradients, before, after, moments, masks, average = anew(every=every, count=5)
  scale = {i: [g[i] for g in gradients.values()] for i in range(5)}
  for name, mask in masks.items():
    moment, mean = np.zeros_like(before[name][0]), before[name][0]
    for i, hidden in enumerate(mask):
      size = np.abs(gradients[name][i - i % every])
      assert (~hidden).sum() == size.size - round(0.7 * size.size)
      assert size[~hidden].min() > size[hidden].max()
      moved = after[name][i] != before[name][i]
      np.testing.assert_array_equal(moved, ~hidden)
      # Clipping and moments know the gradients of these alone.
      told = [np.where(masks[k][i], 0, g) for k, g in zip(gradients, scale[i], strict=True)]
      norm = np.sqrt(sum(np.square(g).sum() for g in told))
      moment = (moment + np.where(hidden, 0, gradients[name][i]) / max(norm, 1)) / 2
      np.testing.assert_allclose(moments[name][i], moment, rtol=1e-5, atol=1e-7)
      mean = (mean + after[name][i]) / 2
      np.testing.assert_allclose(average[name][i], mean, rtol=1e-5)
  assert every > 1 or (masks["one"][0] != masks["one"][1]).any()


def test_hidden_parameters_that_are_not_frozen_are_moved_on_by_momentum():
  _, before, after, _, masks, _ = anew(frozen=False)
  for name, mask in masks.items():
    told = ~mask[0]
    for i, hidden in enumerate(mask):
      told = told | ~hidden
      np.testing.assert_array_equal(after[name][i] != before[name][i], told)


def test_the_average_of_what_is_not_frozen_is_an_average():
  params = draw()
  tx = weights.update_only(optax.sgd(0.1), select=few, score=weights.random, frozen=False)
  state, _ = begun(tx, params)
  drifted = jax.tree.map(lambda p: p + np.float32(1e-6), params)
  jax.tree.map(np.testing.assert_array_equal, weights.settle(drifted, params, state), drifted)


def test_noise_that_is_drawn_anew_selects_others_at_each_step():
  params = {"kernel": jnp.zeros((20, 5))}
  tx = weights.update_only(
    optax.sgd(1.0), select=few, score=weights.resampled, every=1, scope="layer"
  )

  @jax.jit
  def run(state):
    def step(state, _):
      updates, state = tx.update(jax.tree.map(jnp.ones_like, params), state, params)
      return state, updates["kernel"] != 0

    return jax.lax.scan(step, state, length=40)[1]

  moved = jax.device_get(run(tx.init(params)))
  assert (moved.sum((1, 2)) == 10).all()
  assert len({step.tobytes() for step in moved}) == 40
  assert (moved.sum(0) > 0).mean() > 0.9


@pytest.mark.parametrize(
  ("given", "says"),
  [
    ({"score": weights.fisher}, "fisher needs squared_gradients; update_only offers"),
    ({"score": lambda params, gradients: params}, "needs gradients; update_only offers"),
    ({"every": -1}, "every must be a number of updates, got -1"),
    ({"every": 1, "score": weights.fisher}, "fisher needs squared_gradients; update_only offers"),
    ({"scope": "layers"}, "unknown scope 'layers'; did you mean 'layer'"),
    ({"where": {"norm": True}}, "where is no tree shaped as the parameters"),
  ],
)
def test_what_cannot_be_selected_is_refused(given, says):
  words = {"select": few, "score": weights.random, **given}
  with pytest.raises(BadInput, match=says):
    jax.eval_shape(lambda params: weights.update_only(still, **words).init(params), draw())


def test_statistics_of_another_shape_and_leaves_that_no_mask_fits_are_refused():
  tx = weights.update_only(still, select=few, score=weights.fisher)
  with pytest.raises(BadInput, match="squared_gradients is no tree shaped as the parameters"):
    begun(tx, draw(), squared_gradients={"norm": jnp.ones(6)})
  tx = weights.update_only(still, select=few, score=weights.random)
  with pytest.raises(BadInput, match="temperature is float32 of shape"):
    tx.init({"temperature": jnp.float32(1), "w": jnp.ones(3)})
  tx = weights.update_only(still, select=few, score=weights.random)
  with pytest.raises(BadInput, match="needs the parameters"):
    tx.update(draw(), begun(tx, draw())[0])
