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

B, WIDTH, WIDE = 3, 8, 6


def wave(name, shape, scale=0.5):
  """Numbers between -scale and scale that a name stands for."""
  phase = zlib.crc32(name.encode()) % 1000 / 100
  at = np.arange(int(np.prod(shape)), dtype=np.float64)
  return (scale * np.sin(phase + 1.7 * at + 0.3 * at**1.5)).reshape(shape).astype(np.float32)


def weigh(model, kind):
  """Sets all weights; scales of norms are about 1."""
  with torch.no_grad():
    for name, p in model.named_parameters():
      if p.requires_grad:
        one = float(name.endswith("weight") and p.ndim == 1)
        p.copy_(torch.from_numpy(one + wave(f"{kind} {name}", p.shape)))


base = public.lut_vit_base_patch16(head_norm_layer=nn.BatchNorm1d, head_act_layer=nn.ReLU)
trained = sum(p.numel() for p in base.parameters() if p.requires_grad)

norm = public.partial(nn.LayerNorm, eps=1e-6)
model = public.MaskedAutoencoderViT_LUT(
  8, 2, 3, WIDTH, 1, 2, 8, 1, 2, head_mlp_dim=WIDE, norm_layer=norm, norm_pix_loss=True
)
teacher = copy.deepcopy(model).eval()
weigh(model, "student")
weigh(teacher, "teacher")
first, second = (
  torch.from_numpy(wave(look, (B, 8, 8, 3), 1.0)).permute(0, 3, 1, 2)
  for look in ("first", "second")
)
noise = torch.from_numpy(wave("noise", (B, 16)))
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
slopes = {
  name: listed((p.grad * torch.from_numpy(wave(f"direction {name}", p.shape))).sum())[0]
  for name, p in model.named_parameters()
  if p.requires_grad
}
golden = {
  "shapes": {name: list(p.shape) for name, p in model.named_parameters() if p.requires_grad},
  "hidden": ["".join(str(int(x)) for x in row) for row in told[0][2]],
  "second_hidden": ["".join(str(int(x)) for x in row) for row in told[0][3]],
  "losses": listed(torch.stack([mae, *apart])),
  "student": listed(student),
  "teacher": listed(taught),
  "slopes": slopes,
  "running_mean": listed(model.head[1].running_mean),
  "parameters_of_base": trained,
}
path = pathlib.Path(__file__).with_name("lut.json")
path.write_text(json.dumps(golden, indent=0) + "\n")
print(path.stat().st_size, golden["losses"], golden["hidden"], golden["second_hidden"], trained)
