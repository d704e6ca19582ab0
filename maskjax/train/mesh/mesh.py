"""The devices of a run, and how its arrays lie on them: batches cut, the state as a preset says."""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from maskjax.errors import BadInput, unknown
from maskjax.task.answers import around, wrapped
from maskjax.task.base import Task
from maskjax.train.checkpoints import cuts, leaves
from maskjax.train.mesh.gather import get
from maskjax.train.mesh.mapped import mapped
from maskjax.train.mesh.partition import LEAST, axes_of, partition
from maskjax.train.pod.waiting import waiting

AXES = ("data", "fsdp", "tensor")
# The axis over slices, which a data centre's network joins, slower than the links within a slice.
SLICE = "slice"
# The axes of each preset, and how long they are unless said otherwise: -1 takes what is left. But
# for "pmap" there is also one over slices, as long as there are slices.
PRESETS: dict[str, dict[str, int]] = {
  "data": {"data": -1},
  "pmap": {"data": -1},
  "fsdp": {"data": 1, "fsdp": -1},
  "fsdp_tensor": {"data": 1, "fsdp": -1, "tensor": 2},
}


class Mesh(NamedTuple):
  """All devices of a run, in rows called "data", "fsdp" and "tensor"; of several slices "slice".

  Attributes:
    preset: "data" and "pmap" keep the state whole on every device, "fsdp" cuts it over the axis
      "fsdp", "fsdp_tensor" also matrices over "tensor".
    devices: how many, those of all processes together.
    mesh: the devices.
    everywhere: the sharding of what every device holds whole.
    cut: the sharding of what is cut along its first axis, over "slice", "data" and "fsdp".
    rules: pairs (regular expression, axes of a parameter), which go before those of the preset.
    least: leaves of fewer entries stay whole.
  """

  preset: str
  devices: int
  mesh: jax.sharding.Mesh
  everywhere: NamedSharding
  cut: NamedSharding
  rules: Sequence[Any] = ()
  least: int = LEAST

  @property
  def parts(self) -> int:
    """In how many parts a batch is cut."""
    return math.prod(self.mesh.shape[axis] for axis in axes_of(self.cut.spec[0]))

  def check(self, batch_size: int, accumulate: int) -> None:
    """Raises `BadInput` where a batch cannot be cut evenly over devices and microbatches."""
    if accumulate < 1:
      raise BadInput(f"accumulate must be at least 1, got {accumulate}")
    parts = self.parts
    if batch_size < 1 or batch_size % (parts * accumulate):
      said = f"{parts} device(s)" + (f" times {accumulate} microbatches" if accumulate > 1 else "")
      raise BadInput(f"batch_size {batch_size} is not divisible by {said}")

  def put(self, batch: Mapping[str, np.ndarray]) -> dict[str, jax.Array]:
    """This process' part of a batch, put together with those of the others; one has all of it."""
    if jax.process_count() == 1:
      return jax.device_put(dict(batch), self.cut)
    join = lambda x: jax.make_array_from_process_local_data(self.cut, np.asarray(x))
    return {name: join(x) for name, x in batch.items()}

  def put_whole(self, tree: Any) -> Any:
    """Arrays that every process holds whole, cut along their first axis."""
    return jax.tree.map(lambda x: _lay(x, self.cut), tree)

  def put_everywhere(self, tree: Any) -> Any:
    """Arrays that every process holds whole, whole on every device."""
    return jax.tree.map(lambda x: _lay(x, self.everywhere), tree)

  def get(self, tree: Any) -> Any:
    """Arrays whole in the memory of every process, whatever devices they lie on."""
    return get(tree)

  def state(self, shapes: Any) -> Any:
    """Shapes and dtypes of a state, with word where each lies.

    Raises:
      BadInput: a rule that matches nothing or does not divide what it cuts, an unknown axis.
    """
    return jax.tree.map(
      lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
      shapes,
      self.shardings(shapes),
    )

  def shardings(self, tree: Any) -> Any:
    """Where the leaves of a state lie: a tree of shardings, from shapes alone."""
    if self.preset in ("data", "pmap"):
      return jax.tree.map(lambda _: self.everywhere, tree)
    specs = partition(tree, dict(self.mesh.shape), rules=self.rules, least=self.least)
    return jax.tree.map(lambda spec: NamedSharding(self.mesh, spec), specs)

  def reading(self, task: Task) -> Task:
    """The task on these devices: its loss and all its answers tell kernels of them.

    Variables may be cut. Each of those is gathered over "fsdp" where it is needed, and its gradient
    comes back cut. Left alone the compiler cuts what flows between the layers in ways that fit
    their weights, and moves it about at every layer.
    """
    if self.preset == "pmap":
      return task

    def read(function: Callable[..., Any], variables: Any, *rest: Any, **named: Any) -> Any:
      with jax.sharding.use_abstract_mesh(self.mesh.abstract_mesh):
        if self.preset != "data":
          own = self.shardings({"variables": variables})["variables"]
          variables = jax.tree.map(_gathered, variables, own)
        return function(variables, *rest, **named)

    return wrapped(task._replace(loss=around(task.loss, read)), read)

  def place(self, tree: Any, like: Any = None) -> Any:
    """A state, from the host or from other devices, on the shardings of `like`, else its own."""
    like = self.state(tree) if like is None else like
    return jax.tree.map(lambda x, to: _lay(x, to.sharding), tree, like)

  def describe(self, state: Any) -> str:
    """The preset, the axes and how much of a state lies on each device."""
    shape = " by ".join(f"{axis}={size}" for axis, size in self.mesh.shape.items())
    whole, part = sum(map(_bytes, jax.tree.leaves(state))), bytes_per_device(state)
    megabytes = f"{part / 1e6:,.1f} of {whole / 1e6:,.1f} MB of state on each"
    return f"mesh {self.preset}, {shape}: {self.devices} device(s), {megabytes}"

  def compile(self, train_step: Callable[..., Any]) -> Callable[..., Any]:
    """The step `(state, batch) -> (state, metrics)` on these devices; takes its state's memory."""
    if self.preset == "pmap":
      return mapped(train_step, self.everywhere)

    @functools.wraps(train_step)
    def settled(state: Any, batch: Any) -> Any:
      state, metrics = train_step(state, batch)
      to = (self.shardings(state), jax.tree.map(lambda _: self.everywhere, metrics))
      return jax.lax.with_sharding_constraint((state, metrics), to)

    return jax.jit(settled, donate_argnums=0)


def make_mesh(
  section: Mapping[str, Any] | None = None, devices: Sequence[jax.Device] | None = None
) -> Mesh:
  """The mesh that a config's section describes, of all devices unless some are given.

  Its `preset` is "data" unless said otherwise; `shape` says how long the axes of the preset are, -1
  takes what is left; `rules` and `least` are those of `Mesh`. Devices of several slices get an axis
  "slice" over these, outermost: batches are cut over it, the state never is, so that between slices
  only sums of gradients travel. `shape` may say another length of it, one of simulated slices or 1
  for none.

  Raises:
    BadInput: an unknown preset, axis or field, a shape that does not multiply to the devices, an
      axis over more or fewer slices than there are.
  """
  section = {name: value for name, value in (section or {}).items() if value is not None}
  known = ("preset", "shape", "rules", "least")
  for name in section:
    if name not in known:
      raise unknown("field of mesh", name, known)
  preset, rules = section.get("preset", "data"), tuple(section.get("rules", ()))
  if preset not in PRESETS:
    raise unknown("preset of mesh", preset, PRESETS)
  if rules and preset not in ("fsdp", "fsdp_tensor"):
    raise BadInput(f"mesh.rules cut a state that preset {preset!r} keeps whole: use 'fsdp'")
  devices = jax.devices() if devices is None else devices
  shape = {axis: size for axis, size in section.get("shape", {}).items() if size is not None}
  slices = len({slice_of(device) for device in devices})
  sizes = _sizes(preset, shape, len(devices), slices)
  # `pmap` makes a mesh of one axis; on the same, nothing is moved or traced again.
  axes: tuple[str, ...] = ("data",) if preset == "pmap" else AXES
  if sizes.get(SLICE, 1) > 1:
    axes = (SLICE, *AXES)
  mesh = laid({axis: sizes.get(axis, 1) for axis in axes}, devices)
  return Mesh(
    preset=preset,
    devices=len(devices),
    mesh=mesh,
    everywhere=NamedSharding(mesh, PartitionSpec()),
    cut=NamedSharding(mesh, PartitionSpec(tuple(axis for axis in axes if axis != "tensor"))),
    rules=rules,
    least=section.get("least", LEAST),
  )


def slice_of(device: Any) -> int:
  """Which slice a device is of; hosts of GPUs are slices, those of NVLink's domain together."""
  return getattr(device, "slice_index", 0)


def laid(lengths: Mapping[str, int], devices: Sequence[Any]) -> jax.sharding.Mesh:
  """Devices in rows, those of one slice together.

  Args:
    lengths: of each axis by its name, "slice" first where it is there.
    devices: as many.
  """
  sizes, types = list(lengths.values()), (AxisType.Auto,) * len(lengths)
  if len({slice_of(device) for device in devices}) == 1:
    return jax.make_mesh(sizes, tuple(lengths), axis_types=types, devices=devices)
  if SLICE in lengths:
    ones = [1] * (len(sizes) - 1)
    rows = mesh_utils.create_hybrid_device_mesh([1, *sizes[1:]], [sizes[0], *ones], devices)
  else:  # an axis goes over slices as over anything else
    order = sorted(devices, key=lambda device: (slice_of(device), device.id))
    rows = np.array(order).reshape(sizes)
  return jax.sharding.Mesh(rows, tuple(lengths), axis_types=types)


def _sizes(preset: str, given: Mapping[str, int], devices: int, slices: int) -> dict[str, int]:
  """How long each of the axes is."""
  usual = dict(PRESETS[preset])
  if preset != "pmap":
    usual = {SLICE: slices, **usual}
  if given.get(SLICE) == -1:
    given = {**given, SLICE: slices}
  if slices > 1 and given.get(SLICE, 1) not in (1, slices):
    raise BadInput(f"mesh.shape.slice={given[SLICE]}: the devices are of {slices} slices")
  for axis, size in given.items():
    if axis not in usual:
      raise unknown(f"axis of preset {preset!r}", axis, usual)
    if not isinstance(size, int) or size == 0 or size < -1:
      raise BadInput(f"mesh.shape.{axis} must be -1 or positive, got {size!r}")
  if devices % usual.get("tensor", 1):
    usual["tensor"] = 1  # The same config runs on one device.
  sizes = {**usual, **given}
  if sizes.get(SLICE) == 1 and SLICE not in given:
    del sizes[SLICE]
  if -1 not in sizes.values() and "data" not in given:
    sizes["data"] = -1
  free = [axis for axis, size in sizes.items() if size == -1]
  rest = devices // max(int(np.prod([size for size in sizes.values() if size > 0])), 1)
  said = " by ".join(f"{axis}={size}" for axis, size in sizes.items())
  if len(free) > 1:
    raise BadInput(f"mesh.shape {said}: only one axis can be -1")
  sizes |= dict.fromkeys(free, rest)
  if int(np.prod(list(sizes.values()))) != devices:
    raise BadInput(f"mesh.shape {said} does not multiply to {devices} device(s)")
  return sizes


def _gathered(x: jax.Array, own: NamedSharding) -> jax.Array:
  """An array that stays cut over "tensor" only; its cotangent is cut as the array was."""
  left = (("tensor" if "tensor" in axes_of(axes) else None) for axes in own.spec)
  whole = NamedSharding(own.mesh, PartitionSpec(*left))

  lay = jax.lax.with_sharding_constraint
  gather = jax.custom_vjp(lambda x: lay(x, whole))
  # Summed up first, then cut, which compilers make one reduce-scatter; asked for its parts alone
  # they would rather move what the gradient is made from.
  gather.defvjp(lambda x: (lay(x, whole), None), lambda _, g: (lay(lay(g, whole), own),))
  return gather(x)


def _lay(x: Any, sharding: NamedSharding) -> jax.Array:
  """An array that every process holds whole, or that lies on other devices, on a sharding."""
  if jax.process_count() == 1:
    return jax.device_put(x, sharding)
  if isinstance(x, jax.Array) and not x.is_fully_addressable:
    if x.sharding == sharding:
      return x
    with waiting(f"all parts of an array {leaves.spec('', x)}, to lay it out anew"):
      return cuts.relaid(x, sharding)
  if isinstance(x, jax.Array) and jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key):
    data = _lay(jax.random.key_data(x), sharding)
    return jax.random.wrap_key_data(data, impl=jax.random.key_impl(x))
  whole = np.asarray(x)
  return jax.make_array_from_callback(whole.shape, sharding, lambda index: whole[index])


def bytes_per_device(tree: Any) -> int:
  """What one device holds of a tree of arrays, or of shapes that say where they lie."""
  return sum(_bytes(x, x.sharding.shard_shape(x.shape)) for x in jax.tree.leaves(tree))


def _bytes(x: Any, shape: Sequence[int] | None = None) -> int:
  return math.prod(x.shape if shape is None else shape) * x.dtype.itemsize
