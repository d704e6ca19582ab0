"""Deblurring MAE beside its authors' code: masks, loss, gradient, two steps, decay, rates, count.

The code is github.com/openmedlab/DeblurringMIM at 658b59d: `models_dmae.DMaskedAutoencoderViT`,
`util.lr_sched.adjust_learning_rate`, and AdamW as in main_pretrain.py; what it takes from timm
0.3.2 is that of parts_of_timm.py. Its blurred images come from files: here they are an oracle's,
a Gaussian mean of the pixels that lie inside. It takes square images only.
Run: python tests/golden/beside_deblurring_mae.py CHECKOUT
"""

import functools
import sys
import types

import beside
import torch
from parts_of_timm import add_weight_decay

ROWS, SIDE, PATCH, RATIO, SIGMA, EXAMPLES, BATCH, EPOCHS = 3, 30, 5, 0.6, 0.8, 10_675, 256, 12_000
GRID = (SIDE // PATCH,) * 2
TIMES = (0.0, 0.001, 0.0034, 0.5, 0.999)


def soft(x):
  """Images of any channels after the Gaussian, whose weights are shared out among what is there."""
  at = torch.arange(SIDE)
  weight = torch.exp(-((at[:, None] - at) ** 2) / (2 * SIGMA**2))
  weight = weight / weight.sum(1, keepdim=True)
  return torch.einsum("ih,jw,bchw->bcij", weight, weight, x)


def main(folder):
  """Runs both."""
  beside.timm()
  sys.path.insert(0, folder)
  from model import models_dmae
  from util import lr_sched

  torch.manual_seed(5)
  norm = functools.partial(torch.nn.LayerNorm, eps=1e-6)
  sizes = dict(embed_dim=24, depth=2, num_heads=3, decoder_embed_dim=16, decoder_depth=1)
  sizes |= dict(img_size=SIDE, patch_size=PATCH, decoder_num_heads=2)
  model = models_dmae.DMaskedAutoencoderViT(**sizes, norm_layer=norm, norm_pix_loss=False)
  weights = beside.moved(model)
  pixels, noise = torch.randn(ROWS, 3, SIDE, SIDE), torch.rand(ROWS, GRID[0] * GRID[1])
  torch.rand = lambda *shape, **_: noise.clone()
  asked = []

  def loss():
    cost, _, mask = model(soft(pixels), pixels, mask_ratio=RATIO)
    asked.append(mask > 0)
    return cost

  tx = torch.optim.AdamW(add_weight_decay(model, 0.05), lr=beside.RATE, betas=(0.9, 0.95))
  theirs = weights, *beside.steps(model, tx, loss)
  args = types.SimpleNamespace(lr=1.5e-4, min_lr=0.0, warmup_epochs=40, epochs=EPOCHS)
  rates = [lr_sched.adjust_learning_rate(tx, e * EPOCHS, args) for e in TIMES]

  from maskjax import lab
  from maskjax.record import Record

  def change(c):
    c.over.patch, c.select.ratio, c.score = (PATCH, PATCH), RATIO, "batch.noise"
    c.model.encoder.update(size="mu", width=24, depth=2, heads=3, dtype="float32")
    c.model.decoder.update(width=16, depth=1, heads=2)
    c.hide = ({**c.hide[0], "sigma": SIGMA}, c.hide[1])

  def held(c):
    change(c)
    c.optimizer.update(beside.CONSTANT)

  record = Record("image", (SIDE, SIDE, 3), {"train": EXAMPLES})
  batch = {"image": pixels.permute(0, 2, 3, 1), "noise": noise, "position": torch.arange(ROWS)}
  batch = {name: x.numpy() for name, x in batch.items()}
  ours = beside.Method("deblurring_mae", held, record, batch)
  read = lambda tensors: ours.read(tensors, patch=(PATCH, PATCH), grid=GRID)
  found, left = beside.trajectory(ours, read, theirs, beside.decayed(tx, model))
  seen, masks = ours.values(read(theirs[0]), "hide.0", "hidden")
  cut = models_dmae.DMaskedAutoencoderViT.patchify(model, soft(pixels))
  rate = beside.Method("deblurring_mae", change, record, batch).optimizer.rate
  count = beside.trained(models_dmae.dmae_vit_base_patch16)
  note = lab.note("deblurring_mae")["scale"]["parameters"]
  found += [
    ("blur", beside.far(seen, cut), beside.LOSS),
    ("masks", beside.far(masks, asked[0]), beside.EXACT),
    # Epochs are of whole steps, the last of which is left out there: 41 of 41.7.
    ("rates", beside.far([rate(e * EPOCHS * EXAMPLES / BATCH) for e in TIMES], rates), 1e-3),
    ("parameters", abs(count - note), beside.EXACT),
  ]
  beside.row("deblurring_mae", "openmedlab/DeblurringMIM@658b59d", found, left)


if __name__ == "__main__":
  main(sys.argv[1])
