"""One training step: terms of N microbatches add up to those of one, then one update."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from maskjax import reduce
from maskjax.errors import BadInput
from maskjax.keys import stream
from maskjax.task import teacher
from maskjax.task.base import Batch, Task, Term, total
from maskjax.train.optimizers.rules import match, names
from maskjax.train.state import State

Metrics = Mapping[str, Float[Array, ""]]


def make_step(
  task: Task,
  tx: optax.GradientTransformation,
  *,
  accumulate: int = 1,
  ema: float = 0.0,
  held: Callable[[Any, Any, Any], Any] = lambda average, params, opt_state: average,
) -> Callable[[State, Batch], tuple[State, Metrics]]:
  r"""The pure function `(state, batch) -> (state, metrics)`.

  The batch is cut into `accumulate` microbatches, one after another in memory. Their gradients add
  up to that of the whole batch exactly, also where their counts differ: the counts $C_t$ of the
  whole batch are found first, and microbatch m contributes $\nabla \sum_t w_t S_t^m / C_t$. So do
  the parts of a batch that devices hold where the step is mapped over them, `reduce.across`.
  With `ema`, $\bar\theta \leftarrow d\,\bar\theta + (1 - d)\,\theta$ follows each update, and so do
  the running statistics of the networks that learn, `Task.learned`;
  `held(average, params, opt_state)` puts back what the optimiser holds: zeros, or frozen weights.

  Raises:
    BadInput: microbatches of a loss that couples the examples of a batch.

  Metrics: "loss", each term's mean under "terms/", "gradient", its global norm before
  `Task.gradients` and clipping, and "parameters", the norm of the updated ones: not finite in any
  means not to be kept.
  """
  if task.coupled and accumulate > 1:
    raise BadInput(f"the loss couples the examples of a batch, which {accumulate=} would change")

  def train_step(state: State, batch: Batch) -> tuple[State, Metrics]:
    key = stream(state.key, "loss")
    batch = task.pair(batch, key, state.step)
    loss = lambda variables, part: task.loss(variables, part, key, state.step)
    if accumulate == 1:
      grads, terms, variables = _whole(task, loss, state.variables, batch)
    else:
      grads, terms, variables = _accumulated(task, loss, state.variables, batch, accumulate)
    grads, terms = _of_all_devices(grads, terms)
    params = state.variables["params"]
    told = grads if task.gradients is None else task.gradients(grads, state.variables, state.step)
    updates, opt_state = tx.update(told, state.opt_state, params)
    params = optax.apply_updates(params, updates)
    variables, average = {**variables, "params": params}, state.ema
    if ema:
      average = teacher.ema(average, task.learned(variables), momentum=ema)
      average["params"] = held(average["params"], params, opt_state)
    if task.update is not None:
      variables = {**task.update(variables, state.step), "params": params}
    means = {f"terms/{k}": t.sum / jnp.maximum(t.count, 1) for k, t in terms.items()}
    metrics = {"loss": total(terms, task.weights), **means, "gradient": optax.tree.norm(grads)}
    metrics["parameters"] = optax.tree.norm(params)
    return State(state.step + 1, state.key, variables, opt_state, average), metrics

  return train_step


def _whole(task: Task, loss: Callable, variables: Any, batch: Batch) -> tuple[Any, Any, Any]:
  def shared(params):
    terms, aux = loss({**variables, "params": params}, batch)
    shares = {name: Term(term.sum, _counted(term.count)) for name, term in terms.items()}
    return shares, (shares, aux)

  grads, (shares, aux) = slopes(task, shared, variables["params"])
  return grads, shares, {**variables, **aux.variables}


def slopes(task: Task, shared: Callable[[Any], tuple[Any, Any]], params: Any) -> tuple[Any, Any]:
  """The gradient of all terms, each for the parameters that it trains, and what comes beside it.

  The network is run once; terms that train the same parameters are pulled back together.

  Args:
    task: whose terms they are.
    shared: `params -> (terms, aux)`, the terms with the counts of the whole batch.
    params: the parameters.

  Raises:
    BadInput: a pattern that matches no parameter, or parameters that no term trains.
  """
  if not task.trains:

    def objective(params: Any) -> tuple[Any, Any]:
      terms, aux = shared(params)
      return total(terms, task.weights), aux

    return jax.grad(objective, has_aux=True)(params)
  of = lambda name: task.trains.get(name, task.trains.get(name.split("/")[0]))
  groups: list[tuple[str, ...] | None] = []

  def apart(params: Any) -> tuple[Any, Any]:
    terms, aux = shared(params)
    groups[:] = sorted({of(name) for name in terms}, key=repr)
    one = lambda group: {name: term for name, term in terms.items() if of(name) == group}
    return [total(one(group), task.weights) for group in groups], aux

  totals, pull, aux = jax.vjp(apart, params, has_aux=True)
  chosen = [_trained(params, group) for group in groups]
  idle = jax.tree.map(lambda *each: not any(each), *chosen)
  if left := [name for name, one in _flat(idle) if one]:
    raise BadInput(f"no loss trains {', '.join(left[:3])} ({len(left)} in all): name it in trains")
  grads = jax.tree.map(jnp.zeros_like, params)
  for i, own in enumerate(chosen):
    (part,) = pull([jnp.float32(i == j) for j in range(len(totals))])
    grads = jax.tree.map(lambda g, p, trained: g + p if trained else g, grads, part, own)
  return grads, aux


def _trained(params: Any, patterns: tuple[str, ...] | None) -> Any:
  """Which parameters a group of terms trains, as a tree."""
  if patterns is None:
    return jax.tree.map(lambda _: True, params)
  return match(params, [(pattern, True) for pattern in patterns], default=False).values


def _flat(tree: Any) -> list[tuple[str, Any]]:
  return list(zip(jax.tree.leaves(names(tree)), jax.tree.leaves(tree), strict=True))


def _counted(count: Any) -> Any:
  """The count of the whole batch from that of a device's part."""
  return reduce.combine(jax.lax.psum, count)


def _of_all_devices(grads: Any, terms: Mapping[str, Term]) -> tuple[Any, Mapping[str, Term]]:
  """Gradients and sums added up; the counts are those of the whole batch already."""
  sums = {name: term.sum for name, term in terms.items()}
  grads, sums = reduce.combine(jax.lax.psum, (grads, sums))
  return grads, {name: Term(sums[name], term.count) for name, term in terms.items()}


def _accumulated(
  task: Task, loss: Callable, variables: Any, batch: Batch, parts: int
) -> tuple[Any, Any, Any]:
  # Every parts-th example, so that a batch cut over devices stays where it is.
  split = lambda x: jnp.moveaxis(x.reshape(x.shape[0] // parts, parts, *x.shape[1:]), 1, 0)
  batches = jax.tree.map(split, dict(batch))
  others = {name: value for name, value in variables.items() if name != "params"}

  # Only counts leave this loop: the compiler drops what they do not depend on, mostly the network.
  def count(_, part):
    return None, {name: term.count for name, term in loss(variables, part)[0].items()}

  counts = jax.tree.map(lambda c: jnp.sum(c, 0), jax.lax.scan(count, None, batches)[1])
  counts = _counted(counts)

  def one(carry, part):
    grads, sums, others = carry

    def shared(params):
      terms, aux = loss({**others, "params": params}, part)
      return {name: Term(term.sum, counts[name]) for name, term in terms.items()}, (terms, aux)

    more, (terms, aux) = slopes(task, shared, variables["params"])
    grads = jax.tree.map(jnp.add, grads, more)
    sums = {name: sums[name] + term.sum for name, term in terms.items()}
    return (grads, sums, {**others, **aux.variables}), None

  zeros = jax.tree.map(jnp.zeros_like, variables["params"])
  nothing = {name: jnp.float32(0) for name in counts}
  (grads, sums, others), _ = jax.lax.scan(one, (zeros, nothing, others), batches)
  terms = {name: Term(sums[name], counts[name]) for name in counts}
  return grads, terms, {**variables, **others}
