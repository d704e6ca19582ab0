"""Teachers: parameters that follow those of the network, and what a task needs to keep them."""

import functools
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PyTree

from maskjax import bind
from maskjax.task.base import Batch, Task, Variables

__all__ = ["ema"]

TEACHER = "teacher"


def ema(
  teacher: PyTree, params: PyTree, *, momentum: float | Float[Array, ""]
) -> PyTree[Float[Array, "..."]]:
  r"""The exponential moving average after one more step: $m\,\bar\theta + (1 - m)\,\theta$.

  >>> ema({"w": jnp.array(1.0)}, {"w": jnp.array(3.0)}, momentum=0.5)["w"].item()
  2.0

  Source: Tarvainen and Valpola 2017 (mean teacher), equation 2.
  """
  return jax.tree.map(lambda t, p: momentum * t + (1 - momentum) * p, teacher, params)


def with_teacher(task: Task, follow: functools.partial[Any]) -> Task:
  """The task with a copy of its parameters, in the collection "teacher", that follows them.

  `follow(teacher, params) -> teacher` is called after each update, any argument of it that moves at
  its value of that step. The teacher begins as the parameters do, those of `init_from` too.
  """

  def copied(variables: Variables) -> Variables:
    # Its own buffers: the train step gives its state's memory away.
    return {**variables, TEACHER: jax.tree.map(jnp.copy, variables["params"])}

  def init(key: Key[Array, ""], batch: Batch) -> Variables:
    return copied(task.init(key, batch))

  def prepare(variables: Variables, batches: Iterable[Batch]) -> Variables:
    return copied(variables if task.prepare is None else task.prepare(variables, batches))

  def update(variables: Variables, step: Any) -> Variables:
    variables = variables if task.update is None else task.update(variables, step)
    return {**variables, TEACHER: bind.at(follow, step)(variables[TEACHER], variables["params"])}

  return task._replace(init=init, prepare=prepare, update=update)


def taught_by(variables: Variables) -> Variables:
  """The variables with the teacher's parameters where there is one, without gradients."""
  params = variables.get(TEACHER, variables["params"])
  return {**variables, "params": jax.lax.stop_gradient(params)}


def taught(variables: Variables) -> Variables:
  """The variables where the teacher is what was wanted: its parameters alone, if there is one."""
  rest = {name: value for name, value in variables.items() if name != TEACHER}
  return {**rest, "params": variables.get(TEACHER, variables["params"])}
