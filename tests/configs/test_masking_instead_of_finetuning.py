"""Masking in place of fine-tuning (Zhao et al. 2020), section 3: masks learn, weights do not."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax.traverse_util import flatten_dict

from maskjax import weights


def leaves(tree):
  """Arrays by name, without what is learned of them."""
  flat = flatten_dict({k: v for k, v in tree.items() if k != "masks"}, sep="/")
  return {name: np.asarray(x) for name, x in flat.items()}


@pytest.fixture(scope="module")
def made(built):
  return built("masking_instead_of_finetuning", "laptop")


def test_numbers_begin_uniform_with_a_twentieth_below_the_threshold(made):
  params = jax.jit(made.task.init)(jax.random.key(0), made.batch)["params"]
  numbers, kernels = leaves(params["masks"]), leaves(params)
  layers = [f"block_02/{part}" for part in ("attention/qkv", "attention/out", "mlp/up", "mlp/down")]
  assert set(numbers) == {f"encoder/{part}/kernel" for part in layers} | {"head/kernel"}
  assert all(numbers[name].shape == kernels[name].shape for name in numbers)
  drawn = np.sort(np.concatenate([x.ravel() for x in numbers.values()]))
  even = np.linspace(-0.02, 0.58, drawn.size)
  assert np.abs(drawn - even).max() < 1.6 * 0.6 / np.sqrt(drawn.size)  # Kolmogorov and Smirnov's.
  assert -0.02 <= drawn[0] < drawn[-1] < 0.58
  # Of what the public code sets the upper end by: the share of 5 %.
  np.testing.assert_allclose((0.02 + 0.01) / (0.02 + 0.58), 0.05)


def test_weights_stay_and_what_is_seen_is_above_the_threshold(made):
  begun, after = made.variables["params"], made.trained.state.variables["params"]
  first, last = leaves(begun["masks"]), leaves(after["masks"])
  for params, numbers, variables in (
    (begun, first, made.variables),
    (after, last, made.trained.state.variables),
  ):
    seen = leaves(made.task.final(variables)["params"])
    for name, leaf in leaves(params).items():
      np.testing.assert_array_equal(leaf, leaves(begun)[name])
      kept = numbers[name] > 0.01 if name in numbers else True
      np.testing.assert_array_equal(seen[name], np.where(kept, leaf, 0))
  # Adam's three steps at a constant rate; where there is a gradient it moves a number by the rate.
  moved = np.concatenate([np.abs(last[name] - first[name]).ravel() for name in first])
  rate = made.config["optimizer"]["learning_rate"]
  assert 0.5 * rate < np.median(moved) <= np.max(moved) < 3.1 * rate


def test_only_a_connection_that_hurts_is_hidden(made):
  """One of 84 frozen weights is wrong: it is hidden, whatever was at first, and no other one."""
  section, rng = made.config["reparametrize"], np.random.default_rng(0)
  low, high = section["start"]["low"], section["start"]["high"]
  start = partial(weights.uniform_numbers, low=low, high=high)
  view = weights.thresholded_scores(start=start, threshold=section["threshold"])
  x, right = (rng.normal(size=shape).astype(np.float32) for shape in ((64, 12), (12, 7)))
  wanted = np.ones((12, 7), bool)
  wanted[2, 3] = False
  params = {"kernel": jnp.asarray(np.where(wanted, right, 2.0))}
  right = np.where(wanted, right, 0)
  cost = lambda learned, state: jnp.mean(
    jnp.square(x @ view.soft(params, learned, state, None, 0)[0]["kernel"] - x @ right)
  )
  tx = optax.adam(0.02)

  def one(carry, _):
    learned, moments = carry
    updates, moments = tx.update(jax.grad(cost)(learned, state), moments)
    return (optax.apply_updates(learned, updates), moments), None

  learned, state = view.init(params, jax.random.key(5))
  begun = np.asarray(view.hard(params, learned, state)["kernel"]) != 0
  run = jax.jit(lambda c: jax.lax.scan(one, c, length=150)[0])
  learned, _ = run((learned, tx.init(learned)))
  after = np.asarray(view.hard(params, learned, state)["kernel"]) != 0
  assert begun[2, 3]
  assert not begun.all()
  np.testing.assert_array_equal(after, wanted)
