"""VideoMAE V2 beside its authors' code: masks, loss, gradient, two steps, decay, rates, count.

The code is github.com/OpenGVLab/VideoMAEv2 at 29eab1e: `TubeMaskingGenerator`,
`RunningCellMaskingGenerator`, `PretrainVisionTransformer`, `train_one_epoch` with its targets and
its loss, `create_optimizer`'s groups and `cosine_scheduler`. Its tables of positions are ours, its
draws of tubes and cells are handed to ours. It takes square frames only.
Run: python tests/golden/beside_videomae_v2.py CHECKOUT
"""

import functools
import json
import math
import pathlib
import sys

import beside
import numpy as np
import torch
from beside_theirs import arrayed, block, cut, dense, normed

ROWS, FRAMES, SIDE, PATCH, EXAMPLES, STEPS = 4, 8, 24, (2, 4, 4), 1_350_000, 1000
GRID, RATIO = (4, 6, 6), 0.8
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Meters:
  """Stands for the authors' logger, and keeps the loss."""

  def __init__(self, delimiter):
    self.meters, self.told = {}, []

  def add_meter(self, *_):
    """Nothing."""

  def log_every(self, batches, *_):
    """The batches."""
    yield from batches

  def update(self, **told):
    """Keeps a loss."""
    LOSSES.extend([told["loss"]] if "loss" in told else [])

  def synchronize_between_processes(self):
    """Nothing."""


LOSSES = []


def public(folder):
  """Their modules of networks and of a step of training."""
  register = lambda f: f
  pair = lambda x: (x, x)
  layers = dict(trunc_normal_=torch.nn.init.trunc_normal_, to_2tuple=pair, drop_path=None)
  constants = dict(IMAGENET_DEFAULT_MEAN=MEAN, IMAGENET_DEFAULT_STD=STD)
  names = "timm", "timm.models", "timm.models.layers", "timm.models.registry"
  names += "timm.data", "timm.data.constants"
  beside.stubs(*names, **layers, register_model=register, **constants)
  scalar = lambda *_, **__: None
  beside.stubs("utils", MetricLogger=Meters, SmoothedValue=scalar, get_grad_norm_=scalar)
  torch.cuda.synchronize = lambda: None
  sys.path.insert(0, folder)
  import engine_for_pretraining as engine
  from models import modeling_pretrain

  return modeling_pretrain, engine


def params(tensors):
  """Our tree from tensors by their names; keys have no bias of theirs."""
  given = {name: arrayed(x) for name, x in tensors.items()}

  def part(name, depth):
    def one(i):
      own = f"{name}.blocks.{i}"
      q, v = (given[f"{own}.attn.{x}_bias"] for x in "qv")
      return block(given, own, np.concatenate([q, 0 * q, v]))

    blocks = {f"block_{i:02d}": one(i) for i in range(depth)}
    return blocks | {"norm": normed(given, f"{name}.norm")}

  embed = given["encoder.patch_embed.proj.weight"].transpose(2, 3, 4, 1, 0)
  into = {"kernel": embed.reshape(-1, embed.shape[-1])}
  into["bias"] = given["encoder.patch_embed.proj.bias"]
  decoder = part("decoder", 1) | {"mask_token": given["mask_token"].ravel()}
  decoder |= {"embed": dense(given, "encoder_to_decoder"), "predict": dense(given, "decoder.head")}
  return {"encoder": part("encoder", 2) | {"embed": into}, "decoder": decoder}


def main(folder):
  """Runs both."""
  modeling, engine = public(folder)
  folder = pathlib.Path(folder)
  kinds = "Cell", "TubeMaskingGenerator", "RunningCellMaskingGenerator"
  _, tube, run_cell = cut(folder / "dataset/masking_generator.py", *kinds, np=np)
  (groups,) = cut(folder / "optim_factory.py", "get_parameter_groups", json=json)
  (schedule,) = cut(folder / "utils.py", "cosine_scheduler", np=np, math=math)
  torch.manual_seed(5)
  np.random.seed(5)
  sizes = dict(img_size=SIDE, patch_size=PATCH[1], all_frames=FRAMES, encoder_embed_dim=24)
  sizes |= dict(encoder_depth=2, encoder_num_heads=3, decoder_embed_dim=24, decoder_depth=1)
  sizes |= dict(decoder_num_classes=96, decoder_num_heads=2, qkv_bias=True)
  norm = functools.partial(torch.nn.LayerNorm, eps=1e-6)
  model = modeling.PretrainVisionTransformer(**sizes, norm_layer=norm)
  weights = beside.moved(model)

  from maskjax import lab, score
  from maskjax.record import Record

  def change(c):
    c.over.patch, c.score, c.let.cells = PATCH, "batch.noise", "batch.cells"
    c.select.count, c.let.wanted.keep = int(36 * RATIO) * 4, 72
    c.model.encoder.update(size="mu", width=24, depth=2, heads=3, dtype="float32")
    c.model.decoder.update(width=24, depth=1, heads=2)

  def held(c):
    change(c)
    c.optimizer.update(beside.CONSTANT)

  tubes = np.stack([tube(GRID, RATIO)() for _ in range(ROWS)])
  running = run_cell(GRID, 0.5)
  cells = np.stack([running() for _ in range(ROWS)])
  pixels = torch.randn(ROWS, 3, FRAMES, SIDE, SIDE)
  record = Record("video", (FRAMES, SIDE, SIDE, 3), {"train": EXAMPLES}, mean=MEAN, std=STD)
  batch = {"video": pixels.permute(0, 2, 3, 4, 1).numpy(), "position": np.arange(ROWS)}
  batch |= {"noise": np.float32(tubes.reshape(ROWS, -1))}
  batch |= {"cells": np.float32(1 - cells.reshape(ROWS, -1))}
  ours = beside.Method("videomae_v2", held, record, batch)

  import jax

  buffers = jax.device_get(jax.jit(ours.task.init)(jax.random.key(0), ours.batch)["buffers"])
  model.encoder.pos_embed = torch.tensor(buffers["encoder"]["position"])[None]
  model.pos_embed = torch.tensor(buffers["decoder"]["position"])[None]
  own = groups(model, 0.05, model.no_weight_decay())
  tx = torch.optim.AdamW(own, lr=beside.RATE, betas=(0.9, 0.95))
  masks = torch.tensor(tubes), torch.tensor(cells)
  slopes, after = [], []
  for _ in range(2):
    one = [(pixels, *masks)]
    engine.train_one_epoch(model, one, tx, "cpu", 0, None, None, PATCH[1], start_steps=0)
    slopes.append({n: p.grad.clone() for n, p in model.named_parameters()})
    after.append({n: p.detach().clone() for n, p in model.named_parameters()})
  theirs = weights, list(LOSSES), slopes, after
  read = lambda tensors: {"params": params(tensors), "buffers": buffers}
  found, left = beside.trajectory(ours, read, theirs, beside.decayed(tx, model))
  hidden, decoded = ours.values(read(weights), "hidden", "decoded")
  drawn = score.running_cell(jax.random.split(jax.random.key(1), 64), GRID)
  maps = {tuple(x) for x in np.asarray(drawn < 0.5).tolist()}
  known = {tuple(x.reshape(-1) > 0) for x in running.all_mask_maps}
  length = 200 * STEPS
  at = np.array([1, 5, 20, 50, 199]) * STEPS
  rates = list(schedule(4e-3, 4e-5, 200, STEPS, warmup_epochs=20)[at])

  def real(c):
    c.total_steps, c.total_epochs, c.optimizer.warmup_epochs = length, 0.0, 0.0
    c.optimizer.warmup_steps = 20 * STEPS

  whole = {k: v for k, v in batch.items() if k != "noise" and k != "cells"}
  whole["video"] = np.zeros((2, 16, 224, 224, 3), np.float32)
  whole["position"] = np.arange(2)
  large = Record("video", (16, 224, 224, 3), {"train": EXAMPLES}, mean=MEAN, std=STD)
  rate = beside.Method("videomae_v2", real, large, whole).optimizer.rate
  base = modeling.pretrain_videomae_base_patch16_224(decoder_depth=4).parameters()
  count = sum(p.numel() for p in base if p.requires_grad) + 12 * 768 + 4 * 384
  found += [
    ("tubes", beside.far(hidden, tubes.reshape(ROWS, -1) > 0), beside.EXACT),
    ("decoded", beside.far(decoded, cells.reshape(ROWS, -1) == 0), beside.EXACT),
    ("cells", float(len(maps ^ known)), beside.EXACT),
    ("rates", beside.far([rate(t) for t in at], rates), beside.ROUNDED),
    ("parameters", abs(count - lab.note("videomae_v2")["scale"]["parameters"]), beside.EXACT),
  ]
  beside.row("videomae_v2", "OpenGVLab/VideoMAEv2@29eab1e", found, left)


if __name__ == "__main__":
  main(sys.argv[1])
