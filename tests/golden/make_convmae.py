"""Makes convmae.json: what the authors' tiny encoder makes of seen patches.

Run as `python tests/golden/make_convmae.py FOLDER`, where torch is and FOLDER is a checkout of
github.com/Alpha-VL/ConvMAE at 4c97b4c: its `models_convmae.MaskedAutoencoderConvViT` is imported
and run unchanged, with drawn noise, weights and pixels from the closed formulas below. Of timm it
calls `to_2tuple` alone.
"""

import json
import pathlib
import sys
import types

import numpy as np
import torch
from torch import nn

np.float = float  # which its table of positions asks for
stub = types.SimpleNamespace(to_2tuple=lambda n: (n, n), register_model=lambda fn: fn)
for absent in ("DropPath", "trunc_normal_", "load_pretrained", "resnet26d", "resnet50d"):
  setattr(stub, absent, None)
stub.IMAGENET_DEFAULT_MEAN = stub.IMAGENET_DEFAULT_STD = None
for part in ("", ".data", ".models", ".models.helpers", ".models.layers", ".models.resnet"):
  sys.modules[f"timm{part}"] = types.ModuleType(f"timm{part}")
  sys.modules[f"timm{part}"].__dict__.update(vars(stub))
sys.modules["timm.models.registry"] = sys.modules["timm.models"]
sys.path.insert(0, sys.argv[1])
import models_convmae as public  # noqa: E402

BLOCK = {"norm1": "norm1", "norm2": "norm2", "mlp/up": "mlp.fc1", "mlp/down": "mlp.fc2"}
CONV = BLOCK | {"into": "conv1", "out": "conv2"}
ATTEND = BLOCK | {"attention/qkv": "attn.qkv", "attention/out": "attn.proj"}
NAMES = {"encoder/embed": "patch_embed4", "encoder/norm": "norm"}
for i in range(3):
  NAMES[f"embedder/cells_{i}"] = f"patch_embed{i + 1}.proj"
  NAMES[f"embedder/norm_{i}"] = f"patch_embed{i + 1}.norm"
for i in range(2):
  NAMES[f"embedder/fuse_{i}"] = f"stage{i + 1}_output_decode"
  NAMES[f"embedder/stage_{i}_0"] = f"blocks{i + 1}.0.attn"
  NAMES |= {f"embedder/stage_{i}_0/{k}": f"blocks{i + 1}.0.{v}" for k, v in CONV.items()}
NAMES |= {f"encoder/block_00/{k}": f"blocks3.0.{v}" for k, v in ATTEND.items()}


def wave(n, shift=0):
  """Numbers that look drawn: the sine of squares modulo a prime."""
  return np.sin((np.arange(n, dtype=np.int64) + shift) ** 2 % 1009).astype(np.float32)


def ours(name, weight):
  """A weight of theirs with the axes that it has here."""
  if weight.ndim < 2:
    return weight
  if weight.ndim == 4 and weight.shape[1] == 1:
    return weight.permute(2, 3, 1, 0)
  return (weight.permute(2, 3, 1, 0) if weight.ndim == 4 else weight.T).reshape(-1, len(weight))


base = public.convmae_convvit_base_patch16()
trained = sum(p.numel() for p in base.parameters() if p.requires_grad)

norm = public.partial(nn.LayerNorm, eps=1e-6)
model = public.MaskedAutoencoderConvViT(
  [224, 56, 28], [4, 2, 2], 3, [8, 8, 16], [1, 1, 1], 2, 16, 1, 2, [4, 4, 4], norm
)
known = dict(model.named_parameters())
leaves = {}
for name, theirs in NAMES.items():
  scale = "scale" if "norm" in name.split("/")[-1] else "kernel"
  leaves |= {f"{name}/{scale}": f"{theirs}.weight", f"{name}/bias": f"{theirs}.bias"}
leaves = dict(sorted(leaves.items()))
with torch.no_grad():
  for i, (name, theirs) in enumerate(leaves.items()):
    at = ours(name, torch.arange(known[theirs].numel()).reshape(known[theirs].shape)).reshape(-1)
    value = torch.empty(at.shape)
    value[at] = torch.tensor(wave(len(at), i) * 0.3 + name.endswith("scale"))
    known[theirs].copy_(value.reshape(known[theirs].shape))

pixels = torch.tensor(wave(2 * 224 * 224 * 3).reshape(2, 224, 224, 3)).permute(0, 3, 1, 2)
noise = torch.tensor(wave(2 * 196).reshape(2, 196))
torch.rand = lambda *shape, device=None: noise
latent, mask, restore = model.forward_encoder(pixels, 0.75)
# Theirs are in the order of the noise; here they stand at their positions.
place = restore.argsort(1)[:, : latent.shape[1]]
order = place.argsort(1)[..., None].expand(-1, -1, latent.shape[-1])
latent = latent.gather(1, order)

for block in (*model.blocks1, *model.blocks2):
  forward = block.forward
  block.forward = lambda x, mask, forward=forward: forward(x)
plain = model.forward_encoder(pixels, 0.75)[0].gather(1, order)

numbers = lambda x: [float(f"{v:.7g}") for v in x.detach().reshape(-1).tolist()]
golden = {
  "parameters_of_base": trained,
  "hidden": np.packbits(mask.numpy().astype(bool)).tobytes().hex(),
  "latent": numbers(latent[:, ::4, ::2]),
  "plain": numbers(plain[:, ::4, ::2]),
  "names": list(leaves),
}
path = pathlib.Path(__file__).with_name("convmae.json")
path.write_text(json.dumps(golden, indent=0) + "\n")
