"""Makes mage.safetensors: MAGE's public code on a tiny model, what it hides, predicts and decodes.

Run as `python tests/golden/make_mage.py FOLDER`, where torch and scipy are and FOLDER is a checkout
of github.com/LTH14/mage at 1becb14: its `models_mage.MaskedGenerativeEncoderViT` is imported and
run unchanged, without dropout, and so are `gen_image` and `mask_by_random_topk` of its
`gen_img_uncond.py`. What stands for timm and the VQGAN, which hands over given tokens, is in
parts_of_mage.py; draws are given. Weights have the code's names; the rest starts with `golden.`.
"""

import ast
import functools
import math
import pathlib
import sys
import types

import numpy as np
import torch
from parts_of_mage import public
from safetensors.torch import save_file
from torch import nn

STEPS, BATCH, WIDTH, CODES, PLACES = 12, 2, 16, 12, 256

folder = pathlib.Path(sys.argv[1])
models_mage, _ = public(folder, CODES)

torch.manual_seed(0)
sizes = dict(embed_dim=WIDTH, depth=2, num_heads=2, decoder_embed_dim=8, decoder_depth=1)
sizes["norm_layer"] = functools.partial(nn.LayerNorm, eps=1e-6)  # as in its ViT-B and ViT-L
model = models_mage.MaskedGenerativeEncoderViT(**sizes, decoder_num_heads=2).eval()
with torch.no_grad():
  for p in model.parameters():
    p.add_(0.1 * torch.randn_like(p))

noise = torch.randint(0, 2**20, (BATCH, PLACES)).argsort(-1).float() / PLACES
torch.rand = lambda *_, **__: noise
model.mask_ratio_generator = types.SimpleNamespace(rvs=lambda n: [0.7])
tokens = torch.randint(0, CODES, (BATCH, PLACES))
with torch.no_grad():
  latent, _, dropped, hidden = model.forward_encoder(tokens.clone())
  logits = model.forward_decoder(latent, dropped, hidden)[:, 1:, :CODES]
  loss = model.forward_loss(tokens, model.forward_decoder(latent, dropped, hidden), hidden)

draws = np.random.RandomState(0)
drawing = draws.gumbel(size=(STEPS, BATCH, PLACES, CODES)).astype(np.float32)
choosing = draws.gumbel(size=(STEPS, BATCH, PLACES)).astype(np.float32)
masks = []


class Categorical:
  """Draws by the given noise."""

  def __init__(self, logits):
    self.logits = logits

  def sample(self):
    return (self.logits + torch.tensor(drawing[len(masks) - 1])).argmax(-1)


def kept(forward):
  """The decoder, which remembers what was hidden when it was asked."""

  def decode(x, dropped, hidden):
    masks.append(hidden[:, 1:].clone())
    return forward(x, dropped, hidden)

  return decode


source = ast.parse((folder / "gen_img_uncond.py").read_text())
source.body = [part for part in source.body if isinstance(part, ast.FunctionDef)]
gumbel = lambda size: choosing[len(masks) - 1]
random = types.SimpleNamespace(gumbel=gumbel, seed=lambda seed: None)
names = {"torch": torch, "math": math, "np": types.SimpleNamespace(**vars(np) | {"random": random})}
exec(compile(source, "gen_img_uncond.py", "exec"), names)
torch.distributions.categorical.Categorical = Categorical
model.forward_decoder = kept(model.forward_decoder)
# It cuts logits to 1024 codes, which here are followed by ids that are none.
cut = model.mlm_layer.forward
model.mlm_layer.forward = lambda x, words: cut(x, words)[..., :CODES]
made = []
entry = lambda ids, shape: made.append(ids)
model.vqgan.quantize = types.SimpleNamespace(get_codebook_entry=entry)
model.vqgan.decode = lambda z: None
with torch.no_grad():
  names["gen_image"](model, BATCH, seed=0, num_iter=STEPS, choice_temperature=4.5)
step = torch.stack(masks).sum(0)  # at so many steps it was hidden still

golden = {
  "noise": noise,
  "tokens": tokens.to(torch.uint8),
  "dropped": dropped[:, 1:].bool(),
  "hidden": hidden[:, 1:].bool(),
  "logits": logits,
  "loss": loss,
  "step": step.to(torch.uint8),
  "made": made[0].to(torch.uint8),
}
unused = (
  "patch_embed",
  "pos_embed",
  "cls_token",
  "mask_token",
  "decoder_pos_embed",
  "decoder_pred",
)
weights = {k: v for k, v in model.state_dict().items() if k.split(".")[0] not in unused}
golden = {f"golden.{k}": v for k, v in golden.items()}
path = pathlib.Path(__file__).with_name("mage.safetensors")
save_file({k: v.contiguous() for k, v in (weights | golden).items()}, path)
used = [n for n, _ in model.named_parameters() if n.split(".")[0] not in unused]
print(path, path.stat().st_size, "bytes;", sorted({n.split(".")[0] for n in used}))
