"""Makes local_mim.json: what the authors' tiny model asks, predicts, loses, and learns in one step.

Run as `python tests/golden/make_local_mim.py FOLDER`, where torch is and FOLDER is a checkout of
github.com/Haoqing-Wang/LocalMIM at 314a6e5: `models_mim.MaskedAutoencoderViT` of its folder ViT is
imported and run unchanged, but for the noise of `torch.rand`, which is given, the blocks whose
outputs it reads, all four, and the sides of cells, which it has for patches of 16. Of timm 0.3.2
the patch embedding and the block are written out in parts_of_timm.py. Pixels, noise and weights
come from formulas that the test repeats; weights in the order of our names, as our arrays lie.
Pixels are multiples of 1/32: gradients of mirrored ones are then 0 in any order of sums, else
rounding chooses between the first bin and the last.
"""

import functools
import importlib
import json
import pathlib
import sys

import numpy as np
import torch
from beside_theirs import timm
from parts_of_timm import add_weight_decay

IMAGES, SIDE, RATE, DECAY, SCALES = 2, 32, 0.01, 0.05, ("x4", "x2", "x1", "half")
BLOCK = {"norm1": "norm1", "attention/qkv": "attn.qkv", "attention/out": "attn.proj"}
BLOCK |= {"norm2": "norm2", "mlp/up": "mlp.fc1", "mlp/down": "mlp.fc2"}


def public(folder):
  """Their module, and that of the learning rate."""
  timm()
  sys.path.insert(0, f"{folder}/ViT")
  return importlib.import_module("models_mim"), importlib.import_module("util.lr_sched")


def network(models, side, width, heads, **decoder):
  """Their network of four blocks, each with a decoder, for patches of 8."""
  norm = functools.partial(torch.nn.LayerNorm, eps=1e-6)
  sizes = dict(img_size=side, patch_size=8, embed_dim=width, depth=4, num_heads=heads)
  model = models.MaskedAutoencoderViT(**sizes, **decoder, norm_layer=norm)
  model.ID = [0, 1, 2, 3]
  for cells, pool in zip(model.hog_enc, (2, 4, 8, 16), strict=True):
    cells.pooler = torch.nn.AvgPool2d(pool)
  return model


def names():
  """Our names of parameters, with theirs; None of what they do not have."""
  layers = {"encoder/embed": "patch_embed.proj", "encoder/norm": None}
  pairs = {"encoder/class_token": "cls_token"}
  for i, scale in enumerate(SCALES):
    ours, theirs = f"decoder_{scale}", f"decoder.{i}"
    pairs[f"{ours}/mask_token"] = f"{theirs}.mask_token"
    layers |= {f"encoder/block_0{i}/{k}": f"blocks.{i}.{v}" for k, v in BLOCK.items()}
    layers |= {f"{ours}/block_00/{k}": f"{theirs}.blocks.0.{v}" for k, v in BLOCK.items()}
    layers |= {f"{ours}/input_norm": f"norm.{i}", f"{ours}/embed": f"{theirs}.embed"}
    last = {"x4": 4, "x2": 1, "x1": 0, "half": 1}[scale]
    layers |= {f"{ours}/norm": f"{theirs}.norm", f"{ours}/predict": f"{theirs}.pred.{last}"}
  layers["decoder_x4/norm_1"] = "decoder.0.pred.1"
  for ours, theirs in layers.items():
    kernel = "scale" if "norm" in ours.split("/")[-1] else "kernel"
    pairs |= {f"{ours}/{kernel}": theirs and f"{theirs}.weight"}
    pairs |= {f"{ours}/bias": theirs and f"{theirs}.bias"}
  for ours, theirs in {"x4/finer_0": "0.pred.0", "x4/finer_1": "0.pred.3", "x2/finer_0": "1.pred.0"}.items():  # fmt: skip # noqa: E501
    pairs[f"decoder_{ours}/parts/kernel"] = f"decoder.{theirs}.weight"
    pairs[f"decoder_{ours}/bias"] = f"decoder.{theirs}.bias"
  return pairs


def fill(model):
  """Weights of a formula, as our arrays lie."""
  pairs, theirs = names(), dict(model.named_parameters())
  with torch.no_grad():
    for i, name in enumerate(sorted(pairs, key=lambda name: name.split("/"))):
      if (other := pairs[name]) is None:
        continue
      p = theirs[other]
      value = 0.3 * np.sin(0.7 * np.arange(p.numel()) + i) + name.endswith("scale")
      if other == "patch_embed.proj.weight":  # rows of a patch are pixels, then channels
        value = value.reshape(8, 8, 3, -1).transpose(3, 2, 0, 1)
      elif "finer" in name and p.ndim == 4:  # to the four cells, then channels
        value = value.reshape(p.shape[0], 2, 2, p.shape[1]).transpose(0, 3, 1, 2)
      elif p.ndim in (2, 4):
        value = value.reshape(p.shape[1], p.shape[0]).T
      p.copy_(torch.tensor(value).reshape(p.shape))


def main(folder):
  """Runs theirs, and writes what it says."""
  models, _ = public(folder)
  base = models.MIM_vit_base_patch16()
  decoder = dict(decoder_embed_dim=16, decoder_depth=1, decoder_num_heads=2)
  model = network(models, SIDE, 16, 2, **decoder)
  learned = [name for name, p in model.named_parameters() if p.requires_grad]
  assert sorted(filter(None, names().values())) == sorted(learned)
  fill(model)
  wave = np.sin(0.9 * np.arange(IMAGES * SIDE * SIDE * 3) ** 1.1).reshape(IMAGES, SIDE, SIDE, 3)
  images = torch.tensor(np.round(32 * wave) / 32, dtype=torch.float32).permute(0, 3, 1, 2)
  noise = (np.arange(IMAGES * 16) * 0.618034 % 1).reshape(IMAGES, 16)
  torch.rand = lambda *shape, device: torch.tensor(noise).reshape(shape)
  optimizer = torch.optim.AdamW(add_weight_decay(model, DECAY), lr=RATE, betas=(0.9, 0.95))
  latent, mask, back = model.forward_encoder(images, 0.75)
  predicted = [model.decoder[i](x, back) for i, x in enumerate(latent)]
  hog = [model.HOG(images, k) for k in range(4)]
  share = [model.recal_mask(mask, k) for k in range(4)]
  off = [((y - t) ** 2).mean(-1) for y, t in zip(predicted, hog, strict=True)]
  terms = [(x * m).sum() / m.sum() for x, m in zip(off, share, strict=True)]
  loss = model(images, 0.75)
  assert abs(loss.item() - sum(terms).item()) < 1e-6
  loss.backward()
  optimizer.step()

  rounded = lambda x: np.round(x.detach().numpy().astype(float), 6).tolist()
  some = lambda x: rounded(x.reshape(-1)[::61][:40])  # cells row by row
  golden = {
    "hidden": mask.int().tolist(),
    "hog": {s: some(x) for s, x in zip(SCALES, hog, strict=True)},
    "predicted": {s: some(x) for s, x in zip(SCALES, predicted, strict=True)},
    "losses": {s: x.item() for s, x in zip(SCALES, terms, strict=True)},
    "slope": rounded(model.decoder[0].pred[0].bias.grad),
    "moved": rounded(model.decoder[0].pred[0].bias),
    "below": rounded(model.blocks[0].norm1.bias.grad),
    "layers": dict(zip(SCALES, base.ID, strict=True)),
    "parameters": sum(p.numel() for p in base.parameters() if p.requires_grad),
  }
  path = pathlib.Path(__file__).with_name("local_mim.json")
  path.write_text(json.dumps(golden) + "\n")
  print(path.stat().st_size, "bytes", golden["parameters"], golden["losses"])


if __name__ == "__main__":
  main(sys.argv[1])
