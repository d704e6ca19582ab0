"""Makes simmim.safetensors: what SimMIM's public code hides, its loss, and two steps of training.

Run as `python tests/golden/make_simmim.py FOLDER`, where torch 2.13 is and FOLDER is a checkout of
github.com/microsoft/SimMIM at d3e29bc: its `MaskGenerator`, `VisionTransformerForSimMIM`, `SimMIM`
and `build_pretrain_optimizer` are imported and run unchanged, with the settings of its config of
ViT-B at a small size and without drop path. Of timm `trunc_normal_` and `to_2tuple` stand in.
Parameters, pixels and permutations are `wave` of the names and shapes that maskjax has.
"""

import math
import pathlib
import sys
import types

import numpy as np

WIDTH, PATCH, GRID, HEADS, RATE = 16, 4, 8, 2, 4e-4


def wave(name, shape):
  """Numbers of a closed formula."""
  n = sum(map(ord, name))
  return (np.sin(np.arange(math.prod(shape)) * (1 + n % 7 / 10) + n) / 4).reshape(shape)


def loaded(folder):
  """Modules of the public code; what they import of timm and torchvision is empty but for two."""
  import torch  # here, as the test takes `wave` from this file where no torch is

  two = lambda x: x if isinstance(x, tuple) else (x, x)
  parts = dict(DropPath=None, to_2tuple=two, trunc_normal_=torch.nn.init.trunc_normal_)
  names = ("timm", "timm.models", "timm.models.layers", "timm.data", "timm.data.transforms")
  for name in (*names, "torchvision", "torchvision.transforms", "torchvision.datasets"):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__getattr__ = lambda name: parts.get(name)
  packages, found = {"models": ("simmim",), "data": ("data_simmim",)}, {}
  for package in packages:
    sys.modules[package] = types.ModuleType(package)
    sys.modules[package].__path__ = [str(pathlib.Path(folder) / package)]
  sys.path.insert(0, folder)
  for package, modules in packages.items():
    for module in modules:
      found[module] = __import__(f"{package}.{module}", fromlist=["*"])
  return found | {"optimizer": __import__("optimizer")}


def pairs(model):
  """Our names, with the parameter of the public code, and how it lies to ours: there and back."""
  same, t = (lambda x: x, lambda x: x), (lambda x: x.T, lambda x: x.T)
  kernel = lambda x: x.reshape(PATCH, PATCH, 3, WIDTH).transpose(3, 2, 0, 1)
  embed = (kernel, lambda x: x.transpose(2, 3, 1, 0).reshape(-1, WIDTH))
  # A pixel shuffle has channels first, patches have them last.
  pixel = np.arange(3 * PATCH**2).reshape(3, PATCH, PATCH).transpose(1, 2, 0).reshape(-1)
  back = np.argsort(pixel)
  head = (lambda x: x.T[back][:, :, None, None], lambda x: x[pixel, :, 0, 0].T)
  lift = (lambda x: x[None, None], lambda x: x[0, 0])
  e, d = model.encoder, model.decoder[0]
  yield "encoder/embed/kernel", e.patch_embed.proj.weight, embed
  yield "encoder/embed/bias", e.patch_embed.proj.bias, same
  yield "encoder/class_token", e.cls_token, lift
  yield "hide.embedded.0/token", e.mask_token, lift
  yield "encoder/relative_position", e.rel_pos_bias.relative_position_bias_table, same
  b, at = e.blocks[0], "encoder/block_00/"
  yield at + "attention/qkv/kernel", b.attn.qkv.weight, t
  layers = {"attention/out": b.attn.proj, "mlp/up": b.mlp.fc1, "mlp/down": b.mlp.fc2}
  for name, layer in layers.items():
    yield f"{at}{name}/kernel", layer.weight, t
    yield f"{at}{name}/bias", layer.bias, same
  for name, norm in {at + "norm1": b.norm1, at + "norm2": b.norm2, "encoder/norm": e.norm}.items():
    yield f"{name}/scale", norm.weight, same
    yield f"{name}/bias", norm.bias, same
  yield at + "scale1", b.gamma_1, same
  yield at + "scale2", b.gamma_2, same
  yield "decoder/predict/kernel", d.weight, head
  yield "decoder/predict/bias", d.bias, (lambda x: x[back], lambda x: x[pixel])


def main(folder):
  """Writes the masks, the losses of two steps, and by how many rates parameters moved in them."""
  import torch
  from safetensors.numpy import save_file

  code = loaded(folder)
  vit = code["simmim"].VisionTransformerForSimMIM
  more = dict(mlp_ratio=4, qkv_bias=True, init_values=0.1, use_abs_pos_emb=False)
  more |= dict(use_shared_rel_pos_bias=True, use_mean_pooling=False, num_classes=0)
  more["norm_layer"] = code["simmim"].partial(torch.nn.LayerNorm, eps=1e-6)
  base = vit(img_size=224, patch_size=16, embed_dim=768, depth=12, num_heads=12, **more)
  whole = sum(p.numel() for p in code["simmim"].SimMIM(base, 16).parameters())
  small = dict(embed_dim=WIDTH, depth=1, num_heads=HEADS, **more)
  model = code["simmim"].SimMIM(vit(img_size=GRID * PATCH, patch_size=PATCH, **small), PATCH)
  first = {}
  with torch.no_grad():
    for name, parameter, (there, back) in pairs(model):
      first[name] = wave(name, back(parameter.numpy()).shape)
      parameter.copy_(torch.tensor(np.ascontiguousarray(there(first[name]))))
    qkv = wave("encoder/block_00/attention/qkv/bias", (3 * WIDTH,))
    qkv = torch.tensor(qkv).split(WIDTH)
    model.encoder.blocks[0].attn.q_bias.copy_(qkv[0])
    model.encoder.blocks[0].attn.v_bias.copy_(qkv[2])

  generator = code["data_simmim"].MaskGenerator(GRID * PATCH, 2 * PATCH, PATCH, 0.6)
  masks = []
  for i in range(2):
    np.random.permutation = lambda n, i=i: (np.arange(n) * (5 + 2 * i) + 3 * i) % n
    masks.append(generator())
  hidden = torch.tensor(np.stack(masks))
  x = (
    torch.tensor(wave("image", (2, GRID * PATCH, GRID * PATCH, 3)) * 4).float().permute(0, 3, 1, 2)
  )

  settings = types.SimpleNamespace(NAME="adamw", EPS=1e-8, BETAS=(0.9, 0.999))
  train = types.SimpleNamespace(OPTIMIZER=settings, BASE_LR=RATE, WEIGHT_DECAY=0.05)
  logger = types.SimpleNamespace(info=print)
  config = types.SimpleNamespace(TRAIN=train)
  optimizer, losses = code["optimizer"].build_pretrain_optimizer(config, model, logger), []
  for _ in range(2):
    loss = model(x, hidden)
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
    optimizer.step()
    losses.append(loss.item())
  moved = [
    (back(p.detach().numpy()).reshape(-1) - first[name].reshape(-1)) / RATE
    for name, p, (_, back) in sorted(pairs(model), key=lambda entry: entry[0])
  ]
  golden = {
    "hidden": np.packbits(hidden.numpy().reshape(2, -1).astype(bool), axis=1),
    "losses": np.array(losses, np.float32),
    "moved": np.concatenate(moved)[::2].astype(np.float16),  # half of them, for the file's size
    "parameters_of_base": np.array(whole),
  }
  print({k: v.shape for k, v in golden.items()}, losses, whole)
  save_file(golden, pathlib.Path(__file__).with_name("simmim.safetensors"))


if __name__ == "__main__":
  main(sys.argv[1])
