"""Signed supermasks (Koster et al. 2022), section 3: untrained weights, kept, hidden or turned."""

import jax
import numpy as np
import pytest


def kernels(tree):
  """The kernels by layer."""
  leaves = jax.tree_util.tree_leaves_with_path(tree)
  return {jax.tree_util.keystr(path[:-1], simple=True): np.asarray(x) for path, x in leaves}


@pytest.fixture(scope="module")
def made(built):
  return built("signed_supermask", "laptop")


def test_weights_begin_with_one_size_a_layer_and_numbers_as_glorots(made):
  params = dict(jax.jit(made.task.init)(jax.random.key(0), made.batch)["params"])
  numbers = kernels(params.pop("masks"))
  assert set(kernels(params)) == set(numbers) == {"conv_00", "conv_01", "dense_00", "head"}
  for name, kernel in kernels(params).items():
    fan_in, fan_out = (np.prod(kernel.shape[:-2]) * n for n in kernel.shape[-2:])
    np.testing.assert_allclose(np.abs(kernel), np.sqrt(6 / fan_in), rtol=1e-6)
    assert abs(np.sign(kernel).mean()) < 4 / np.sqrt(kernel.size)
    assert 0.8 < np.abs(numbers[name]).max() / np.sqrt(6 / (fan_in + fan_out)) < 1


def test_a_weight_is_kept_hidden_or_turned_by_its_number_and_the_layers_first_ones(made):
  begun, after = (dict(x["params"]) for x in (made.variables, made.trained.state.variables))
  first, last = kernels(begun.pop("masks")), kernels(after.pop("masks"))
  for variables, numbers in ((made.variables, first), (made.trained.state.variables, last)):
    seen = kernels(made.task.final(variables)["params"])
    for name, kernel in kernels(begun).items():
      limit = 0.4 * np.abs(first[name]).max()
      gate = np.sign(numbers[name]) * (np.abs(numbers[name]) > limit)
      assert {*np.unique(gate)} == {-1, 0, 1}
      np.testing.assert_array_equal(seen[name], gate * kernel)
  for name, kernel in kernels(begun).items():
    np.testing.assert_array_equal(kernels(after)[name], kernel)
    assert (first[name] != last[name]).all()


def test_all_numbers_decay_by_a_share_of_themselves_that_is_the_public_codes(built, undecayed):
  assert undecayed(built("signed_supermask")) == []
  of = built("signed_supermask").config["optimizer"]
  assert not of["coupled"]
  # There the decay is not multiplied by the learning rate.
  np.testing.assert_allclose(of["weight_decay"] * of["learning_rate"], 5e-4)


def test_the_rate_falls_by_a_tenth_in_ten_epochs(built):
  made = built("signed_supermask")
  rate, epoch = made.optimizer.rate, made.total_steps // 100
  np.testing.assert_allclose([rate(0), rate(10 * epoch)], [0.04, 0.036], rtol=1e-3)
