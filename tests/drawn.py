"""Variables as a run has them before step 0, drawn by numpy: initialising them costs a program."""

import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.extend.core import jaxpr_as_fun
from jax.interpreters import partial_eval

from maskjax.task.base import FROZEN, TEACHERS

DRAWN = ("params", FROZEN)


def traced(init: Any, *arguments: Any) -> tuple[Any, Any]:
  """A task's `init`, traced for its arguments, and the shapes of the variables that it gives."""
  found = jax.jit(init).trace(*arguments)
  shape = lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype)
  return found, jax.tree.map(shape, found.out_info)


def initial(
  init: Any, shapes: Any, arguments: tuple[Any, ...], seed: int, learned: Callable[[Any], Any]
) -> Any:
  """Variables of the shapes and magnitudes that a run begins with.

  How a network initialises is for the tests of the network; what is neither a parameter nor a
  teacher's copy of one is as `init` makes it.

  Args:
    init: what `traced` gives.
    shapes: likewise.
    arguments: of `init`.
    seed: of the parameters.
    learned: of the task: of all variables those that a teacher begins with.
  """
  rng = np.random.default_rng(seed)
  drawn = {name: _drawn(shapes[name], rng) for name in DRAWN if name in shapes}
  taught = shapes.get(TEACHERS, {})
  rest = set(shapes) - set(drawn) - {TEACHERS}
  made = {}
  if rest:
    # Of what was traced for the shapes, the part that these need: no network is traced twice.
    needed = [path[0].key in rest for path, _ in jax.tree_util.tree_leaves_with_path(shapes)]
    part, _ = partial_eval.dce_jaxpr(init.jaxpr.jaxpr, needed, instantiate=True)
    run = jax.jit(jaxpr_as_fun(init.jaxpr.replace(jaxpr=part)))
    structure = jax.tree.structure({name: shapes[name] for name in rest})
    made = jax.tree.unflatten(structure, run(*jax.tree.leaves(arguments)))
  full = {**made, **drawn}
  copies = {TEACHERS: dict.fromkeys(taught, learned(full))} if taught else {}
  return {**full, **copies}


def _drawn(shapes: Any, rng: np.random.Generator) -> Any:
  """Kernels by their fan-in, scales and variances near one, the rest near zero."""

  def leaf(path: Any, x: Any) -> Any:
    name = jax.tree_util.keystr(path[-1:], simple=True)
    noise = 2 * rng.random(x.shape) - 1
    if name in ("scale", "var"):
      return jax.device_put(np.asarray(1 + 0.1 * noise, x.dtype))
    wide = 1 / math.sqrt(math.prod(x.shape[:-1])) if len(x.shape) > 1 else 0.1
    return jax.device_put(np.asarray(wide * noise, x.dtype))

  return jax.tree_util.tree_map_with_path(leaf, shapes)
