"""Makes crossmae.json: what the authors' tiny model asks, predicts, loses, and learns in one step.

Run as `python tests/golden/make_crossmae.py FOLDER`, where torch is and FOLDER is a checkout of
github.com/TonyLianLong/CrossMAE at ed0677a: its `models_cross.MaskedAutoencoderViT` is imported and
run unchanged, but for the noise of `torch.rand`, which is given. Pixels, noise and weights come
from formulas that the test repeats; weights in the order of our names, as our arrays lie.
"""

import functools
import json
import pathlib
import sys
import types

import numpy as np
import torch

np.float = float  # which its table of positions asks for
for name, own in {
  "timm": {},
  "timm.layers": {"DropPath": None},
  "timm.layers.helpers": {"to_2tuple": lambda x: (x, x)},
}.items():
  sys.modules[name] = types.ModuleType(name)
  sys.modules[name].__dict__.update(own)
sys.path.insert(0, sys.argv[1])
import models_cross as public  # noqa: E402

IMAGES, SIDE, DEPTH, RATE, DECAY = 3, 32, 2, 0.01, 0.05
base = public.mae_vit_base_patch16(decoder_depth=12, weight_fm=True, use_input=True)
trained = sum(p.numel() for p in base.parameters() if p.requires_grad)

norm = functools.partial(torch.nn.LayerNorm, eps=1e-6)
kinds = dict(norm_layer=norm, norm_pix_loss=True, weight_fm=True, use_input=True)
model = public.MaskedAutoencoderViT(SIDE, 8, 3, 16, DEPTH, 2, 16, DEPTH, 2, 4.0, **kinds)


def dense(ours, theirs):
  """Our names of a dense layer or a norm, with theirs."""
  kernel = "scale" if "norm" in ours else "kernel"
  return {f"{ours}/{kernel}": f"{theirs}.weight", f"{ours}/bias": f"{theirs}.bias"}


pairs = {"encoder/class_token": "cls_token", "decoder/mask_token": "mask_token"}
pairs |= {"decoder/mix": "wfm.linear.weight", "encoder/norm/scale": None, "encoder/norm/bias": None}
pairs |= dense("encoder/embed", "patch_embed.proj")
pairs |= dense("decoder/norm", "decoder_norm") | dense("decoder/predict", "decoder_pred")
for i in range(DEPTH):
  block, theirs = f"encoder/block_{i:02d}", f"blocks.{i}"
  for one, other in {
    "norm1": "norm1",
    "attention/qkv": "attn.qkv",
    "attention/out": "attn.proj",
    "norm2": "norm2",
    "mlp/up": "mlp.fc1",
    "mlp/down": "mlp.fc2",
  }.items():
    pairs |= dense(f"{block}/{one}", f"{theirs}.{other}")
  block = f"decoder_blocks.{i}"
  pairs |= dense(f"decoder/mix_norm_{i:02d}", f"dec_norms.{i}")
  pairs |= dense(f"decoder/norm1_{i:02d}", f"{block}.norm1")
  pairs |= dense(f"decoder/norm2_{i:02d}", f"{block}.norm2")
  for one, other in {"q": "q", "kv": "kv", "out": "proj"}.items():
    pairs |= dense(f"decoder/attention_{i:02d}/{one}", f"{block}.cross_attn.{other}")
  for one, other in {"up": "fc1", "down": "fc2"}.items():
    pairs |= dense(f"decoder/mlp_{i:02d}/{one}", f"{block}.mlp.{other}")

theirs = {name: p for name, p in model.named_parameters() if p.requires_grad}
assert sorted(filter(None, pairs.values())) == sorted(theirs)
with torch.no_grad():
  for i, name in enumerate(sorted(pairs, key=lambda name: name.split("/"))):
    if (other := pairs[name]) is None:
      continue
    p = theirs[other]
    value = 0.3 * np.sin(0.7 * np.arange(p.numel()) + i) + name.endswith("scale")
    if other == "patch_embed.proj.weight":  # rows of a patch are pixels, then channels
      value = value.reshape(8, 8, 3, 16).transpose(3, 2, 0, 1)
    elif p.ndim == 2:
      value = value.reshape(p.shape[::-1]).T
    p.copy_(torch.tensor(value).reshape(p.shape))

pixels = np.sin(1.3 * np.arange(IMAGES * SIDE * SIDE * 3)).reshape(IMAGES, SIDE, SIDE, 3)
noise = (np.arange(IMAGES * 16) * 0.618034 % 1).reshape(IMAGES, 16)
torch.rand = lambda *shape, device: torch.tensor(noise).reshape(shape)
images = torch.tensor(pixels, dtype=torch.float32).permute(0, 3, 1, 2)
encoded, mask, back, _ = model.forward_encoder(images, 0.75, 0.25)
prediction, _ = model.forward_decoder(encoded, mask, back, None, 0.75, 0.25)

# As `timm.optim.optim_factory.param_groups_weight_decay` has it.
flat = [p for p in theirs.values() if p.ndim <= 1]
rest = [p for p in theirs.values() if p.ndim > 1]
groups = [{"params": flat, "weight_decay": 0.0}, {"params": rest, "weight_decay": DECAY}]
optimizer = torch.optim.AdamW(groups, lr=RATE, betas=(0.9, 0.95))
loss = model(images, 0.75, 0.25)
loss.backward()
optimizer.step()

rounded = lambda x: np.round(x.detach().numpy().astype(float), 6).tolist()
golden = {
  "asked": mask.int().tolist(),
  "prediction": rounded(prediction[..., ::16]),
  "loss": loss.item(),
  "slope": rounded(model.wfm.linear.weight.grad.T),
  "mix": rounded(model.wfm.linear.weight.T),
  "parameters": trained,
}
path = pathlib.Path(__file__).with_name("crossmae.json")
path.write_text(json.dumps(golden) + "\n")
print(path.stat().st_size, "bytes", trained)
