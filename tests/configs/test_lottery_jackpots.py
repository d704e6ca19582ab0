"""Lottery jackpots (Zhang et al. 2021), section 3: from magnitude's mask, by ever fewer changes."""

import json
import pathlib
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax

from maskjax import select, weights
from maskjax.bind import Moving
from maskjax.train.optimizers.optimizer import optimizer

GOLDEN = json.loads(
  (pathlib.Path(__file__).parents[1] / "golden/lottery_jackpots.json").read_text()
)


def kernels(tree):
  """The convolutions by name, without what is learned of them."""
  leaves = jax.tree_util.tree_leaves_with_path({k: v for k, v in tree.items() if k != "masks"})
  named = {jax.tree_util.keystr(path, simple=True, separator="/"): x for path, x in leaves}
  return {k: np.asarray(x) for k, x in named.items() if "kernel" in k}


def test_search_goes_on_from_the_smallest_weights_of_all_layers_ever_more_slowly(built):
  made, rng = built("lottery_jackpots", "laptop"), np.random.default_rng(0)
  dense, after = (kernels(v["params"]) for v in (made.variables, made.trained.state.variables))
  assert all((after[name] == dense[name]).all() for name in dense)

  noisy = jax.tree.map(
    lambda x: x + rng.normal(scale=0.01, size=x.shape).astype(np.float32),
    made.variables["params"]["masks"],
  )
  variables = {**made.variables, "params": {**made.variables["params"], "masks": noisy}}
  state = lambda step: made.task.update(variables, step)["mask_state"]["hidden"]
  read = lambda v: (made.task.final(v)["params"], jax.lax.map(state, jnp.asarray(made.steps)))
  first, later = jax.device_get(jax.jit(read)(made.variables))
  first, later, noisy = kernels(first), kernels(later), kernels(noisy)
  assert {name for name in dense if name not in noisy} == {"head/kernel"}
  size = np.concatenate([np.abs(dense[name]).ravel() for name in noisy])
  hidden = np.concatenate([(first[name] == 0).ravel() for name in noisy])
  assert abs(hidden.mean() - 0.9) < 1e-3
  assert size[hidden].max() <= size[~hidden].min()

  shares = (1 - made.steps / made.total_steps) ** 4
  part = lambda name: 0 < (first[name] == 0).mean() < 1
  open_ = [name for name in later if part(name)]
  assert len(open_) > 4  # Weights as drawn are smaller where more inputs are: such a layer may go.
  for name in open_:
    before, numbers, masks = first[name] == 0, noisy[name], later[name]
    cut = np.sort(numbers, axis=None)[before.sum()]  # The lowest number that is to be kept.
    pairs = (before & (numbers >= cut)).sum()
    for mask, share in zip(masks, shares, strict=True):
      assert mask.sum() == before.sum()
      assert (before & ~mask).sum() == np.ceil(share * pairs), name
      gone, back = ~before & mask, before & ~mask
      assert numbers[gone].max() < numbers[back].min()
      # The most wanted ones.
      assert numbers[gone].max() <= numbers[~before & ~mask].min()
      assert numbers[back].min() >= numbers[before & mask].max()


def test_agrees_with_the_authors_layer():
  wave = lambda shape, pace: np.float32(np.sin(pace * np.arange(np.prod(shape)))).reshape(shape)
  kernel, images, target = (
    wave(*of) for of in (((3, 3, 3, 4), 1.7), ((2, 5, 7, 3), 1.3), ((2, 5, 7, 4), 0.9))
  )
  change = Moving(lambda step: jnp.array([1.0, 0.5, 0.1])[step])
  view = weights.learned_scores(select=partial(select.top, ratio=0.75), change=change)
  params = {"kernel": jnp.asarray(kernel)}

  def loss(learned, state):
    seen = view.soft(params, learned, state, None, 0)[0]["kernel"]
    names = jax.lax.conv_dimension_numbers(images.shape, kernel.shape, ("NHWC", "HWIO", "NHWC"))
    out = jax.lax.conv_general_dilated(images, seen, (1, 1), "SAME", dimension_numbers=names)
    return jnp.mean(jnp.square(out - target))

  settings = dict(momentum=0.9, weight_decay=5e-4, coupled=True, schedule="constant")
  lengths = dict(total_steps=3, batch_size=2, scale_by_batch=0)
  tx = optimizer(params, fn="sgd", learning_rate=0.1, **settings, **lengths).tx

  def run():
    learned, state = view.begin(params, view.init(params, None)[0], {})
    moments, found = tx.init(learned), [view.hard(params, learned, state)["kernel"] != 0]
    for step in range(3):
      value, slopes = jax.value_and_grad(loss)(learned, state)
      updates, moments = tx.update(slopes, moments, learned)
      learned = optax.apply_updates(learned, updates)
      state = view.update(params, learned, state, step)
      found.append((value, learned["kernel"], view.hard(params, learned, state)["kernel"] != 0))
    return found

  begun, *steps = jax.device_get(jax.jit(run)())
  np.testing.assert_array_equal(begun, GOLDEN["begun"])
  for (value, numbers, shown), golden in zip(steps, GOLDEN["steps"], strict=True):
    np.testing.assert_allclose(value, golden["loss"], rtol=1e-5)
    np.testing.assert_allclose(numbers, golden["numbers"], atol=2e-6)
    np.testing.assert_array_equal(shown, golden["shown"])
