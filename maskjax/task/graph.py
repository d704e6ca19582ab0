"""Graphs of named values: each is computed once, and only where something names it."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from maskjax.errors import BadInput, unknown
from maskjax.task.node import (
  FILLED,
  MAIN,
  TOLD,
  Address,
  Branch,
  Node,
  Value,
  draws,
  literal,
  moves,
  named,
  takes,
  text,
)


class Graph:
  """Values by name, and branches of them; all references are checked here, none while it runs.

  A reference is a name, `NAME.FIELD` for a field or key of a value, `BRANCH.NAME` for the value of
  a branch, or `main.NAME` for that outside of all branches. Inside a branch a plain name is that of
  the branch: what it changes and what depends on that is made again, with keys of its own; the rest
  is shared.

  Args:
    values: by name how they are made, or a reference to another one, as a string.
    given: names of what a run is given: the batch, the step, networks.
    branches: by name.
    outside: values that are never made inside a bucket, however many positions are visible: losses.

  Raises:
    BadInput: a reference to nothing (the nearest name is given), a circle, two values that would
      draw the same keys, or a branch that changes nothing.

  >>> graph = Graph({"b": Value(lambda a: 2 * a), "c": Value(lambda b, a: b + a)}, given=["a"])
  >>> list(graph.describe())
  ['b = task.<lambda>(a)', 'c = task.<lambda>(b, a)']
  """

  def __init__(
    self,
    values: Mapping[str, Value | str],
    given: Iterable[str] = (),
    branches: Mapping[str, Branch] | None = None,
    outside: Iterable[str] = (),
  ):
    self.values, self.given = dict(values), tuple(given)
    self.branches = dict(branches or {})
    self.outside = frozenset(outside)
    self._check_names()
    self.nodes: dict[tuple[str, str], Node] = {}
    self.constants: dict[tuple[str, str], Any] = {}
    self.changed = {branch: self._changed(branch) for branch in self.branches}
    for name in self.values:
      self._place(MAIN, name)
    for branch in self.branches:
      for name in self.changed[branch]:
        self._place(branch, name)
    self.order = tuple(self._ordered())
    self._check_streams()
    self.local = self._local()

  def names(self) -> tuple[str, ...]:
    """Everything that a reference may begin with."""
    return (*self.values, *self.given, *self.branches, MAIN)

  def address(self, reference: str, branch: str = MAIN) -> Address:
    """Where a reference leads from inside a branch.

    Raises:
      BadInput: nowhere.
    """
    return self._follow(self._find(reference, branch))

  def whole(self, name: str, branch: str = MAIN) -> tuple[str, str]:
    """The node that may be given by a name: that value, or the one that the name stands for.

    Raises:
      BadInput: there is none, or it is a part of another.
    """
    address = self.address(name, branch)
    if address.path:
      raise BadInput(f"{name!r} is a part of the value {address.name!r}: give that")
    return address.node

  def _find(self, reference: str, branch: str) -> Address:
    words = reference.split(".")
    if words[0] in self.branches or words[0] == MAIN:
      branch, words = words[0], words[1:]
    for size in range(len(words), 0, -1):
      if self._offers(name := ".".join(words[:size]), branch):
        return Address(branch, name, tuple(words[size:]))
    raise unknown("value", reference, self.names())

  def describe(self) -> Iterator[str]:
    """A line for each value, in the order in which they can be made: `name = function(…)`."""
    for branch, name in self.order:
      node = self.nodes[branch, name]
      inside = "" if branch == MAIN else f"{branch}."
      told = [
        argument if text(address) == argument else f"{argument}={text(address)}"
        for argument, address in node.arguments.items()
      ]
      if node.value.keeps:
        told.append(f"keep={' | '.join(map(str, node.value.keeps))}")
      bound = getattr(node.value.fn, "keywords", {})
      told += [f"{key}={literal(value)}" for key, value in bound.items() if value not in ((), None)]
      yield f"{inside}{name} = {named(node.value.fn)}({', '.join(told)})"

  def dependents(self, nodes: Iterable[tuple[str, str]]) -> frozenset[tuple[str, str]]:
    """The nodes, and all that depend on one of them.

    On the step and the position of examples all that is drawn, or moves, depends.
    """
    found = set(nodes)
    of_run = not found.isdisjoint({(MAIN, "step"), (MAIN, "position")})
    for node in self.order:
      own = any(a.node in found for a in self.nodes[node].arguments.values())
      value = self.nodes[node].value
      if own or (of_run and (draws(value) or moves(value))):
        found.add(node)
    return frozenset(found)

  def _follow(self, address: Address, path: tuple[Any, ...] = ()) -> Address:
    """The address of the node itself, behind names that stand for others.

    In `main` where the branch does not change it.
    """
    branch, name, fields = address
    if branch != MAIN and name not in self.changed[branch]:
      branch = MAIN
    if (branch, name) in path:
      circle = " → ".join(text(Address(*one)) for one in (*path, (branch, name)))
      raise BadInput(f"values that stand for each other: {circle}")
    value = self._said(branch, name)
    if not isinstance(value, str):
      return Address(branch, name, fields)
    # What a branch says of its own values is about those outside, or else a value that stands for
    # another one of its own name would be a circle.
    own = branch != MAIN and name in self.branches[branch].values
    behind = self._find(value, MAIN if own else branch)
    behind = behind._replace(path=(*behind.path, *fields))
    return self._follow(behind, (*path, (branch, name)))

  def _said(self, branch: str, name: str) -> Any:
    """The value, reference or constant that a name is in a branch."""
    own = self.branches[branch].values if branch != MAIN else {}
    return own[name] if name in own else self.values.get(name)

  def _changed(self, branch: str) -> frozenset[str]:
    """The values that a branch makes anew: what it says, and what depends on that."""
    spec = self.branches[branch]
    found = {*spec.values, *spec.draws}
    while True:
      more = {
        name
        for name, value in self.values.items()
        if name not in found and any(self._first(ref) in found for ref in self._needs(value))
      }
      if not more:
        return frozenset(found)
      found |= more

  def _needs(self, value: Value | str) -> Iterator[str]:
    if isinstance(value, str):
      yield value
      return
    for argument, required in takes(value).items():
      if argument in value.of:
        yield value.of[argument]
      elif argument not in TOLD and (required or argument in FILLED):
        yield argument

  def _first(self, reference: str) -> str:
    """The value that a plain reference names; itself where it is one of a branch."""
    words = reference.split(".")
    if words[0] in self.branches or words[0] == MAIN:
      return reference
    names = (".".join(words[:size]) for size in range(len(words), 0, -1))
    return next((name for name in names if name in self.values or name in self.given), reference)

  def _place(self, branch: str, name: str) -> None:
    value = self._said(branch, name)
    if isinstance(value, Value):
      self.nodes[branch, name] = Node(value, dict(self._arguments(branch, name, value)))
    elif isinstance(value, str):
      self._follow(Address(branch, name))
    else:
      self.constants[branch, name] = value

  def _arguments(self, branch: str, name: str, value: Value) -> Iterator[tuple[str, Address]]:
    taken = takes(value)
    for argument in value.of:
      if argument not in taken:
        raise unknown(f"argument of {named(value.fn)} in the value {name!r}", argument, taken)
    for argument, required in taken.items():
      reference = value.of.get(argument)
      if reference is None:
        if argument in TOLD or not (
          required or (argument in FILLED and self._offers(argument, branch))
        ):
          continue
        reference = argument
      try:
        yield argument, self.address(reference, branch)
      except BadInput as error:
        who = f"the value {name!r}, {named(value.fn)}, needs {argument}={reference!r}"
        raise BadInput(f"{who}: {error}") from error

  def _offers(self, name: str, branch: str) -> bool:
    own = self.branches[branch].values if branch != MAIN else {}
    return name in self.values or name in self.given or name in own

  def _ordered(self) -> Iterator[tuple[str, str]]:
    """The nodes, arguments first."""
    done: set[tuple[str, str]] = set()

    def visit(node: tuple[str, str], path: tuple[tuple[str, str], ...]) -> Iterator[Any]:
      if node in done or node not in self.nodes:
        return
      if node in path:
        circle = " → ".join(text(Address(*one)) for one in (*path[path.index(node) :], node))
        raise BadInput(f"values that depend on themselves: {circle}")
      for address in self.nodes[node].arguments.values():
        yield from visit(address.node, (*path, node))
      if node not in done:
        done.add(node)
        yield node

    for node in self.nodes:
      yield from visit(node, ())

  def _check_names(self) -> None:
    for name in (*self.values, *self.given):
      if name.split(".")[0] in (*self.branches, MAIN, *TOLD):
        raise BadInput(f"a value cannot be called {name!r}: that is a branch, or what a run tells")
    for name, branch in self.branches.items():
      if not branch.values and not branch.draws:
        raise BadInput(f"the branch {name!r} changes nothing: all of its values are main's")
      for changed in (*branch.values, *branch.draws):
        new = changed not in self.values and changed not in self.given
        if new and not isinstance(branch.values.get(changed), Value):
          raise unknown(f"value that the branch {name!r} changes", changed, self.names())

  def _check_streams(self) -> None:
    """No two values draw from one stream of keys."""
    drawn: dict[tuple[str, str], str] = {}
    for branch, name in self.order:
      value = self.nodes[branch, name].value
      if draws(value):
        stream = (branch, value.stream or name)
        if stream in drawn:
          raise BadInput(
            f"{drawn[stream]!r} and {name!r} would draw the same keys: give one another stream"
          )
        drawn[stream] = name

  def _local(self) -> Mapping[tuple[str, str], tuple[str, str]]:
    """The nodes that are made inside the bucket of another, and which one that is.

    Those that depend on it, on no other one, and on nothing that had to leave it before.
    """
    behind: dict[tuple[str, str], frozenset[Any]] = {}
    local: dict[tuple[str, str], tuple[str, str]] = {}
    for node in self.order:
      own = {node} if len(self.nodes[node].value.keeps) > 1 else set()
      arguments = [address.node for address in self.nodes[node].arguments.values()]
      behind[node] = frozenset(own).union(*(behind.get(a, frozenset()) for a in arguments))
      if len(behind[node]) == 1 and node[1] not in self.outside:
        (bucket,) = behind[node]
        if all(local.get(a) == bucket for a in arguments if behind.get(a)):
          local[node] = bucket
    return local
