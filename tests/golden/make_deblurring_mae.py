"""Makes deblurring_mae.json: what the authors' tiny model predicts, loses, and learns in one step.

Run as `python tests/golden/make_deblurring_mae.py FOLDER`, where torch and OpenCV are and FOLDER is
a checkout of github.com/openmedlab/DeblurringMIM at 658b59d: `models_dmae.DMaskedAutoencoderViT` is
imported and run unchanged, but for the noise of `torch.rand`, which is given. Of timm 0.3.2 the
patch embedding, the block and the groups of parameters are written out in parts_of_timm.py. Pixels,
noise and weights come from formulas that the test repeats; weights in the order of our names, as
our arrays lie. `blurred` is `cv2.GaussianBlur`, as in `blurred_images.py`, of a grey image
inside its borders: of floats, with the window of nine pixels that it takes for images of 8 bits.
"""

import functools
import json
import pathlib
import sys
import types

import cv2
import numpy as np
import torch
from parts_of_timm import Block, PatchEmbed, add_weight_decay

np.float = float  # which its table of positions asks for
for name in ("timm", "timm.models"):
  sys.modules[name] = types.ModuleType(name)
vit = types.SimpleNamespace(PatchEmbed=PatchEmbed, Block=Block)
sys.modules["timm.models.vision_transformer"] = vit
sys.path.insert(0, sys.argv[1])
from model import models_dmae as public  # noqa: E402

IMAGES, SIDE, RATE, DECAY, SIGMA = 3, 32, 0.01, 0.05, 1.1
base = public.dmae_vit_base_patch16()
trained = sum(p.numel() for p in base.parameters() if p.requires_grad)
norm = functools.partial(torch.nn.LayerNorm, eps=1e-6)
model = public.DMaskedAutoencoderViT(SIDE, 8, 3, 16, 2, 2, 16, 1, 2, 4.0, norm)

BLOCK = {"norm1": "norm1", "norm2": "norm2", "attention/qkv": "attn.qkv"}
BLOCK |= {"attention/out": "attn.proj", "mlp/up": "mlp.fc1", "mlp/down": "mlp.fc2"}
NAMES = {"encoder/embed": "patch_embed.proj", "encoder/norm": "norm"}
NAMES |= {"decoder/embed": "decoder_embed", "decoder/norm": "decoder_norm"}
NAMES |= {"decoder/predict": "decoder_pred"}
for ours, theirs in {
  "encoder/block_00": "blocks.0",
  "encoder/block_01": "blocks.1",
  "decoder/block_00": "decoder_blocks.0",
}.items():
  NAMES |= {f"{ours}/{k}": f"{theirs}.{v}" for k, v in BLOCK.items()}
pairs = {"encoder/class_token": "cls_token", "decoder/mask_token": "mask_token"}
for ours, theirs in NAMES.items():
  kernel = "scale" if "norm" in ours.split("/")[-1] else "kernel"
  pairs |= {f"{ours}/{kernel}": f"{theirs}.weight", f"{ours}/bias": f"{theirs}.bias"}

theirs = {name: p for name, p in model.named_parameters() if p.requires_grad}
assert sorted(pairs.values()) == sorted(theirs)
with torch.no_grad():
  for i, name in enumerate(sorted(pairs, key=lambda name: name.split("/"))):
    p = theirs[pairs[name]]
    value = 0.3 * np.sin(0.7 * np.arange(p.numel()) + i) + name.endswith("scale")
    if pairs[name] == "patch_embed.proj.weight":  # rows of a patch are pixels, then channels
      value = value.reshape(8, 8, 3, 16).transpose(3, 2, 0, 1)
    elif p.ndim == 2:
      value = value.reshape(p.shape[::-1]).T
    p.copy_(torch.tensor(value).reshape(p.shape))

wave = lambda rate: np.sin(rate * np.arange(IMAGES * SIDE * SIDE * 3)).reshape(-1, SIDE, SIDE, 3)
soft, sharp = (torch.tensor(wave(r)).float().permute(0, 3, 1, 2) for r in (0.9, 1.3))
noise = (np.arange(IMAGES * 16) * 0.618034 % 1).reshape(IMAGES, 16)
torch.rand = lambda *shape, device: torch.tensor(noise).reshape(shape)
optimizer = torch.optim.AdamW(add_weight_decay(model, DECAY), lr=RATE, betas=(0.9, 0.95))
loss, prediction, mask = model(soft, sharp, mask_ratio=0.75)
loss.backward()
optimizer.step()

grey = np.float32(127.5 + 127.5 * np.sin(0.05 * np.arange(16 * 24) ** 1.5)).reshape(16, 24)
blurred = cv2.GaussianBlur(grey, (9, 9), SIGMA)[4:-4, 4:-4]
rounded = lambda x: np.round(x.detach().numpy().astype(float), 6).tolist()
golden = {
  "hidden": mask.int().tolist(),
  "prediction": rounded(prediction[..., ::16]),
  "loss": loss.item(),
  "slope": rounded(model.decoder_pred.bias.grad[::4]),
  "moved": rounded(model.decoder_pred.bias[::4]),
  "blurred": np.round(blurred.astype(float), 2).tolist(),
  "parameters": trained,
}
path = pathlib.Path(__file__).with_name("deblurring_mae.json")
path.write_text(json.dumps(golden) + "\n")
print(path.stat().st_size, "bytes", trained, loss.item())
