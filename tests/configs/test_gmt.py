"""GMT (Li et al. 2024): of each leaf the largest entries of a step's gradient are updated."""

import jax
import numpy as np
import optax

from maskjax import weights


def test_a_fifth_of_each_leaf_is_updated_by_the_gradient_of_the_step(built):
  made, rng = built("gmt", "laptop"), np.random.default_rng(0)
  params = jax.tree.map(lambda x: rng.random(x.shape, np.float32), made.shapes["params"])
  noise = [jax.tree.map(lambda x: rng.normal(size=x.shape), params) for _ in range(2)]
  noise = [jax.tree.map(np.float32, tree) for tree in noise]
  tx = made.optimizer.tx

  @jax.jit
  def run(params, noise):
    state, found = tx.init(params), []
    for gradients in noise:
      updates, state = tx.update(gradients, state, params)
      after = optax.apply_updates(params, updates)
      found.append((jax.tree.map(lambda a, b: a != b, after, params), weights.masks(state)))
      params = after
    return found

  for gradients, (moved, hidden) in zip(noise, jax.device_get(run(params, noise)), strict=True):
    for g, m, h in zip(*map(jax.tree.leaves, (gradients, moved, hidden)), strict=True):
      assert (~h).sum() == g.size - round(0.8 * g.size)
      assert np.abs(g)[~h].min() > np.abs(g)[h].max()
      np.testing.assert_array_equal(m, ~h)


def test_what_is_not_selected_keeps_its_value_and_nothing_decays(built):
  for made in (built("gmt"), built("gmt", "laptop")):
    hold = made.config["hold"]
    assert hold["frozen"]
    assert (hold["every"], hold["scope"]) == (1, "layer")
    assert made.config["optimizer"]["weight_decay"] == 0
