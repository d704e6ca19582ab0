"""FISH Mask beside its authors' code: Fisher information, masks, loss, gradient, two steps, decay.

The code is github.com/varunnair18/FISH at b5bff1e, folder cifar10-fast: `resnet.ResNet`, `fisher`,
`nesterov_update` and `sp_opt_step` of `su_torch_backend`, `PiecewiseLinear` of `core`. Three of the
config's deviations are put aside on both sides: no max pool after the stem, running statistics
while the information is measured, no weight decay, which moves what is not selected too there.
Run: python tests/golden/beside_fish_mask.py CHECKOUT/cifar10-fast
"""

import sys

import beside
import numpy as np
import torch

BATCH, SHAPE, CLASSES, WIDTH, RATIO = 6, (11, 9), 4, 4, 0.13


def public(folder):
  """The authors' modules; what they take of pandas and fisher of a GPU's loader is not needed."""
  np.float = float
  with beside.standing_in(folder, pandas={}):
    import core
    import fisher
    import resnet
    import su_torch_backend as backend
  fisher.DataLoader = lambda dataset, *_, **__: dataset
  return core, fisher, resnet, backend


def narrow(resnet):
  """The authors' ResNet-18 with few channels and no max pool."""
  network = resnet.ResNet(resnet.BasicBlock, [1, 1, 1, 1], num_classes=CLASSES)
  network.inplanes = WIDTH
  network.conv1 = torch.nn.Conv2d(3, WIDTH, 3, padding=1, bias=False)
  network.bn1, network.maxpool = torch.nn.BatchNorm2d(WIDTH), torch.nn.Identity()
  for stage in range(4):
    layer = network._make_layer(resnet.BasicBlock, WIDTH * 2**stage, 2, stride=2 if stage else 1)
    setattr(network, f"layer{stage + 1}", layer)
  network.fc = torch.nn.Linear(8 * WIDTH, CLASSES)
  return network


def main(folder):
  """Runs both."""
  core, fisher, resnet, backend = public(folder)
  torch.manual_seed(2)
  model = narrow(resnet)
  for name, x in model.state_dict().items():
    if x.ndim == 1:
      x.copy_(0.5 + torch.rand_like(x) if name.endswith("var") else x + 0.2 * torch.randn_like(x))
  images = torch.randn(BATCH, 3, *SHAPE)
  labels = torch.arange(BATCH) % CLASSES
  named = lambda d: {
    k.replace("downsample.conv", "downsample.0").replace("downsample.bn", "downsample.1"): v
    for k, v in d.items() if "tracked" not in k
  }  # fmt: skip
  weights = {k: v.clone() for k, v in model.state_dict().items()}

  class Named(torch.nn.Module):
    """By the name that its measure calls, as su_dawn.py does."""

    def __init__(self):
      super().__init__()
      self.inner = model

    def named_parameters(self, *_, **__):
      return model.named_parameters()

    def forward(self, given):
      return {"logits": model(given["input"])}

  single = [{"input": images[i : i + 1], "target": labels[i : i + 1]} for i in range(BATCH)]
  model.eval()
  args = (Named(), single, BATCH, "cpu", "square")
  information = {k: v / BATCH for k, v in fisher.calculate_the_importance_label(*args).items()}
  chosen = fisher.FisherMask(args[0], single, BATCH, RATIO, "label", "square")
  chosen.calculate_mask()
  model.train()
  params = list(model.parameters())
  const = lambda value: lambda step: value
  numbers = dict(lr=beside.RATE, weight_decay=0.0, momentum=0.9)
  opt = backend.SGD(params, {k: const(v) for k, v in
                             numbers.items()})  # fmt: skip
  losses, norms, after, slopes = [], [], [], None
  for _ in range(2):
    model.zero_grad()
    cost = torch.nn.functional.cross_entropy(model(images), labels)
    cost.backward()
    losses.append(cost.item())
    grads = {n: p.grad.clone() for n, p in model.named_parameters()}
    norms.append(beside.norm(grads))
    slopes = slopes or grads
    opt = backend.sp_opt_step(**opt, mask=chosen.mask)
    after.append({k: v.clone() for k, v in model.state_dict().items()})
  at = (1, 30, 50, 120, 999)
  curve = core.PiecewiseLinear([0, 5, 100], [0, 0.02, 0])
  rates = [curve(step / 10) for step in at]
  with torch.device("meta"):
    count = sum(p.numel() for p in resnet.resnet34(num_classes=10).parameters())

  import jax

  from maskjax import lab
  from maskjax.record import Record
  from maskjax.train.state import init_opt_state
  from maskjax.weights import masks as masks_of

  def change(c):
    c.batch_size, c.total_epochs = BATCH, 100.0
    c.model.update(depth=18, width=WIDTH)
    c.prepare.squared_gradients.examples = BATCH
    everything = sum(p.numel() for p in params)
    head = 8 * WIDTH * CLASSES + CLASSES
    c.hold.select.ratio = 1 - (int(RATIO * everything) - head) / (everything - head)
    c.optimizer.update(beside.CONSTANT, weight_decay=0.0)

  names = tuple("abcd")
  record = lambda n: Record("image", (*SHAPE, 3), {"train": n}, names)
  batch = {"image": images.permute(0, 2, 3, 1).numpy(), "label": labels.numpy().astype(np.int32)}
  batch["position"] = np.arange(BATCH)
  ours = beside.Method("fish_mask", change, record(BATCH), batch)
  read = lambda tensors: ours.read(named(tensors), layout="torchvision")
  variables = read(weights)
  variables = ours.task.prepare(variables, [ours.batch])
  costs, sizes, moved = ours.steps(variables)
  found = variables["prepared"]["squared_gradients"]
  hidden = masks_of(jax.device_get(init_opt_state(ours.optimizer.tx, variables)))
  whole = lambda hidden, leaf: np.zeros(leaf.shape, bool) if hidden is None else np.asarray(hidden)
  none = lambda x: x is None
  hidden = jax.tree.map(whole, hidden, variables["params"], is_leaf=none)
  theirs = {n: m for (n, _), m in zip(model.named_parameters(), chosen.mask, strict=True)}
  kept = jax.tree.map(lambda x: x == 0, read(theirs)["params"])
  real = lambda c: c.update(batch_size=512)
  real = beside.Method("fish_mask", real, record(5120), batch).optimizer
  # They count a step before they look at the rate.
  gap = beside.far([real.rate(step) for step in at], rates)
  masked = {n: g * theirs[n] for n, g in slopes.items()}
  first, second, left = beside.moves(
    variables["params"], moved, [read(a)["params"] for a in after], read(masked)["params"]
  )
  every = {n: torch.ones_like(p) for n, p in model.named_parameters()}
  rules = lab.read("fish_mask").optimizer
  strong = jax.tree.map(
    lambda x, d: np.full(x.shape, float(d and rules.weight_decay > 0), np.float32),
    ours.shapes["params"], ours.optimizer.decays,
  )  # fmt: skip
  beside.row(
    "fish_mask",
    "varunnair18/FISH@b5bff1e",
    [
      ("information", beside.far(found, read(information)["params"]), beside.STEP),
      ("masks", beside.far(hidden, kept), beside.EXACT),
      ("loss", beside.far(np.array(costs), np.array(losses)), beside.LOSS),
      ("gradient norm", abs(sizes[0] / norms[0] - 1), beside.STEP),
      ("step", first, beside.STEP),
      ("two steps", second, beside.SECOND),
      ("decay", beside.far(strong, read(every)["params"]), 1e-9),
      ("rates", gap, 1e-5),
      ("parameters", abs(count - lab.note("fish_mask")["scale"]["parameters"]), beside.EXACT),
    ],
    left,
  )


if __name__ == "__main__":
  main(sys.argv[1])
