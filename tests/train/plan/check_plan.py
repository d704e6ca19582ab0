"""Accounts of programs for 8 simulated devices, as JSON; test_account.py starts it by itself."""

import json
import os
import pathlib
import re
import runpy

os.environ["XLA_FLAGS"] = (
  os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
)

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from maskjax.train.plan import hlo
from maskjax.train.plan.cost import cost
from maskjax.train.plan.report import collectives, make_plan

LAYERS, WIDTH, BATCH = 3, 64, 32
MESH = jax.make_mesh((2, 4), ("data", "model"), axis_types=(AxisType.Auto,) * 2)


def main():
  """Prints one account for each program."""
  found = {name: account(program()) for name, program in PROGRAMS.items()}
  found["scan without known trip counts"] = account(forgetful(scanned()))
  found["plans"] = {name: make_plan(vit(preset), NOTE, "gpu:8") for name, preset in PRESETS.items()}
  print(json.dumps(found))


def account(text):
  """FLOPs, loops of unknown length and collectives of a program, with the groups' sizes."""
  done = cost(hlo.parse(text))
  groups = sorted({(c.kind, c.members) for c in done.collectives})
  return {
    "flops": done.flops,
    "unknown": done.unknown,
    "groups": groups,
    "collectives": collectives(done.collectives),
  }


def compiled(step, *shapes):
  """The text of a function over per-device parts, compiled for the mesh."""
  specs = (PartitionSpec(None, "model"), PartitionSpec("data"))
  out = PartitionSpec("data")
  mapped = jax.shard_map(step, mesh=MESH, in_specs=specs, out_specs=out, check_vma=False)
  args = [
    jax.ShapeDtypeStruct(shape, jnp.float32, sharding=NamedSharding(MESH, spec))
    for shape, spec in zip(shapes or SHAPES, specs, strict=True)
  ]
  return jax.jit(mapped).lower(*args).compile().as_text()


SHAPES = ((LAYERS, WIDTH, WIDTH), (BATCH, WIDTH))


def layer(x, part):
  """One product with a gathered weight, then every kind of exchange on what came out."""
  x = jnp.tanh(x @ jax.lax.all_gather(part, "model", tiled=True))
  x = jnp.sin(jax.lax.psum(x, "data"))
  x = jnp.tanh(jax.lax.ppermute(x, "model", [(i, (i + 1) % 4) for i in range(4)]))
  x = jnp.sin(jax.lax.psum_scatter(x, "model", scatter_dimension=1, tiled=True))
  x = jnp.tanh(jax.lax.all_gather(x, "model", axis=1, tiled=True))
  return jnp.sin(jax.lax.all_to_all(x, "model", 0, 0, tiled=True))


def scanned():
  """The layers in a scan."""
  return compiled(lambda w, x: jax.lax.scan(lambda x, part: (layer(x, part), None), x, w)[0])


def unrolled():
  """The same layers one after another."""

  def step(w, x):
    for part in w:
      x = layer(x, part)
    return x

  return compiled(step)


def nested():
  """Three times the scan of the layers, in a loop of its own."""

  def step(w, x):
    inner = lambda x: jax.lax.scan(lambda x, part: (layer(x, part), None), x, w)[0]
    return jax.lax.fori_loop(0, 3, lambda _, x: inner(x), x)

  return compiled(step)


def unbounded():
  """A loop whose end depends on what it computes."""

  def step(w, x):
    more = lambda x: jnp.sum(x) > 0
    return jax.lax.while_loop(more, lambda x: x @ jax.lax.all_gather(w[0], "model", tiled=True), x)

  return compiled(step)


def branched():
  """A conditional of one product or two."""

  def step(w, x):
    full = jax.lax.all_gather(w[0], "model", tiled=True)
    return jax.lax.cond(jnp.sum(x) > 0, lambda: x @ full, lambda: jnp.sin(x @ full) @ full)

  return compiled(step)


def forgetful(text):
  """A program without the compiler's word on its loops."""
  assert "known_trip_count" in text
  return re.sub(r'"known_trip_count":\{"n":"\d+"\},?', "", text)


tiny_mae = runpy.run_path(str(pathlib.Path(__file__).with_name("tiny_mae.py")))["tiny_mae"]
NOTE = dict(scale=dict(shape=(32, 32, 3), examples=50_000))
PRESETS = {
  "data": dict(preset="data"),
  "pmap": dict(preset="pmap"),
  "fsdp": dict(preset="fsdp", least=1),
}


def vit(mesh):
  """A masked autoencoder of one and one block, sizes as test_account.py counts them."""
  return tiny_mae(patch=4, width=64, decoder_width=32, batch_size=64, mesh=mesh)


PROGRAMS = {
  "scanned": scanned,
  "unrolled": unrolled,
  "nested": nested,
  "unbounded": unbounded,
  "branched": branched,
}

if __name__ == "__main__":
  main()
