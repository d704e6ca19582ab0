"""Audio-MAE beside its authors' code: masks, loss, gradient, two steps, decay, rates, parameters.

The code is github.com/facebookresearch/AudioMAE at bd60e29: `models_mae.MaskedAutoencoderViT` with
`decoder_mode=1`, `util.lr_sched`, and AdamW as in main_pretrain.py. The blocks of its decoder, in
ours those of the encoder (a deviation of the config), are an oracle here: timm's, each token of
which attends to its own shifted window. Its own count for parameters at scale.
Run: python tests/golden/beside_audio_mae.py CHECKOUT
"""

import functools
import pathlib
import sys
import types

import beside
import make_audio_mae
import torch
from parts_of_timm import Attention, Block, add_weight_decay

ROWS, SIDES, PATCH, RATIO, DEPTH, EXAMPLES = 2, (48, 32), 4, 0.7, 3, 512 * 3800
GRID, LR = (SIDES[0] // PATCH, SIDES[1] // PATCH), 2e-4 * 2
EPOCHS = (0.0, 1.5, 3.0, 20.25, 31.0)


class Windowed(Attention):
  """Attention within windows; those of a shifted grid that meet round the end stay apart."""

  def forward(self, x):
    b, n, d = x.shape
    q, k, v = self.qkv(x).reshape(b, n, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
    at = torch.cartesian_prod(*map(torch.arange, GRID))
    window = (at + torch.tensor(self.shift)) // torch.tensor(self.window)
    apart = (window[:, None] != window[None]).any(-1)
    weight = (q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5).masked_fill(apart, -torch.inf)
    return self.proj((weight.softmax(-1) @ v).transpose(1, 2).reshape(b, n, d))


def oracle(dim, num_heads, window_size, shift_size, mlp_ratio, norm_layer, **_):
  """A block in the place of Swin's."""
  block = Block(dim, num_heads, mlp_ratio, norm_layer)
  block.attn = Windowed(dim, num_heads)
  block.attn.window, block.attn.shift = window_size, shift_size
  return block


def swin(folder):
  """Their own block."""
  pair = lambda x: x if isinstance(x, tuple) else (x, x)
  beside.stubs("package.layers", "timm.models.layers", DropPath=torch.nn.Identity, to_2tuple=pair)
  beside.stubs("package", __path__=[])
  path = pathlib.Path(folder) / "timm_patch" / "swin_transformer.py"
  return make_audio_mae.loaded(path, "package.swin_transformer").SwinTransformerBlock


def main(folder):
  """Runs both."""
  beside.timm()
  beside.stubs("torch._six", inf=float("inf"))
  blocks = swin(folder)
  beside.stubs("timm.models.swin_transformer", SwinTransformerBlock=oracle)
  torch.Tensor.cuda = lambda self: self
  sys.path.insert(0, folder)
  import models_mae
  from util import lr_sched

  torch.manual_seed(5)
  norm = functools.partial(torch.nn.LayerNorm, eps=1e-6)
  kind = dict(in_chans=1, audio_exp=True, decoder_mode=1)
  sizes = dict(embed_dim=24, depth=2, num_heads=3, decoder_embed_dim=16, img_size=SIDES)
  model = models_mae.MaskedAutoencoderViT(
    patch_size=PATCH, norm_layer=norm, norm_pix_loss=True, **kind, **sizes
  )
  model.decoder_blocks = model.decoder_blocks[:DEPTH]
  weights = beside.moved(model)
  images, noise = torch.randn(ROWS, 1, *SIDES), torch.rand(ROWS, GRID[0] * GRID[1])
  torch.rand = lambda *shape, **_: noise.clone()
  asked = []

  def loss():
    cost, _, mask, _ = model(images, mask_ratio=RATIO)
    asked.append(mask > 0)
    return cost

  tx = torch.optim.AdamW(add_weight_decay(model, 1e-4), lr=beside.RATE, betas=(0.9, 0.95))
  theirs = weights, *beside.steps(model, tx, loss)
  args = types.SimpleNamespace(lr=LR, min_lr=0.0, warmup_epochs=3, epochs=32)
  rates = [lr_sched.adjust_learning_rate(tx, e, args) for e in EPOCHS]

  from maskjax import lab
  from maskjax.record import Record

  def change(c):
    c.over.patch, c.select.ratio, c.score = (PATCH, PATCH), RATIO, "batch.noise"
    c.model.encoder.update(size="mu", width=24, depth=2, heads=3, dtype="float32")
    c.model.decoder.update(width=16, depth=DEPTH, heads=16)

  def held(c):
    change(c)
    c.optimizer.update(beside.CONSTANT)

  record = Record("image", (*SIDES, 1), {"train": EXAMPLES}, rate=16_000)
  batch = {"image": images.permute(0, 2, 3, 1), "noise": noise, "position": torch.arange(ROWS)}
  batch = {name: x.numpy() for name, x in batch.items()}
  ours = beside.Method("audio_mae", held, record, batch)
  read = lambda tensors: ours.read(tensors, patch=(PATCH, PATCH), grid=GRID, file_grid=GRID)
  found, left = beside.trajectory(ours, read, theirs, beside.decayed(tx, model))
  masks = ours.values(read(weights), "hidden")[0]
  rate = beside.Method("audio_mae", change, record, batch).optimizer.rate
  models_mae.SwinTransformerBlock = blocks
  base = functools.partial(models_mae.mae_vit_base_patch16, img_size=(1024, 128), **kind)
  count = beside.trained(base) - 117_248  # of Swin V2, see the config
  found += [
    ("masks", beside.far(masks, asked[0]), beside.EXACT),
    ("rates", beside.far([rate(e * 3800) for e in EPOCHS], rates), beside.ROUNDED),
    ("parameters", abs(count - lab.note("audio_mae")["scale"]["parameters"]), beside.EXACT),
  ]
  beside.row("audio_mae", "facebookresearch/AudioMAE@bd60e29, decoder blocks: oracle", found, left)


if __name__ == "__main__":
  main(sys.argv[1])
