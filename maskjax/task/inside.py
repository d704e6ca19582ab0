"""Taps and gates inside networks that values call, by the sections `taps` and `gates`."""

import functools
import inspect
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from maskjax.errors import BadInput, unknown
from maskjax.model import layers
from maskjax.task.networks import Network
from maskjax.task.node import Value, named, takes

TOLD = "told."  # begins the name of a value together with what was found inside a network
# Base values that run the blocks of a network which others call as well.
BLOCKS = {"encoder": "out", "decoder": "decoded"}


class Told(NamedTuple):
  """A value, and what stood at the taps inside the networks that made it, by address."""

  out: Any
  found: Mapping[str, Any]


class Place(NamedTuple):
  """A tap or a gate: the value that calls the network, by which argument, and the address there."""

  value: str
  argument: str
  network: str
  address: str


class Asking(Network):
  """A network of which one call is asked for taps and is given gates.

  Args:
    network: the network itself.
    taps: addresses inside, see `maskjax.model.layers`.
    gates: by address.
  """

  def __init__(self, network: Network, taps: tuple[str, ...], gates: Mapping[str, Any]):
    self.network, self.taps, self.gates = network, taps, dict(gates)
    self.found: Mapping[str, Any] | None = None

  def __getattr__(self, name: str) -> Any:
    return getattr(self.network, name)

  def tell(self, *args: Any, taps: Any = (), gates: Any = None, **options: Any) -> layers.Told:
    """The network applied.

    Raises:
      BadInput: it is called a second time.
    """
    if self.found is not None:
      raise BadInput(f"taps and gates are of one call, and {self.network.name!r} is called twice")
    both = {**self.gates, **(gates or {})}
    told = self.network.tell(*args, taps=(*self.taps, *taps), gates=both, **options)
    self.found = told.found
    return told


def inside(
  values: Mapping[str, Value | str],
  taps: Mapping[str, Any],
  gates: Mapping[str, Any],
  networks: Iterable[str] = (),
) -> dict[str, Value | str]:
  """The values with taps, which are values by their names, and with gates.

  An address is `NETWORK/ADDRESS`: the network as values name it ("decoder", "slow.encoder" of a
  teacher), and an address inside, see `maskjax.model.layers`. A tap of all layers, `*`, is a tuple.
  Where several values call the network, `value` says in which call.

  Args:
    values: of the graph.
    taps: name → address, or a section with `at` and `value`.
    gates: name → a section with `at`, `by`, the value that is the gate, and `value`.
    networks: names of all, for messages.

  Raises:
    BadInput: a network that no value calls, or that several do; a tap called as a value is.
  """
  if twice := sorted({*taps} & {*values}):
    raise BadInput(f"taps.{twice[0]}: there is a value of this name already")
  found = dict(values)
  told = {name: _place(values, f"taps.{name}", section, networks) for name, section in taps.items()}
  gated = {
    name: _place(values, f"gates.{name}", section, networks) for name, section in gates.items()
  }
  for name in dict.fromkeys(place.value for place in (*told.values(), *gated.values())):
    value = values[name]
    assert isinstance(value, Value)
    by = {f"gate_{i}": gate for i, gate in enumerate(gated) if gated[gate].value == name}
    own = [place for place in told.values() if place.value == name]
    asks = {
      argument: (
        tuple(dict.fromkeys(p.address for p in own if p.argument == argument)),
        {arg: gated[gate].address for arg, gate in by.items() if gated[gate].argument == argument},
      )
      for argument in takes(value)
    }
    fn = _asking(value.fn, {k: ask for k, ask in asks.items() if any(ask)}, tuple(by))
    of = {**value.of, **{argument: gates[gate]["by"] for argument, gate in by.items()}}
    found[f"{TOLD}{name}"] = value._replace(fn=fn, of=of, stream=value.stream or name)
    found[name] = Value(_out, {"told": f"{TOLD}{name}"})
  for name, (value_, argument, _, address) in told.items():
    tap = functools.partial(_tap, address=f"{argument}/{address}")
    found[name] = Value(tap, {"told": f"{TOLD}{value_}"})
  return found


def _out(told: Told) -> Any:
  """The value itself."""
  return told.out


def _tap(told: Told, *, address: str) -> Any:
  """What stood at an address; at one of all layers, a tuple."""
  if "*" not in address:
    return told.found[address]
  each = re.compile(re.escape(address).replace(r"\*", r"\d+"))
  return tuple(value for name, value in told.found.items() if each.fullmatch(name))


def _place(
  values: Mapping[str, Value | str], who: str, section: Any, networks: Iterable[str]
) -> Place:
  """Where a tap or a gate is."""
  at, value = (section, "") if isinstance(section, str) else (section["at"], section.get("value"))
  network, _, address = at.partition("/")
  calls = dict(_calls(values, network))
  if not calls:
    raise unknown(f"network that a value calls, in {who},", network, networks)
  value = value or BLOCKS.get(network)
  name = value if value in calls else next(iter(calls))
  if value not in calls and (len(calls) > 1 or (value and value != BLOCKS.get(network))):
    raise BadInput(f"{who}: say in which value {network!r} is called, value={' or '.join(calls)}")
  return Place(name, calls[name], network, address)


def _calls(values: Mapping[str, Value | str], network: str) -> Iterator[tuple[str, str]]:
  """The values that name a network, each with the argument."""
  for name, value in values.items():
    if isinstance(value, Value):
      for reference, argument in _references(value).items():
        if reference == network:
          yield name, argument


def _references(value: Value) -> dict[str, str]:
  """What the required arguments of a value are, and those that it names."""
  needed = takes(value).items()
  return {value.of.get(name, name): name for name, must in needed if must or name in value.of}


def _asking(fn: Any, asks: Mapping[str, Any], gates: tuple[str, ...]) -> functools.partial[Any]:
  """The function of a value, which takes gates too, and tells what it finds beside the value."""
  bound = fn if isinstance(fn, functools.partial) else functools.partial(fn)

  @functools.wraps(bound.func)
  def told(**given: Any) -> Any:
    gate = {name: given.pop(name) for name in gates}
    asked = {
      name: Asking(given[name], taps, {address: gate[k] for k, address in by.items()})
      for name, (taps, by) in asks.items()
    }
    made = bound.func(**{**given, **asked})
    found: dict[str, Any] = {}
    for name, network in asked.items():
      if network.found is None:
        raise BadInput(f"{named(fn)} never calls {name!r}, of which there are taps or gates")
      found |= {f"{name}/{address}": value for address, value in network.found.items()}
    if "state" in inspect.signature(bound.func).parameters:
      return Told(made[0], found), made[1]
    return Told(made, found)

  own = list(inspect.signature(bound.func).parameters.values())
  last = [p for p in own if p.kind is p.VAR_KEYWORD]
  kind = inspect.Parameter.KEYWORD_ONLY
  more = [inspect.Parameter(name, kind) for name in gates]
  every = [*(p for p in own if p not in last), *more, *last]
  told.__signature__ = inspect.Signature(every)  # type: ignore[attr-defined]
  return functools.partial(told, **bound.keywords)
