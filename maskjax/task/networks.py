"""Networks as values of a graph: linen modules that any other value may call."""

import inspect
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from maskjax.errors import BadInput, unknown
from maskjax.keys import stream
from maskjax.model import layers
from maskjax.record import Record
from maskjax.task.base import FROZEN, STATISTICS, Variables
from maskjax.task.normalised import NORMALISATION, to_own, to_run

ROOT = "network"  # the network whose variables lie at the root, not under its name
MODULE = "module"  # the argument by which the function of a module is told its network


class Network:
  """A linen module with its variables, called as `network(x, …, method=None)`.

  Its fields are those of the module. What it changes of its collections while it is trained, as
  running statistics, is in `changed`, and the next call goes on from there: two batches of a step
  move them twice. Of a fixed one nothing changes. While it is being initialised, each call makes
  the variables that it needs; one like a call before only reads them.

  Args:
    name: of the network, under which its variables lie in every collection; those of "network" lie
      at the root, beside the others.
    module: what is called.
    variables: of all networks; `None` while they are being made.
    key: to make them from.
    fixed: whether gradients stop at its parameters.
    record: of the run's data; what a frozen network takes and gives is normalised by its own.
  """

  def __init__(
    self,
    name: str,
    module: nn.Module,
    variables: Variables | None,
    *,
    key: Key[Array, ""] | None = None,
    fixed: bool = False,
    record: Record | None = None,
  ):
    own = variables or {}
    self.record, self.own = record, own.get(NORMALISATION, {}).get(name)
    if name != ROOT:
      own = {k: v[name] for k, v in own.items() if isinstance(v, Mapping) and name in v}
    self.name, self.module, self.variables, self.key = name, module, dict(own), key
    self.fixed, self.made, self.called = fixed, variables is not None, False
    self.changed: dict[str, Any] = {}
    self.inits: set[Hashable] = set()  # Calls that have made what variables they need.

  def __getattr__(self, name: str) -> Any:
    return getattr(self.module, name)

  def __call__(self, *args: Any, method: str | None = None, **options: Any) -> Any:
    """The module applied."""
    return self.tell(*args, method=method, **options).out

  def tell(
    self,
    *args: Any,
    method: str | None = None,
    taps: Sequence[str] = (),
    gates: Mapping[str, Any] | None = None,
    **options: Any,
  ) -> layers.Told:
    """The module applied, with what stands at taps inside, see `maskjax.model.layers.apply`."""
    self.called = True
    name = "__call__" if method is None else method
    # By name inside: what `setup` binds is there only while a module is applied.
    told: Any = {"method": lambda module, *args, **options: getattr(module, name)(*args, **options)}
    if not self.made and (call := _form(name, args, options)) not in self.inits:
      self.inits.add(call)
      first, made = self.module.init_with_output(self.key, *args, **told, **options)  # type: ignore[arg-type]
      self.variables = _merged(self.variables, made)
      if not (taps or gates):
        # From one key always the same parameters are made: nothing would differ if applied again.
        return layers.Told(first, {}, {}, {})
    moves = [kind for kind in running(self.module) if kind in self.variables]
    moves = moves if options.get("train") else []
    inside: Any = {"taps": taps, "gates": gates, "mutable": moves}
    seen = {**self.variables, **self.changed}
    if self.fixed:
      seen = {**seen, "params": jax.lax.stop_gradient(seen.get("params", {}))}
    args, options = self._own(name, args, options)
    found = layers.apply(self.module, seen, *args, **inside, **told, **options)
    found = found._replace(out=self._back(name, found.out))
    if self.made and not self.fixed:
      self.changed = {**self.changed, **found.state}
    return found

  def _own(self, method: str, args: Any, options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The arguments of a method, examples normalised as the network was trained with."""
    takes, _ = getattr(getattr(type(self.module), method, None), "examples", ("", None))
    if not takes or self.own is None or self.record is None:
      return args, options
    if args:
      return (to_own(args[0], self.record, self.own), *args[1:]), options
    return args, {**options, takes: to_own(options[takes], self.record, self.own)}

  def _back(self, method: str, out: Any) -> Any:
    """The result of a method, examples normalised as the data of the run are."""
    _, gives = getattr(getattr(type(self.module), method, None), "examples", ("", None))
    if gives is None or self.own is None or self.record is None:
      return out
    if not gives:
      return to_run(out, self.record, self.own)
    return out._replace(**{gives: to_run(getattr(out, gives), self.record, self.own)})


def _form(method: str, args: Any, options: Mapping[str, Any]) -> Hashable:
  """Equal for calls that make the same variables: of arrays what counts is shape and dtype."""
  leaves, structure = jax.tree.flatten((args, options))
  kinds = (f"{jnp.shape(x)} {x.dtype}" if hasattr(x, "dtype") else repr(x) for x in leaves)
  return method, structure, *kinds


def networks_of(
  modules: Mapping[str, nn.Module],
  variables: Variables | None,
  *,
  key: Key[Array, ""] | None = None,
  frozen: Mapping[str, bool] | None = None,
  fixed: bool = False,
  record: Record | None = None,
) -> dict[str, Network]:
  """All networks by name: with their variables, or to be initialised from a key.

  Parameters of the `frozen` ones lie in the collection "frozen". Gradients stop at these, and where
  `fixed` at those of all.
  """
  found = {}
  for name, module in modules.items():
    own = None if key is None else stream(stream(key, "init"), name)
    kept, still = variables, (frozen or {}).get(name, False)
    if variables is not None and still:
      kept = {**variables, "params": variables.get(FROZEN, {})}
    found[name] = Network(name, module, kept, key=own, fixed=fixed or still, record=record)
  return found


def variables_of(
  networks: Mapping[str, Network],
  frozen: Mapping[str, bool] | None = None,
  examples: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
  """The variables that networks were initialised with, by collection and name.

  Those that have an example here are made whole by a call with it, as codecs are: losses may call
  only a part of them, and what was trained before is whole.

  Raises:
    BadInput: a network that nothing called.
  """
  found: dict[str, Any] = {"params": {}}
  for name, network in networks.items():
    if name in (examples or {}):
      network((examples or {})[name])
    if not network.called:
      raise BadInput(f"no loss calls the network {name!r}: name it in one, or leave it out")
    for collection, tree in network.variables.items():
      place = FROZEN if collection == "params" and (frozen or {}).get(name) else collection
      found.setdefault(place, {}).update(tree if name == ROOT else {name: tree})
  return found


def running(module: Any) -> tuple[str, ...]:
  """The collections that training a module changes, which belong to its weights.

  Linen's running statistics, unless the module says otherwise in a field `running`.

  >>> running(nn.BatchNorm())
  ('batch_stats',)
  """
  found: tuple[str, ...] = getattr(module, "running", (STATISTICS,))
  return found


def learned_of(
  modules: Mapping[str, nn.Module], variables: Variables, frozen: Mapping[str, bool]
) -> dict[str, Any]:
  """The networks that learn: "params", and by collection and name the state of these weights."""
  found: dict[str, Any] = {"params": variables["params"]}
  for name, module in modules.items():
    for kind in () if frozen.get(name) else running(module):
      tree = variables.get(kind, {})
      if own := tree if name == ROOT else {key: tree[key] for key in (name,) if key in tree}:
        found[kind] = {**found.get(kind, {}), **own}
  still = [name for name in modules if frozen.get(name)]
  drop = lambda tree: {key: part for key, part in tree.items() if key not in still}
  return {kind: tree if kind == "params" else drop(tree) for kind, tree in found.items()}


def changes_of(networks: Mapping[str, Network], variables: Variables) -> dict[str, Any]:
  """The collections that networks changed while they were called, whole."""
  changed: dict[str, Any] = {}
  for name, network in networks.items():
    for collection, tree in network.changed.items():
      whole = changed.setdefault(collection, dict(variables[collection]))
      whole.update(tree if name == ROOT else {name: tree})
  return changed


def calls(module: nn.Module, method: str = "__call__") -> Callable[..., Any]:
  """A function `(module, …)` that applies a network to the arguments of one of its methods.

  Raises:
    BadInput: the network has no such method.

  >>> list(inspect.signature(calls(nn.Dense(3))).parameters)
  ['module', 'inputs']
  """
  if not callable(found := getattr(type(module), method, None)):
    public = [name for name in dir(type(module)) if not name.startswith("_")]
    raise unknown(f"method of {type(module).__name__}", method, public)

  def call(module: Network, **told: Any) -> Any:
    return module(**told, method=method)

  own = [
    p.replace(kind=inspect.Parameter.KEYWORD_ONLY)
    for p in list(inspect.signature(found).parameters.values())[1:]
    if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
  ]
  first = inspect.Parameter(MODULE, inspect.Parameter.KEYWORD_ONLY)
  call.__signature__ = inspect.Signature([first, *own])  # type: ignore[attr-defined]
  call.__name__ = type(module).__name__ + ("" if method == "__call__" else f".{method}")
  return call


def _merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
  """Both trees; of what is in both the old one."""
  merged = dict(new)
  for name, value in old.items():
    both = isinstance(value, Mapping) and isinstance(new.get(name), Mapping)
    merged[name] = _merged(value, new[name]) if both else value
  return merged
