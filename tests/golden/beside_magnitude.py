"""Gradual magnitude pruning beside an oracle: sparsity, masks, losses, gradient, four steps.

The oracle is written from Zhu and Gupta, 2017, equation 1 and section 3, in PyTorch: the share
s_f (1 - (1 - t / T)^3) of smallest weights of each layer is zero after every second step, and gets
no gradient. The network is the ResNet of github.com/varunnair18/FISH at b5bff1e, narrow as
beside_fish_mask.py has it. No weight decay on either side.
Run: python tests/golden/beside_magnitude.py CHECKOUT/cifar10-fast
"""

import sys

import beside
import numpy as np
import torch
from beside_fish_mask import BATCH, CLASSES, SHAPE, WIDTH, narrow, public

STEPS, EVERY, END, STOP, COUNT = 8, 2, 0.7, 0.75, 4


def main(folder):
  """Runs both."""
  torch.manual_seed(13)  # of 12 a rectifier lies within rounding of its kink
  model = narrow(public(folder)[2]).train()
  for x in model.state_dict().values():
    if x.ndim == 1:
      x += 0.2 * torch.randn_like(x)
  images, labels = torch.randn(BATCH, 3, *SHAPE), torch.arange(BATCH) % CLASSES
  named = lambda d: {
    k.replace("downsample.conv", "downsample.0").replace("downsample.bn", "downsample.1"): v
    for k, v in d.items() if "tracked" not in k
  }  # fmt: skip
  weights = {k: v.clone() for k, v in model.state_dict().items()}
  pruned = {n: p for n, p in model.named_parameters() if p.ndim > 1 and n != "conv1.weight"}
  kept = {n: torch.ones_like(p) for n, p in pruned.items()}
  tx = torch.optim.SGD(model.parameters(), lr=beside.RATE, momentum=0.9)
  losses, after, slopes = [], [], None
  for t in range(1, COUNT + 1):
    tx.zero_grad()
    cost = torch.nn.functional.cross_entropy(model(images), labels)
    cost.backward()
    slopes = slopes or {n: p.grad.clone() for n, p in model.named_parameters()}
    losses.append(cost.item())
    for n, p in pruned.items():
      p.grad *= kept[n]
    tx.step()
    share = END * (1 - (1 - min(t / (STOP * STEPS), 1)) ** 3)
    with torch.no_grad():
      for n, p in pruned.items():
        p *= kept[n]
        if t % EVERY == 0:
          least = p.abs().flatten().argsort()[: int(share * p.numel() + 0.5)]
          kept[n].view(-1)[least] = 0
          p *= kept[n]
    after.append({k: v.clone() for k, v in model.state_dict().items()})

  import jax

  from maskjax import lab
  from maskjax.record import Record

  def change(c):
    c.batch_size, c.total_epochs, c.total_steps, c.stages, c.init_from = BATCH, 0.0, STEPS, {}, ""
    c.model.update(depth=18, width=WIDTH, zero_init=False, dtype="float32")
    c.hold.every, c.hold.select.ratio.end, c.hold.select.ratio.stop = EVERY, END, STOP
    c.optimizer.update(beside.CONSTANT, weight_decay=0.0)

  batch = {"image": images.permute(0, 2, 3, 1).numpy(), "label": labels.numpy().astype(np.int32)}
  batch["position"] = np.arange(BATCH)
  record = Record("image", (*SHAPE, 3), {"train": BATCH}, tuple("abcd"))
  ours = beside.Method("magnitude", change, record, batch)
  variables = ours.read(named(weights), layout="torchvision")
  params = lambda t: ours.read(named(t), layout="torchvision")["params"]
  costs, norms, moved = ours.steps(variables, COUNT)
  first, last, left = beside.moves(
    variables["params"], moved, [params(a) for a in after], params(slopes)
  )
  zero = lambda tree: jax.tree.map(lambda x: np.asarray(x) == 0, tree)
  masks = [beside.far(zero(moved[i]), zero(params(after[i]))) for i in range(COUNT)]
  note = lab.note("magnitude")["scale"]
  beside.row(
    "magnitude",
    "oracle (arXiv:1710.01878)",
    [
      ("masks of four steps", sum(masks), beside.EXACT),
      ("losses", beside.far(np.array(costs), np.array(losses)), beside.LOSS),
      ("gradient norm", abs(norms[0] / beside.norm(slopes) - 1), beside.STEP),
      ("step", first, beside.STEP),
      ("four steps", last, beside.SECOND),
    ],
    f"{left}; {note['parameters']:,} parameters are torchvision's, see layer_masking",
  )


if __name__ == "__main__":
  main(sys.argv[1])
