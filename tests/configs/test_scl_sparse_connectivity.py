"""Sparse connectivity learning (Tang et al. 2022): what each connection is worth, and its cost."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax.traverse_util import flatten_dict

from maskjax import weights


def kernels(tree):
  """The kernels by name, without what is learned of them."""
  flat = flatten_dict({k: v for k, v in tree.items() if k != "masks"}, sep="/")
  return {name: np.asarray(x) for name, x in flat.items() if name.endswith("kernel")}


@pytest.fixture(scope="module")
def made(built):
  return built("scl_sparse_connectivity", "laptop")


def section(made):
  """The config's mechanism on any tree."""
  given = {k: v for k, v in made.config["reparametrize"].items() if k not in ("fn", "where")}
  start = {k: v for k, v in given.pop("start").items() if k != "fn"}
  return weights.thresholded_scores(start=partial(weights.uniform_numbers, **start), **given)


def test_all_kernels_begin_connected_and_neither_numbers_nor_norms_decay(made, undecayed):
  begun = jax.jit(made.task.init)(jax.random.key(0), made.batch)["params"]
  numbers = kernels(begun["masks"])
  assert set(numbers) == set(kernels(begun))
  assert "head/kernel" in numbers
  assert all((x == 1).all() for x in numbers.values())
  assert undecayed(made) == sorted(f"masks/{name}" for name in numbers)


def test_what_is_not_connected_is_zero_and_both_learn(made):
  begun, last = made.variables["params"], made.trained.state.variables["params"]
  rng = np.random.default_rng(0)
  numbers = jax.tree.map(lambda x: rng.normal(size=x.shape).astype(np.float32), last["masks"])
  variables = {**made.trained.state.variables, "params": {**last, "masks": numbers}}
  seen = kernels(made.task.final(variables)["params"])
  for name, number in kernels(numbers).items():
    np.testing.assert_array_equal(seen[name], np.where(number > 0, kernels(last)[name], 0))
    assert (kernels(last)[name] != kernels(begun)[name]).mean() > 0.9
    assert (kernels(last["masks"])[name] != 1).mean() > 0.9


def test_numbers_are_told_gradients_of_unit_scale_in_each_feature_and_the_cost(made):
  rng, params = np.random.default_rng(1), made.variables["params"]
  slopes = jax.tree.map(lambda x: rng.normal(size=x.shape).astype(np.float32), params)
  told = made.task.gradients(slopes, made.variables, 0)
  cost = made.config["reparametrize"]["cost"]
  for name, slope in kernels(slopes["masks"]).items():
    size = np.sqrt(np.square(slope).mean(axis=tuple(range(slope.ndim - 1))))
    np.testing.assert_allclose(
      kernels(told["masks"])[name], slope / size + cost, rtol=1e-4, atol=1e-5
    )
    np.testing.assert_array_equal(kernels(told)[name], kernels(slopes)[name])


def test_connections_that_are_of_no_use_go_and_no_others(made):
  """Of twelve inputs each output reads four others; the rest cost, whatever is asked for."""
  view, rng = section(made), np.random.default_rng(0)
  used = np.array([[(i + j) % 3 == 0 for j in range(5)] for i in range(12)])
  right = np.where(used, rng.choice([-1, 1], used.shape) * rng.uniform(0.5, 2, used.shape), 0)
  x = rng.normal(size=(256, 12)).astype(np.float32)
  y = (x @ right).astype(np.float32)
  params = {"kernel": jnp.asarray(0.5 * rng.normal(size=used.shape), jnp.float32)}

  def cost(both, state):
    seen, terms = view.soft(*both, state, None, 0)
    return jnp.mean(jnp.square(x @ seen["kernel"] - y)) + terms["connections"].sum

  tx = optax.sgd(optax.cosine_decay_schedule(0.05, 400))

  def one(carry, _):
    (own, learned), moments = carry
    slopes, pulls = jax.grad(cost)((own, learned), state)
    pulls = view.gradients(pulls, learned, state, 0)
    updates, moments = tx.update((slopes, pulls), moments)
    both = optax.apply_updates((own, learned), updates)
    return (both, moments), view.hard(*both, state)["kernel"] != 0

  learned, state = view.init(params, jax.random.key(0))
  begin = ((params, learned), tx.init((params, learned)))
  kept = np.asarray(jax.jit(lambda c: jax.lax.scan(one, c, length=400)[1])(begin))
  # Where the loss has nothing left to say the cost pulls on: a connection of use goes and returns.
  often = kept[200:].mean(axis=0)
  assert often[used].mean() > 0.6 > 0.1 > often[~used].mean()
