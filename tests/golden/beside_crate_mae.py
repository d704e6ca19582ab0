"""CRATE-MAE beside its authors' code: masks, loss, gradient, two steps, decay, layers, size.

The code is github.com/Ma-Lab-Berkeley/CRATE at 674408f: `model.crate_ae` and `vis_utils`, trained
by MAE's AdamW, as its README says. What it takes from timm is that of parts_of_timm.py, of einops
the two rearrangements. It takes square images only.
Run: python tests/golden/beside_crate_mae.py CHECKOUT
"""

import functools
import sys

import beside
import parts_of_timm
import torch
from beside_theirs import arrayed, dense, normed, stubs
from parts_of_timm import add_weight_decay

ROWS, SIDE, PATCH, RATIO, WIDTH, HEADS, DEPTH = 3, 30, 5, 0.6, 24, 3, 2
GRID = (SIDE // PATCH,) * 2
# Of shares of zeros: a number next to zero may be rounded to it on one side.
ZEROS = 2e-4


def rearrange(x, how, h=1):
  """What the code has einops do: heads apart, and together again."""
  if how == "b n (h d) -> b h n d":
    return x.unflatten(-1, (h, -1)).transpose(1, 2)
  assert how == "b h n d -> b n (h d)", how
  return x.transpose(1, 2).flatten(2)


def public(folder):
  """The authors' modules of the autoencoder, the coding rate and the sparsity."""
  beside.timm()
  embed = lambda *sizes, strict_img_size: parts_of_timm.PatchEmbed(*sizes)
  sys.modules["timm.models.vision_transformer"].PatchEmbed = embed
  stubs("einops", rearrange=rearrange)
  stubs("matplotlib", "matplotlib.pyplot")
  sys.path.insert(0, folder)
  from model.crate_ae import crate_ae
  from vis_utils import coding_rate, plot

  return crate_ae, coding_rate.CodingRate, plot.cal_sparsity


def read(tensors):
  """Our variables from tensors by their names."""
  given = {name: arrayed(x) for name, x in tensors.items()}
  kernel = given["patch_embed.proj.weight"].transpose(2, 3, 1, 0).reshape(-1, WIDTH)

  def blocks(name, dictionary, attention):
    made = {}
    for i in range(DEPTH):
      own = [f"{name}.{i}.layers.0.{place}" for place in (dictionary, attention)]
      both = {
        "projection": dense(given, f"{own[1]}.fn.qkv"),
        "out": dense(given, f"{own[1]}.fn.to_out.0"),
      }
      # The norm before each, in the order that they come in.
      norms = [normed(given, f"{place}.norm") for place in sorted(own)]
      made[f"block_{i:02d}"] = {
        "norm1": norms[0],
        "norm2": norms[1],
        "attention": both,
        "dictionary": given[f"{own[0]}.fn.weight"],
      }
    return made

  encoder = {
    "embed": {"kernel": kernel, "bias": given["patch_embed.proj.bias"]},
    "class_token": given["cls_token"].ravel(),
    "norm": normed(given, "norm"),
    **blocks("blocks", 1, 0),
  }
  decoder = {
    "norm": normed(given, "decoder_norm"),
    "predict": dense(given, "decoder_pred"),
    **blocks("decoder_blocks", 0, 1),
  }
  hide = {"token": given["mask_token"].ravel()}
  params = {"encoder": encoder, "decoder": decoder, "hide.embedded.0": hide}
  # Positions of the full length are those that the code calls the decoder's; they have no gradient.
  tables = given.get("decoder_pos_embed", [None])
  return {"params": params, "buffers": {"encoder": {"position": tables[0]}}}


def main(folder):
  """Runs both."""
  code, rate, sparsity = public(folder)
  torch.manual_seed(5)
  norm = functools.partial(torch.nn.LayerNorm, eps=1e-6)
  sizes = dict(embed_dim=WIDTH, depth=DEPTH, num_heads=HEADS, decoder_embed_dim=WIDTH)
  sizes |= dict(img_size=SIDE, patch_size=PATCH, decoder_depth=DEPTH, decoder_num_heads=HEADS)
  kinds = code.CRATEEncoderBlock, code.CRATEDecoderBlock
  model = code.MaskedAutoencoderViT(*kinds, **sizes, norm_layer=norm, norm_pix_loss=True)
  weights = beside.moved(model)
  pixels, noise = torch.randn(ROWS, 3, SIDE, SIDE), torch.rand(ROWS, GRID[0] * GRID[1])
  torch.rand = lambda *shape, **_: noise.clone()
  asked, rates, zeros = [], [], []

  def loss():
    cost, _, mask = model(pixels, mask_ratio=RATIO)
    asked.append(mask > 0)
    return cost

  alone = lambda out: rearrange(out, "b n (h d) -> b h n d", h=HEADS)
  hooks = []
  for block in model.blocks:
    attend, code_ = block.layers[0]
    tell = lambda _, __, out: rates.append(rate()(alone(out))[0].item())
    hooks.append(attend.fn.qkv.register_forward_hook(tell))
    tell = lambda _, __, out: zeros.append(sparsity(out.numpy(), is_sparse=True)[0])
    hooks.append(code_.register_forward_hook(tell))
  with torch.no_grad():
    loss()
  for hook in hooks:
    hook.remove()
  tx = torch.optim.AdamW(add_weight_decay(model, 0.05), lr=beside.RATE, betas=(0.9, 0.95))
  theirs = weights, *beside.steps(model, tx, loss)

  from maskjax import lab
  from maskjax.record import Record

  layers = lab.base("image_mim/crate_mae").layers

  def change(c):
    c.over.patch, c.select.ratio, c.score = (PATCH, PATCH), RATIO, "batch.noise"
    c.model.encoder.update(size="mu", width=WIDTH, depth=DEPTH, heads=HEADS, dtype="float32")
    c.model.decoder.depth = DEPTH
    c.optimizer.update(beside.CONSTANT)
    layers(c, DEPTH)

  record = Record("image", (SIDE, SIDE, 3), {"train": 1_281_167})
  batch = {"image": pixels.permute(0, 2, 3, 1), "noise": noise, "position": torch.arange(ROWS)}
  ours = beside.Method("crate_mae", change, record, {name: x.numpy() for name, x in batch.items()})
  found, left = beside.trajectory(ours, read, theirs, beside.decayed(tx, model))
  names = [f"{name}_{i}" for name in ("rate", "zeros") for i in range(DEPTH)]
  masks, *told = ours.values(read(weights), "hidden", *names)
  told = [x.mean() for x in told]
  count = beside.trained(lambda: code.mae_crate_base())
  # A layer that the code makes and never calls.
  count -= 768 * 768 + 768
  found += [
    ("masks", beside.far(masks, asked[0]), beside.EXACT),
    ("coding rates", beside.far(told[:DEPTH], rates), beside.LOSS),
    ("zeros", beside.far(told[DEPTH:], zeros), ZEROS),
    (
      "parameters",
      abs(count - lab.note("crate_mae")["scale"]["parameters"]),
      beside.EXACT,
    ),
  ]
  beside.row("crate_mae", "Ma-Lab-Berkeley/CRATE@674408f", found, left)


if __name__ == "__main__":
  main(sys.argv[1])
