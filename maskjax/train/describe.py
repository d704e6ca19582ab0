"""The graph of a config, printed: a line for each value, with its shape and where its keys go."""

from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from maskjax import bind
from maskjax.errors import BadInput
from maskjax.task.graph import Graph
from maskjax.task.masked import Masked
from maskjax.task.node import MAIN
from maskjax.task.reader import Reader
from maskjax.train.build import run_lengths
from maskjax.train.plan.program import abstract_data


def describe(config: Mapping[str, Any], note: Mapping[str, Any]) -> str:
  """The values of a config's graph in the order in which they can be made; nothing is computed.

  Args:
    config: plain nested dicts.
    note: whose "scale" says what the data are like.

  Returns:
    `name = function(arguments)`, and below it the shape of an example's value and the stream of its
    keys; the loss with its weights last.

  Raises:
    BadInput: a task that is no graph, or a section that names what is not there.
  """
  name = config["task"]["fn"]
  if "config" not in bind.needs(bind.resolve(name, "maskjax.task")):
    raise BadInput(f"the task {name} is no graph of values: task.fn='masked' is one")
  record, example = abstract_data(config, note)
  parts = Reader(config, record, run_lengths(config, record)).parts()
  shapes = _shapes(Masked(parts, record), example)
  used = _used(parts.graph)
  rows = [
    f"{line}\n    {shapes.get(node, '')}{_stream(parts.graph, node)}"
    for line, node in zip(parts.graph.describe(), parts.graph.order, strict=True)
    if node in used
  ]
  total = " + ".join(
    f"{loss.scale} · {loss.name}" if isinstance(loss.scale, int | float) else f"… · {loss.name}"
    for loss in parts.losses
  )
  return "\n".join([*rows, f"loss = {total or 'nothing'}"])


def _used(graph: Graph) -> set[tuple[str, str]]:
  """The values outside of branches, and those inside that these are made from."""
  found: set[tuple[str, str]] = set()
  todo = [node for node in graph.nodes if node[0] == MAIN]
  while todo:
    node = todo.pop()
    if node in graph.nodes and node not in found:
      found.add(node)
      todo += [address.node for address in graph.nodes[node].arguments.values()]
  return found


def _shapes(task: Masked, example: Mapping[str, Any]) -> dict[tuple[str, str], str]:
  """What each value is for one example, in a few words."""
  nodes = task.parts.graph.order

  def run(key: Any, batch: Any) -> list[Any]:
    variables = task.init(key, batch)
    made, _ = task.run(variables, batch, key, 0, train=True)
    return list(made.all(n if b == MAIN else f"{b}.{n}" for b, n in nodes))

  found = jax.eval_shape(run, jax.random.key(0), dict(example))
  return dict(zip(nodes, map(_said, found), strict=True))


def _said(value: Any) -> str:
  """The shape of an array; of a tuple or mapping the shapes of its fields."""
  if hasattr(value, "shape"):
    kind = "bool" if value.dtype == bool else jnp.dtype(value.dtype).name
    return f"{kind}{list(value.shape)}"
  if value is None:
    return "none"
  fields: Iterator[tuple[str, Any]]
  if isinstance(value, Mapping):
    fields = iter(value.items())
  elif hasattr(value, "_asdict"):
    fields = iter(value._asdict().items())
  else:
    return f"{len(jax.tree.leaves(value))} arrays"
  told = (f"{name} {_said(part)}" for name, part in fields if part is not None and part != {})
  return f"({', '.join(told)})"


def _stream(graph: Graph, node: tuple[str, str]) -> str:
  value = graph.nodes[node].value
  drawn = "keys" in bind.needs(value.fn) and "keys" not in value.of
  return f"  keys: {value.stream or node[1]}" if drawn else ""
