"""What a run carries from step to step."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Int, Key

from maskjax import bind, weights
from maskjax.keys import stream
from maskjax.task.base import Batch, Task, Variables, with_learned
from maskjax.task.prepare import PREPARED


class State(NamedTuple):
  """The state of a run on its devices.

  Attributes:
    step: number of updates made.
    key: the run key, from which every draw of every step is folded; it never changes.
    variables: the task's collections; the optimiser moves "params".
    opt_state: the optimiser's state.
    ema: exponential moving average of `Task.learned`, the parameters and the running statistics of
      the networks that learn; empty where none is kept.
  """

  step: Int[Array, ""]
  key: Key[Array, ""]
  variables: Variables
  opt_state: Any
  ema: Any


def start(
  task: Task, tx: optax.GradientTransformation, key: Key[Array, ""], batch: Batch, ema: bool
) -> State:
  """The state before the first step, from the run key alone."""
  batch = jax.tree.map(jnp.asarray, dict(batch))
  return begun(task, tx, key, dict(task.init(stream(key, "variables"), batch)), ema)


def begun(
  task: Task, tx: optax.GradientTransformation, key: Key[Array, ""], variables: Variables, ema: bool
) -> State:
  """The state before the first step of variables as they were initialised."""
  opt_state = init_opt_state(tx, variables)
  variables = with_held(variables, opt_state)
  # Its own buffers: the train step gives its state's memory away.
  average = jax.tree.map(jnp.copy, task.learned(variables)) if ema else {}
  return State(jnp.int32(0), key, variables, opt_state, average)


def with_held(variables: Variables, opt_state: Any) -> dict[str, Any]:
  """The variables, zero where an optimiser holds weights from the first step on."""
  return {**variables, "params": weights.begun(variables["params"], opt_state)}


def init_opt_state(tx: optax.GradientTransformation, variables: Variables) -> Any:
  """The state of an optimiser that begins; one that chooses masks is told what was prepared."""
  if bind.takes_any(tx.init):
    return tx.init(variables["params"], **variables.get(PREPARED, {}))
  return tx.init(variables["params"])


def with_ema(state: State) -> Variables:
  """The variables to evaluate and export: with the moving average where one is kept."""
  return with_learned(state.variables, state.ema)


def parameter_count(variables: Variables) -> int:
  """Number of trained parameters.

  >>> parameter_count({"params": {"kernel": np.zeros((2, 3))}})
  6
  """
  return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(variables["params"]))
