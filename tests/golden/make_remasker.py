"""Makes remasker.safetensors: the authors' tiny model, its inputs and draws, and what it answers.

Run as `python tests/golden/make_remasker.py FOLDER`, where torch, timm and pandas are and FOLDER is
a checkout of github.com/tydusky/remasker at 69b4108: its `model_mae.MaskedAutoencoder` is imported
and run unchanged, but for the draws of `torch.rand`, which are given. Weights have the names of
published MAE weights (`mask_embed` is called `patch_embed`); the rest starts with `golden.`.
"""

import functools
import pathlib
import sys
import types

import numpy as np
import torch
from safetensors.torch import save_file

# What its files import or use and no longer exists or is not needed.
sys.modules.setdefault("tkinter", types.SimpleNamespace(E=None))
np.float = float
sys.path.insert(0, sys.argv[1])
from model_mae import MaskedAutoencoder  # noqa: E402

ROWS, COLUMNS, EPS = 6, 8, 1e-8
build = functools.partial(
  MaskedAutoencoder, mlp_ratio=4.0, norm_layer=functools.partial(torch.nn.LayerNorm, eps=EPS)
)
diabetes = build(10, 32, 4, 4, 32, 2, 4)
trained = sum(p.numel() for p in diabetes.parameters() if p.requires_grad)

torch.manual_seed(0)
model = build(COLUMNS, 16, 2, 2, 16, 1, 2)
with torch.no_grad():
  for name, parameter in model.named_parameters():
    if parameter.requires_grad:
      parameter.copy_(torch.randn_like(parameter) * 0.3 + ("norm" in name and "weight" in name))
table, noise = torch.rand(ROWS, COLUMNS), torch.rand(ROWS, COLUMNS)
there = torch.ones(ROWS, COLUMNS)
for row in range(ROWS):  # 0 to 4 missing: as many as still leave the half that is kept
  there[row, torch.randperm(COLUMNS)[: row % 5]] = 0
table = table * there

rand = torch.rand
torch.rand = lambda *shape, **_: noise.clone()
with torch.no_grad():
  loss, prediction, mask, kept = model.train()(table[:, None], there, mask_ratio=0.5)
  torch.rand = rand
  one = lambda i: model.eval()(table[i : i + 1, None], there[i : i + 1])[1]
  imputed = torch.cat([one(i) for i in range(ROWS)])

golden = {
  "table": table,
  "there": there.to(torch.uint8),
  "noise": noise,
  "loss": loss,
  "prediction": prediction[..., 0],
  "hidden": mask.to(torch.uint8),
  "seen": kept.to(torch.uint8),
  "imputed": imputed[..., 0],
  "parameters_of_diabetes": torch.tensor(trained),
}
names = {name: name.replace("mask_embed", "patch_embed") for name in model.state_dict()}
tensors = {names[name]: value for name, value in model.state_dict().items()}
tensors |= {f"golden.{name}": value for name, value in golden.items()}
path = pathlib.Path(__file__).with_name("remasker.safetensors")
save_file({k: v.contiguous() for k, v in tensors.items()}, path, metadata={"format": "pt"})
