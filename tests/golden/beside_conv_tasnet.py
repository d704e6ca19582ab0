"""Conv-TasNet beside its authors' code: gates, loss, gradient, two clipped steps, parameters.

The code is github.com/naplab/Conv-TasNet at e66d82a, of the authors' group: `TasNet` and
`utility.sdr.batch_SDR_torch`; Adam at 1e-3 and clipping at 5 are the paper's, in section III.B. It
holds no training. Run: python tests/golden/beside_conv_tasnet.py CHECKOUT
"""

import importlib
import pathlib
import sys

import beside
import numpy as np
import torch

BATCH, SOURCES, LENGTH, SIZE, FILTERS, WIDTH, DEPTH, REPEATS = 3, 3, 101, 12, 9, 5, 3, 2
CLIP = 5.0


def public(folder):
  """The authors' two modules, which import each other as a package."""
  folder = pathlib.Path(folder).resolve()
  with beside.standing_in(folder.parent):
    network = importlib.import_module(f"{folder.name}.conv_tasnet")
    sdr = importlib.import_module(f"{folder.name}.utility.sdr")
  return network, sdr


def names():
  """Our names of the authors' parameters."""
  yield from (("encoder.weight", "analysis"), ("decoder.weight", "synthesis"))
  blocks = DEPTH * REPEATS
  pairs = [("TCN.LN", "norm"), ("TCN.BN", "bottleneck"), ("TCN.output.1", "head")]
  parts = dict(conv1d="widen", dconv1d="depthwise", reg1="norm_in", reg2="norm_out")
  parts |= dict(skip_out="skip", res_out="onward")
  pairs += [(f"TCN.TCN.{i}.{a}", f"block_{i}/{b}") for i in range(blocks) for a, b in parts.items()]
  for there, here in pairs:
    yield f"{there}.weight", f"{here}/{'scale' if 'norm' in here else 'kernel'}"
    yield f"{there}.bias", f"{here}/bias"
  slopes = [("TCN.output.0", "slope")]
  for i in range(blocks):
    slopes += [(f"TCN.TCN.{i}.nonlinearity{j}", f"block_{i}/slope_{end}")
               for j, end in ((1, "in"), (2, "out"))]  # fmt: skip
  yield from ((f"{there}.weight", f"{here}/negative_slope") for there, here in slopes)


def turned(here, x):
  """A tensor as ours lies; scores that open there hide here."""
  x = beside.arrayed(x)
  if here.startswith("head"):
    x = -x
  if here.endswith("negative_slope"):
    return x[0]
  if here in ("analysis", "synthesis") or "depthwise/kernel" in here:
    return x[:, 0].T
  return x[..., 0].T if here.endswith("kernel") else x


def main(folder):
  """Runs both."""
  network, sdr = public(folder)
  torch.manual_seed(6)
  model = network.TasNet(FILTERS, WIDTH, 8000, SIZE / 8, DEPTH, REPEATS, 3, SOURCES)
  with torch.no_grad():
    for parameter in model.parameters():
      parameter += 0.2 * torch.randn_like(parameter)
  sources = torch.randn(BATCH, SOURCES, LENGTH)
  mixture = sources.sum(1)
  said = []
  model.TCN.register_forward_hook(lambda module, given, out: said.append(out))
  begin = {n: p.detach().clone() for n, p in model.named_parameters()}
  loss = lambda: -sdr.batch_SDR_torch(model(mixture), sources).mean()
  tx = torch.optim.Adam(model.parameters(), lr=beside.RATE)
  clip = lambda: torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
  losses, slopes, after = beside.steps(model, tx, loss, before=clip)
  with torch.device("meta"):
    whole = network.TasNet(sr=8000)
  full = sum(p.numel() for n, p in whole.named_parameters() if "TCN.TCN.23.res_out" not in n)

  import jax

  from maskjax import lab
  from maskjax.record import Record

  def change(c):
    c.batch_size = BATCH
    c.model.update(filters=FILTERS, size=SIZE, width=WIDTH, hidden=4 * WIDTH, skip=WIDTH)
    c.model.update(depth=DEPTH, repeats=REPEATS)
    c.optimizer.update(beside.CONSTANT)

  record = Record("mixture", (SOURCES, LENGTH), {"train": BATCH}, rate=8000)
  batch = dict(mixture=mixture.numpy(), sources=sources.numpy(), position=np.arange(BATCH))
  ours = beside.Method("conv_tasnet", change, record, batch)

  def params(tensors):
    flat = {here: turned(here, tensors[there]) for there, here in names() if there in tensors}
    same = lambda path, x: flat[jax.tree_util.keystr(path, simple=True, separator="/")]
    return jax.tree_util.tree_map_with_path(same, ours.shapes["params"])

  variables = {"params": params(begin)}
  costs, norms, moved = ours.steps(variables)
  gates = ours.values(variables, "hidden")[0]
  theirs = torch.sigmoid(said[0]).reshape(BATCH, SOURCES, FILTERS, -1).transpose(2, 3)
  first, second, left = beside.moves(
    variables["params"], moved, [params(a) for a in after], params(slopes[0])
  )
  optimizer = lab.read("conv_tasnet").optimizer
  numbers = [optimizer[k] for k in ("learning_rate", "weight_decay", "b1", "b2", "clip")]
  beside.row(
    "conv_tasnet",
    "naplab/Conv-TasNet@e66d82a",
    [
      ("gates", beside.far(gates.reshape(theirs.shape), theirs), beside.LOSS),
      ("loss", beside.far(np.array(costs), np.array(losses)), beside.LOSS),
      ("gradient norm", abs(norms[0] / beside.norm(slopes[0]) - 1), beside.STEP),
      ("step", first, beside.STEP),
      ("two steps", second, beside.SECOND),
      ("optimizer", beside.far(np.array(numbers), np.array([1e-3, 0, 0.9, 0.999, 5])), 1e-9),
      ("parameters", abs(full - lab.note("conv_tasnet")["scale"]["parameters"]), beside.EXACT),
    ],
    f"{left}; norm {norms[0]:.2g}, clipped at {CLIP}",
  )


if __name__ == "__main__":
  main(sys.argv[1])
