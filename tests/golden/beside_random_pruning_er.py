"""Random pruning beside its authors' code: held steps, loss, gradient, pruning inside, count.

The code is github.com/RelationalML/sparse_to_sparse at 6abdf0e, folder ER_DST: `Masking` with its
`apply_mask` and `pruning`, and the ResNet of models/resnet.py with 8 layers. Masks are ours, handed
to it; SGD has the settings of STR/configs, which the config takes. What `pruning` leaves are the
weights above its threshold, the smallest kept one, of a number rounded down: ours are two more at
most. Run: python tests/golden/beside_random_pruning_er.py CHECKOUT
"""

import contextlib
import io
import pathlib
import sys
from types import SimpleNamespace

import beside
import numpy as np
import torch

BATCH, SIDE, CLASSES, DENSITY, STEPS = 4, 12, 4, 0.3, 8
HALF, LAST, EVERY, STOP = 0.45, 0.15, 2, 0.75
LAYERS = {f"block_0{i}/{ours}": f"layer{i + 1}.0.{theirs}" for i in range(3)
          for ours, theirs in (("conv1", "conv1"), ("norm1", "bn1"), ("conv2", "conv2"),
                               ("norm2", "bn2"), ("shortcut", "downsample.0"),
                               ("shortcut_norm", "bn3"))}  # fmt: skip
LAYERS |= {"embed": "conv1", "embed_norm": "bn", "head": "linear"}


def public(folder):
  """The authors' masks and networks, on the CPU."""
  sys.path.insert(0, f"{folder}/ER_DST")
  from models import resnet
  from sparselearning.core import Masking

  torch.Tensor.cuda = lambda self, *_: self
  return Masking, resnet


def masking(kind, model, tx):
  """Their masks of a network, drawn by them."""
  args = SimpleNamespace(
    sparse_init="ERK", init_density=HALF, final_density=LAST, init_method="default",
    prune="magnitude", fix=True, method="GMP", rm_first=False, flow_preservation=False,
    ortho_repair=False, model="resnet18", init_prune_epoch=0, multiplier=1,
    final_prune_epoch=int(STOP * STEPS),
  )  # fmt: skip
  made = kind(tx, args=args, train_loader=[None])
  made.add_module(model, "ERK")
  made.prune_every_k_steps = EVERY
  return made


def main(folder):
  """Runs both."""
  kind, nets = public(folder)
  torch.manual_seed(9)
  model = nets.ResNet(nets.BasicBlock, [1] * 3, CLASSES)
  for name, x in model.state_dict().items():
    if x.ndim == 1:
      x.copy_(0.5 + torch.rand_like(x) if name.endswith("var") else x + 0.2 * torch.randn_like(x))
  weights = {k: v.clone() for k, v in model.state_dict().items()}
  images, labels = torch.randn(BATCH, 3, SIDE, SIDE), torch.arange(BATCH) % CLASSES

  import jax

  from maskjax import lab
  from maskjax.record import Record
  from maskjax.train.state import init_opt_state, with_held
  from maskjax.weights import masks as masks_of

  def change(c):
    c.batch_size, c.total_epochs, c.total_steps = BATCH, 0.0, STEPS
    c.model.update(depth=8, width=32, zero_init=False, dtype="float32", project=True)
    c.optimizer.update(beside.CONSTANT)

  file = next((pathlib.Path(__file__).parents[2] / "configs").rglob("random_pruning_er.py"))
  preset = lab.load(file).pruned

  def held(c):
    change(c)
    c.hold.within.density, c.hold.every = DENSITY, STEPS

  def pruned(c):
    change(c)
    preset(c)
    c.total_steps, c.hold.every, c.hold.within.density = STEPS, EVERY, HALF
    c.hold.select.ratio.update(start=1 - HALF, end=1 - LAST, stop=STOP)

  batch = {"image": images.permute(0, 2, 3, 1).numpy(), "label": labels.numpy().astype(np.int32)}
  batch["position"] = np.arange(BATCH)
  record = Record("image", (SIDE, SIDE, 3), {"train": BATCH}, tuple("abcd"))
  none, read = lambda x: x is None, lambda t, like: beside.by_layer(like, t, LAYERS)
  zero = lambda tree: jax.tree.map(lambda x: np.asarray(x) == 0, tree)
  found = []
  for what, form, count in (("held", held, 2), ("pruned", pruned, EVERY)):
    ours = beside.Method("random_pruning_er", form, record, batch)
    variables = read(weights, ours.shapes)
    params = lambda tensors, like=ours.shapes["params"]: read(tensors, like)
    opt_state = init_opt_state(ours.optimizer.tx, variables)
    begun = jax.device_get(with_held(variables, opt_state))
    whole = lambda mask, leaf: np.zeros(leaf.shape, bool) if mask is None else np.asarray(mask)
    hidden = jax.tree.map(whole, masks_of(opt_state), variables["params"], is_leaf=none)
    model.load_state_dict(weights)
    tx = torch.optim.SGD(model.parameters(), lr=beside.RATE, momentum=0.9, weight_decay=1e-4)
    with contextlib.redirect_stdout(io.StringIO()):
      theirs = masking(kind, model, tx)
    names = {jax.tree_util.keystr(p, simple=True, separator="/"): x
             for p, x in jax.tree_util.tree_leaves_with_path(hidden)}  # fmt: skip
    back = {f"{t}.weight": names[n] for o, t in LAYERS.items() for n in names
            if n.endswith(f"/{o}/kernel") or n == f"{o}/kernel"}  # fmt: skip
    for name in theirs.masks:
      shown = ~back[name]
      turned = shown.transpose(shown.ndim - 1, shown.ndim - 2, *range(shown.ndim - 2))
      theirs.masks[name] = torch.tensor(np.ascontiguousarray(turned)).float()
    theirs.apply_mask()
    model.train()
    losses, after, slopes = [], [], None
    for step in range(1, count + 1):
      tx.zero_grad()
      cost = torch.nn.functional.cross_entropy(model(images), labels)
      cost.backward()
      slopes = slopes or {n: p.grad.clone() for n, p in model.named_parameters()}
      losses.append(cost.item())
      tx.step()
      theirs.apply_mask()
      if what == "pruned" and step % EVERY == 0:
        with contextlib.redirect_stdout(io.StringIO()):
          theirs.pruning(step, model)
      after.append({k: v.clone() for k, v in model.state_dict().items()})
    costs, norms, moved = ours.steps(begun, count)
    if what == "pruned":
      found.append(("pruned inside", beside.far(zero(moved[-1]), zero(params(after[-1]))), 2))
      continue
    masked = {n: g * theirs.masks.get(n, 1) for n, g in slopes.items()}
    one, two, left = beside.moves(
      begun["params"], moved, [params(a) for a in after], params(masked)
    )
    outside = jax.tree.map(lambda x, m: np.asarray(x)[m], moved[-1], hidden)
    found += [
      ("outside", float(sum(np.abs(x).sum() for x in jax.tree.leaves(outside))), beside.EXACT),
      ("loss", beside.far(np.array(costs), np.array(losses)), beside.LOSS),
      ("gradient norm", abs(norms[0] / beside.norm(slopes) - 1), beside.STEP),
      ("step", one, beside.STEP),
      ("two steps", two, beside.SECOND),
      ("decay", beside.far(beside.of_decays(ours), params(beside.decayed(tx, model))), 1e-9),
    ]
  beside.row("random_pruning_er", "RelationalML/sparse_to_sparse@6abdf0e", found, left)


if __name__ == "__main__":
  main(sys.argv[1])
