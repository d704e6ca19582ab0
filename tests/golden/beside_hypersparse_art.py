"""HyperSparse beside its authors' code: penalty, steps with it, mask, steps in it, decay, count.

The code is github.com/GreenAutoML4FAS/HyperSparse at ec945f9: the ResNet of models/resnet.py,
`hyperSparse`, `grad_HS_loss` and `lx_loss`, `mag_prune` and `applyMask`, run unchanged; the step is
that of train.py, which asks for a GPU. Their mask hides a weight more, see the config's deviations.
Run: python tests/golden/beside_hypersparse_art.py CHECKOUT
"""

import importlib.util
import math
import pathlib
import sys

import beside
import numpy as np
import torch

BATCH, SHAPE, CLASSES, RATIO, STRENGTH = 4, (12, 9, 3), 4, 0.8, 0.01
LAYERS = {f"block_0{i}/{ours}{k}": f"layer{i + 1}.0.{theirs}{k}" for i in range(3) for k in (1, 2)
          for ours, theirs in (("conv", "conv"), ("norm", "bn"))}  # fmt: skip
LAYERS |= {f"block_0{i}/{ours}": f"layer{i + 1}.0.downsample.{k}" for i in (1, 2)
           for k, ours in enumerate(("shortcut", "shortcut_norm"))}  # fmt: skip
LAYERS |= {"embed": "conv1", "embed_norm": "bn1", "head": "fc"}


def public(folder):
  """The authors' modules: of the network, of both penalties, of pruning."""
  root = pathlib.Path(folder)

  def module(name, path):
    spec = importlib.util.spec_from_file_location(name, root / path)
    made = importlib.util.module_from_spec(spec)
    sys.modules[name] = made
    spec.loader.exec_module(made)
    return made

  # The package itself asks for torchvision and a plotting library.
  beside.stubs("utils")
  sys.modules["utils"].__path__ = [str(root / "utils")]
  sys.modules["utils"].is_prunable_module = module("utils.arg", "utils/arg.py").is_prunable_module
  files = dict(nets="models/resnet.py", hyper="loss/HyperSparse.py", lx="loss/lx_loss.py")
  return [*(module(*pair) for pair in files.items()), module("utils.pruner", "utils/pruner.py")]


def copied(model):
  """Its tensors by name, the classifier's too."""
  return {name: x.detach().clone() for name, x in model.state_dict().items()}


def main(folder):
  """Runs both."""
  nets, hyper, lx, pruner = public(folder)
  torch.manual_seed(4)
  with torch.device("meta"):
    whole = sum(p.numel() for p in nets.resnet(num_classes=10, depth=32).parameters())
  model = nets.resnet(num_classes=CLASSES, depth=8)
  begun = beside.moved(model, 0.02)
  images, labels = torch.randn(BATCH, *SHAPE), torch.arange(BATCH) % CLASSES
  enter = images.permute(0, 3, 1, 2)
  cross = torch.nn.functional.cross_entropy
  sgd = lambda: torch.optim.SGD(model.parameters(), lr=beside.RATE, momentum=0.9, weight_decay=1e-4)
  model.train()
  value = hyper.hyperSparse(model, RATIO).item()
  summed = lx.lx_loss(model).item()
  own = {f"{name}.weight": x for name, x in hyper.grad_HS_loss(model, RATIO).items()}
  tx = sgd()
  decays = beside.decayed(tx, model)
  pull = lambda: cross(model(enter), labels) + STRENGTH * hyper.hyperSparse(model, RATIO)
  theirs = (begun, *beside.steps(model, tx, pull))
  model.load_state_dict(begun)
  model, masks = pruner.mag_prune(model, RATIO)
  pruned = copied(model)
  tx = sgd()

  def masked():
    for name, module in model.named_modules():
      if name in masks:
        module.weight.data.mul_(masks[name].float())
        module.weight.grad.data.mul_(masks[name].float())

  within = beside.steps(model, tx, lambda: cross(model(enter), labels), before=masked)
  compare(begun, value, summed, own, theirs, decays, masks, pruned, within, whole, images, labels)


def compare(
  begun, value, summed, own, theirs, decays, masks, pruned, within, whole, images, labels
):
  """Our side of all that, and the row."""
  import jax

  from maskjax import lab, weights
  from maskjax.record import Record
  from maskjax.sections import bound
  from maskjax.train.optimizers.rules import match
  from maskjax.weights.held import named_leaves

  record = Record("image", SHAPE, {"train": BATCH}, tuple("abcd"))
  batch = {"image": images.numpy(), "label": labels.numpy().astype(np.int32)}
  batch["position"] = np.arange(BATCH)

  def change(c, penalty):
    regularized = c.stages.regularized.penalty
    c.batch_size, c.total_epochs, c.total_steps, c.stages, c.init_from = BATCH, 0.0, 9, {}, ""
    c.model.update(depth=8, dtype="float32", zero_init=False)
    c.optimizer.schedule = "constant"
    c.optimizer.update(beside.CONSTANT)
    if penalty:
      c.hold, c.penalty = None, {**regularized.to_dict(), "ratio": RATIO, "scale": STRENGTH}
    else:
      c.hold.every = 1
      total = sum(mask.numel() for mask in masks.values())
      c.hold.within.select = dict(fn="select.top", count=math.floor(RATIO * total) + 1)

  ours = beside.Method("hypersparse_art", lambda c: change(c, True), record, batch)
  read = lambda tensors: beside.by_layer(ours.shapes, tensors, LAYERS)
  found, left = beside.trajectory(ours, read, theirs, decays)
  section = ours.config["penalty"]
  meant = match(ours.shapes["params"], section["where"], default=False).values
  names, leaves, _ = named_leaves(read(begun)["params"])
  kernels = {n: x for n, x, has in zip(names, leaves, jax.tree.leaves(meant), strict=True) if has}
  penalty = bound({k: v for k, v in section.items() if k not in ("where", "scale")})
  mine, slope = jax.value_and_grad(penalty)(kernels)
  names, leaves, _ = named_leaves(read(own)["params"])
  wanted = {n: x for n, x in zip(names, leaves, strict=True) if n in kernels}
  # Of their sum of some 80,000 numbers and its negative nothing but rounding is left.
  found += [("value", abs(float(mine) - value) / summed, beside.LOSS)]
  found += [("L1", abs(float(weights.l1_penalty(kernels)) / summed - 1), beside.LOSS)]
  found += [("penalty's gradient", beside.far(slope, wanted), beside.LOSS)]

  held = beside.Method("hypersparse_art", lambda c: change(c, False), record, batch)
  variables = read(begun)
  state = held.optimizer.tx.init(variables["params"])
  hidden = {f"{name}.weight": ~mask for name, mask in masks.items()}
  names, leaves, _ = named_leaves(read(hidden)["params"])
  wanted = {n: x.astype(bool) for n, x in zip(names, leaves, strict=True) if n in kernels}
  names, leaves, _ = named_leaves(weights.masks(state))
  got = dict(zip(names, map(np.asarray, leaves), strict=True))
  variables["params"] = jax.device_get(weights.begun(variables["params"], state))
  start = beside.far(variables["params"], read(pruned)["params"])
  losses, slopes, after = within
  # The optimiser's masks are chosen from the weights that it begins with: pruned ones tie at zero.
  costs, _, moved = held.steps(variables, 2)
  one, two, rest = beside.moves(
    variables["params"], moved, [read(x)["params"] for x in after], read(slopes[0])["params"]
  )
  found += [
    ("masks", beside.far(got, wanted), beside.EXACT),
    ("pruned weights", start, 1e-9),
    ("loss in the mask", beside.far(np.array(costs), np.array(losses)), beside.LOSS),
    ("step in the mask", one, beside.STEP),
    ("two steps in the mask", two, beside.SECOND),
    ("parameters", abs(whole - lab.note("hypersparse_art")["scale"]["parameters"]), beside.EXACT),
  ]
  beside.row("hypersparse_art", "GreenAutoML4FAS/HyperSparse@ec945f9", found, f"{left}; {rest}")


if __name__ == "__main__":
  main(sys.argv[1])
