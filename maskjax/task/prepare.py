"""What is measured before step 0: statistics over a bounded number of training examples.

A statistic is kept with the variables, in the collection "prepared" under its name in the config,
and what names it as an argument is told it: a score of weights, say, or a value of the graph.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from maskjax import reduce
from maskjax.errors import BadInput, unknown
from maskjax.task.answers import answer
from maskjax.task.base import Batch, Task, Variables

__all__ = ["input_norms", "squared_gradients"]

PREPARED = "prepared"
LABELS = ("data", "model")


class Statistic(NamedTuple):
  """A sum over examples and what becomes of it; pure functions of arrays.

  Attributes:
    examples: how many are looked at, the first of the run's order.
    begin: `variables -> total`, of nothing; of no variables where values of the graph name it.
    add: `(total, variables, batch, counts) -> total`, where `counts: Bool[b]` are the examples to
      add. The batch lies whole on every device.
    end: `total -> result`, of the same shapes whatever was added.
    named: whether values of the graph may name it: then `begin` is given None for the variables,
      which there are none of yet.
    data: what is otherwise in the config's section `data` for the examples that are looked at: of
      another corpus, or of other classes; {}: those of the run.
  """

  examples: int
  begin: Callable[[Any], Any]
  add: Callable[[Any, Variables, Batch, Bool[Array, "b"]], Any]
  end: Callable[[Any], Any]
  named: bool = False
  data: Mapping[str, Any] = {}


class Examples:
  """Batches of the run's own training examples, and those of other data.

  Args:
    own: the run's, each reader going on where the last one stopped.
    of: `changes of the config's section data -> batches` of the training examples of these data.
  """

  def __init__(self, own: Iterable[Batch], of: Callable[[Mapping[str, Any]], Iterable[Batch]]):
    self._own, self.of = iter(own), of

  def __iter__(self) -> Iterator[Batch]:
    """The run's own."""
    return self._own


def prepared(task: Task, **statistics: Statistic) -> Task:
  """The task with statistics that `prepare` measures and nothing changes after.

  Until then they are those of no examples. What the task itself prepares goes before; each sees
  those before it, in the order in which they are given.

  Raises:
    BadInput: a statistic of no examples.
  """
  for name, statistic in statistics.items():
    if statistic.examples < 1:
      raise BadInput(f"{name} needs examples, got {statistic.examples}")

  def init(key: Key[Array, ""], batch: Batch) -> Variables:
    # Behind a barrier: the compiler would work out constants of large tables for half a minute.
    nothing = lambda s: s.end(jax.lax.optimization_barrier(s.begin(None)))
    none = {name: nothing(s) for name, s in statistics.items() if s.named}
    variables = task.init(key, batch, **({PREPARED: none} if none else {}))
    more = {n: s.end(s.begin(variables)) for n, s in statistics.items() if not s.named}
    return {**variables, PREPARED: {**variables.get(PREPARED, {}), **none, **more}}

  def prepare(variables: Variables, batches: Iterable[Batch]) -> Variables:
    if task.prepare is not None:
      variables = task.prepare(variables, batches)
    for name, statistic in statistics.items():
      found = measure(statistic, variables, _looked_at(name, statistic, batches))
      variables = {**variables, PREPARED: {**variables[PREPARED], name: found}}
    return variables

  return task._replace(init=init, prepare=prepare)


def measure(statistic: Statistic, variables: Variables, batches: Iterable[Batch]) -> Any:
  """The statistic of the next `examples` of batches that know each example's position in them.

  Raises:
    BadInput: there are fewer.
  """
  total, left = jax.jit(statistic.begin)(variables), statistic.examples
  add = jax.jit(statistic.add)
  for batch in batches:
    total = add(total, variables, batch, batch["position"] < left)
    left -= len(batch["position"])
    if left <= 0:
      return jax.jit(statistic.end)(total)
  raise BadInput(f"the data end {left} examples before the {statistic.examples} to be looked at")


def _looked_at(name: str, statistic: Statistic, batches: Iterable[Batch]) -> Iterable[Batch]:
  """The batches that a statistic looks at."""
  if not statistic.data:
    return batches
  if not isinstance(batches, Examples):
    raise BadInput(f"{name} looks at other data than the run's, which are not given here")
  return batches.of(statistic.data)


def squared_gradients(
  *, task: Task, examples: int = 1024, labels: str = "data", at_once: int = 8
) -> Statistic:
  r"""The diagonal of the Fisher information of a classifier, in float32, shaped as its parameters.

  With labels from the data the empirical one, each example's gradient squared before the mean:
  $\frac{1}{N} \sum_i (\partial_\theta \log p_\theta(y_i | x_i))^2$. With those of the "model"
  $\frac{1}{N} \sum_i \sum_y p_\theta(y | x_i) (\partial_\theta \log p_\theta(y | x_i))^2$, exact,
  which takes a gradient for every class. The network is that of the task's answer `predict`: batch
  normalisation uses its running statistics, so that no example depends on the others of its batch.

  Args:
    task: one with `predict`.
    examples: N, the first examples of the run's order, augmented as in training.
    labels: "data" or "model".
    at_once: gradients in memory at a time, rounded down to what divides the batch.

  Raises:
    BadInput: a task without logits, unknown labels, or no gradient at a time.

  Sung, Nair, Raffel, "Training Neural Networks with Fixed Sparse Masks", 2021, section 3.
  """
  predict = answer(task, "predict", "squared_gradients")
  if labels not in LABELS:
    raise unknown("labels of squared_gradients", labels, LABELS)
  if at_once < 1:
    raise BadInput(f"at_once must be at least 1, got {at_once}")

  def log_probs(params: Any, variables: Variables, example: Batch) -> Array:
    one = jax.tree.map(lambda x: x[None], dict(example))
    logits = predict({**variables, "params": params}, one)[0]
    return jax.nn.log_softmax(logits.astype(jnp.float32))

  def of_label(variables: Variables, example: Batch) -> Any:
    chosen = lambda params: log_probs(params, variables, example)[example["label"]]
    return jax.tree.map(jnp.square, jax.grad(chosen)(variables["params"]))

  def of_model(variables: Variables, example: Batch) -> Any:
    params = variables["params"]
    each = jax.jacrev(lambda params: log_probs(params, variables, example))(params)
    p = jnp.exp(log_probs(params, variables, example))
    return jax.tree.map(lambda g: jnp.tensordot(p, jnp.square(g), axes=1), each)

  square = of_label if labels == "data" else of_model

  def begin(variables: Variables) -> Any:
    return jax.tree.map(lambda p: jnp.zeros(p.shape, jnp.float32), variables["params"])

  def add(total: Any, variables: Variables, batch: Batch, counts: Bool[Array, "b"]) -> Any:
    size = len(counts)
    rows = math.gcd(size, at_once)
    split = lambda x: jnp.reshape(x, (size // rows, rows, *x.shape[1:]))

    def some(total: Any, part: tuple[Batch, Array]) -> tuple[Any, None]:
      squares = jax.vmap(square, in_axes=(None, 0))(variables, part[0])
      counted = lambda s: jnp.reshape(part[1], (rows, *[1] * (s.ndim - 1)))
      more = jax.tree.map(lambda s: reduce.sum(s, counted(s), axis=0), squares)
      return jax.tree.map(jnp.add, total, more), None

    return jax.lax.scan(some, total, jax.tree.map(split, (dict(batch), counts)))[0]

  mean = lambda total: jax.tree.map(lambda t: t / examples, total)
  return Statistic(examples, begin, add, mean)


def input_norms(*, task: Task, examples: int = 128) -> Statistic:
  r"""The norm of every input of every dense layer, as training meets it, in float32.

  Shaped as the parameters with all axes but the inputs' of length 1: for a kernel `[i o]` of a
  linen dense layer $\sqrt{\frac{1}{N} \sum x_i^2}$ over all positions of N examples, padding
  included; 1 for all other parameters, so that a score that multiplies by it leaves them alone.

  Args:
    task: its networks are met layer by layer, without `scan` and `remat`.
    examples: N, the first examples of the run's order.

  Raises:
    BadInput: on `add`, a dense layer that the loss does not meet, or one whose input has no axis of
      examples.

  Sun et al., "A Simple and Effective Pruning Approach for Large Language Models", 2024, section 3:
  there layer by layer, each meeting what the pruned ones before it give; here all at once.
  """
  if task.written_out is not None:
    task = task.written_out()

  def begin(variables: Variables) -> Any:
    def none(path: Any, leaf: Any) -> Array:
      dense = _is_dense(path, leaf)
      return jnp.zeros((leaf.shape[0], 1)) if dense else jnp.full((1,) * leaf.ndim, float(examples))

    return jax.tree_util.tree_map_with_path(none, variables["params"])

  def add(total: Any, variables: Variables, batch: Batch, counts: Bool[Array, "b"]) -> Any:
    inputs: dict[str, list[Array]] = {}

    def listen(call: Callable[..., Any], args: Any, kwargs: Any, context: Any) -> Any:
      if isinstance(context.module, nn.Dense) and context.method_name == "__call__":
        inputs.setdefault("/".join((*context.module.path, "kernel")), []).append(args[0])
      return call(*args, **kwargs)

    with nn.intercept_methods(listen):
      task.loss(variables, batch, jax.random.key(0), 0)

    def more(path: Any, sums: Array, leaf: Any) -> Array:
      name = jax.tree_util.keystr(path, simple=True, separator="/")
      if _is_dense(path, leaf) and name not in inputs:
        raise BadInput(f"input_norms: the loss meets no dense layer with the weights {name}")
      return sum((_squares(name, x, counts) for x in inputs.get(name, [])), sums)

    return jax.tree_util.tree_map_with_path(more, total, variables["params"])

  return Statistic(
    examples, begin, add, lambda total: jax.tree.map(lambda s: jnp.sqrt(s / examples), total)
  )


def _is_dense(path: Any, leaf: Any) -> bool:
  return leaf.ndim == 2 and jax.tree_util.keystr(path[-1:], simple=True) == "kernel"


def _squares(name: str, x: Array, counts: Bool[Array, "b"]) -> Float[Array, "i 1"]:
  """The sums of squares of the inputs of a layer, over the examples that count."""
  if x.ndim < 2 or len(x) != len(counts):
    raise BadInput(f"input_norms: {name} is met by {x.shape}, not by {len(counts)} examples")
  where = jnp.reshape(counts, (-1, *[1] * (x.ndim - 1)))
  squares = jnp.square(x.astype(jnp.float32))
  return reduce.sum(squares, where, axis=tuple(range(x.ndim - 1)))[:, None]
