"""Asking networks for what stands inside them, and gating it there: taps and gates by address.

An address is `stack/layer/place`, as in "encoder/3/attention". The stack is the path of the module
whose blocks are meant, left out where it is the network itself ("3/output"). The layer is a number,
-1 the last one's, or `*`, all of them. The place is one of `PLACES`:

| place | what stands there | a gate of it |
|---|---|---|
| input | the block's input `[*b n d]` | positions `[*b n]` |
| attention | the weights `[*b heads n n]` | pairs `[*b n n]`; rows are normalised again |
| heads | what each head says `[*b n heads d/heads]` | heads `[*b heads]` or `[heads]` |
| hidden | what the last layer of a block reads `[*b n m]` | neurons `[*b m]` or `[m]` |
| output | the block's output `[*b n d]` | positions `[*b n]` |

A gate with as many axes as what stands there broadcasts against it: `[1, 1, d]` is one of channels.
Pixels of convolutional networks, which have no attention and no heads, are one axis n.

It works for every network whose blocks call `maskjax.model.places.Places`, since linen hands
collections of variables down to all modules; written out, with `scan` and with `remat`.
"""

import dataclasses
import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import Array, Float

from maskjax.errors import BadInput, nearest
from maskjax.model.places import GATES, OWN, PLACES, TAPS, Asked, Gate, Tap

SOWN = "intermediates"
GATE = "_gate"  # ends the address of a gate
ADDRESS = re.compile(rf"(?:(.+)/)?(\*|-?\d+)/({'|'.join(PLACES)})({GATE})?")
BLOCK = re.compile(r"block_(\d+)")

# Where a block's place lies among variables: modules, the block, OWN, the place.
Path = tuple[str, ...]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Layer:
  """The output of a layer: its tokens, and how many of them there are along each axis."""

  tokens: Float[Array, "*b n d"]
  grid: tuple[int, ...] = dataclasses.field(metadata={"static": True})


class Call(NamedTuple):
  """A call of a network: its variables, and what `network.apply` gets beside them."""

  network: nn.Module
  variables: Mapping[str, Any]
  args: tuple[Any, ...]
  options: Mapping[str, Any]


class Told(NamedTuple):
  """What comes of a network that was asked.

  Attributes:
    out: what it returns.
    found: what stood at the addresses or was sown, by name; of a wildcard by the name of each.
    layers: the outputs that were asked for, by stack, in the order of its layers.
    state: the collections that are `mutable`.
  """

  out: Any
  found: dict[str, Any]
  layers: dict[str, tuple[Layer, ...]]
  state: dict[str, Any]


def apply(
  network: nn.Module,
  variables: Mapping[str, Any],
  *args: Any,
  taps: Sequence[str] = (),
  gates: Mapping[str, Gate] | None = None,
  mutable: Sequence[str] = (),
  **options: Any,
) -> Told:
  """`network.apply`, with gates at addresses inside, and what stands at others told by name.

  A tap is what stands at a place before its gate; "encoder/3/input_gate" is the gate itself, as its
  function made it. Gates are 1 where something is kept. What stands behind a gate of 0, NaN too,
  reaches nothing that comes after, and no gradient reaches it through the place. With neither taps
  nor gates this is `network.apply`.

  Args:
    network: a linen module.
    variables: its variables.
    *args: of its method.
    taps: addresses, or names of what modules sow into "intermediates": "encoder/router/share".
    gates: by address, an array, or a function of the block's input `[*b n d]` that makes one. A
      function of arrays that differ by layer, or that learn, is a `jax.tree_util.Partial` of them.
    mutable: further collections that may change.
    **options: of `network.apply` and of its method.

  Raises:
    BadInput: an address or a name that this call of the network does not have, two gates at one, a
      gate that is no float or of another shape, taps or gates in a block that runs twice.

  >>> from maskjax.model.vit import ViT
  >>> net, x = ViT(8, 2, 2, 8, patch=(1,), grid=(3,)), jax.numpy.ones((3, 1))
  >>> ask = lambda v: apply(net, v, x, taps=["-1/attention"], gates={"0/heads": x[:2, 0]})
  >>> told = jax.eval_shape(ask, jax.eval_shape(net.init, jax.random.key(0), x))
  >>> told.out.shape, told.found["-1/attention"].shape
  ((4, 8), (2, 4, 4))
  """
  if not (taps or gates or mutable):
    return Told(network.apply(variables, *args, **options), {}, {}, {})
  call, blocks = Call(network, variables, args, options), _blocks(variables)
  places: dict[str, Path] = {}
  gated: dict[str, Path] = {}
  sown: list[str] = []
  given: dict[Path, Any] = {}
  for name in taps:
    found = _resolved(name, blocks)
    places.update(found)
    sown += [] if found else [name]
  for name, gate in (gates or {}).items():
    found = _resolved(name, blocks)
    if not found or name.endswith(GATE):
      raise _unknown(name, call)
    for path in found.values():
      if path in given:
        raise BadInput(f"there are two gates at {name!r}, one of them by a wildcard")
      plain = callable(gate) and not isinstance(gate, jax.tree_util.Partial)
      given[path] = jax.tree_util.Partial(gate) if plain else gate
    gated |= {name: (*path[:-1], path[-1] + GATE) for name, path in found.items()}
  # A gate whose place nobody meets would be left out in silence.
  asked = {path: Asked(told=False) for path in gated.values()}
  asked |= {path: Asked() for path in places.values()}
  told = {*mutable, *[TAPS] * bool(asked), *[SOWN] * bool(sown)}
  out, met, said, state = _run(call, asked, given, told)
  for name, path in [*places.items(), *gated.items()]:
    if path not in met:
      raise _unknown(name, call)
  for name in sown:
    if name not in said:
      raise _unknown(name, call)
  values = {name: met[path].value for name, path in places.items()}
  values |= {name: said[name] for name in sown}
  layers = _layers({path: met[path] for path in places.values()})
  return Told(out, values, layers, {kind: state[kind] for kind in mutable if kind in state})


def addresses(
  network: nn.Module, variables: Mapping[str, Any], *args: Any, **options: Any
) -> dict[str, Any]:
  """All taps that `apply` of the same arguments knows, by name, with shapes; computes nothing.

  >>> from maskjax.model.vit import ViT
  >>> net, x = ViT(8, 2, 2, 8, patch=(1,), grid=(3,)), jax.numpy.ones((3, 1))
  >>> [*addresses(net, jax.eval_shape(net.init, jax.random.key(0), x), x)][:3]
  ['0/input', '1/input', '0/attention']
  """
  call, blocks = Call(network, variables, args, options), _blocks(variables)
  places: dict[str, Path] = {}
  for stack, place in itertools.product(blocks, PLACES):
    places |= _resolved("/".join([stack, "*", place]).lstrip("/"), blocks)
  asked = dict.fromkeys(places.values(), Asked())
  run = lambda own: _run(call._replace(variables=own), asked, {}, {TAPS, SOWN})[1:3]
  met, said = jax.eval_shape(run, variables)
  return {**{name: met[path].value for name, path in places.items() if path in met}, **said}


def _run(
  call: Call, asked: Mapping[Path, Asked], gates: Mapping[Path, Gate], mutable: set[str]
) -> tuple[Any, dict[Path, Tap], dict[str, Any], dict[str, Any]]:
  """What the network returns, what its blocks met, what was sown, and all mutable collections."""
  network, variables, args, options = call
  ours = {GATES: unflatten_dict(gates), TAPS: unflatten_dict(asked)}
  full = {**variables, **{kind: tree for kind, tree in ours.items() if tree}}
  out, state = network.apply(full, *args, mutable=sorted(mutable), **options)
  taps, sown = flatten_dict(state.get(TAPS, {})), flatten_dict(state.get(SOWN, {}), sep="/")
  met = {path: tap for path, tap in taps.items() if isinstance(tap, Tap)}
  alone = lambda value: value[0] if isinstance(value, tuple) and len(value) == 1 else value
  said = {name: alone(value) for name, value in sown.items()}
  return out, met, said, dict(state)


def _blocks(variables: Mapping[str, Any]) -> dict[str, dict[int, Path]]:
  """The blocks that have parameters: by stack and number, the path of each."""
  found: dict[str, dict[int, Path]] = {}
  for path in flatten_dict(variables.get("params", {})):
    for i, name in enumerate(path):
      if number := BLOCK.fullmatch(name):
        found.setdefault("/".join(path[:i]), {})[int(number[1])] = path[: i + 1]
  return {stack: dict(sorted(layers.items())) for stack, layers in found.items()}


def _resolved(name: str, blocks: Mapping[str, Mapping[int, Path]]) -> dict[str, Path]:
  """The paths that an address stands for, by name; empty where it is none of these blocks."""
  found = ADDRESS.fullmatch(name)
  if not found:
    return {}
  stack, layer, place = found[1] or "", found[2], found[3] + (found[4] or "")
  layers = blocks.get(stack, {})
  if layer == "*":
    names = {i: "/".join([stack, str(i), place]).lstrip("/") for i in layers}
    return {names[i]: (*path, OWN, place) for i, path in layers.items()}
  number = int(layer) + len(layers) * (int(layer) < 0)
  return {name: (*layers[number], OWN, place)} if number in layers else {}


def _layers(taps: Mapping[Path, Tap]) -> dict[str, tuple[Layer, ...]]:
  """The outputs among what was told, by stack."""
  number = lambda path: int(path[-3].removeprefix("block_"))
  outputs: dict[str, tuple[Layer, ...]] = {}
  for path in sorted((path for path in taps if path[-1] == "output"), key=number):
    stack, tap = "/".join(path[:-3]), taps[path]
    outputs[stack] = (*outputs.get(stack, ()), Layer(tap.value, tap.grid))
  return outputs


def _unknown(name: str, call: Call) -> BadInput:
  """The error for a name that a call of the network does not have."""
  network, variables, args, options = call
  choices = addresses(network, variables, *args, **options)
  known: dict[str, list[str]] = {}
  for choice in choices:
    found = ADDRESS.fullmatch(choice)
    key = choice if not found else "/".join([found[1] or "", "*", found[3]]).lstrip("/")
    known.setdefault(key, []).append(choice)
  listed = [f"{key}, {len(all_)} layers" if "*" in key else key for key, all_ in known.items()]
  return BadInput(
    f"this call of {type(network).__name__} has no {name!r}{nearest(name, [*choices, *known])} "
    f"(known: {'; '.join(sorted(listed)) or 'none'})"
  )
