"""Makes lmd.safetensors: shares that the authors' code hides, its tiny model and what it answers.

Run as `python tests/golden/make_lmd.py FOLDER`, where torch is and FOLDER is a checkout of
github.com/AnonymousPony/lmd at 6e3c016: its `engine_pretrain` and `lmd.MaskedAutoencoderViT` are
imported and run unchanged. Of timm 0.3.2, which it builds on, the patch embedding and the pre-norm
block are written out here, and so are the sine and cosine tables, which the repository has only
compiled. Weights have the code's names; the rest starts with `golden.`.

There is also an autoencoder with the layers of Stable Diffusion's, written out after the layout of
diffusers' `AutoencoderKL`, which is what the authors load; it was not run itself. Its weights have
that layout's names after `vae.`.
"""

import pathlib
import sys
import types

import numpy as np
import torch
from parts_of_timm import Block, PatchEmbed
from safetensors.torch import save_file
from torch import nn


def table(width, side, cls_token):
  """Half of the width for the column, half for the row, sines before cosines."""
  place = np.stack(np.meshgrid(np.arange(side), np.arange(side)), 0).reshape(2, -1, 1)
  angle = place / 10_000 ** (np.arange(width // 4) / (width / 4))
  rows = np.concatenate([f(a) for a in angle for f in (np.sin, np.cos)], 1)
  return np.concatenate([np.zeros((int(cls_token), width)), rows])


def module(name, **members):
  """What an import of `name` gives from now on."""
  sys.modules[name] = types.ModuleType(name)
  sys.modules[name].__dict__.update(members)


for name in ("timm", "timm.models", "util.misc", "util.lr_sched", "util"):
  module(name, misc=None, lr_sched=None)
module("timm.models.vision_transformer", PatchEmbed=PatchEmbed, Block=Block)
module("util.pos_embed", get_2d_sincos_pos_embed=table)
sys.path.insert(0, sys.argv[1])
import engine_pretrain as engine  # noqa: E402
import lmd as public  # noqa: E402

base = public.mae_vit_base_patch4()
trained = sum(p.numel() for p in base.parameters() if p.requires_grad)

torch.manual_seed(0)
norm = public.partial(nn.LayerNorm, eps=1e-6)
model = public.MaskedAutoencoderViT(8, 2, 4, 16, 2, 2, 8, 1, 2, 4.0, norm, norm_pix_loss=True)
with torch.no_grad():
  for name, parameter in model.named_parameters():
    if parameter.requires_grad:
      parameter.copy_(torch.randn_like(parameter) * 0.3 + ("norm" in name and "weight" in name))
latents = torch.randn(3, 4, 8, 8)
with torch.no_grad():
  loss, prediction, hidden = model(latents, 0.6)
# The code takes the decoder's positions away where others add them.
weights = model.state_dict()
weights["decoder_pos_embed"] = -weights["decoder_pos_embed"]

STEPS = 900
cosine = engine.cosine_schedule(STEPS * 2 // 3)
# Piece by piece, as the code's comment has it.
rise = [engine.mr_schedule(engine.mask_ratio1, STEPS / 6, step) for step in range(STEPS // 6)]
steeper = [engine.mr_schedule(engine.mask_ratio2, STEPS / 3, step) for step in range(STEPS // 3)]


class Residual(nn.Module):
  def __init__(self, i, o, groups):
    super().__init__()
    self.norm1, self.conv1 = nn.GroupNorm(groups, i, 1e-6), nn.Conv2d(i, o, 3, padding=1)
    self.norm2, self.conv2 = nn.GroupNorm(groups, o, 1e-6), nn.Conv2d(o, o, 3, padding=1)
    if i != o:
      self.conv_shortcut = nn.Conv2d(i, o, 1)

  def forward(self, x):
    y = self.conv1(nn.functional.silu(self.norm1(x)))
    y = self.conv2(nn.functional.silu(self.norm2(y)))
    return y + (self.conv_shortcut(x) if hasattr(self, "conv_shortcut") else x)


class Head(nn.Module):
  def __init__(self, d, groups):
    super().__init__()
    self.group_norm = nn.GroupNorm(groups, d, 1e-6)
    self.to_q, self.to_k, self.to_v = (nn.Linear(d, d) for _ in range(3))
    self.to_out = nn.ModuleList([nn.Linear(d, d)])

  def forward(self, x):
    flat = self.group_norm(x).flatten(2).transpose(1, 2)
    q, k, v = self.to_q(flat), self.to_k(flat), self.to_v(flat)
    seen = (q @ k.transpose(1, 2) * x.shape[1] ** -0.5).softmax(-1) @ v
    return x + self.to_out[0](seen).transpose(1, 2).reshape(x.shape)


class Level(nn.Module):
  def __init__(self, i, o, depth, groups, sampler=None):
    super().__init__()
    self.resnets = nn.ModuleList([Residual(i if j == 0 else o, o, groups) for j in range(depth)])
    if sampler:
      down = sampler == "downsamplers"
      conv = nn.Conv2d(o, o, 3, 2) if down else nn.Conv2d(o, o, 3, padding=1)
      setattr(self, sampler, nn.ModuleList([nn.ModuleDict({"conv": conv})]))

  def forward(self, x):
    for block in self.resnets:
      x = block(x)
    if hasattr(self, "downsamplers"):
      x = self.downsamplers[0]["conv"](nn.functional.pad(x, (0, 1, 0, 1)))
    if hasattr(self, "upsamplers"):
      x = self.upsamplers[0]["conv"](nn.functional.interpolate(x, scale_factor=2.0))
    return x


class Middle(nn.Module):
  def __init__(self, d, groups):
    super().__init__()
    self.attentions = nn.ModuleList([Head(d, groups)])
    self.resnets = nn.ModuleList([Residual(d, d, groups) for _ in range(2)])

  def forward(self, x):
    return self.resnets[1](self.attentions[0](self.resnets[0](x)))


class Half(nn.Module):
  def __init__(self, i, o, widths, depth, groups, up):
    super().__init__()
    self.up, last = up, len(widths) - 1
    self.conv_in = nn.Conv2d(i, widths[0], 3, padding=1)
    kind = "upsamplers" if up else "downsamplers"
    before = [widths[0], *widths]
    levels = [
      Level(before[j], w, depth, groups, kind if j < last else None) for j, w in enumerate(widths)
    ]
    setattr(self, "up_blocks" if up else "down_blocks", nn.ModuleList(levels))
    self.mid_block = Middle(widths[0] if up else widths[-1], groups)
    self.conv_norm_out = nn.GroupNorm(groups, widths[-1], 1e-6)
    self.conv_out = nn.Conv2d(widths[-1], o, 3, padding=1)

  def forward(self, x):
    x = self.conv_in(x)
    x = self.mid_block(x) if self.up else x
    for level in self.up_blocks if self.up else self.down_blocks:
      x = level(x)
    x = x if self.up else self.mid_block(x)
    return self.conv_out(nn.functional.silu(self.conv_norm_out(x)))


def autoencoder(widths, depth, groups):
  """Both halves, and the 1 x 1 convolutions beside the latents."""
  return nn.ModuleDict(
    {
      "encoder": Half(3, 8, widths, depth, groups, up=False),
      "decoder": Half(4, 3, widths[::-1], depth + 1, groups, up=True),
      "quant_conv": nn.Conv2d(8, 8, 1),
      "post_quant_conv": nn.Conv2d(4, 4, 1),
    }
  )


with torch.device("meta"):
  whole = sum(p.numel() for p in autoencoder((128, 256, 512, 512), 2, 32).parameters())
vae = autoencoder((4, 8), 1, 2)
with torch.no_grad():
  for name, parameter in vae.named_parameters():
    parameter.copy_(torch.randn_like(parameter) * 0.3 + ("norm" in name and "weight" in name))
  images = torch.randn(2, 3, 8, 8)
  mean, log_variance = vae["quant_conv"](vae["encoder"](images)).chunk(2, 1)
  decoded = vae["decoder"](vae["post_quant_conv"](mean))

golden = {
  "latents": latents.permute(0, 2, 3, 1),
  "hidden": hidden.to(torch.uint8),
  "prediction": prediction,
  "loss": loss,
  "parameters_of_base": torch.tensor(trained),
  "steps": torch.tensor(STEPS),
  "cosine": torch.tensor(cosine, dtype=torch.float64),
  "rise": torch.tensor(rise, dtype=torch.float64),
  "steeper": torch.tensor(steeper, dtype=torch.float64),
  "images": images.permute(0, 2, 3, 1),
  "mean": mean.permute(0, 2, 3, 1),
  "log_variance": log_variance.permute(0, 2, 3, 1),
  "decoded": decoded.permute(0, 2, 3, 1),
  "parameters_of_autoencoder": torch.tensor(whole),
}
tensors = {**weights, **{f"golden.{name}": value for name, value in golden.items()}}
tensors |= {f"vae.{name}": value for name, value in vae.state_dict().items()}
path = pathlib.Path(__file__).with_name("lmd.safetensors")
save_file({k: v.contiguous() for k, v in tensors.items()}, path, metadata={"format": "pt"})
print(trained, whole, float(loss), tuple(hidden.sum(1)))
