"""AdaMAE (Bandara et al. 2023), section 3.2: where to hide is learned from what is lost there."""

import jax
import numpy as np
import optax
import pytest


@pytest.fixture(scope="module")
def found(built):
  """The mean slopes of three steps in the sampler, as its optimiser keeps them, and their masks."""
  made = built("adamae", "laptop")
  slopes = made.vectors.split(optax.tree.get(made.trained.state.opt_state, "mu"))
  return slopes.get("score", {}), made.trained.masks["hidden"]


def test_of_a_hundred_tubelets_five_are_seen_and_no_tubes(found, looks):
  seen = looks(found[1], (4, 6, 6))
  assert seen.counts == [137]
  assert seen.distinct
  assert max(seen.alike) < 0.2


def test_the_sampler_is_trained_by_what_its_choice_costs(found):
  kernels = [leaf for leaf in jax.tree.leaves(found[0]) if leaf.ndim > 1]
  assert len(kernels) > 1
  assert all(np.isfinite(leaf).all() and leaf.any() for leaf in kernels)


def test_positions_of_the_sampler_decay_and_the_mask_token_does_not(built, undecayed):
  assert undecayed(built("adamae")) == ["decoder/mask_token"]
