"""What the scripts `beside_ID.py` share: the config's side of two steps, and the row they print.

They are run by hand, with PyTorch 2.13, the packages of constraints.txt and the authors' code at
the commit that each names: `python tests/golden/beside_ID.py CHECKOUT`.
"""

import contextlib
import os
import pathlib
import sys
import types

import numpy as np
from beside_theirs import (  # noqa: F401
  arrayed,
  block,
  by_layer,
  by_name,
  cut,
  dense,
  llama,
  moved,
  normed,
  published,
  small_llama,
  stubs,
  timm,
  trained,
)

os.environ.setdefault("JAX_PLATFORMS", "cpu")
STEP, LOSS, EXACT = 1e-4, 1e-5, 0.0
# Of rates: a warm-up of some 10,000 steps, which we round to whole ones.
ROUNDED = 1e-4
# Of both sides' steps: large, so that moves are far above the rounding of parameters.
RATE = 0.05
CONSTANT = dict(learning_rate=RATE, scale_by_batch=0, schedule="constant", end=0.0)
CONSTANT |= dict(warmup_epochs=0.0, warmup_steps=0)
# Of Adam's second step: the ratio of two gradients, each with its rounding.
SECOND = 1e-3
# A gradient below these shares of the largest of its tensor and of all is mostly rounding, and Adam
# divides by it; see `moves`.
ROUNDING, FLOOR = 1e-4, 1e-7


@contextlib.contextmanager
def standing_in(folder, **modules):
  """`folder` is imported from, and these names are modules with these members, while it lasts.

  Dots are written as two underscores. Afterwards the names are gone: torch and jax look some up.
  """
  names = {name.replace("__", "."): members for name, members in modules.items()}
  for name, members in names.items():
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__dict__.update(members)
  sys.path.insert(0, str(folder))
  yield
  sys.path.remove(str(folder))
  for name in names:
    del sys.modules[name]


class Method:
  """A config after `change`, for data of `record`.

  Attributes:
    config, task, optimizer: as a run has them.
    shapes: of its variables for `batch`.
  """

  def __init__(self, name, change, record, batch, seed=0):
    import jax

    from maskjax import lab
    from maskjax.train.run import plain
    from maskjax.train.setup.build import make_optimizer, make_task, run_lengths

    jax.config.update("jax_default_matmul_precision", "highest")
    file = next((pathlib.Path(__file__).parents[2] / "configs").rglob(f"{name}.py"))
    c = lab.load(file).get_config()
    with c.ignore_type():
      change(c)
    self.config, self.seed = plain(c), seed
    self.task, self.batch = make_task(self.config, record), jax.device_put(batch)
    self.shapes = jax.eval_shape(self.task.init, jax.random.key(0), self.batch)
    steps = run_lengths(self.config, record).total_steps
    examples = record.sizes[self.config["data"].get("train", "train")]
    lengths = {"batch_size": c.batch_size, "examples": examples}
    self.optimizer = make_optimizer(self.config, self.shapes["params"], steps, **lengths)

  def steps(self, variables, count=2, first=0):
    """What `count` steps on the batch give: losses, gradient norms, parameters after each.

    The variables after the last are kept as `variables`, all that is logged as `metrics`.
    """
    import jax

    from maskjax.train.state import State, init_opt_state
    from maskjax.train.step import make_step

    made = self.optimizer
    state = State(np.int32(first), jax.random.key(self.seed), variables, None, {})
    state, self.metrics = state._replace(opt_state=init_opt_state(made.tx, variables)), []
    step, out = jax.jit(make_step(self.task, made.tx, held=made.held)), []
    for _ in range(count):
      state, metrics = step(state, self.batch)
      self.metrics.append(jax.device_get(metrics))
      params = jax.device_get(state.variables["params"])
      out.append((float(metrics["loss"]), float(metrics["gradient"]), params))
    self.variables = jax.device_get(state.variables)
    return tuple(zip(*out, strict=True))

  def gradient(self, variables, step=0):
    """Of a step's loss, by the parameters."""
    import jax

    from maskjax.keys import stream
    from maskjax.task.base import total

    key, rest = stream(jax.random.key(self.seed), "loss"), dict(variables)
    batch = self.task.pair(self.batch, key, step)

    def cost(params):
      terms, _ = self.task.loss({**rest, "params": params}, batch, key, step)
      return total(terms, self.task.weights)

    return jax.device_get(jax.jit(jax.grad(cost))(rest["params"]))

  def values(self, variables, *names, step=0):
    """Named values of a step's loss, as `steps` draws them."""
    import jax

    from maskjax.keys import stream

    masked, key = self.task.loss.__self__, stream(jax.random.key(self.seed), "loss")
    run = lambda v, batch: masked.run(v, batch, key, step, train=True)[0].all(names)
    return jax.device_get(jax.jit(run)(variables, self.batch))

  def read(self, tensors, **where):
    """The variables from tensors by names of published weights; those not there are zeros."""
    return published(self.shapes, tensors, **where)


def steps(model, optimizer, loss, count=2, before=lambda: None):
  """What `count` steps of the authors' optimizer give: losses, gradients, parameters after each.

  `loss()` runs their model; `before()` comes before each step of the optimizer, as clipping.
  """
  out = []
  for _ in range(count):
    optimizer.zero_grad()
    cost = loss()
    cost.backward()
    slopes = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    before()
    optimizer.step()
    out.append((cost.item(), slopes, {n: p.detach().clone() for n, p in model.named_parameters()}))
  return tuple(zip(*out, strict=True))


def norm(tensors):
  """The global norm of tensors by name."""
  return float(np.sqrt(sum((arrayed(x).astype(np.float64) ** 2).sum() for x in tensors.values())))


def decayed(optimizer, model):
  """Which parameters a PyTorch optimizer decays, as arrays of ones and zeros by name."""
  strength = {id(p): g["weight_decay"] for g in optimizer.param_groups for p in g["params"]}
  ones = lambda p: np.full(p.shape, float(strength.get(id(p), 0) > 0), np.float32)
  return {name: ones(p) for name, p in model.named_parameters() if p.requires_grad}


def of_decays(method):
  """Which parameters the config decays, likewise, as a tree."""
  import jax

  strong = method.config["optimizer"].get("weight_decay", 0) > 0
  fill = lambda x, d: np.full(x.shape, float(bool(d) and strong), np.float32)
  return jax.tree.map(fill, method.shapes["params"], method.optimizer.decays)


def far(ours, theirs):
  """The largest difference of two trees, of masks or counts how many differ, else relative."""
  import jax

  assert jax.tree.structure(ours) == jax.tree.structure(theirs)
  pairs = [(arrayed(a), arrayed(b)) for a, b in
           zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True)]  # fmt: skip
  assert all(a.shape == b.shape for a, b in pairs), [(a.shape, b.shape) for a, b in pairs]
  if pairs[0][1].dtype.kind in "biu":
    return float(sum((a != b).sum() for a, b in pairs))
  largest = max(np.abs(b).max(initial=0) for _, b in pairs)
  return float(max(np.abs(a - b).max(initial=0) for a, b in pairs) / (largest or 1))


def apart(ours, theirs):
  """The norm of the difference of two trees, as a share of theirs: a few entries are rounding."""
  import jax

  size = lambda tree: norm(dict(enumerate(jax.tree.leaves(tree))))
  return size(jax.tree.map(lambda a, b: arrayed(a) - arrayed(b), ours, theirs)) / size(theirs)


def moves(before, ours, theirs, slopes, floor=FLOOR):
  """How far the moves of parameters lie apart: after a step by maximum, after two by norm.

  All are trees of our names; `slopes` the authors' gradients. Left out is where these are rounding,
  below `ROUNDING` of the largest of their tensor or `floor` of that of all; where a tensor's
  gradient is nothing but rounding, the latter too has to be `ROUNDING`. Where nothing but decay
  moves a parameter (no entry of it has a gradient) it counts.
  """
  import jax

  flat = lambda tree: np.concatenate([np.ravel(x).astype(np.float64) for x in leaves(tree)])
  leaves = lambda tree: [arrayed(x) for x in jax.tree.leaves(tree)]
  whole = max(np.abs(x).max(initial=0) for x in leaves(slopes))
  clear = lambda x: np.abs(x) > max(ROUNDING * np.abs(x).max(), floor * whole)
  known = flat([clear(x) if x.any() else np.ones(x.shape) for x in leaves(slopes)]) > 0
  begin = flat(before)
  a, b = ([(flat(after) - begin)[known] for after in each] for each in (ours, theirs))
  first = np.abs(a[0] - b[0]).max() / np.abs(b[0]).max()
  second = np.linalg.norm(a[-1] - b[-1]) / np.linalg.norm(b[-1])
  return float(first), float(second), f"{1 - known.mean():.1%} of the entries left out"


def trajectory(ours, read, theirs, decays, variables=None, first=0, without=()):
  """What two steps of both are compared by: (what, difference, tolerance) of each, and a note.

  Args:
    ours: the method.
    read: from tensors by the authors' names to our variables.
    theirs: what `steps` gave, after the weights before.
    decays: what `decayed` gave.
    variables: before the first step; what is read from the weights where not given.
    first: the number of the first step.
    without: names of our parameters that the authors do not have, which are not trained here.
  """
  import jax

  weights, losses, slopes, after = theirs
  variables = variables or read(weights)
  params = lambda tensors: read(tensors)["params"]
  costs, norms, got = ours.steps(variables, first=first)
  one, two, left = moves(
    variables["params"], got, [params(tensors) for tensors in after], params(slopes[0])
  )
  length = norms[0]
  if without:
    name = lambda path: jax.tree_util.keystr(path, simple=True, separator="/")
    paths = jax.tree_util.tree_leaves_with_path(ours.gradient(variables, first))
    shared = {name(path): x for path, x in paths}
    length = norm({k: x for k, x in shared.items() if k not in without})
    assert set(without) <= set(shared), without
  found = [
    ("loss", far(np.array(costs), np.array(losses)), LOSS),
    ("gradient norm", abs(length / norm(slopes[0]) - 1), STEP),
    ("step", one, STEP),
    ("two steps", two, SECOND),
    ("decay", far(of_decays(ours), params(decays)), 1e-9),
  ]
  return found, left


def row(name, code, compared, note=""):
  """Prints what was compared as a row of a table, and ends with status 1 if anything is far.

  Args:
    name: of the method.
    code: repository@commit, or "oracle".
    compared: (what, largest difference, tolerance) of each.
    note: to be said beside.
  """
  said = [f"{what} {gap:.1e} (≤ {room:.0e})" if room else f"{what} {gap:g} (0)"
          for what, gap, room in compared]  # fmt: skip
  print(f"| {name} | {code} | {'; '.join(said)} | {note} |")
  wrong = [what for what, gap, room in compared if not gap <= room]
  sys.exit(f"{name} is far in: {', '.join(wrong)}" if wrong else 0)
