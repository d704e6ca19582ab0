"""ROPIM beside its authors' code: units, projections, loss, gradient, two steps, decay, rates.

The code is github.com/csiro-robotics/ROPIM at 81eb7ab: `create_sketch_mat`, `ROPIM`,
`train_one_epoch` (with its loss and its clipping) and `build_pretrain_optimizer`, with the settings
of its config of ViT-B but for drop path, loaded as make_ropim.py does. Units and signs are its own
draws, handed to ours as the numbers that deal them so. The learning rate is an oracle's: timm's
CosineLRScheduler, which counts the cosine from the first step.
Run: python tests/golden/beside_ropim.py CHECKOUT
"""

import functools
import math
import sys
from types import SimpleNamespace

import beside
import numpy as np
import torch
from beside_theirs import arrayed, block, normed
from make_ropim import Meter, public

SIDE, PATCH, UNITS, EXAMPLES, STEPS = 30, 5, (12, 9, 6), 1_281_167, 1000
N, ROWS = (SIDE // PATCH) ** 2, len(UNITS)
# By how much gradients are clipped to less on both sides: the first step is clipped.
SMALLER = 10


def network(ropim, side, patch, width, depth, heads):
  """Their ROPIM with a ViT of these sizes."""
  kinds = dict(mlp_ratio=4, qkv_bias=True, init_values=0.1, use_abs_pos_emb=False, sp=True)
  kinds |= dict(use_shared_rel_pos_bias=True, use_mean_pooling=False, num_classes=0)
  kinds["norm_layer"] = functools.partial(torch.nn.LayerNorm, eps=1e-6)
  sizes = dict(img_size=side, patch_size=patch, embed_dim=width, depth=depth, num_heads=heads)
  return ropim.ROPIM(ropim.VisionTransformerForROPIM(**sizes, **kinds), patch)


def read(tensors):
  """Our variables from tensors by their names; keys have no bias of theirs."""
  given = {name: arrayed(x) for name, x in tensors.items()}
  # A pixel shuffle has channels first, patches have them last.
  pixel = np.arange(3 * PATCH**2).reshape(3, -1).T.ravel()
  embed = given["encoder.patch_embed.proj.weight"].transpose(2, 3, 1, 0)
  table = "encoder.rel_pos_bias.relative_position_bias_table"
  encoder = {
    "embed": {
      "kernel": embed.reshape(-1, embed.shape[-1]),
      "bias": given["encoder.patch_embed.proj.bias"],
    },
    "class_token": given["encoder.cls_token"].ravel(),
    "relative_position": given[table],
    "norm": normed(given, "encoder.norm"),
  }
  for i in range(2):
    name = f"encoder.blocks.{i}"
    q, v = (given[f"{name}.attn.{x}_bias"] for x in "qv")
    scales = {f"scale{k}": given[f"{name}.gamma_{k}"] for k in (1, 2)}
    encoder[f"block_{i:02d}"] = block(given, name, np.concatenate([q, 0 * q, v])) | scales
  head = {
    "kernel": given["decoder.0.weight"][pixel, :, 0, 0].T,
    "bias": given["decoder.0.bias"][pixel],
  }
  return {"params": {"encoder": encoder, "decoder": {"predict": head}}}


def main(folder):
  """Runs both."""
  train, data, ropim, optimizers = public(folder)
  torch.manual_seed(6)
  model = network(ropim, SIDE, PATCH, 24, 2, 3)
  weights = beside.moved(model)
  pixels = torch.randn(ROWS, 3, SIDE, SIDE)
  sketches = [data.SketchGenerator(N, 0.5).create_sketch_mat(N, m, "cpu") for m in UNITS]
  projections = torch.stack([s @ s.t() * (m / N) for s, m in zip(sketches, UNITS, strict=True)])

  clip = 5.0 / SMALLER
  config = SimpleNamespace(PRINT_FREQ=1)
  adam = SimpleNamespace(NAME="adamw", EPS=1e-8, BETAS=(0.9, 0.95))
  config.TRAIN = SimpleNamespace(OPTIMIZER=adam, BASE_LR=beside.RATE, WEIGHT_DECAY=0.05)
  config.TRAIN.CLIP_GRAD, config.TRAIN.EPOCHS = clip, 1
  config.DATA = SimpleNamespace(sp=True, eye_sp_sketch=False)
  config.MODEL = SimpleNamespace(VIT=SimpleNamespace(PATCH_SIZE=PATCH))
  train.logger, meters = SimpleNamespace(info=lambda _: None), []
  train.AverageMeter = lambda: meters.append(Meter()) or meters[-1]
  tx = optimizers.build_pretrain_optimizer(config, model, train.logger)
  still, losses, slopes, after = SimpleNamespace(step_update=lambda step: None), [], [], []
  for _ in range(2):
    meters.clear()
    train.train_one_epoch(config, model, [(pixels, projections, None)], tx, 0, still)
    losses += meters[1].told
    length = float(meters[2].told[0])
    slopes.append({n: p.grad * max(length / clip, 1) for n, p in model.named_parameters()})
    after.append({n: p.detach().clone() for n, p in model.named_parameters()})

  from maskjax import hide, lab
  from maskjax.record import Record

  def change(c):
    c.over.patch, c.score, c.let.coins = (PATCH, PATCH), "batch.score", "batch.coins"
    c.let.unit = dict(fn="select.deal", of=dict(count="batch.units"))
    c.model.encoder.update(size="mu", width=24, depth=2, heads=3, dtype="float32")

  def held(c):
    change(c)
    c.optimizer = {**c.optimizer, **beside.CONSTANT, "clip": clip}

  record = Record("image", (SIDE, SIDE, 3), {"train": EXAMPLES})
  units = np.stack([s.abs().argmax(1).numpy() for s in sketches])
  negative = np.stack([(s.sum(1) < 0).numpy() for s in sketches])
  image = pixels.permute(0, 2, 3, 1).numpy()
  batch = {"image": image, "score": -units.astype(np.float32), "position": np.arange(ROWS)}
  batch |= {"units": np.int32(UNITS), "coins": negative.astype(np.float32)}
  ours = beside.Method("ropim", held, record, batch)
  theirs = weights, losses, slopes, after
  found, left = beside.trajectory(ours, read, theirs, beside.decayed(tx, model))
  drawn, signs, hidden = ours.values(read(weights), "unit", "negative", "hidden")
  eye = np.broadcast_to(np.eye(N, dtype=np.float32), (ROWS, N, N))
  each = 10 * STEPS
  at, peak, last = np.array([1, 2, 5, 9]) * STEPS, 1.5e-4 * 4, 5e-6 * 4
  rates = [last + (peak - last) * (1 + math.cos(math.pi * t / each)) / 2 for t in at]

  def real(c):
    c.total_steps, c.total_epochs, c.optimizer.warmup_epochs = each, 0.0, 0.0
    c.optimizer.warmup_steps = each // 60

  whole = {**batch, "image": np.zeros((ROWS, 224, 224, 3), np.float32)}
  large = Record("image", (224, 224, 3), {"train": EXAMPLES})
  rate = beside.Method("ropim", real, large, whole).optimizer.rate
  count = beside.trained(lambda: network(ropim, 224, 16, 768, 12, 12)) + 12 * 768
  found += [
    ("units", beside.far(drawn, units), beside.EXACT),
    ("signs", beside.far(signs, negative), beside.EXACT),
    ("projections", beside.far(hide.project(eye, hidden, drawn, signs), projections), 1e-6),
    ("rates", beside.far([rate(t) for t in at], rates), beside.ROUNDED),
    ("parameters", abs(count - lab.note("ropim")["scale"]["parameters"]), beside.EXACT),
  ]
  beside.row("ropim", "csiro-robotics/ROPIM@81eb7ab, rates: oracle", found, left)


if __name__ == "__main__":
  main(sys.argv[1])
