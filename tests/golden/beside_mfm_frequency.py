"""MFM beside its authors' code: loss, gradient, two steps, decay, parameters, of the whole ViT.

The code is github.com/Jiahao000/MFM at c9194b1: `MFM`, `VisionTransformerForMFM` and
`build_pretrain_optimizer`, with the settings of its config of ViT-B; which band of an image is
hidden is given. What it takes from timm and torchvision hardly matters, and is stubbed.
Run: python tests/golden/beside_mfm_frequency.py CHECKOUT
"""

import functools
import importlib
import pathlib
import sys
from types import ModuleType, SimpleNamespace

import beside
import numpy as np
import torch
from beside_theirs import arrayed, block, normed, stubs
from make_mfm_frequency import MEAN, STD, normalize

ROWS, SIDE, PATCH, RADIUS, EXAMPLES = 4, 30, 5, 4, 1_281_167
# By how much gradients are clipped to less on both sides: of the two steps the first is clipped.
SMALLER = 10
LOSS = dict(LOSS_GAMMA=1.0, MATRIX_GAMMA=1.0, PATCH_FACTOR=1, AVE_SPECTRUM=False)
LOSS |= dict(WITH_MATRIX=False, LOG_MATRIX=False, BATCH_MATRIX=False)


def public(folder):
  """The authors' modules `models.mfm` and `optimizer`, a tensor's `cuda` left out."""
  names = ("timm", "timm.models", "timm.models.resnet", "torchvision", "cv2")
  stubs(*names, "models.swin_transformer", Bottleneck=None)
  for name in ("timm.models.resnet", "models.swin_transformer"):
    sys.modules[name].ResNet = sys.modules[name].SwinTransformer = torch.nn.Module
  pair, trunc = lambda x: (x, x), torch.nn.init.trunc_normal_
  stubs("timm.models.layers", DropPath=None, to_2tuple=pair, trunc_normal_=trunc)
  stubs("timm.data", IMAGENET_DEFAULT_MEAN=MEAN, IMAGENET_DEFAULT_STD=STD)
  stubs("torchvision.transforms", Normalize=normalize)
  sys.modules["torchvision"].transforms = sys.modules["torchvision.transforms"]
  package = ModuleType("models")
  package.__path__ = [str(pathlib.Path(folder) / "models")]
  sys.modules["models"] = package
  sys.path.insert(0, folder)
  torch.nn.Module.cuda = lambda self: self
  return importlib.import_module("models.mfm"), importlib.import_module("optimizer")


def network(code, side, patch, width, depth, heads):
  """Their MFM with a ViT of these sizes."""
  vit = SimpleNamespace(DECODER=SimpleNamespace(DEPTH=0))
  model = SimpleNamespace(VIT=vit, RECOVER_TARGET_TYPE="masked", TYPE="vit")
  model.FREQ_LOSS = SimpleNamespace(**LOSS)
  data = SimpleNamespace(FILTER_TYPE="mfm", MASK_RADIUS1=RADIUS, MASK_RADIUS2=999)
  config = SimpleNamespace(DATA=data, MODEL=model)
  kinds = dict(num_classes=0, mlp_ratio=4, qkv_bias=True, use_mean_pooling=False)
  kinds["norm_layer"] = functools.partial(torch.nn.LayerNorm, eps=1e-6)
  sizes = dict(img_size=side, patch_size=patch, embed_dim=width, depth=depth, num_heads=heads)
  encoder = code.VisionTransformerForMFM(config=config, **sizes, **kinds)
  return code.MFM(encoder, patch, None, config)


def read(tensors):
  """Our variables from tensors by their names; keys have no bias of theirs."""
  given = {name: arrayed(x) for name, x in tensors.items()}
  # A pixel shuffle has channels first, patches have them last.
  pixel = np.arange(3 * PATCH**2).reshape(3, -1).T.ravel()
  embed = given["encoder.patch_embed.proj.weight"].transpose(2, 3, 1, 0)
  encoder = {
    "embed": {
      "kernel": embed.reshape(-1, embed.shape[-1]),
      "bias": given["encoder.patch_embed.proj.bias"],
    },
    "class_token": given["encoder.cls_token"].ravel(),
    "position": given["encoder.pos_embed"][0],
    "norm": normed(given, "encoder.norm"),
  }
  for i in range(2):
    name = f"encoder.blocks.{i}"
    q, v = (given[f"{name}.attn.{x}_bias"] for x in "qv")
    encoder[f"block_{i:02d}"] = block(given, name, np.concatenate([q, 0 * q, v]))
  head = {
    "kernel": given["decoder.0.weight"][pixel, :, 0, 0].T,
    "bias": given["decoder.0.bias"][pixel],
  }
  return {"params": {"encoder": encoder, "decoder": {"predict": head}}}


def main(folder):
  """Runs both."""
  code, optimizers = public(folder)
  torch.manual_seed(5)
  model = network(code, SIDE, PATCH, 24, 2, 3)
  weights = beside.moved(model)
  y, x = np.mgrid[:SIDE, :SIDE] - SIDE // 2
  low = torch.tensor(y**2 + x**2 < RADIUS**2)
  hidden = torch.stack([low, ~low, ~low, low])
  pixels = torch.rand(ROWS, 3, SIDE, SIDE)
  adam = SimpleNamespace(NAME="adamw", EPS=1e-8, BETAS=(0.9, 0.95))
  train = SimpleNamespace(OPTIMIZER=adam, BASE_LR=beside.RATE, WEIGHT_DECAY=0.05)
  quiet = SimpleNamespace(info=lambda _: None)
  tx = optimizers.build_pretrain_optimizer(SimpleNamespace(TRAIN=train), model, quiet)
  clip = lambda: torch.nn.utils.clip_grad_norm_(model.parameters(), 3.0 / SMALLER)
  loss = lambda: model(pixels, mask=(~hidden).int())
  theirs = weights, *beside.steps(model, tx, loss, before=clip)

  from maskjax import lab
  from maskjax.record import Record

  def change(c):
    c.input.patch, c.score = (PATCH, PATCH), "batch.score"
    c.model.encoder.update(size="mu", width=24, depth=2, heads=3, dtype="float32")
    c.optimizer.update(beside.CONSTANT, clip=c.optimizer.clip / SMALLER)

  record = Record("image", (SIDE, SIDE, 3), {"train": EXAMPLES}, mean=MEAN, std=STD)
  image = (pixels.permute(0, 2, 3, 1).numpy() - np.float32(MEAN)) / np.float32(STD)
  score = hidden.flatten(1).numpy() - np.float32(0.5)
  batch = {"image": image, "score": score, "position": np.arange(ROWS)}
  ours = beside.Method("mfm_frequency", change, record, batch)
  found, left = beside.trajectory(ours, read, theirs, beside.decayed(tx, model))
  count = beside.trained(lambda: network(code, 224, 16, 768, 12, 12)) + 12 * 768
  gap = abs(count - lab.note("mfm_frequency")["scale"]["parameters"])
  found.append(("parameters", gap, beside.EXACT))
  beside.row("mfm_frequency", "Jiahao000/MFM@c9194b1", found, left)


if __name__ == "__main__":
  main(sys.argv[1])
