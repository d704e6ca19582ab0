"""FMix beside its authors' code: field, mask, loss, gradient, two steps, decay, rates, parameters.

The code is github.com/ecs-vlc/FMix at e5991dc: fmix.py, `fmix_loss` of implementations/lightning.py
and models/resnet.py; SGD is PyTorch's with the numbers of trainer.py. Its one mask serves all
examples on both sides, its share a whole number of pixels.
Run: python tests/golden/beside_fmix.py CHECKOUT
"""

import pathlib
import runpy
import sys

import beside
import numpy as np
import torch
from make_preact import ours as named

BATCH, SHAPE, CLASSES, WIDTH, HIDDEN = 5, (14, 11), 4, 4, 47
DECAY = 0.03  # so large that it counts in two steps


def public(folder):
  """The authors' modules."""
  with beside.standing_in(folder), beside.standing_in(pathlib.Path(folder) / "models"):
    import fmix
    import resnet
    from implementations import lightning
  return fmix, lightning, resnet


def narrow(resnet):
  """The authors' ResNet-18 with few channels."""
  network = resnet.ResNet18(CLASSES)
  network.in_planes = WIDTH
  network.conv1, network.bn1 = resnet.conv3x3(3, WIDTH), torch.nn.BatchNorm2d(WIDTH)
  for stage in range(4):
    wide, stride = WIDTH * 2**stage, 2 if stage else 1
    setattr(network, f"layer{stage + 1}", network._make_layer(resnet.PreActBlock, wide, 2, stride))
  network.linear = torch.nn.Linear(8 * WIDTH, CLASSES)
  return network


def main(folder):
  """Runs both."""
  fmix, lightning, resnet = public(folder)
  np.random.seed(4)
  spectra, plain = [], fmix.get_spectrum
  fmix.get_spectrum = lambda *args: spectra.append(plain(*args)) or spectra[-1]
  field = fmix.make_low_freq_image(3.0, list(SHAPE))[0]
  share = 1 - HIDDEN / field.size
  fmix.random.random = lambda: 0.0  # floor
  kept = fmix.binarise_mask(field.copy(), share + 1e-9, SHAPE)[0]
  torch.manual_seed(4)
  model = narrow(resnet).train()
  for x in model.state_dict().values():
    if x.ndim == 1:
      x += 0.2 * torch.randn_like(x)
  weights = {named(k): v.clone() for k, v in model.state_dict().items() if v.ndim}
  images, labels = torch.randn(BATCH, 3, *SHAPE), torch.arange(BATCH) % CLASSES

  import jax

  from maskjax import lab
  from maskjax.keys import stream
  from maskjax.record import Record
  from maskjax.score.fourier import filtered

  def change(c):
    c.batch_size, c.total_epochs = BATCH, 200.0
    c.model.width, c.score, c.select.ratio = WIDTH, "batch.field", HIDDEN / field.size
    c.optimizer.schedule = "constant"  # a section before
    c.optimizer.update(beside.CONSTANT, weight_decay=DECAY)

  record = lambda n: Record("image", (*SHAPE, 3), {"train": n}, tuple("abcd"))
  batch = dict(image=images.permute(0, 2, 3, 1).numpy(), label=labels.numpy().astype(np.int32))
  # What is high is kept there, hidden here.
  batch |= dict(position=np.arange(BATCH), field=np.tile(-np.float32(field).reshape(1, -1), (5, 1)))
  ours = beside.Method("fmix", change, record(BATCH), batch)
  key = stream(jax.random.key(0), "loss")
  index = [np.array(ours.task.pair(batch, key, i)["other"]["position"]) for i in range(2)]
  turn = iter(index)

  def loss():
    other = torch.tensor(next(turn))
    mask = torch.tensor(kept, dtype=torch.float32)
    mixed = images * mask + images[other] * (1 - mask)
    return lightning.fmix_loss(model(mixed), labels, other, float(kept.mean()))

  tx = torch.optim.SGD(model.parameters(), lr=beside.RATE, momentum=0.9, weight_decay=DECAY)
  losses, slopes, after = beside.steps(model, tx, loss)
  theirs = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
  steps = torch.optim.lr_scheduler.MultiStepLR(theirs, [100, 150])
  rates = []
  for _ in range(200):
    rates.append(steps.get_last_lr()[0])
    theirs.step()
    steps.step()
  with torch.device("meta"):
    full = sum(p.numel() for p in resnet.ResNet18(10).parameters())

  read = lambda t: beside.by_name(ours.shapes["params"], {named(k): v for k, v in t.items()})
  variables = {k: beside.by_name(v, weights) for k, v in ours.shapes.items()}
  costs, norms, moved = ours.steps(variables)
  hidden = ours.values(variables, "hidden")[0].reshape(-1, *SHAPE)
  tests = runpy.run_path(str(pathlib.Path(__file__).parents[1] / "score" / "test_fourier.py"))
  draws = tests["noise_of"]({"shape": list(SHAPE), "spectrum": spectra[0][0, :2]})
  got = tests["of_all"](np.asarray(filtered(draws[None], decay=3.0))[0])
  real = beside.Method("fmix", lambda c: c.update(batch_size=10), record(1000), batch).optimizer
  at = (0, 99, 100, 149, 150, 199)
  first, second, left = beside.moves(
    variables["params"], moved, [read(a) for a in after], read(slopes[0])
  )
  strong = jax.tree.map(lambda x, d: np.full(x.shape, float(d > 0)), ours.shapes["params"],
                        ours.optimizer.decays)  # fmt: skip
  every = jax.tree.map(np.ones_like, strong)
  beside.row(
    "fmix",
    "ecs-vlc/FMix@e5991dc",
    [
      ("field", beside.far(got, field), beside.LOSS),
      ("masks", beside.far(hidden, np.broadcast_to(kept == 0, hidden.shape)), beside.EXACT),
      ("loss", beside.far(np.array(costs), np.array(losses)), beside.LOSS),
      ("gradient norm", abs(norms[0] / beside.norm(slopes[0]) - 1), beside.STEP),
      ("step", first, beside.STEP),
      ("two steps", second, beside.SECOND),
      ("decay", beside.far(strong, every), 1e-9),
      ("rates", beside.far([real.rate(i * 100) for i in at], [rates[i] for i in at]), 1e-5),
      ("parameters", abs(full - lab.note("fmix")["scale"]["parameters"]), beside.EXACT),
    ],
    left,
  )


if __name__ == "__main__":
  main(sys.argv[1])
