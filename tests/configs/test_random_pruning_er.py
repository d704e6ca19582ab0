"""Random pruning (Gadhikar et al. 2023): masks drawn by layer ratios, and what lives in them."""

import json
import pathlib
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax

from maskjax import select, weights
from maskjax.train.optimizers.optimizer import optimizer
from maskjax.weights.packed import pack

FILE = pathlib.Path(__file__).parents[1] / "golden/random_pruning_er.json"
GOLDEN = json.loads(FILE.read_text())
# Of a ResNet-8 of width 8, in the order of depth.
SHAPES = dict(
  embed=(3, 3, 3, 8), block_0a=(3, 3, 8, 8), block_0b=(3, 3, 8, 8), block_1a=(3, 3, 8, 16),
  block_1b=(3, 3, 16, 16), block_2a=(3, 3, 16, 32), block_2b=(3, 3, 32, 32), head=(32, 10),
)  # fmt: skip


def kernels(tree):
  """The leaves with masks by name."""
  leaves = jax.tree_util.tree_leaves_with_path(tree)
  named = {jax.tree_util.keystr(path, simple=True, separator="/"): x for path, x in leaves}
  return {name: np.asarray(x) for name, x in named.items() if "kernel" in name}


def test_layers_keep_what_erk_gives_them_from_before_the_first_step_on(built):
  made = built("random_pruning_er", "laptop")
  params, state = made.variables["params"], made.optimizer.tx.init
  begun = jax.device_get(jax.jit(lambda p: weights.begun(p, state(p)))(params))
  first, after = kernels(begun), kernels(made.trained.state.variables["params"])
  shapes = {name: x.shape for name, x in first.items()}
  sizes = {name: x.size for name, x in first.items()}
  # Erdős-Rényi-Kernel: in proportion to the sum of the axes, at most all of a layer.
  scale = [(x != 0).sum() / sum(x.shape) for x in first.values() if (x == 0).any()]
  assert max(scale) / min(scale) < 1.05
  shares = np.array([(x != 0).mean() for x in first.values()])
  assert np.ptp(shares) > 0.3
  assert abs(shares @ list(sizes.values()) / sum(sizes.values()) - 0.1) < 0.002
  assert all(sum(shape) * max(scale) > sizes[n] for n, shape in shapes.items() if first[n].all())
  held = kernels(made.trained.held)
  dense = kernels(params)
  for name, x in first.items():
    mask = x == 0
    assert all((now == mask).all() for now in held[name]), name
    assert (after[name][mask] == 0).all()
    assert (after[name][~mask] != x[~mask]).mean() > 0.9
    # Random: what is kept is as large as what is not.
    size = np.abs(dense[name])
    if 50 < mask.sum() < 0.9 * mask.size:
      assert 0.7 < size[~mask].mean() / size[mask].mean() < 1.4, name
      ends = [half.mean() for half in np.array_split(mask.ravel(), 2)]
      assert abs(ends[0] - ends[1]) < 4 * 2 * mask.std() / np.sqrt(mask.size), name


def test_norms_and_biases_decay_as_in_the_public_code(built):
  assert all(jax.tree.leaves(built("random_pruning_er").optimizer.decays))


def test_ratios_are_those_of_the_public_code():
  rules = dict(pyramidal=partial(weights.pyramidal, order=("embed", "block", "head")))
  rules |= dict(erk=weights.erk, balanced=weights.balanced)
  for case, found in GOLDEN.items():
    if case != "steps":
      rule, density = case.split()
      got = rules[rule](SHAPES, density=float(density))
      np.testing.assert_allclose(list(got.values()), found, atol=1e-8, err_msg=case)


def test_weights_are_dropped_and_grown_as_in_the_public_code():
  wave = lambda pace, i=0: np.float32(np.sin(pace * np.arange(63) + i)).reshape(9, 7).T
  hidden = wave(2.3) <= 0.2

  settings = dict(momentum=0.9, weight_decay=5e-4, coupled=True, schedule="constant")
  lengths = dict(total_steps=2, batch_size=2, scale_by_batch=0)
  tx = optimizer({"w": wave(1.7)}, fn="sgd", learning_rate=0.1, **settings, **lengths).tx
  top = partial(select.top, ratio=float(hidden.mean()))
  held = weights.hold(tx, select=top, drop=0.3, grow=weights.gradient)

  def run():
    params, found = {"w": jnp.where(hidden, 0, wave(1.7))}, []
    # What is hidden at first is given, not drawn.
    state = held.init(params)._replace(hidden={"w": pack(jnp.asarray(hidden))})
    for i in range(2):
      updates, state = held.update({"w": jnp.asarray(wave(0.9, i))}, state, params)
      params = optax.apply_updates(params, updates)
      found.append((weights.masks(state)["w"], params["w"]))
    return found

  for (mask, weight), golden in zip(jax.device_get(jax.jit(run)()), GOLDEN["steps"], strict=True):
    np.testing.assert_array_equal(~mask.T, np.array(golden["shown"], bool))
    np.testing.assert_allclose(weight.T, golden["weight"], atol=2e-6)
