"""Makes hpm.safetensors: the authors' tiny model, its inputs, what it predicts, costs and hides.

Run as `python tests/golden/make_hpm.py FOLDER`, where torch is and FOLDER is a checkout of
github.com/Haochen-Wang409/HPM at c15ae90: its `models_mae_learn_loss.MaskedAutoencoderViT` is
imported and run unchanged. Of timm 0.3.2, which it builds on, the patch embedding and the pre-norm
block are written out here. Weights have the code's names; the rest starts with `golden.`.
"""

import pathlib
import sys
import types

import numpy as np
import torch
from parts_of_timm import Block, PatchEmbed
from safetensors.torch import save_file
from torch import nn

np.float = float  # which its table of positions asks for
timm = types.SimpleNamespace(PatchEmbed=PatchEmbed, Block=Block, DropPath=None, Mlp=None)
for name in ("timm", "timm.models", "timm.models.vision_transformer"):
  sys.modules[name] = types.ModuleType(name)
sys.modules["timm.models.vision_transformer"].__dict__.update(vars(timm))
sys.modules["einops"] = types.SimpleNamespace(rearrange=None)
sys.path.insert(0, sys.argv[1])
import models_mae_learn_loss as public  # noqa: E402

base = public.mae_vit_base_patch16_dec512d8b()
trained = sum(p.numel() for p in base.parameters() if p.requires_grad)

torch.manual_seed(0)
norm = public.partial(nn.LayerNorm, eps=1e-6)
model = public.MaskedAutoencoderViT(8, 2, 3, 16, 2, 2, 8, 1, 2, 4.0, norm, norm_pix_loss=True)
with torch.no_grad():
  for name, parameter in model.named_parameters():
    if parameter.requires_grad:
      parameter.copy_(torch.randn_like(parameter) * 0.3 + ("norm" in name and "weight" in name))
pixels = torch.randn(3, 3, 8, 8)
hidden = torch.rand(3, 16).argsort(1) < 12
with torch.no_grad():
  out = model(pixels, hidden)
  count = out["mask_num"]
  costs = model.forward_loss(pixels, out["pix_pred"][:, -count:], hidden)
  shown = model(pixels, torch.zeros_like(hidden))["loss_pred"]

# Two that tie, of which nothing is asked.
target = costs["matrix"].clone()
target[:, 3] = target[:, 7]
guess = out["loss_pred"][:, -count:].clone().requires_grad_()
ranked = model.forward_learning_loss(guess, hidden, target, relative=True)
ranked.backward()

# How often, of so many draws, the code hides each position in an epoch of ten.
DRAWS, EPOCHS = 200, (0, 1, 4, 9)
np.random.seed(0)
draw = lambda epoch: model.generate_mask(shown, epoch=epoch, total_epoch=10)
often = torch.stack([sum(draw(epoch) for _ in range(DRAWS)) for epoch in EPOCHS])

golden = {
  "pixels": pixels.permute(0, 2, 3, 1),
  "hidden": hidden.to(torch.uint8),
  "prediction": out["pix_pred"][:, -count:],
  "predicted": out["loss_pred"][:, -count:],
  "loss": costs["mean"],
  "losses": costs["matrix"],
  "shown": shown,
  "target": target,
  "ranked": ranked.detach(),
  "slope": guess.grad,
  "draws": torch.tensor(DRAWS),
  "epochs": torch.tensor(EPOCHS),
  "often": often.to(torch.int32),
  "parameters_of_base": torch.tensor(trained),
}
tensors = {**model.state_dict(), **{f"golden.{name}": value for name, value in golden.items()}}
path = pathlib.Path(__file__).with_name("hpm.safetensors")
save_file({k: v.contiguous() for k, v in tensors.items()}, path, metadata={"format": "pt"})
