"""One run of a graph of values: what was made is kept, what nobody names is never made."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from maskjax import bind
from maskjax.errors import BadInput
from maskjax.keys import keys, stream
from maskjax.task import shapes
from maskjax.task.buckets import bucket_of
from maskjax.task.graph import Graph
from maskjax.task.node import MAIN, Address, Node

Place = tuple[str, str]


class Run:
  """The values of one run of a graph.

  Where a value has several `keeps`, `jax.lax.switch` has a branch for each of them. What depends on
  it is made inside, as its shapes follow `keep`; what losses and callers ask for leaves the switch,
  padded with zeros (False) behind to the shape that the largest has.

  Args:
    graph: what is run.
    given: values by name: those that are given, and whatever a caller sets otherwise.
    known: values by node, made before.
    key: of the run; None where nothing is drawn.
    states: what values returned last, by `NAME` or `BRANCH.NAME`; told to those
      that keep a state.
    keep: how many positions are kept wherever some are, whatever is hidden.
    inside: the node in whose bucket this runs.

  >>> from maskjax.task.graph import Value
  >>> graph = Graph({"b": Value(lambda a: 2 * a), "c": Value(lambda b, a: b + a)}, given=["a"])
  >>> Run(graph, {"a": 3}).take("b", "c")
  (6, 9)
  """

  def __init__(
    self,
    graph: Graph,
    given: Mapping[str, Any],
    *,
    known: Mapping[Place, Any] | None = None,
    key: Key[Array, ""] | None = None,
    states: Mapping[str, Any] | None = None,
    keep: int | None = None,
    inside: Place | None = None,
  ):
    self.graph, self.key = graph, key
    self.known = {**(known or {}), **{(MAIN, name): value for name, value in given.items()}}
    self.states, self.keep, self.inside = dict(states or {}), keep, inside
    # Keys that a caller gives to single values, in the place of those of their streams.
    self.drawn: dict[Place, Any] = {}
    self.changes: dict[str, Any] = {}
    self.leaving: dict[Place, list[Place]] = {}

  def take(self, *references: str, branch: str = MAIN) -> Any:
    """The values that references name, seen from a branch: one of one, a tuple of several.

    Raises:
      BadInput: a reference that leads nowhere.
    """
    found = self.all(references, branch)
    return found[0] if len(found) == 1 else found

  def all(self, references: Iterable[str], branch: str = MAIN) -> tuple[Any, ...]:
    """The values that references name, as a tuple of as many; see `take`."""
    addresses = [self.graph.address(reference, branch) for reference in references]
    self._plan(address.node for address in addresses)
    return tuple(self._at(address) for address in addresses)

  def ask(self, *references: str, branch: str = MAIN, **given: Any) -> Any:
    """Values as they would be if others, of this very run, were those `given`.

    What depends on none of these is shared, keys too: it is for derivatives, say
    `jax.grad(lambda g: graph("losses.task", gate=g).sum)(gate)` in a function that names `graph`.

    Raises:
      BadInput: a name or a reference that leads nowhere, or a name that is a part of a value.
    """
    places = {self.graph.whole(name, branch): value for name, value in given.items()}
    stale = self.graph.dependents(places)
    known = {place: value for place, value in self.known.items() if place not in stale}
    return self._again({**known, **places}).take(*references, branch=branch)

  def _again(self, known: Mapping[Place, Any], **changes: Any) -> "Run":
    options = {"key": self.key, "states": self.states, "keep": self.keep, "inside": self.inside}
    return Run(self.graph, {}, known=known, **{**options, **changes})

  def _plan(self, wanted: Iterable[Place]) -> None:
    """Which values are to leave which bucket."""
    seen: set[Place] = set()

    def visit(place: Place, by: Place | None) -> None:
      bucket = self.graph.local.get(place)
      if bucket is not None and (by is None or self.graph.local.get(by) != bucket):
        out = self.leaving.setdefault(bucket, [])
        if place not in out:
          out.append(place)
      if place in seen or place in self.known or place not in self.graph.nodes:
        return
      seen.add(place)
      for address in self.graph.nodes[place].arguments.values():
        visit(address.node, place)

    for place in wanted:
      visit(place, None)

  def _at(self, address: Address) -> Any:
    found = self._get(address.node)
    for field in address.path:
      try:
        found = found[field] if isinstance(found, Mapping) else getattr(found, field)
      except (KeyError, AttributeError):
        fields = found if isinstance(found, Mapping) else getattr(found, "_fields", ())
        who = f"the value {address.name!r} has no field {field!r}"
        raise BadInput(f"{who} (it has: {', '.join(map(str, fields)) or 'none'})") from None
    return found

  def _get(self, place: Place) -> Any:
    if place in self.known:
      return self.known[place]
    if place in self.graph.constants:
      return self.graph.constants[place]
    node = self.graph.nodes.get(place)
    if node is None:
      raise BadInput(f"this run was not given {place[1]!r}")
    bucket = self.graph.local.get(place)
    if bucket is not None and bucket != self.inside and self.keep is None:
      self._switch(bucket)
    else:
      self.known[place] = self._made(place, node)
    return self.known[place]

  def _made(self, place: Place, node: Node) -> Any:
    branch, name = place
    fn = node.value.fn
    told = {argument: self._at(address) for argument, address in node.arguments.items()}
    takes = bind.needs(fn)
    name_of_keys = node.value.stream or name
    if node.value.keeps:
      told["keep"] = node.value.keeps[-1] if self.keep is None else self.keep
    if "exact" in takes:
      told["exact"] = node.value.exact and self.keep is None
    if "keys" in takes and "keys" not in told:
      given = self.drawn.get(place)
      told["keys"] = self._keys(branch, name_of_keys) if given is None else given
    if "key" in takes and "key" not in told:
      told["key"] = self._key(branch, name_of_keys)
    if "graph" in takes:
      told["graph"] = partial(self.ask, branch=branch)
    drawn = lambda: told["keys"] if "keys" in told else self._keys(branch, name_of_keys)
    moved = self._moved(fn, drawn)
    own = name if branch == MAIN else f"{branch}.{name}"
    shapes.check(own, fn, told)
    if "state" not in takes or "state" in told:
      return moved(**told)
    made, state = moved(**told, state=self.states.get(own))
    if self.inside is not None:
      raise BadInput(f"the value {name!r} keeps a state, and is made in one of several buckets")
    self.changes[own] = state
    return made

  def _moved(self, fn: Any, drawn: Callable[[], Key[Array, "..."]]) -> Callable[..., Any]:
    """The function with what moves over a run, or from key to key of those drawn, as it is now.

    What was declared by `bind.paced` moves its arguments itself.
    """
    moving = [v for v in getattr(fn, "keywords", {}).values() if isinstance(v, bind.Moving)]
    if not moving or hasattr(fn.func, "pace"):
      return fn
    each = any(value.each for value in moving)
    return bind.at(fn, self._get((MAIN, "step")), drawn() if each else None)

  def _keys(self, branch: str, name: str) -> Key[Array, "b"]:
    return keys(self._key(branch, name), self._get((MAIN, "position")))

  def _key(self, branch: str, name: str) -> Key[Array, ""]:
    if self.key is None:
      raise BadInput(f"the value {name!r} is drawn, and this run has no key")
    own = self.key if branch == MAIN else stream(self.key, branch)
    return stream(own, name, self._get((MAIN, "step")))

  def _switch(self, bucket: Place) -> None:
    """Makes what leaves the bucket of a node, by as many positions as have to be kept."""
    node = self.graph.nodes[bucket]
    leaving = self.leaving[bucket]
    self._outside(bucket, leaving)
    hidden = self._at(node.arguments["hidden"])
    if "allowed" in node.arguments and (allowed := self._at(node.arguments["allowed"])) is not None:
      hidden = hidden | ~allowed
    shapes: list[Any] = []

    def made(keep: int) -> Callable[[], Any]:
      def branch() -> Any:
        inner = self._again(self.known, keep=keep, inside=bucket)
        out = [inner._get(place) for place in leaving]
        form: Any
        flat, form = jax.tree.flatten(out)
        if not shapes:
          shapes.extend(map(jnp.shape, flat))
        return form.unflatten(map(_padded, flat, shapes))

      return branch

    # The largest comes first: the others are padded to its shapes.
    keeps: Sequence[int] = node.value.keeps[::-1]
    index = len(keeps) - 1 - bucket_of(node.value.keeps, hidden)
    found = jax.lax.switch(index, [made(keep) for keep in keeps])
    self.known.update(zip(leaving, found, strict=True))

  def _outside(self, bucket: Place, wanted: Iterable[Place]) -> None:
    """Makes what the values of a bucket need from outside of it."""
    todo, done = list(wanted), set()
    while todo:
      place = todo.pop()
      if place in done or place in self.known or place not in self.graph.nodes:
        continue
      done.add(place)
      if self.graph.local.get(place) == bucket:
        todo += [address.node for address in self.graph.nodes[place].arguments.values()]
      else:
        self._get(place)


def _padded(x: Any, shape: tuple[int, ...]) -> Any:
  """Zeros, False, behind each axis that is shorter."""
  if jnp.shape(x) == shape:
    return x
  return jnp.pad(x, [(0, wide - size) for size, wide in zip(jnp.shape(x), shape, strict=True)])
