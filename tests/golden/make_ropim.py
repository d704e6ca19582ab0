"""Makes ropim.safetensors: losses and two steps of training of ROPIM's public code.

Run as `python tests/golden/make_ropim.py FOLDER`, where torch 2.13 is and FOLDER is a checkout of
github.com/csiro-robotics/ROPIM at 81eb7ab: `SketchGenerator.create_sketch_mat`, `ROPIM`,
`train_one_epoch` and `build_pretrain_optimizer` are imported and run unchanged, with the settings
of its config of ViT-B at a small size and without drop path. A sketch times its transpose and its
ratio is what `SketchGenerator` makes of it, whose own ratio, 0.14, fits no 64 patches. Parameters
and pixels are the `wave` of make_simmim.py, permutations are `dealt`.
"""

import functools
import pathlib
import sys
import types

import numpy as np

UNITS, POSITIONS = (16, 8), 64  # of the two images, and their patches


def dealt(image, units, turn):
  """The unit of each position of a turn, in place of `torch.randperm`."""
  return (np.arange(units) * (5 + 2 * image) + 3 * turn) % units


def negative(image):
  """Where signs are negative, in place of `random.shuffle`."""
  return np.arange(POSITIONS) * (7 + 4 * image) % POSITIONS < POSITIONS // 2


class Meter:
  """What timm's `AverageMeter` is told."""

  def __init__(self):
    self.told, self.val, self.avg = [], 0.0, 0.0

  def update(self, value, _=1):
    """Keeps a value."""
    self.told.append(value)


def public(folder):
  """The modules of the public code; what they import of other packages is empty but for a few."""
  import torch

  two = lambda x: x if isinstance(x, tuple) else (x, x)
  parts = dict(to_2tuple=two, trunc_normal_=torch.nn.init.trunc_normal_, AverageMeter=Meter)
  names = ("timm", "timm.models", "timm.models.layers", "timm.data", "timm.utils", "torchvision")
  names += ("torchvision.transforms", "torchvision.datasets", "config", "data", "lr_scheduler")
  for name in (*names, "logger", "utils"):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__getattr__ = parts.get
  sys.modules["data"].__path__ = [str(pathlib.Path(folder) / "data")]
  sys.path.insert(0, folder)
  torch.Tensor.cuda = lambda self, **_: self
  torch.cuda.synchronize = torch.distributed.barrier = lambda: None
  torch.cuda.max_memory_allocated = lambda: 0
  find = lambda name: __import__(name, fromlist=["*"])
  return [find(name) for name in ("main_ropim", "data.data_ropim", "models.ropim", "optimizer")]


def projections(code):
  """The matrix of each image."""
  import torch

  found = []
  for image, units in enumerate(UNITS):
    turns = iter(range(POSITIONS // units))
    draw = lambda m, i=image, turns=turns: torch.tensor(dealt(i, m, next(turns)))

    def shuffle(signs, i=image):
      signs[:] = np.where(negative(i), -1, 1).tolist()

    code.torch = types.SimpleNamespace(**{**vars(torch), "randperm": draw})
    code.random = types.SimpleNamespace(shuffle=shuffle)
    sketch = code.SketchGenerator(POSITIONS, 0.5).create_sketch_mat(POSITIONS, units, "cpu")
    found.append(torch.matmul(sketch, sketch.t() * (units / POSITIONS)))
  return torch.stack(found)


def main(folder):
  """Writes the losses of two steps, and by how many rates parameters moved in them."""
  import torch
  from make_simmim import GRID, HEADS, PATCH, RATE, WIDTH, pairs, wave
  from safetensors.numpy import save_file

  train, data, ropim, optimizers = public(folder)
  more = dict(mlp_ratio=4, qkv_bias=True, init_values=0.1, use_abs_pos_emb=False, sp=True)
  more |= dict(use_shared_rel_pos_bias=True, use_mean_pooling=False, num_classes=0)
  more["norm_layer"] = functools.partial(torch.nn.LayerNorm, eps=1e-6)
  vit = functools.partial(ropim.VisionTransformerForROPIM, **more)
  base = vit(img_size=224, patch_size=16, embed_dim=768, depth=12, num_heads=12)
  whole = sum(p.numel() for p in ropim.ROPIM(base, 16).parameters())
  side = GRID * PATCH
  small = vit(img_size=side, patch_size=PATCH, embed_dim=WIDTH, depth=1, num_heads=HEADS)
  model = ropim.ROPIM(small, PATCH)
  model.encoder.mask_token = None  # which SimMIM has
  ours = [pair for pair in pairs(model) if pair[1] is not None]
  first = {}
  with torch.no_grad():
    for name, parameter, (there, back) in ours:
      first[name] = wave(name, back(parameter.numpy()).shape)
      parameter.copy_(torch.tensor(np.ascontiguousarray(there(first[name]))))
    bias = torch.tensor(wave("encoder/block_00/attention/qkv/bias", (3 * WIDTH,))).split(WIDTH)
    model.encoder.blocks[0].attn.q_bias.copy_(bias[0])
    model.encoder.blocks[0].attn.v_bias.copy_(bias[2])
  x = torch.tensor(wave("image", (2, side, side, 3)) * 4).float().permute(0, 3, 1, 2)

  adam = types.SimpleNamespace(NAME="adamw", EPS=1e-8, BETAS=(0.9, 0.95))
  config = types.SimpleNamespace(PRINT_FREQ=1)
  config.TRAIN = types.SimpleNamespace(OPTIMIZER=adam, BASE_LR=RATE, WEIGHT_DECAY=0.05)
  config.TRAIN.CLIP_GRAD, config.TRAIN.EPOCHS = 5.0, 1
  config.DATA = types.SimpleNamespace(sp=True, eye_sp_sketch=False)
  config.MODEL = types.SimpleNamespace(VIT=types.SimpleNamespace(PATCH_SIZE=PATCH))
  train.logger = types.SimpleNamespace(info=print)
  meters, make = [], Meter
  train.AverageMeter = lambda: meters.append(make()) or meters[-1]
  optimizer = optimizers.build_pretrain_optimizer(config, model, train.logger)
  still = types.SimpleNamespace(step_update=lambda step: None)
  batches = [(x, projections(data), None)] * 2
  train.train_one_epoch(config, model, batches, optimizer, 0, still)
  moved = [
    (back(p.detach().numpy()).reshape(-1) - first[name].reshape(-1)) / RATE
    for name, p, (_, back) in sorted(ours, key=lambda entry: entry[0])
  ]
  golden = {
    "losses": np.array(meters[1].told, np.float32),
    "moved": np.concatenate(moved)[::2].astype(np.float16),  # half of them, for the file's size
    "parameters_of_base": np.array(whole),
  }
  print({k: v.shape for k, v in golden.items()}, meters[1].told, whole)
  save_file(golden, pathlib.Path(__file__).with_name("ropim.safetensors"))


if __name__ == "__main__":
  main(sys.argv[1])
