"""The graph of a config, printed: a line for each value, with its shape and where its keys go."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import jax

from maskjax import bind
from maskjax.errors import BadInput
from maskjax.sections import find
from maskjax.task.grammar import ANSWER, LOSS, OF_RUN
from maskjax.task.graph import Graph
from maskjax.task.masked import Masked
from maskjax.task.node import MAIN
from maskjax.task.reader import Parts, Reader
from maskjax.train.plan.program import abstract_data
from maskjax.train.setup.build import run_lengths, with_statistics


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
  if "config" not in bind.needs(find(name)):
    raise BadInput(f"the task {name} is no graph of values: task.fn='task.masked' is one")
  record, example = abstract_data(config, note)
  parts = Reader(config, record, run_lengths(config, record)).parts()
  used = _used(parts)
  task = Masked(parts, record)
  init = with_statistics(task.task(), config, record).init
  shapes = _shapes(task, init, example, used)
  rows = [
    f"{line}\n    {shapes.get(node, 'of what a caller hands over')}{_stream(parts.graph, node)}"
    for line, node in zip(parts.graph.describe(), parts.graph.order, strict=True)
    if node in used
  ]
  total = " + ".join(
    f"{loss.scale} · {loss.name}" if isinstance(loss.scale, int | float) else f"… · {loss.name}"
    for loss in parts.losses
  )
  return "\n".join([*rows, f"loss = {total or 'nothing'}"])


def _used(parts: Parts) -> set[tuple[str, str]]:
  """What losses, answers, scalars and values with a state are made from."""
  return _behind(parts.graph, [*_own(parts), *(f"{ANSWER}{name}" for name in parts.answers)])


def _own(parts: Parts) -> list[str]:
  """What a run makes without a caller: losses, scalars, values with a state, plain answers."""
  asked = [f"{LOSS}{loss.name}" for loss in parts.losses]
  asked += [
    f"{ANSWER}{k}" for k, takes in parts.answers.items() if not set(takes or ()) - {*OF_RUN}
  ]
  kept = [n for n, made in parts.graph.nodes.items() if "state" in bind.needs(made.value.fn)]
  return [*asked, *parts.scalars.values(), *(n if b == MAIN else f"{b}.{n}" for b, n in kept)]


def _behind(graph: Graph, references: Iterable[str]) -> set[tuple[str, str]]:
  """The values that some are made from, and these."""
  found = set[tuple[str, str]]()
  todo = [graph.address(reference).node for reference in references]
  while todo:
    node = todo.pop()
    if node in graph.nodes and node not in found:
      found.add(node)
      todo += [address.node for address in graph.nodes[node].arguments.values()]
  return found


def _shapes(
  task: Masked, init: Callable[..., Any], example: Mapping[str, Any], used: set[tuple[str, str]]
) -> dict[tuple[str, str], str]:
  """What each value is for one example, in a few words; nothing of what callers must give."""
  graph, found = task.parts.graph, dict[tuple[str, str], str]()

  def run(key: Any, batch: Any) -> None:
    made, _ = task.run(init(key, batch), batch, key, 0, train=True)
    absent = [(MAIN, name) for name in graph.given if (MAIN, name) not in made.known]
    # A caller's own mask need not have the shape of the graph's, whose name it takes: of what
    # answers alone make of it nothing is known.
    taken = [takes for takes in task.parts.answers.values() if takes is not None]
    given = {graph.whole(name) for takes in taken for name in takes if name not in OF_RUN}
    handed = graph.dependents(given) - _behind(graph, _own(task.parts))
    later = {*graph.dependents(absent), *handed}
    nodes = [node for node in graph.order if node in used and node not in later]
    values = made.all(n if b == MAIN else f"{b}.{n}" for b, n in nodes)
    found.update(zip(nodes, map(_said, values), strict=True))

  jax.eval_shape(run, jax.random.key(0), dict(example))
  return found


def _said(value: Any) -> str:
  """The shape of an array; of a tuple or mapping the shapes of its fields."""
  if callable(value):
    return "a function"
  if hasattr(value, "shape"):
    kind = "bool" if value.dtype == bool else str(value.dtype)
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
  told = (f"{name} {_said(part)}" for name, part in fields if not _empty(part))
  return f"({', '.join(told)})"


def _empty(part: Any) -> bool:
  return part is None or (isinstance(part, Mapping) and not part)


def _stream(graph: Graph, node: tuple[str, str]) -> str:
  value = graph.nodes[node].value
  drawn = "keys" in bind.needs(value.fn) and "keys" not in value.of
  return f"  keys: {value.stream or node[1]}" if drawn else ""
