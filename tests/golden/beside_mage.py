"""MAGE beside its authors' code: masks, loss, gradient, two clipped steps, decay, parameters.

The code is github.com/LTH14/mage at 1becb14: `models_mage.MaskedGenerativeEncoderViT` without
dropout, over 6 x 5 codes, and AdamW and clipping as in main_pretrain.py and util/misc.py. The MLP
of timm and the VQGAN are stand-ins; a batch is of codes, and has one ratio.
Run: python tests/golden/beside_mage.py CHECKOUT
"""

import functools
import sys
import types

import beside
import numpy as np
import parts_of_mage
import torch
from parts_of_mage import PatchEmbed
from parts_of_timm import add_weight_decay
from torch import nn

ROWS, GRID, CODES, RATIO, WIDTH = 3, (6, 5), 12, 0.63, 24
PLACES = GRID[0] * GRID[1]
MASK, NONE = 1000, 76  # ids beyond the codes
UNUSED = (
  "patch_embed",
  "cls_token",
  "mask_token",
  "decoder_pred",
  "pos_embed",
  "decoder_pos_embed",
)


def public(folder):
  """The authors' module, with `CODES` codes at `PLACES` places."""
  PatchEmbed.places = PLACES
  code, config = parts_of_mage.public(folder, CODES)
  # Its tables of sines, which nothing uses, are of squares.
  code.get_2d_sincos_pos_embed = lambda width, side, **_: np.zeros((PatchEmbed.places + 1, width))
  return code, config


def read(given):
  """Weights, gradients or decays by their names as our variables."""
  part = lambda name: beside.arrayed(given[name])
  ids = [*range(CODES), CODES + MASK, CODES + NONE]
  blocks = lambda name, n: {f"block_{i:02}": beside.block(given, f"{name}.{i}") for i in range(n)}
  params = {
    "embed": {"embedding": part("token_emb.word_embeddings.weight")[ids]},
    "encoder": {
      "position": part("token_emb.position_embeddings.weight")[: PLACES + 1],
      "embed_norm": beside.normed(given, "token_emb.LayerNorm"),
      "norm": beside.normed(given, "norm"),
      **blocks("blocks", 2),
    },
    "widen": beside.dense(given, "decoder_embed"),
    "decoder": {
      "position": part("decoder_pos_embed_learned")[0],
      "norm": beside.normed(given, "decoder_norm"),
      **blocks("decoder_blocks", 1),
    },
    "head": beside.dense(given, "mlm_layer.fc"),
    "head_norm": beside.normed(given, "mlm_layer.ln"),
    "bias": part("mlm_layer.bias")[0, 0, :CODES],
  }
  return {"params": params}


def main(folder):
  """Runs both."""
  code, config = public(folder)
  torch.manual_seed(5)
  sizes = dict(embed_dim=WIDTH, depth=2, num_heads=3, decoder_embed_dim=WIDTH, decoder_depth=1)
  sizes["norm_layer"] = functools.partial(nn.LayerNorm, eps=1e-6)
  model = code.MaskedGenerativeEncoderViT(**sizes, decoder_num_heads=2).eval()
  with torch.no_grad():  # so that gradients are clipped
    model.token_emb.word_embeddings.weight.mul_(30)
  weights = beside.moved(model)
  noise, tokens = torch.rand(ROWS, PLACES), torch.randint(0, CODES, (ROWS, PLACES))
  torch.rand = lambda *_, **__: noise
  model.mask_ratio_generator = types.SimpleNamespace(rvs=lambda n: [RATIO])
  asked = []

  def loss():
    cost, _, mask = model(tokens)
    asked.append(mask[:, 1:] > 0)
    return cost

  tx = torch.optim.AdamW(add_weight_decay(model, 0.05), lr=beside.RATE, betas=(0.9, 0.95))
  clip = lambda: nn.utils.clip_grad_norm_(model.parameters(), 3.0)
  theirs = weights, *beside.steps(model, tx, loss, before=clip)

  import jax

  from maskjax import lab
  from maskjax.record import Record

  def change(c):
    c.let["values"], c.score = "batch.codes", "batch.noise"
    c.let.chosen.ratio = RATIO
    c.model.tokenizer.update(codes=CODES, code_width=8, patch=(4, 4), widths=(8,), blocks=1)
    c.model.network.update(size="mu", width=WIDTH, depth=2, heads=3, dtype="float32")
    c.model.network.update(decoder_depth=1, decoder_heads=2)
    c.optimizer.update(beside.CONSTANT)

  record = Record("image", (4 * GRID[0], 4 * GRID[1], 3), {"train": 8})
  batch = {"image": torch.zeros(ROWS, *record.shape), "position": torch.arange(ROWS)}
  batch |= {"noise": -noise, "codes": tokens.to(torch.int32)}
  batch = {name: x.numpy() for name, x in batch.items()}
  ours = beside.Method("mage", change, record, batch)
  frozen = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), ours.shapes)
  variables = {**frozen, **read(weights)}
  found, left = beside.trajectory(ours, read, theirs, beside.decayed(tx, model), variables)
  assert ours.metrics[0]["gradient"] > 3
  masks = ours.values(variables, "masked")[0]
  config.n_embed, PatchEmbed.places = 1024, 256
  with torch.device("meta"):
    large = code.mage_vit_large_patch16().named_parameters()
  used = sum(p.numel() for n, p in large if n.split(".")[0] not in UNUSED)
  count = used - 1_023_977  # of labels and of logits for ids that are no codes, see the config
  found += [
    ("masks", beside.far(masks, asked[0]), beside.EXACT),
    ("parameters", abs(count - lab.note("mage")["scale"]["parameters"]), beside.EXACT),
  ]
  beside.row("mage", "LTH14/mage@1becb14", found, left)


if __name__ == "__main__":
  main(sys.argv[1])
