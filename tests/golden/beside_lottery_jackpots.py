"""Lottery jackpots beside its authors' code: first mask, loss, gradient, three steps, decay, count.

The code is github.com/zyxxmu/lottery-jackpots at 1b802ea: `PretrainConv`, the ResNet of
resnet_cifar.py with 8 layers, `generate_pr_cfg`, `pop_up` and `get_optimizer` of cifar.py,
`set_model_prune_rate` and `freeze_model_weights`, all run unchanged. The share of the exchanges is
that of the paper, (1 - t / T)^4, in the place of its ceiling; the network is not made anew. Where
channels are added its shortcut has the old ones in the middle, ours has them first.
Run: python tests/golden/beside_lottery_jackpots.py CHECKOUT
"""

import pathlib
import sys
from types import SimpleNamespace

import beside
import numpy as np
import torch

BATCH, SHAPE, CLASSES, RATIO, STEPS, COUNT = 4, (12, 9), 4, 0.8, 4, 3
# Of both sides' steps: numbers are to move by more than the gap between kept and hidden.
RATE = 5.0
LAYERS = {f"block_0{i}/{ours}{k}": f"layer{i + 1}.0.{theirs}{k}" for i in range(3) for k in (1, 2)
          for ours, theirs in (("conv", "conv"), ("norm", "bn"))}  # fmt: skip
LAYERS |= {"embed": "conv1", "embed_norm": "bn1", "head": "fc"}


def public(folder):
  """The authors' network, and what cifar.py makes of it."""
  args = SimpleNamespace(conv_type="PretrainConv", bn_type="LearnedBatchNorm", prune_rate=RATIO)
  args.layerwise, args.optimizer, args.gpus, args.no_bn_decay = "l1", "sgd", [0], False
  args.lr, args.momentum, args.weight_decay, args.nesterov = RATE, 0.9, 5e-4, False
  beside.stubs("utils.options", args=args)
  sys.path.insert(0, folder)
  from models import resnet_cifar

  given = dict(torch=torch, np=np, nn=torch.nn, args=args, device="cpu")
  given["logger"] = SimpleNamespace(info=lambda _: None)
  names = ("get_prune_rate", "generate_pr_cfg", "pop_up", "get_optimizer")
  parts = beside.cut(pathlib.Path(folder) / "cifar.py", *names, **given)[1:]
  names = ("freeze_model_weights", "set_model_prune_rate")
  return (
    resnet_cifar,
    *parts,
    *beside.cut(pathlib.Path(folder) / "utils/common.py", *names, print=lambda *_: None),
  )


def turned(tensors):
  """Tensors by their names with channels in our order, and the classifier as a dense layer."""
  second = np.r_[16:48, 0:16, 48:64]
  third = np.r_[32 + second, 0:32, 96:128]
  out = {name: beside.arrayed(x) for name, x in tensors.items()}
  for stage, order in (("layer2.0", second), ("layer3.0", third)):
    for name in out:
      if name.startswith((f"{stage}.conv2.", f"{stage}.bn2.")) and out[name].ndim:
        out[name] = out[name][order]
  for name, order in (("layer3.0.conv1.weight", second), ("fc.weight", third)):
    if name in out:
      out[name] = out[name][:, order]
  if "fc.weight" in out:
    out["fc.weight"] = out["fc.weight"][:, :, 0, 0]
  return out


def main(folder):
  """Runs both."""
  nets, ratios, pop_up, optimizer, freeze, prune = public(folder)
  torch.manual_seed(4)
  make = lambda depth, classes: nets.ResNet(
    nets.get_builder(), nets.ResBasicBlock, depth, num_classes=classes
  )
  with torch.device("meta"):
    whole = sum(p.numel() for p in make(32, 10).parameters()) - 10 * 128
  model = make(8, CLASSES)
  for name, x in model.state_dict().items():
    if x.ndim == 1:
      x.copy_(0.5 + torch.rand_like(x) if name.endswith("var") else x + 0.2 * torch.randn_like(x))
  quiet = SimpleNamespace(info=lambda _: None)
  prune(model, ratios(model), quiet)
  freeze(model)
  weights = {k: v.clone() for k, v in model.state_dict().items() if "mask" not in k}
  images, labels = torch.randn(BATCH, 3, *SHAPE), torch.arange(BATCH) % CLASSES
  named = lambda kind, of=lambda x: x: {
    f"{n}.weight": of(getattr(m, kind)).detach().clone() for n, m in model.named_modules()
    if hasattr(m, kind) and n != "fc"
  }  # fmt: skip
  begun, first = named("mask"), named("b_mask")
  tx = optimizer(SimpleNamespace(**vars(sys.modules["utils.options"].args)), model)
  model.train()
  losses, slopes, after, done = [], None, [], []
  for t in range(COUNT):
    tx.zero_grad()
    cost = torch.nn.functional.cross_entropy(model(images), labels)
    cost.backward()
    slopes = slopes or named("mask", lambda mask: mask.grad)
    losses.append(cost.item())
    tx.step()
    done.append(int(pop_up(model, (1 - t / STEPS) ** 4).sum()))
    after.append(named("mask"))
  last = named("b_mask")

  import jax

  from maskjax import lab
  from maskjax.record import Record

  def change(c):
    c.batch_size, c.total_epochs, c.total_steps, c.stages, c.init_from = BATCH, 0.0, STEPS, {}, ""
    c.model.update(depth=8, width=32, zero_init=False, dtype="float32")
    c.reparametrize.select.ratio = RATIO
    c.optimizer.update(beside.CONSTANT, learning_rate=RATE)

  batch = {"image": images.permute(0, 2, 3, 1).numpy(), "label": labels.numpy().astype(np.int32)}
  batch["position"] = np.arange(BATCH)
  record = Record("image", (*SHAPE, 3), {"train": BATCH}, tuple("abcd"))
  ours = beside.Method("lottery_jackpots", change, record, batch)
  numbers = ours.shapes["params"]["masks"]
  read = lambda tensors, like=numbers: beside.by_layer(like, turned(tensors), LAYERS)
  variables = read(weights, ours.shapes)
  variables = ours.task.prepare(variables, iter(()))
  mine = jax.device_get(variables["params"]["masks"])
  state = jax.device_get(variables["mask_state"]["hidden"])
  costs, norms, moved = ours.steps(variables, COUNT)
  masks = [m["masks"] for m in moved]
  one, more, left = beside.moves(mine, masks, [read(a) for a in after], read(slopes))
  hidden = lambda tensors: jax.tree.map(lambda x: x == 0, read(tensors))
  still = lambda params: {k: v for k, v in params.items() if k != "masks"}
  strength = {id(p): g["weight_decay"] for g in tx.param_groups for p in g["params"]}
  decays = named("mask", lambda mask: torch.full_like(mask, float(strength[id(mask)] > 0)))
  beside.row(
    "lottery_jackpots",
    "zyxxmu/lottery-jackpots@1b802ea",
    [
      ("first masks", beside.far(state, hidden(first)), beside.EXACT),
      ("first numbers", beside.far(mine, read(begun)), 1e-7),
      ("losses", beside.far(np.array(costs), np.array(losses)), beside.LOSS),
      ("gradient norm", abs(norms[0] / beside.norm(slopes) - 1), beside.STEP),
      ("step", one, beside.STEP),
      ("three steps", more, beside.SECOND),
      ("masks after", beside.far(ours.variables["mask_state"]["hidden"], hidden(last)),
       beside.EXACT),
      ("weights", beside.far(still(moved[-1]), still(variables["params"])), 1e-9),
      ("decay", beside.far(beside.of_decays(ours)["masks"], read(decays)), 1e-9),
      ("parameters", abs(whole - lab.note("lottery_jackpots")["scale"]["parameters"]),
       beside.EXACT),
    ],
    f"{left}; exchanged {done}",
  )  # fmt: skip


if __name__ == "__main__":
  main(sys.argv[1])
