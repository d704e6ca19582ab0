"""MAE beside its authors' code: masks, loss, gradient, two steps, decay, rates, parameters.

The code is github.com/facebookresearch/mae at efb2a80: `models_mae.MaskedAutoencoderViT`,
`util.lr_sched.adjust_learning_rate`, and AdamW as in main_pretrain.py and PRETRAIN.md; what it
takes from timm 0.3.2 is that of parts_of_timm.py. It takes square images only.
Run: python tests/golden/beside_mae.py CHECKOUT
"""

import functools
import sys
import types

import beside
import torch
from parts_of_timm import add_weight_decay

ROWS, SIDE, PATCH, RATIO, EXAMPLES = 3, 30, 5, 0.6, 1_281_167
GRID = (SIDE // PATCH,) * 2
TIMES = (0.0, 0.01, 0.025, 0.5, 0.999)


def main(folder, name="mae", code="facebookresearch/mae@efb2a80", **other):
  """Runs both.

  Args:
    folder: of the authors' code.
    name: of the method.
    code: what the row calls it.
    **other: how a method differs: `size` of its ViT, its number of `epochs`, `groups` of a model
      for its optimizer, and `masking`, which hides by noise in the place of theirs.
  """
  size, epochs = other.get("size", "large"), other.get("epochs", 1600)
  groups = other.get("groups", add_weight_decay)
  beside.timm()
  sys.path.insert(0, folder)
  import models_mae
  from util import lr_sched

  torch.manual_seed(5)
  norm = functools.partial(torch.nn.LayerNorm, eps=1e-6)
  sizes = dict(embed_dim=24, depth=2, num_heads=3, decoder_embed_dim=16, decoder_depth=1)
  sizes |= dict(img_size=SIDE, patch_size=PATCH, decoder_num_heads=2)
  model = models_mae.MaskedAutoencoderViT(**sizes, norm_layer=norm, norm_pix_loss=True)
  weights = beside.moved(model)
  pixels, noise = torch.randn(ROWS, 3, SIDE, SIDE), torch.rand(ROWS, GRID[0] * GRID[1])
  torch.rand = lambda *shape, **_: noise.clone()
  asked = []
  if "masking" in other:
    model.random_masking = functools.partial(other["masking"], noise)

  def loss():
    cost, _, mask = model(pixels, mask_ratio=RATIO)
    asked.append(mask > 0)
    return cost

  tx = torch.optim.AdamW(groups(model, 0.05), lr=beside.RATE, betas=(0.9, 0.95))
  theirs = weights, *beside.steps(model, tx, loss)
  args = types.SimpleNamespace(lr=1.5e-4 * 16, min_lr=0.0, warmup_epochs=40, epochs=epochs)
  rates = [lr_sched.adjust_learning_rate(tx, e * epochs, args) for e in TIMES]

  from maskjax import lab
  from maskjax.record import Record

  def change(c):
    c.over.patch, c.select.ratio, c.score = (PATCH, PATCH), RATIO, "batch.noise"
    c.model.encoder.update(size="mu", width=24, depth=2, heads=3, dtype="float32")
    c.model.decoder.update(width=16, depth=1, heads=2)

  def held(c):
    change(c)
    c.optimizer.update(beside.CONSTANT)

  record = Record("image", (SIDE, SIDE, 3), {"train": EXAMPLES})
  batch = {"image": pixels.permute(0, 2, 3, 1), "noise": noise, "position": torch.arange(ROWS)}
  batch = {name: x.numpy() for name, x in batch.items()}
  ours = beside.Method(name, held, record, batch)
  read = lambda tensors: ours.read(tensors, patch=(PATCH, PATCH), grid=GRID)
  found, left = beside.trajectory(ours, read, theirs, beside.decayed(tx, model))
  masks = ours.values(read(theirs[0]), "hidden")[0]
  rate, each = beside.Method(name, change, record, batch).optimizer.rate, EXAMPLES / 4096
  count = beside.trained(vars(models_mae)[f"mae_vit_{size}_patch16"])
  found += [
    ("masks", beside.far(masks, asked[0]), beside.EXACT),
    ("rates", beside.far([rate(e * epochs * each) for e in TIMES], rates), beside.ROUNDED),
    ("parameters", abs(count - lab.note(name)["scale"]["parameters"]), beside.EXACT),
  ]
  beside.row(name, code, found, left)


if __name__ == "__main__":
  main(sys.argv[1])
