"""Functions of a key that make many leaves of few kinds, compiled once for each kind."""

import functools
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, jaxpr_as_fun
from jax.interpreters import partial_eval

from maskjax.train.pod.threads import cores

# On CPUs a draw is compiled in less than half the time so, to the same bits, and runs as fast.
# Without optimisation its bits are others, and it takes three times as long to run.
ON_CPUS: dict[str, int | bool] = {
  "xla_backend_optimization_level": 1,
  "xla_cpu_parallel_codegen_split_count": 1,
}
if jax.__version_info__ < (0, 11):  # What compiles later knows no other way to fuse.
  ON_CPUS["xla_cpu_use_fusion_emitters"] = False
# How many draws there are of a kind at least, on average: where there are fewer, as in a network of
# two layers, one program is compiled sooner than many.
LEAST_ALIKE = 2


def by_kind(function: Callable[[jax.Array], Any], shardings: Any) -> Callable[[jax.Array], Any]:
  """`function` of a key as small programs, one for each kind of leaf of its result; same bits.

  Networks initialise hundreds of leaves in few ways: two kernels of one shape differ only in the
  numbers that are folded into their keys. As one program they take longer to compile than the
  train step. Here leaves that are computed alike share a program, which is called for each leaf
  with its numbers; leaves that share more than keys are made together. Where hardly two leaves
  are alike there is one program.

  Args:
    function: of a typed key; traced once, at the first call.
    shardings: of each leaf of its result, a tree.

  >>> import jax.numpy as jnp
  >>> draw = lambda key, i: jax.random.uniform(jax.random.fold_in(key, i), (4, 3))
  >>> one = jax.sharding.SingleDeviceSharding(jax.devices()[0])
  >>> made = by_kind(lambda key: [draw(key, i) for i in range(9)], [one] * 9)
  >>> key = jax.random.key(0)
  >>> bool((made(key)[7] == draw(key, 7)).all())
  True
  """

  @functools.cache
  def programs() -> tuple[list[_Kind], Any]:
    traced = jax.jit(function).trace(jax.random.key(0))
    kinds = _kinds(traced.jaxpr, jax.tree.leaves(shardings))
    # Several processes compile in one order; where a debugger sees every value nothing is compiled.
    if jax.process_count() == 1 and not jax.config.jax_disable_jit:  # type: ignore[attr-defined]
      kinds = _together(kinds)
    return kinds, jax.tree.structure(traced.out_info)

  def call(key: jax.Array) -> Any:
    kinds, structure = programs()
    leaves: list[Any] = [None] * structure.num_leaves
    for kind in kinds:
      for part in kind.parts:
        for number, leaf in zip(part.outputs, kind.run(key, part.folds), strict=True):
          leaves[number] = leaf
    return jax.tree.unflatten(structure, leaves)

  return call


class _Part(NamedTuple):
  """Outputs that are made together.

  Attributes:
    outputs: their numbers.
    keys: the equations that fold a number into the function's key, or into such a key, in order.
    rest: the other equations, in order.
  """

  outputs: tuple[int, ...]
  keys: Sequence[JaxprEqn]
  rest: Sequence[JaxprEqn]

  @property
  def folds(self) -> np.ndarray:
    """The numbers that `keys` fold in."""
    numbers = [e.invars[1] for e in self.keys]
    return np.array([v.val for v in numbers if isinstance(v, Literal)], np.uint32)


class _Kind(NamedTuple):
  """A compiled function of a key and the numbers to fold in, and the parts that it makes."""

  run: Callable[..., Sequence[jax.Array]]
  parts: Sequence[_Part]


def _kinds(closed: ClosedJaxpr, shardings: Sequence[Any]) -> list[_Kind]:
  """Groups the outputs of a program by how they are made and where they lie."""
  needed = [True] * len(closed.jaxpr.outvars)
  jaxpr, _ = partial_eval.dce_jaxpr(closed.jaxpr, needed, instantiate=True)
  closed = closed.replace(jaxpr=jaxpr)
  groups: dict[tuple[Hashable, tuple[Any, ...]], list[_Part]] = {}
  for part in _parts(jaxpr):
    lie = tuple(shardings[number] for number in part.outputs)
    groups.setdefault((_form(jaxpr, part), lie), []).append(part)
  cpus = all(device.platform == "cpu" for lie in shardings for device in lie.device_set)
  options = ON_CPUS if cpus else None

  def compiled(part: _Part, lie: Sequence[Any]) -> Callable[..., Any]:
    return jax.jit(_program(closed, part), out_shardings=list(lie), compiler_options=options)

  draws = [len(parts) for parts in groups.values() if parts[0].keys]
  if sum(draws) < LEAST_ALIKE * len(draws):
    whole = _Part(tuple(range(len(needed))), keys=(), rest=jaxpr.eqns)
    return [_Kind(compiled(whole, shardings), [whole])]
  return [_Kind(compiled(parts[0], lie), parts) for (_, lie), parts in groups.items()]


def _together(kinds: Sequence[_Kind]) -> list[_Kind]:
  """The kinds with their programs compiled, as many at a time as there are cores."""
  key = jax.random.key(0)

  def compiled(kind: _Kind) -> _Kind:
    return kind._replace(run=kind.run.lower(key, kind.parts[0].folds).compile())  # type: ignore[attr-defined]

  with ThreadPoolExecutor(cores()) as pool:
    return [*pool.map(compiled, kinds)]


def _program(closed: ClosedJaxpr, part: _Part) -> Callable[..., Sequence[jax.Array]]:
  """`(key, folds) -> outputs` of a part, where `folds` may be those of another of its kind."""
  jaxpr, folded = closed.jaxpr, [e.outvars[0] for e in part.keys]
  outvars = [jaxpr.outvars[number] for number in part.outputs]
  rest = jaxpr.replace(invars=[*jaxpr.invars, *folded], outvars=outvars, eqns=list(part.rest))
  run = jaxpr_as_fun(closed.replace(jaxpr=rest))

  def program(key: jax.Array, folds: jax.Array) -> Sequence[jax.Array]:
    keys = {jaxpr.invars[0]: key}
    for number, e in enumerate(part.keys):
      keys[e.outvars[0]] = jax.random.fold_in(keys[e.invars[0]], folds[number])
    return run(*keys.values())

  return program


def _parts(jaxpr: Jaxpr) -> list[_Part]:
  """The outputs, together where they share equations other than those that make keys."""
  makers = {v: i for i, e in enumerate(jaxpr.eqns) for v in e.outvars}
  keys, known = set(), {jaxpr.invars[0]}
  for i, e in enumerate(jaxpr.eqns):
    literal = len(e.invars) == 2 and isinstance(e.invars[1], Literal)
    if e.primitive.name == "random_fold_in" and literal and e.invars[0] in known:
      keys.add(i)
      known.add(e.outvars[0])
  first: dict[int, int] = {}  # of each shared equation: the output that needed it first
  needs, group = [], list(range(len(jaxpr.outvars)))
  for number, out in enumerate(jaxpr.outvars):
    needs.append(_needed(jaxpr, out, makers))
    for i in needs[-1] - keys:
      _join(group, first.setdefault(i, number), number)
  members: dict[int, list[int]] = {}
  for number in range(len(group)):
    members.setdefault(_root(group, number), []).append(number)
  pick = lambda numbers: [jaxpr.eqns[i] for i in sorted(numbers)]
  parts = []
  for outputs in members.values():
    needed = set().union(*(needs[number] for number in outputs))
    parts.append(_Part(tuple(outputs), pick(needed & keys), pick(needed - keys)))
  return parts


def _needed(jaxpr: Jaxpr, out: Any, makers: Mapping[Any, int]) -> set[int]:
  """The numbers of the equations that a variable needs."""
  found: set[int] = set()
  left = [out]
  while left:
    v = left.pop()
    if not isinstance(v, Literal) and v in makers and makers[v] not in found:
      found.add(makers[v])
      left += jaxpr.eqns[makers[v]].invars
  return found


def _root(group: list[int], number: int) -> int:
  while group[number] != number:
    number = group[number]
  return number


def _join(group: list[int], one: int, other: int) -> None:
  roots = sorted((_root(group, one), _root(group, other)))
  group[roots[1]] = roots[0]


def _form(jaxpr: Jaxpr, part: _Part) -> Hashable:
  """How a part is computed, whatever it folds into keys: equal for parts of one kind."""
  names = {jaxpr.invars[0]: 0}

  def name(v: Any) -> Hashable:
    if isinstance(v, Literal):
      return str(v.aval), repr(v.val)
    return names.setdefault(v, len(names))

  def told(e: JaxprEqn, inputs: Iterable[Any]) -> Hashable:
    kinds = tuple(str(v.aval) for v in e.outvars)
    read = tuple(map(name, inputs))
    return e.primitive.name, _parameter(e.params), read, tuple(map(name, e.outvars)), kinds

  keys = tuple(told(e, e.invars[:1]) for e in part.keys)
  rest = tuple(told(e, e.invars) for e in part.rest)
  return keys, rest, tuple(name(jaxpr.outvars[number]) for number in part.outputs)


def _parameter(value: Any) -> Hashable:
  """What tells parameters of equations apart; inner programs are the same if they are one object.

  Those of one function, shape and dtype are: jax traces these once.
  """
  if isinstance(value, ClosedJaxpr | Jaxpr):
    return id(getattr(value, "jaxpr", value))
  if isinstance(value, Mapping):
    return tuple((name, _parameter(x)) for name, x in sorted(value.items()))
  if isinstance(value, list | tuple):
    return tuple(map(_parameter, value))
  return str(value)
