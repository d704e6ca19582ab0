"""Reconstruction with a ratio that moves, and with a score that learns."""

import functools
import pathlib
import runpy

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from maskjax import bind, recover
from maskjax.errors import BadInput
from maskjax.task.base import total

KEY = jax.random.key(0)
build = runpy.run_path(str(pathlib.Path(__file__).with_name("toy_images.py")))["build"]
MOVING = bind.Moving(lambda step: jnp.where(step < 5, 0.25, 0.75))


def test_a_moving_ratio_sees_what_each_bucket_holds_compiled_once():
  task, batch, variables = build(ratio=MOVING, keep=(4, 12))
  traces = []

  @jax.jit
  def slope(params, step):
    def loss(params):
      traces.append(None)
      term = task.loss({**variables, "params": params}, batch, KEY, step)[0]["recover"]
      return term.sum / term.count, term

    slopes, term = jax.grad(loss, has_aux=True)(params)
    return optax.tree.norm(slopes), term

  fixed = [build(ratio=ratio)[0] for ratio in (0.25, 0.75)]
  at = lambda task, step: task.loss(variables, batch, KEY, step)[0]["recover"].sum
  alone = jax.jit(lambda: [at(task, step) for task, step in zip(fixed, (0, 9), strict=True)])()
  for expected, step, keep in zip(alone, (0, 9), (12, 4), strict=True):
    norm, term = slope(variables["params"], np.int32(step))
    assert norm > 0
    assert int(term.count) == 4 * (16 - keep)
    np.testing.assert_allclose(term.sum, expected, rtol=2e-5)
  assert len(traces) == 1


def test_a_moving_ratio_needs_buckets():
  with pytest.raises(BadInput, match=r"task\.keep"):
    build(ratio=MOVING)
  with pytest.raises(BadInput, match="17 of 16"):
    build(ratio=MOVING, keep=(4, 17))


class Learned(nn.Module):
  """A score for each place, learned."""

  @nn.compact
  def __call__(self, patches, keys):
    """The same scores for every example, with noise."""
    wanted = self.param("wanted", nn.initializers.zeros, (patches.shape[-2],))
    noise = jax.vmap(lambda key: jax.random.gumbel(key, wanted.shape))(keys)
    return wanted + noise


def test_a_score_with_parameters_learns_to_hide_what_is_hard():
  task, batch, _ = build(normalise=False, teach=functools.partial(recover.policy_gradient))
  learned, _, variables = build(
    normalise=False,
    score=functools.partial(Learned),
    teach=functools.partial(recover.policy_gradient, baseline="mean"),
  )
  # Noise in the first half of the picture, which cannot be predicted; nothing in the other.
  image = np.array(batch["image"])
  image[:, 4:] = 0
  batch = {**batch, "image": jax.device_put(image)}
  assert "score" not in jax.eval_shape(task.init, KEY, batch)["params"]
  assert variables["params"]["score"]["wanted"].shape == (16,)

  def step(params, i):
    loss = lambda params: total(learned.loss({**variables, "params": params}, batch, KEY, i)[0], {})
    return jax.tree.map(lambda p, g: p - 0.5 * g, params, jax.grad(loss)(params)), None

  train = jax.jit(lambda params: jax.lax.scan(step, params, jnp.arange(60))[0])
  wanted = np.asarray(train(variables["params"])["score"]["wanted"])
  assert wanted[:8].mean() > wanted[8:].mean() + 0.1
