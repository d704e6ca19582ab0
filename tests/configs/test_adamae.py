"""AdaMAE (Bandara et al. 2023), section 3.2: where to hide is learned from what is lost there."""

import jax
import numpy as np
import pytest

from maskjax.task.base import total


@pytest.fixture(scope="module")
def found(built):
  """How the loss of three steps slopes in the sampler, and their masks, in one program."""
  made = built("adamae", "laptop")

  def at(begun, batch, step):
    key, params = jax.random.key(0), begun["params"]

    def loss(sampler):
      terms, said = made.terms({**begun, "params": {**params, "score": sampler}}, batch, key, step)
      return total(terms, made.task.weights), said["select"]

    return jax.grad(loss, has_aux=True)(params.get("score", {}))

  def run(begun, batch, steps):
    return jax.lax.map(lambda step: at(begun, batch, step), steps)

  return jax.device_get(jax.jit(run)(made.initial, made.batch, made.steps))


def test_of_a_hundred_tubelets_five_are_seen_and_no_tubes(found, looks):
  seen = looks(found[1], (4, 6, 6))
  assert seen.counts == [137]
  assert seen.distinct
  assert max(seen.alike) < 0.2


def test_the_sampler_is_trained_by_what_its_choice_costs(found):
  kernels = [leaf for leaf in jax.tree.leaves(found[0]) if leaf.ndim > 2]
  assert len(kernels) > 1
  assert all(np.isfinite(leaf).all() and leaf.any() for leaf in kernels)
