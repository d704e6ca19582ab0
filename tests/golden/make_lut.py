"""Makes lut.json: masks, losses, slopes and statistics of the authors' tiny model.

Run as `python tests/golden/make_lut.py FOLDER`, where torch is and FOLDER is a checkout of
github.com/naver-ai/lut at 4420a27: its `MaskedAutoencoderViT_LUT` and `loss_ftn` are imported and
run unchanged, of timm what parts_of_timm.py has. Weights, looks and noise are those of `wave`.
"""

import copy
import json
import pathlib
import sys
import types
import zlib

import numpy as np
import torch
from parts_of_timm import Block, PatchEmbed
from torch import nn

np.float = float  # which its table of positions asks for
for name in ("timm", "timm.models", "timm.models.vision_transformer", "util.utils_dino"):
  sys.modules[name] = types.ModuleType(name)
sys.modules["timm.models.vision_transformer"].__dict__.update(PatchEmbed=PatchEmbed, Block=Block)
sys.modules["util.utils_dino"].trunc_normal_ = None
for name in ("util.misc", "util.lr_sched"):
  sys.modules[name] = types.ModuleType(name)
sys.path[:0] = [sys.argv[1], f"{sys.argv[1]}/models"]
sys.modules["util.misc"].__dict__.update(NativeScalerWithGradNormCount=None)
import util  # noqa: E402

util.misc, util.lr_sched = sys.modules["util.misc"], sys.modules["util.lr_sched"]
import models_lut as public  # noqa: E402
from engines.engine_lut import loss_ftn  # noqa: E402

PARTS = {
  "encoder/embed": "patch_embed.proj",
  "encoder/norm": "norm",
  "decoder/embed": "decoder_embed",
  "decoder/norm": "decoder_norm",
  "decoder/predict": "decoder_pred",
}
BLOCK = {"attention/out": "attn.proj", "attention/qkv": "attn.qkv"}
BLOCK |= {"mlp/down": "mlp.fc2", "mlp/up": "mlp.fc1", "norm1": "norm1", "norm2": "norm2"}
for ours, theirs in (("encoder", "blocks"), ("decoder", "decoder_blocks")):
  PARTS |= {f"{ours}/block_00/{k}": f"{theirs}.0.{v}" for k, v in BLOCK.items()}
for ours, theirs in (("projector", "head"), ("predictor", "predictor")):
  PARTS |= {f"{ours}/{k}": f"{theirs}.{v}" for k, v in (("dense_0", 0), ("norm_0", 1), ("out", 3))}
TOKENS = {"encoder/class_token": "cls_token", "decoder/mask_token": "mask_token"}


def wave(name, shape, scale=0.5):
  """Numbers between -scale and scale that a name stands for."""
  phase = zlib.crc32(name.encode()) % 1000 / 100
  at = np.arange(int(np.prod(shape)), dtype=np.float64)
  return (scale * np.sin(phase + 1.7 * at + 0.3 * at**1.5)).reshape(shape).astype(np.float32)


def ours(weight):
  """A weight or a gradient of theirs, as a view with the axes that it has here."""
  return (
    weight.permute(2, 3, 1, 0) if weight.ndim == 4 else weight.T if weight.ndim == 2 else weight
  )


def leaves(model):
  """What is trained by its names here."""
  theirs = dict(model.named_parameters())
  found = {name: theirs.pop(at) for name, at in TOKENS.items()}
  for name, at in PARTS.items():
    scale = "scale" if "norm" in name.split("/")[-1] else "kernel"
    pair = {f"{name}/{scale}": f"{at}.weight", f"{name}/bias": f"{at}.bias"}
    found |= {name: theirs.pop(at) for name, at in pair.items() if at in theirs}
  assert not any(p.requires_grad for p in theirs.values())
  return dict(sorted(found.items()))


def weigh(model, kind):
  """Sets all weights; scales of norms are about 1."""
  with torch.no_grad():
    for name, p in leaves(model).items():
      value = wave(f"{kind} {name}", ours(p).shape) + np.float32(name.endswith("scale"))
      ours(p).copy_(torch.from_numpy(value))


base = public.lut_vit_base_patch16(head_norm_layer=nn.BatchNorm1d, head_act_layer=nn.ReLU)
trained = sum(p.numel() for p in base.parameters() if p.requires_grad)

norm = public.partial(nn.LayerNorm, eps=1e-6)
model = public.MaskedAutoencoderViT_LUT(
  32, 8, 3, 16, 1, 2, 16, 1, 2, head_mlp_dim=8, norm_layer=norm, norm_pix_loss=True
)
teacher = copy.deepcopy(model).eval()
weigh(model, "student")
weigh(teacher, "teacher")
first, second = (
  torch.from_numpy(wave(look, (3, 32, 32, 3), 1.0)).permute(0, 3, 1, 2)
  for look in ("image", "second")
)
noise = torch.from_numpy(wave("noise", (3, 16)))
public.torch.rand = lambda *shape, device=None: noise
told = []
cut = model.random_masking
model.random_masking = lambda *args: told.append(cut(*args)) or told[-1]

mae, student, _ = model(first, second)
_, taught, _ = teacher(first, second, ema=True)
(q1, q2), (t1, t2) = student.chunk(2), taught.chunk(2)
apart = loss_ftn(q1, t2).mean(), loss_ftn(q2, t1).mean()
(mae + 0.25 * sum(apart) / 2).backward()

listed = lambda x: [float(f"{v:.8g}") for v in x.detach().double().ravel().tolist()]
along = lambda name, g: (ours(g) * torch.from_numpy(wave(f"direction {name}", ours(g).shape))).sum()
slopes = [along(name, p.grad) for name, p in leaves(model).items()]
golden = {
  "hidden": ["".join(str(int(x)) for x in row) for row in told[0][2]],
  "second_hidden": ["".join(str(int(x)) for x in row) for row in told[0][3]],
  "losses": listed(torch.stack([mae, *apart])),
  "student": listed(student),
  "teacher": listed(taught),
  "slopes": listed(torch.stack(slopes)),
  "running_mean": listed(model.head[1].running_mean),
  "parameters_of_base": trained,
}
path = pathlib.Path(__file__).with_name("lut.json")
path.write_text(json.dumps(golden, indent=0) + "\n")
print(path.stat().st_size, golden["losses"], golden["hidden"], golden["second_hidden"], trained)
