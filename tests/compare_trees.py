"""Runs configs of two trees of this repository side by side: what a change of the code changed.

python tests/compare_trees.py OLD [--steps] [ID[:preset] …]

OLD is a checkout of another commit. Both trees build what a config describes at smoke size, from
the same variables (those of the old one, by the names that they have now) and the same batch. What
is compared at the beginning, middle and end of the run's schedules: masks, losses and gradients of
one step, in two microbatches and on two devices too, and what the task answers. With --steps twenty
steps of the config at its own size instead.
"""

import inspect
import os
import pathlib
import pickle
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve()
WAYS = {"plain": (1, 1), "two microbatches": (1, 2), "two devices": (2, 1)}  # devices, microbatches
STEPS = 20
# What answers are called with beside the variables.
ASKED = ("batch", "key", "keys", "draws", "tokens", "hidden", "captions")


def tools(tree):
  """The modules of a tree, and what its tests run under."""
  import importlib

  sys.path[:0] = [str(tree), str(tree / "tests")]
  importlib.import_module("conftest")
  return importlib.import_module("built")


def flat(tree):
  """Arrays by name."""
  import jax
  import numpy as np

  leaves = jax.tree_util.tree_leaves_with_path(jax.device_get(tree))
  name = lambda path: jax.tree_util.keystr(path, simple=True, separator="/")
  return {name(path): np.asarray(x) for path, x in leaves}


def begun(shapes, theirs):
  """Variables of these shapes: drawn ones, or another tree's by the names that they have now."""
  import jax.numpy as jnp
  from flax.traverse_util import flatten_dict, unflatten_dict

  from maskjax.train.checkpoints.renamed import renamed

  ours = flatten_dict(shapes, sep="/")
  found = renamed(theirs, ours)
  if missing := set(ours) - set(found):
    # A network that lay at the root has a name.
    inside = {n: n.split("/")[0] + "/" + n.split("/", 2)[2] for n in missing if n.count("/") > 1}
    found |= {new: found[old] for new, old in inside.items() if old in found}
  # The smokes of two trees may fit other maps, of which no loss reads those that one has alone.
  found |= {n: jnp.ones(x.shape, x.dtype) for n, x in ours.items() if n.startswith("fitted/")} | {
    n: x for n, x in found.items() if n.startswith("fitted/")
  }
  if missing := set(ours) - set(found):
    sys.exit(f"variables that the other tree has not: {sorted(missing)[:5]}")
  return unflatten_dict({name: jnp.asarray(found[name]) for name in ours}, sep="/")


def one_step(made, variables, devices, accumulate):
  """Metrics and gradients of the step at the beginning, middle and end."""
  import jax
  import jax.numpy as jnp
  import numpy as np
  import optax

  from maskjax.train.mesh.mesh import make_mesh
  from maskjax.train.state import State
  from maskjax.train.step import make_step

  mesh, tx = make_mesh({"preset": "data"}, jax.devices()[:devices]), optax.trace(0.0)
  step = mesh.compile(make_step(mesh.reading(made.task), tx, accumulate=accumulate))
  size = made.config["batch_size"]
  batch = mesh.put({k: np.asarray(v)[:size] for k, v in made.batch.items()})
  found = {}
  for at in made.steps.tolist():
    copy = jax.tree.map(jnp.array, variables)
    state = State(jnp.int32(at), jax.random.key(0), copy, tx.init(copy["params"]), {})
    after, metrics = step(mesh.place(state), batch)
    found[at] = {"metrics": flat(metrics), "gradient": flat(after[3].trace)}
  return found


def answers(made, variables):
  """What the task answers, by name."""
  import jax
  import jax.numpy as jnp

  batch, found = made.batch, {}
  rows = len(batch["position"])
  tokens = batch.get("tokens")
  suffix = tokens is not None and jnp.broadcast_to(
    jnp.arange(tokens.shape[-1]) >= tokens.shape[-1] // 2, tokens.shape
  )
  offers = {"batch": batch, "key": jax.random.key(5), "draws": 2, "tokens": tokens}
  offers |= {"keys": jax.random.split(jax.random.key(6), rows), "captions": batch.get("caption")}
  offers["hidden"] = suffix
  for name, answer in made.task.answers.items():
    takes = inspect.signature(answer).parameters
    told = {k: offers[k] for k in takes if k in offers and asks(name, k, takes)}
    if name == "sample":  # whose draws are keys
      told = {k: offers["keys"] if k == "draws" else v for k, v in told.items()}
    static = {k: v for k, v in told.items() if k == "draws" and name != "sample"}
    rest = {k: v for k, v in told.items() if k not in static}
    call = lambda v, rest, answer=answer, static=static: answer(v, **rest, **static)
    found[name] = flat(jax.jit(call)(variables, rest))
  return found


def asks(name, argument, takes):
  """Whether an answer is called with an argument: those that it must have, and what it is about."""
  free = takes[argument].default is not inspect.Parameter.empty
  about = {"views": "key", "nats": "key", "infill": "hidden", "generate": "hidden"}.get(name)
  return not free or argument == about or argument in ("captions", "tokens", "draws")


def twenty(built, name, preset, theirs):
  """Metrics of twenty steps at the config's own size, with its own optimiser."""
  import jax
  import numpy as np

  from maskjax import lab
  from maskjax.data import tiny
  from maskjax.train.run import plain
  from maskjax.train.setup.build import make_optimizer, make_task, run_lengths
  from maskjax.train.state import State, init_opt_state
  from maskjax.train.step import make_step

  name, _, stage = name.partition("/")
  module = lab.load(built.FILES[name])
  config = module.get_config(preset)
  config = plain(config.stages[stage] if stage else config)
  config |= {"evals": {}, "stages": {}, "init_from": "", "accumulate": 1}
  scale = module.NOTE.get("laptop", module.NOTE["scale"])
  record = tiny.record(scale, config["data"].get("train", "train"))
  size = 1 if record.kind == "graph" else config["batch_size"]
  batch, task = tiny.batch(scale, size), make_task(config, record)
  shapes = jax.eval_shape(task.init, jax.random.key(0), batch)
  init = jax.jit(task.init)
  made = init(jax.random.key(0), batch) if theirs is None else begun(shapes, theirs)
  lengths = {"batch_size": config["batch_size"], "examples": scale["examples"]}
  total = run_lengths(config, record).total_steps
  tuned = make_optimizer(config, made["params"], total, **lengths)
  ema = config.get("ema", 0.0)
  step = jax.jit(make_step(task, tuned.tx, ema=ema, held=tuned.held))
  # Of a tree of before EMA parameters alone.
  own = getattr(task, "learned", lambda variables: variables["params"])
  average = own(made) if ema else {}
  state = State(np.int32(0), jax.random.key(0), made, init_opt_state(tuned.tx, made), average)
  rows = []
  for _ in range(STEPS):
    state, metrics = step(state, batch)
    rows.append(flat(metrics))
  return flat(made), {"rows": rows, "params": flat(state.variables["params"])}


def dump(tree, out, given, steps, source):
  """Writes what a tree makes of a config."""
  built = tools(pathlib.Path(tree))
  name, _, preset = given.partition(":")
  theirs = pickle.loads(pathlib.Path(source).read_bytes())["variables"] if source else None
  if steps:
    variables, rows = twenty(built, name, preset or "laptop", theirs)
    found = {"variables": variables, "twenty": rows}
  else:
    made = built.Built(name, preset)
    variables = made.initial if theirs is None else begun(made.shapes, theirs)
    found = {"variables": flat(variables), "masks": flat(made.masks)}
    found["answers"] = answers(made, variables)
    for way, (devices, accumulate) in WAYS.items():
      if made.config["batch_size"] % (devices * accumulate) or (
        accumulate > 1 and made.task.coupled
      ):
        continue
      found[way] = one_step(made, variables, devices, accumulate)
  pathlib.Path(out).write_bytes(pickle.dumps(found))


def run(tree, out, given, steps, source=""):
  """`dump` in a process of its own, whose modules are the tree's."""
  env = {**os.environ, "PYTHONPATH": str(tree), "JAX_PLATFORMS": "cpu"}
  flags = "--xla_force_host_platform_device_count=2"
  env["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flags}"
  command = [sys.executable, str(HERE), "--dump", str(tree), str(out), given, str(int(steps))]
  subprocess.run([*command, str(source)], env=env, check=True)


def gap(a, b):
  """The difference over the norm of the first; 0 of the same bits."""
  import numpy as np

  if a.shape != b.shape:
    return float("inf")
  if a.dtype == bool or not np.issubdtype(a.dtype, np.floating):
    return 0.0 if (a == b).all() else 1.0
  a, b = a.astype(np.float64), b.astype(np.float64)
  if (np.isnan(a) != np.isnan(b)).any():
    return float("inf")
  apart = np.linalg.norm(np.nan_to_num(a - b))
  return 0.0 if apart == 0 else float(apart / max(np.linalg.norm(np.nan_to_num(a)), 1e-6))


def by_name(old, new, ours):
  """The gaps of a tree's arrays, and names that are in one alone."""
  from maskjax.train.checkpoints.renamed import renamed

  learned = [name for name in ours if name.startswith("params/")]
  old = renamed({f"params/{k}": v for k, v in old.items()}, learned)
  new = {f"params/{k}": v for k, v in new.items()}
  strip = lambda names: {n.split("/", 2)[-1] if n.count("/") > 1 else n for n in names}
  if set(old) != set(new) and strip(new) == {n.removeprefix("params/") for n in old}:
    new = {f"params/{n.split('/', 2)[-1]}": v for n, v in new.items()}
  gaps = {name: gap(old[name], new[name]) for name in old if name in new}
  return gaps, sorted(set(old) ^ set(new))


def compare(old, given, steps):
  """A line about one config."""
  with tempfile.TemporaryDirectory() as folder:
    one, two = pathlib.Path(folder, "old"), pathlib.Path(folder, "new")
    run(pathlib.Path(old).resolve(), one, given, steps)
    run(HERE.parents[1], two, given, steps, one)
    a, b = (pickle.loads(path.read_bytes()) for path in (one, two))
  said = [given]
  if steps:
    rows = zip(a["twenty"]["rows"], b["twenty"]["rows"], strict=True)
    worst = max(gap(x["loss"], y["loss"]) for x, y in rows)
    params, alone = by_name(a["twenty"]["params"], b["twenty"]["params"], b["variables"])
    said.append(f"losses {worst:.1e} parameters {max(params.values()):.1e} {alone or ''}")
  else:
    # A view more is another axis.
    left = list(b["masks"].values())
    alike = lambda x, y: x.size == y.size and (x.ravel() == y.ravel()).all()
    same = [any(alike(x, y) for y in left) for x in a["masks"].values()]
    said.append(f"masks {sum(same)} of {len(same)}")
    for way in WAYS:
      if way in a:
        said.append(f"{way}: {told(a[way], b[way], b['variables'])}")
    for name in a["answers"]:
      if name not in b["answers"]:
        said.append(f"{name}: gone")
        continue
      x, y = a["answers"][name], b["answers"][name]
      worst = max((gap(x[k], y[k]) for k in x if k in y), default=0.0)
      said.append(
        f"{name} {worst:.0e}" + (f" alone {sorted(set(x) ^ set(y))}" * (set(x) != set(y)))
      )
  return " | ".join(said)


def told(a, b, ours):
  """Losses and gradients of one way, in words."""
  losses, slopes, terms = [], [], set()
  for at in a:
    x, y = a[at]["metrics"], b[at]["metrics"]
    losses.append(gap(x["loss"], y["loss"]))
    terms |= set(x) ^ set(y)
    gaps, alone = by_name(a[at]["gradient"], b[at]["gradient"], ours)
    slopes.append(max(gaps.values()))
    terms |= set(alone)
  bits = "same bits" if max(losses) == 0 else f"loss {max(losses):.0e}"
  return f"{bits}, gradients {max(slopes):.0e}" + (f" alone {sorted(terms)}" if terms else "")


def main(words):
  """Prints a line for each config."""
  if words[0] == "--dump":
    tree, out, given, steps, *source = words[1:]
    return dump(tree, out, given, steps == "1", source[0] if source else "")
  old, *rest = words
  steps = "--steps" in rest
  named = [word for word in rest if not word.startswith("--")]
  if not named:
    configs = sorted(HERE.parents[1].joinpath("configs").rglob("*.py"))
    ids = [*(path.stem for path in configs), "lmd/codec", "mage/tokenizer"]
    named = [
      f"{name}:{preset}" for name in ids for preset in (("laptop",) if steps else ("", "laptop"))
    ]
  for given in named:
    print(compare(old, given, steps), flush=True)
  return None


if __name__ == "__main__":
  main(sys.argv[1:])
