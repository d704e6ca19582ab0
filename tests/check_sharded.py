"""Runs every op over 8 simulated devices; test_conformance.py starts it in its own process."""

import itertools
import os
import pathlib
import re
import runpy
import sys
from functools import partial

os.environ["XLA_FLAGS"] = (
  os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
)

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from maskjax import recover, score, select, weights

AT_ONCE = 24  # rows in one program


def main():
  """Exits with an error where a sharded result differs from that on one device.

  What that gives of every row is read from the file that the command line names.
  """
  here = pathlib.Path(__file__).parent
  runpy.run_path(str(here / "check_bool.py"))["check_refusals"]()
  table = runpy.run_path(str(here / "conformance.py"))
  expected = {}
  with np.load(sys.argv[1]) as file:
    for key in file.files:  # "row i", the leaves of a row in order
      expected.setdefault(key.partition(" ")[0], []).append(file[key])
  mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
  rows = iter(table["ROWS"].items())
  while some := dict(itertools.islice(rows, AT_ONCE)):
    inputs = {name: table["drawn"](name) for name in some}
    check_leading_axis(some, inputs, expected, mesh)
  check_noise(mesh)
  check_position_axis(mesh)
  check_trees()
  check_contrast(mesh)
  print(f"{len(table['ROWS'])} rows on {jax.device_count()} devices")


def check_leading_axis(rows, inputs, expected, mesh):
  """jit with sharded inputs, and shard_map, give what one device gives.

  Where nothing is summed a device's part of a shard_map holds whole examples, whose values are
  those that `looped` of test_conformance.py has; what could differ, types that say over which axes
  a value varies, is found where it is traced.
  """
  spec = PartitionSpec("data")
  placed = jax.device_put(inputs, NamedSharding(mesh, spec))

  def mapped(row):
    def local(*parts):
      out = row.op(*parts)
      return jax.tree.map(lambda x: jax.lax.psum(x, "data"), out) if row.sums else out

    out_specs = PartitionSpec() if row.sums else spec
    return jax.shard_map(local, mesh=mesh, in_specs=spec, out_specs=out_specs)

  # Many rows, and both ways of each, in one program, which costs less than one program each.
  ways = {name: (row.op, mapped(row)) if row.sums else (row.op,) for name, row in rows.items()}
  run = lambda given: {name: [way(*given[name]) for way in ways[name]] for name in ways}
  for name, found in jax.device_get(jax.jit(run)(placed)).items():
    for got in found:
      whole = jax.tree.unflatten(jax.tree.structure(got), expected[name])
      agree(name, got, whole)
      assert same_types(jax.eval_shape(mapped(rows[name]), *placed[name]), whole), name


def same_types(a, b):
  """Whether two trees have the same structure, shapes and dtypes."""
  types = lambda tree: jax.tree.map(lambda x: (x.shape, str(x.dtype)), tree)
  return types(a) == types(b)


def check_noise(mesh):
  """What filters noise keeps every example on its device."""
  draw = jax.jit(partial(score.color_noise, grid=(4, 4), color="green"))
  keys = jax.random.split(jax.random.key(0), 8)
  placed = jax.device_put(keys, NamedSharding(mesh, PartitionSpec("data")))
  assert "all-gather" not in draw.lower(placed).compile().as_text(), "color_noise gathers"


def check_position_axis(mesh):
  """Scores cut over devices: the same mask, and no device ever holds more than its part."""
  scores = np.round(50 * np.random.default_rng(0).standard_normal((2, 4096), np.float32))
  allowed = jnp.arange(4096) % 3 != 0
  sharding = NamedSharding(mesh, PartitionSpec(None, "data"))
  hide = jax.jit(lambda s: select.top(s, ratio=0.3, allowed=allowed))
  placed = jax.device_put(scores, sharding)
  program = hide.lower(placed).compile()
  agree("top over positions", program(placed), hide(scores))
  compiled = program.as_text()
  assert "all-reduce" in compiled
  assert "all-gather" not in compiled, "top gathers its scores"


def check_trees():
  """A tree cut over two axes of devices: nothing leaves a device but a few numbers."""
  mesh = jax.make_mesh((4, 2), ("data", "model"), axis_types=(AxisType.Auto,) * 2)
  place = lambda *spec: NamedSharding(mesh, PartitionSpec(*spec))
  rng = np.random.default_rng(0)
  draw = lambda *shape: np.round(9 * rng.standard_normal(shape, np.float32)) / 9
  tree = {"a": draw(64, 48), "b": [draw(8, 16, 64), None, draw(40)], "c": draw(32, 64)}
  shardings = {
    "a": place("data", "model"),
    "b": [place(None, None, ("data", "model")), None, place()],
    "c": place(None, "model"),
  }
  placed = jax.device_put(tree, shardings)
  allowed = jax.tree.map(lambda x: x > -1, tree)
  for name, hide in {
    "top of a tree": lambda s: select.top(s, ratio=0.4, axis=None),
    "top of a tree, allowed": lambda s: select.top(s, count=1500, allowed=allowed, axis=None),
    "limited": lambda s: select.limited(s, allowed, ratio=0.4, axis=None),
  }.items():
    exchange(name, jax.jit(hide, out_shardings=shardings), jax.jit(hide), placed, tree)

  for scope in ("layer", "global"):
    tx = weights.hold(optax.sgd(0.1), select=partial(select.top, ratio=0.4), scope=scope)
    move = lambda p, tx=tx: tx.update(p, tx.init(p), p)[0]
    exchange(f"hold, {scope}", jax.jit(move, out_shardings=shardings), jax.jit(move), placed, tree)
  within = partial(weights.fixed_masks, density=0.7, score=weights.magnitude)
  rest = dict(within=within, drop=0.3, grow=weights.gradient)
  tx = weights.hold(optax.sgd(0.1), select=partial(select.top, ratio=0.4), **rest)
  move = lambda p: tx.update(jax.tree.map(jnp.sin, p), tx.init(p), p)[0]
  exchange("hold, grown", jax.jit(move, out_shardings=shardings), jax.jit(move), placed, tree)


def exchange(name, sharded, plain, placed, tree):
  """Equal to one device, bit for bit, and only small sums cross devices."""
  program = sharded.lower(placed).compile()
  jax.tree.map(np.testing.assert_array_equal, program(placed), plain(tree))
  compiled = program.as_text()
  for moved in ("all-gather", "all-to-all", "collective-permute", "reduce-scatter"):
    assert moved not in compiled, f"{name}: {moved}"
  results = re.findall(r"= (.*?) all-reduce(?:-start)?\(", compiled)
  assert results, f"{name} exchanges nothing"
  for result in results:
    for dims in re.findall(r"\w+\[([\d,]*)\]", result):
      assert np.prod([int(n) for n in dims.split(",") if n]) <= 8, f"{name}: {result}"


def check_contrast(mesh):
  """InfoNCE over 8 devices in every way: value and gradients of one device."""
  rng = np.random.default_rng(0)
  a, b = rng.standard_normal((2, 32, 5), np.float32)
  positives = rng.random((32, 32)) < 0.1  # not symmetric
  inputs = (a, b, positives, np.arange(32) % 5 != 0, np.float32(0.2))

  def share(a, b, positives, valid, t, name="data"):
    term = recover.info_nce(a, b, temperature=t, positives=positives, valid=valid, axis_name=name)
    term = jax.lax.psum(term, name) if name else term
    return term.sum / term.count

  one = partial(share, name=None)
  rows = PartitionSpec("data")
  cut = partial(jax.shard_map, mesh=mesh, in_specs=(rows,) * 4 + (PartitionSpec(),))
  mapped = cut(share, out_specs=PartitionSpec())
  # The gradient taken on each device.
  local = cut(lambda *parts: jax.grad(share, (0, 1))(*parts), out_specs=(rows, rows))

  @jax.jit
  def every(*inputs):
    values = [jax.value_and_grad(f, (0, 1, 4))(*inputs) for f in (one, mapped)]
    return *values, local(*inputs)

  expected = jax.jit(jax.value_and_grad(one, (0, 1, 4)))(*inputs)
  placed = [jax.device_put(x, NamedSharding(mesh, rows)) for x in inputs[:4]] + [inputs[4]]
  sharded, shared, inside = every(*placed)
  agree("info_nce", sharded, expected)
  agree("info_nce of devices", shared, expected)
  agree("info_nce, gradient on each device", inside, expected[1][:2])
  parts = [x.reshape(8, 4, *x.shape[1:]) for x in inputs[:4]]
  pmapped = jax.pmap(share, "data", in_axes=(0, 0, 0, 0, None))(*parts, inputs[4])
  agree("info_nce, pmap", pmapped, np.full(8, expected[0]))


def agree(name, got, expected):
  """Same structure, dtypes and values."""
  assert jax.tree.structure(got) == jax.tree.structure(expected), name
  for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
    assert a.dtype == b.dtype, name
    # As in test_conformance.py.
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5, err_msg=name)


if __name__ == "__main__":
  main()
