"""Runs tasks of configs and their graphs side by side: python tests/graphs/compare.py ID[:preset]…

At the beginning, middle and end of a run, from the same variables: whether losses and terms are the
same bits, and how far losses and gradients (each leaf's, by its norm) are apart.
"""

import importlib
import pathlib
import sys

# Not the folder itself: a module there is called as one of Python's own, `tokenize`.
sys.path.remove(str(pathlib.Path(__file__).parent))
sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

import conftest  # noqa: F401  what every test runs under
import jax
import jax.numpy as jnp
import numpy as np
from built import FILES, Built

from maskjax.task.base import total
from maskjax.train.build import make_task

STAGES = ("lmd/codec", "mage/tokenizer")


def slopes(task, steps):
  """Loss, terms and gradient at each of the steps, in one program."""

  def at(variables, batch, step):
    met = task.pair(batch, jax.random.key(3), step)

    def cost(params):
      terms, _ = task.loss({**variables, "params": params}, met, jax.random.key(3), step)
      return total(terms, task.weights), terms

    (loss, terms), grads = jax.value_and_grad(cost, has_aux=True)(variables["params"])
    return loss, terms, grads

  return jax.jit(lambda v, b: jax.lax.map(lambda s: at(v, b, s), jnp.asarray(steps)))


def compare(name, preset=""):
  """A line about one config: bits of the losses, and the largest differences."""
  made = Built(name, preset)
  module = importlib.import_module(f"graphs.{made.config['task']['fn']}")
  old, new = made.task, make_task(module.graph(made.config), made.record)
  theirs = getattr(module, "variables", lambda tree: tree)(made.initial)
  shapes = jax.eval_shape(new.init, jax.random.key(0), made.batch)
  spec = lambda tree: jax.tree.map(lambda x: (x.shape, str(x.dtype)), tree)
  if spec(shapes) != spec(theirs):
    raise SystemExit(f"{name}: variables differ\n{spec(shapes)}\n{spec(theirs)}")
  one = jax.device_get(slopes(old, made.steps)(made.initial, made.batch))
  two = jax.device_get(slopes(new, made.steps)(theirs, made.batch))
  gap = lambda a, b: float(np.linalg.norm(a - b) / max(np.linalg.norm(a), 1e-30))
  leaves = zip(jax.tree.leaves(one[2]), jax.tree.leaves(two[2]), strict=True)
  bits = (one[0] == two[0]).all()
  apart = np.abs(one[0] - two[0]).max() / np.abs(one[0]).max()
  grads = max(gap(*pair) for pair in leaves)
  return f"{name:15}{preset:8}{'same bits' if bits else f'loss {apart:.1e}':14}grads {grads:.1e}"


if __name__ == "__main__":
  for given in sys.argv[1:] or (*FILES, *STAGES):
    name, colon, preset = given.partition(":")
    for one in (preset,) if colon else ("", "laptop"):
      print(compare(name, one), flush=True)
