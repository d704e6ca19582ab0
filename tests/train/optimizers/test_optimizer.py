"""Optimisers against optax, PyTorch and their equations in numpy; rules and freezing."""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from maskjax.train.optimizers.optimizer import RULES, optimizer

GOLDEN = pathlib.Path(__file__).parents[2] / "golden"
PLAIN = {"learning_rate": 0.05, "total_steps": 20, "batch_size": 1, "scale_by_batch": 0}
EVERYTHING = {"decay_rules": ()}


def normal(seed, scale=1.0):
  rng = np.random.default_rng(seed)
  draw = lambda *shape: np.asarray(rng.normal(size=shape) * scale, np.float32)
  return {
    "embed": {"kernel": draw(3, 4)},
    "block_0": {"kernel": draw(4, 4), "bias": draw(4)},
    "block_1": {"kernel": draw(4, 4), "bias": draw(4)},
    "head": {"kernel": draw(4, 2), "bias": draw(2)},
  }


def run(tx, params, steps=8, gradient=normal):
  """Parameters and state after some steps, one program for all of them."""

  def update(carry, grads):
    params, state = carry
    updates, state = tx.update(grads, state, params)
    return (optax.apply_updates(params, updates), state), None

  begin = lambda params, grads: jax.lax.scan(update, (params, tx.init(params)), grads)[0]
  grads = [gradient(step + 1) for step in range(steps)]
  return jax.device_get(jax.jit(begin)(params, jax.tree.map(lambda *x: np.stack(x), *grads)))


def assert_close(actual, expected, rtol=2e-6, atol=2e-7):
  close = lambda a, b: np.testing.assert_allclose(a, np.asarray(b), rtol=rtol, atol=atol)
  jax.tree.map(close, actual, expected)


def optax_rate(peak=0.05, warmup=0, total=20):
  return optax.warmup_cosine_decay_schedule(0.0 if warmup else peak, peak, warmup, total)


@pytest.mark.parametrize(
  ("options", "reference"),
  [
    (
      {"weight_decay": 0.1, "b1": 0.8, "b2": 0.95, "eps": 1e-6},
      lambda lr: optax.adamw(lr, b1=0.8, b2=0.95, eps=1e-6, weight_decay=0.1),
    ),
    (
      {"weight_decay": 0.1, "mu_dtype": "bfloat16", "nesterov": True},
      lambda lr: optax.adamw(lr, weight_decay=0.1, mu_dtype=jnp.bfloat16, nesterov=True),
    ),
    ({"fn": "adam"}, optax.adam),
    (
      {"fn": "sgd", "momentum": 0.8, "nesterov": True},
      lambda lr: optax.sgd(lr, momentum=0.8, nesterov=True),
    ),
    ({"fn": "lamb", "weight_decay": 0.1}, lambda lr: optax.lamb(lr, weight_decay=0.1)),
    ({"fn": "lion", "weight_decay": 0.1}, lambda lr: optax.lion(lr, weight_decay=0.1)),
    (
      {"clip": 0.5, "weight_decay": 0.1},
      lambda lr: optax.chain(optax.clip_by_global_norm(0.5), optax.adamw(lr, weight_decay=0.1)),
    ),
    (
      {"fn": "optax:adamw", "weight_decay": 0.1, "b2": 0.95},
      lambda lr: optax.adamw(lr, b2=0.95, weight_decay=0.1),
    ),
    ({"fn": "optax:adabelief"}, optax.adabelief),
  ],
)
def test_equals_optax_where_rules_are_uniform(options, reference):
  params = normal(0)
  ours = optimizer(params, **PLAIN, **EVERYTHING, warmup_steps=3, **options).tx
  assert_close(run(ours, params)[0], run(reference(optax_rate(warmup=3)), params)[0])


@pytest.mark.parametrize(("name", "lengths"), [("adamw", (7, 20)), ("adan", (1, 10))])
def test_equals_the_steps_of_public_code(name, lengths):
  golden = json.loads((GOLDEN / f"{name}.json").read_text())
  arrays = lambda leaves: {name: np.asarray(leaf, np.float32) for name, leaf in leaves.items()}
  params = arrays(golden["start"])
  tx = optimizer(params, batch_size=256, **golden["config"]).tx
  gradient = lambda step: arrays(golden["gradients"][step - 1])
  for steps in lengths:
    moved, _ = run(tx, params, steps, gradient)
    assert_close(moved, arrays(golden["path"][steps - 1]), rtol=1e-5, atol=1e-6)


def test_lars_by_its_equations():
  """As in the code of MoCo v3 and MAE: decay and trust for matrices only, the rate last."""
  options = {"fn": "lars", "weight_decay": 0.1, "momentum": 0.9, "trust_coefficient": 0.01}
  params = normal(0)
  tx, rate, *_ = optimizer(params, **PLAIN, **options)
  expected = jax.tree.map(lambda p: np.asarray(p, np.float64), params)
  momentum = jax.tree.map(np.zeros_like, expected)
  for step, lr in enumerate(np.asarray(rate(jnp.arange(8)))):

    def direction(p, g):
      if p.ndim < 2:
        return np.asarray(g, np.float64)
      g = g + 0.1 * p
      return g * 0.01 * np.linalg.norm(p) / np.linalg.norm(g)

    momentum = jax.tree.map(
      lambda m, d: 0.9 * m + d, momentum, jax.tree.map(direction, expected, normal(step + 1))
    )
    expected = jax.tree.map(lambda p, m, lr=lr: p - lr * m, expected, momentum)
  assert_close(run(tx, params)[0], expected, rtol=1e-5, atol=1e-6)


def test_lamb_leaves_the_undecayed_out_of_its_trust_ratio():
  params = normal(0)
  ours = run(optimizer(params, **PLAIN, fn="lamb", weight_decay=0.1).tx, params)[0]
  lamb = run(optax.lamb(optax_rate(), weight_decay=0.1), params)[0]
  adam = run(optax.adam(optax_rate(), eps=1e-6), params)[0]
  for layer in params:
    for name in params[layer]:
      same = (lamb if name == "kernel" else adam)[layer][name]
      assert_close(ours[layer][name], same)
  assert not np.allclose(lamb["head"]["bias"], adam["head"]["bias"])


@pytest.mark.parametrize("fn", [fn for fn in RULES if fn != "adam"] + ["optax:adamw"])
def test_zero_gradients_leave_decay_alone_by_its_multiplier(fn):
  params = normal(0)
  rules = [("head/kernel", 2.0), ("head", None), ("embed", 0.5)]
  options = {"weight_decay": 0.1, "schedule": "constant", "decay_rules": rules}
  if fn == "lars":
    options["trust_coefficient"] = 1.0
  tx = optimizer(params, **PLAIN, fn=fn, **options).tx
  zero = lambda _: jax.tree.map(np.zeros_like, params)
  moved = run(tx, params, steps=1, gradient=zero)[0]
  factor = lambda m: 1 - 0.05 * 0.1 * m
  if fn in ("lamb", "lars"):  # the trust ratio scales the decay to the norm of the parameter
    factor = lambda m: 1 - 0.05 * (m > 0)
  assert_close(moved["head"]["kernel"], params["head"]["kernel"] * factor(2))
  assert_close(moved["head"]["bias"], params["head"]["bias"])
  assert_close(moved["embed"]["kernel"], params["embed"]["kernel"] * factor(0.5))
  assert_close(moved["block_0"]["bias"], params["block_0"]["bias"] * factor(1))


def test_what_does_not_decay_by_default():
  ones = lambda shape: np.ones(shape, np.float32)
  decayed = {"kernel": ones((2, 2)), "token_table": {"embedding": ones((2, 2))}}
  kept = {
    "norm": {"scale": ones(2)},
    "qkv": {"bias": ones((2, 2))},
    "gamma": ones(2),
    "class_token": ones((1, 1, 2)),
    "position": {"embedding": ones((2, 2))},
    "bias": ones((1, 2)),
  }
  params = {"decayed": decayed, "kept": kept}
  tx, _, report, *_ = optimizer(params, **PLAIN, schedule="constant", weight_decay=0.1)
  zero = lambda _: jax.tree.map(np.zeros_like, params)
  moved = run(tx, params, steps=1, gradient=zero)[0]
  assert all((leaf < 1).all() for leaf in jax.tree.leaves(moved["decayed"]))
  assert all((leaf == 1).all() for leaf in jax.tree.leaves(moved["kept"]))
  assert any("weight decay: 2 of 8 leaves" in line for line in report)


@pytest.mark.parametrize("fn", [*RULES, "optax:adamw"])
def test_frozen_parameters_do_not_move_a_bit(fn):
  params = normal(0)
  params["embed"]["kernel"][0, :2] = -0.0, 0.0
  decay = 0.0 if fn == "adam" else 0.1
  options = {"fn": fn, "weight_decay": decay, "clip": 1.0}
  rules = [("^embed", 0), ("^block_0/", None), ("head", 0.1)]
  tx = optimizer(params, **PLAIN, **options, rate_rules=rules).tx

  def gradient(step):
    grads = normal(step)
    return {**grads, "embed": {"kernel": np.full((3, 4), np.nan, np.float32)}}

  moved, state = run(tx, params, gradient=gradient)
  for layer in ("embed", "block_0"):
    for name, leaf in params[layer].items():
      bits = lambda x: np.asarray(x).view(np.uint32)
      np.testing.assert_array_equal(bits(moved[layer][name]), bits(leaf))
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(moved))

  # The others move as they would alone: the frozen ones have no part in clipping and no state.
  rest = {layer: params[layer] for layer in ("block_1", "head")}
  only = lambda step: {layer: normal(step)[layer] for layer in rest}
  alone = optimizer(rest, **PLAIN, **options, rate_rules=rules[2:]).tx
  expected, smaller = run(alone, rest, gradient=only)
  assert_close({layer: moved[layer] for layer in rest}, expected)
  shapes = lambda tree: [np.shape(leaf) for leaf in jax.tree.leaves(tree)]
  assert sorted(shapes(state)) == sorted(shapes(smaller))


def test_rates_multiply_the_whole_update():
  params = normal(0)
  rules = [("head/bias", 3.0), ("head", 0.5)]
  options = {"weight_decay": 0.1, "layer_decay": 0.5, "rate_rules": rules}
  both = [optimizer(params, **PLAIN, **extra).tx for extra in ({"weight_decay": 0.1}, options)]
  first = lambda params, grads: [tx.update(grads, tx.init(params), params)[0] for tx in both]
  updates = jax.device_get(jax.jit(first)(params, normal(1)))
  ratio = jax.tree.map(lambda plain, scaled: scaled / plain, *updates)
  factors = {
    "embed": {"kernel": 0.125},
    "block_0": {"kernel": 0.25, "bias": 0.25},
    "block_1": {"kernel": 0.5, "bias": 0.5},
    "head": {"kernel": 0.5, "bias": 3.0},
  }
  jax.tree.map(lambda r, f: np.testing.assert_allclose(r, f, rtol=1e-6), ratio, factors)


def test_clipping_comes_before_the_moments():
  params, huge = normal(0), normal(1, scale=1e4)
  tx = optimizer(params, **PLAIN, fn="sgd", momentum=0.5, schedule="constant", clip=2.0).tx
  state, update = jax.jit(tx.init)(params), jax.jit(tx.update)
  for scale in (1.0, 1.5):
    updates, state = update(huge, state, params)
    np.testing.assert_allclose(optax.tree.norm(updates), 0.05 * 2.0 * scale, rtol=1e-5)


@pytest.mark.parametrize("fn", ["sgd", "adam"])
def test_coupled_decay_is_in_the_moments_behind_the_clipping(fn):
  """As `torch.optim.SGD` (Nesterov) and `torch.optim.Adam` with a `weight_decay`, in numpy."""
  rate, decay, clip, steps = 0.05, 0.3, 0.5, 3
  more = dict(momentum=0.8, nesterov=True) if fn == "sgd" else dict(b1=0.8, b2=0.9, eps=1e-8)
  more |= dict(coupled=True, weight_decay=decay, decay_rules=(("head", 2.0), ("bias", 0.0)))
  tx = optimizer(normal(0), **PLAIN, fn=fn, schedule="constant", clip=clip, **more).tx
  found, _ = run(tx, normal(0), steps)
  share = {"kernel": 1.0, "bias": 0.0}
  for layer, params in normal(0).items():
    for name, x in params.items():
      first, second = np.zeros_like(x), np.zeros_like(x)
      for t in range(1, steps + 1):
        grads = normal(t)
        norm = np.sqrt(sum(np.sum(g**2) for some in grads.values() for g in some.values()))
        g = grads[layer][name] * min(1, clip / norm)
        g = g + decay * (2.0 if layer == "head" else share[name]) * x
        if fn == "sgd":
          first = 0.8 * first + g
          x = x - rate * (g + 0.8 * first)
        else:
          first, second = 0.8 * first + 0.2 * g, 0.9 * second + 0.1 * g**2
          x = x - rate * first / (1 - 0.8**t) / (np.sqrt(second / (1 - 0.9**t)) + 1e-8)
      np.testing.assert_allclose(found[layer][name], x, rtol=2e-5, atol=2e-6)


def test_abstract_parameters_and_one_compile():
  params = normal(0)
  options = {"weight_decay": 0.1, "layer_decay": 0.9, "clip": 1.0}
  tx = optimizer(jax.eval_shape(lambda: params), **PLAIN, **options).tx
  traces = []

  @jax.jit
  def update(grads, state, params):
    traces.append(1)
    return tx.update(grads, state, params)

  state = tx.init(params)
  for step in range(3):
    updates, state = update(normal(step), state, params)
  assert len(traces) == 1
  assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(updates))
