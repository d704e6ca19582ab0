"""Makes maskgit.json: in which order, and as what, MaskGIT's public code reveals given logits.

Run as `python tests/golden/make_maskgit.py FOLDER`, where jax is and FOLDER is a checkout of
github.com/google-research/maskgit at 1db2359: its `maskgit.libml.parallel_decode.decode` is
imported and run unchanged, eagerly, its draws given. Logits are `logits_of(ids)`, numbers that a
float32 holds exactly.
"""

import importlib.util
import json
import pathlib
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np

STEPS, BATCH, PLACES, CODES, NOISE = 8, 3, 24, 5, 4.5


def logits_of(ids):
  """Logits from the codes that are there, `CODES` where they are hidden, and where they stand."""
  draws = np.random.RandomState(1)
  own = draws.randint(-64, 64, (PLACES, CODES)) / 32
  met = draws.randint(-64, 64, (CODES + 1, CODES)) / 256
  return jnp.asarray(own + np.asarray(met)[np.asarray(ids)].sum(1, keepdims=True), jnp.float32)


def noises():
  """What tokens are drawn by, and what confidence is perturbed by, at every step."""
  draws = np.random.RandomState(0)
  drawing = draws.gumbel(size=(STEPS, BATCH, PLACES, CODES)).astype(np.float32)
  return drawing, draws.gumbel(size=(STEPS, BATCH, PLACES)).astype(np.float32)


def main(folder):
  """Runs the public code and writes what it did."""
  jnp.DeviceArray = jax.Array  # which it names as a type
  for name in ("maskgit", "maskgit.libml"):
    sys.modules[name] = types.ModuleType(name)
  for name in ("mask_schedule", "parallel_decode"):
    place = folder / "maskgit" / "libml" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"maskgit.libml.{name}", place)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    setattr(sys.modules["maskgit.libml"], name, module)
  (drawing, choosing), seen = noises(), []

  def predict(ids):
    seen.append(np.asarray(ids))
    return logits_of(jnp.where(ids < 0, CODES, ids))

  categorical = lambda key, logits: jnp.argmax(logits + drawing[len(seen) - 1], axis=-1)
  jax.random.categorical = categorical
  jax.random.gumbel = lambda key, shape: choosing[len(seen) - 1]
  inputs = np.full((BATCH, PLACES), -1)
  inputs[1, ::3] = 2
  inputs[2, 5:] = 1
  decode = sys.modules["maskgit.libml.parallel_decode"].decode
  with jax.disable_jit():
    key = jax.random.key(0)
    every = decode(jnp.array(inputs), key, predict, num_iter=STEPS, choice_temperature=NOISE)
  step = (np.stack(seen) < 0).sum(0)
  path = pathlib.Path(__file__).with_name("maskgit.json")
  made = {"inputs": inputs, "step": step, "tokens": np.asarray(every)[:, -1]}
  path.write_text(json.dumps({k: v.tolist() for k, v in made.items()}) + "\n")


if __name__ == "__main__":
  main(pathlib.Path(sys.argv[1]))
