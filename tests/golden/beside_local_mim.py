"""LocalMIM beside its authors' code: masks, targets, losses, two steps, decay, rates, count.

The code is github.com/Haoqing-Wang/LocalMIM at 314a6e5: `MaskedAutoencoderViT` of its folder ViT,
loaded as make_local_mim.py does, `util.lr_sched.adjust_learning_rate`, and AdamW as in
run_pretrain.py. Pixels are multiples of 1/32, see there. It takes square images only.
Run: python tests/golden/beside_local_mim.py CHECKOUT
"""

import sys
import types

import beside
import numpy as np
import torch
from beside_theirs import arrayed
from make_local_mim import SCALES, names, network, public
from parts_of_timm import add_weight_decay

ROWS, SIDE, RATIO, EXAMPLES, BATCH, EPOCHS = 3, 48, 0.6, 1_281_167, 2048, 1600
GRID, N = (6, 6), 36
TIMES = (0.01, 0.025, 0.1, 0.5, 0.999)


def params(tensors):
  """Our tree from tensors by their names; the encoder's last norm is zeros."""
  tree = {}
  for ours, theirs in names().items():
    x = np.zeros(24, np.float32) if theirs is None else arrayed(tensors[theirs])
    if theirs == "patch_embed.proj.weight":
      x = x.transpose(2, 3, 1, 0).reshape(-1, x.shape[0])
    elif "finer" in ours and x.ndim == 4:
      x = x.transpose(0, 2, 3, 1).reshape(x.shape[0], -1)
    elif x.ndim in (2, 4):
      x = x.reshape(x.shape[:2]).T
    *place, last = ours.split("/")
    owner = tree
    for part in place:
      owner = owner.setdefault(part, {})
    owner[last] = x.ravel() if last.endswith("token") else x
  return tree


def main(folder):
  """Runs both."""
  models, lr_sched = public(folder)
  torch.manual_seed(4)
  decoder = dict(decoder_embed_dim=16, decoder_depth=1, decoder_num_heads=4)
  model = network(models, SIDE, 24, 3, **decoder)
  weights = beside.moved(model)
  pixels = (32 * torch.randn(ROWS, 3, SIDE, SIDE)).round() / 32
  noise = torch.rand(ROWS, N)
  torch.rand = lambda *shape, **_: noise.clone()
  tx = torch.optim.AdamW(add_weight_decay(model, 0.05), lr=beside.RATE, betas=(0.9, 0.95))
  theirs = weights, *beside.steps(model, tx, lambda: model(pixels, RATIO))
  _, mask, _ = model.forward_encoder(pixels, RATIO)
  targets = {s: model.HOG(pixels, k).numpy() for k, s in enumerate(SCALES)}
  args = types.SimpleNamespace(lr=2e-4 * BATCH / 256, min_lr=1e-6, warmup_epochs=40, epochs=EPOCHS)
  still = types.SimpleNamespace(param_groups=[])
  rates = [lr_sched.adjust_learning_rate(still, t * EPOCHS, args) for t in TIMES]

  import jax

  from maskjax import lab
  from maskjax.over.cut import unpatchify
  from maskjax.record import Record

  def change(c):
    c.over.patch, c.select.ratio, c.score = (8, 8), RATIO, "batch.noise"
    c.model.encoder.update(size="mu", width=24, depth=4, heads=3, dtype="float32")
    for i, scale in enumerate(SCALES):
      c.taps[scale] = f"encoder/{i}/output"
      c.model[f"decoder_{scale}"].update(width=16, heads=4)

  def held(c):
    change(c)
    c.optimizer.update(beside.CONSTANT)

  record = Record("image", (SIDE, SIDE, 3), {"train": EXAMPLES})
  batch = {"image": pixels.permute(0, 2, 3, 1), "noise": noise, "position": torch.arange(ROWS)}
  batch = {name: x.numpy() for name, x in batch.items()}
  ours = beside.Method("local_mim", held, record, batch)
  buffers = jax.device_get(jax.jit(ours.task.init)(jax.random.key(0), ours.batch)["buffers"])
  read = lambda tensors: {"params": params(tensors), "buffers": buffers}
  norm = ("encoder/norm/scale", "encoder/norm/bias")
  decays = beside.decayed(tx, model)
  found, left = beside.trajectory(ours, read, theirs, decays, without=norm)
  hidden, *cells = ours.values(read(weights), "hidden", *(f"hog_{s}" for s in SCALES))
  for scale, x in zip(SCALES, cells, strict=True):
    side, skip = {"x4": (4, 1), "x2": (2, 1), "x1": (1, 1), "half": (1, 2)}[scale]
    made = np.asarray(unpatchify(x, (side, side), GRID, 27))[:, ::skip, ::skip]
    found.append((f"target {scale}", beside.far(made.reshape(ROWS, -1, 27), targets[scale]), 1e-5))
  rate = beside.Method("local_mim", change, record, batch).optimizer.rate
  base = models.MIM_vit_base_patch16().parameters()
  count = sum(p.numel() for p in base if p.requires_grad) + 2 * 768
  found += [
    ("masks", beside.far(hidden, mask > 0), beside.EXACT),
    ("rates", beside.far([rate(t * EPOCHS * EXAMPLES / BATCH) for t in TIMES], rates), 1e-3),
    ("parameters", abs(count - lab.note("local_mim")["scale"]["parameters"]), beside.EXACT),
  ]
  beside.row("local_mim", "Haoqing-Wang/LocalMIM@314a6e5", found, left)


if __name__ == "__main__":
  main(sys.argv[1])
