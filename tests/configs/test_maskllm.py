"""MaskLLM (Fang et al. 2024), section 3: learned masks of 2:4, that begin near one-shot ones."""

import jax
import numpy as np


def test_two_of_every_four_inputs_are_zero_at_first_mostly_the_smaller_ones(built):
  made, rng = built("maskllm"), np.random.default_rng(0)
  draw = lambda leaf: (0.01 * rng.normal(size=leaf.shape)).astype(leaf.dtype)
  variables = jax.tree.map(draw, made.shapes)
  begun = lambda variables: made.task.final(made.task.prepare(variables, iter(())))["params"]
  final = jax.device_get(jax.jit(begun)(variables))
  pruned, agreed = 0, []
  for path, leaf in jax.tree_util.tree_leaves_with_path(final):
    name = jax.tree_util.keystr(path)
    before = variables["params"]
    for key in path:
      before = before[key.key]
    if "kernel" not in name or "embed" in name or "predict" in name:
      assert (leaf == before).all(), name
      continue
    pruned += 1
    groups = lambda x: np.asarray(x).reshape(*x.shape[:-2], -1, 4, x.shape[-1])
    size, zero = np.abs(groups(before)), groups(leaf) == 0
    assert (zero.sum(-2) == 2).all(), name
    agreed.append((zero == (np.argsort(np.argsort(size, -2), -2) < 2)).mean())
  assert pruned > 2
  assert np.mean(agreed) > 0.8


def test_only_the_masks_are_trained(built):
  made = built("maskllm")
  trained = made.optimizer.rates
  assert all(jax.tree.leaves(trained["masks"]))
  assert not any(jax.tree.leaves({k: v for k, v in trained.items() if k != "masks"}))
