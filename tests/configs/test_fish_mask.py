"""FISH masks (Sung et al. 2021), section 3: parameters of most Fisher information are trained."""

import jax
import numpy as np

from maskjax import weights
from maskjax.train.state import init_opt_state


def test_trained_are_the_head_and_the_parameters_of_largest_fisher_information(built):
  made, rng = built("fish_mask"), np.random.default_rng(0)
  # Any information will do, so long as it is under the name of what is prepared.
  filled = lambda leaf: rng.random(leaf.shape, np.float32)
  params, prepared = jax.tree.map(filled, (made.shapes["params"], made.shapes["prepared"]))
  assert set(prepared) == {"squared_gradients"}
  tx = made.optimizer.tx
  chosen = lambda given: weights.masks(init_opt_state(tx, given))
  held = jax.device_get(jax.jit(chosen)({"params": params, "prepared": prepared}))
  fisher = prepared["squared_gradients"]
  assert held.pop("head") == {"bias": None, "kernel": None}
  assert fisher.pop("head")
  held, fisher = (np.concatenate([np.ravel(x) for x in jax.tree.leaves(t)]) for t in (held, fisher))
  # With the head half a percent of the paper's network.
  share = 1 - (0.005 * 21_282_122 - 5130) / (21_282_122 - 5130)
  assert abs(held.sum() - share * held.size) <= 1
  assert fisher[~held].min() >= fisher[held].max()


def test_rate_and_decay_are_those_of_the_public_code(built):
  made, steps = built("fish_mask").optimizer, np.arange(built("fish_mask").total_steps)
  np.testing.assert_allclose(made.rate(steps).max(), 0.02, rtol=1e-5)  # of whatever batch
  assert all(jax.tree.leaves(made.decays))  # biases and norms too
