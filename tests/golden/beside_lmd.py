"""LMD beside its authors' code: masks, loss, gradient, two steps, decay, rates, parameters.

The code is github.com/AnonymousPony/lmd at 6e3c016: `lmd.MaskedAutoencoderViT`, the cosine of
`engine_pretrain`, `util.adan.Adan` with the numbers of pretrain.sh, `util.lr_sched`. Blocks of timm
are those of parts_of_timm.py, and what of timm's `add_weight_decay` matters is written out here.
The images are latents: the frozen autoencoder before them has a golden of its own. Adan decays by
`no_prox`, as ours does; by default it divides by 1 + rate · decay, see the config's deviations.
Run: python tests/golden/beside_lmd.py CHECKOUT
"""

import functools
import sys
import types

import beside
import numpy as np
import torch
from parts_of_timm import Block, PatchEmbed

SIDE, PATCH, BATCH, STEPS, AT = 10, 2, 3, 300, 90
SIZES = (SIDE, PATCH, 4, 24, 3, 3, 16, 2, 2, 4.0)


def table(width, side, cls_token):
  """Sine and cosine tables, which the repository has only compiled at this commit."""
  place = np.stack(np.meshgrid(np.arange(side), np.arange(side)), 0).reshape(2, -1, 1)
  angle = place / 10_000 ** (np.arange(width // 4) / (width / 4))
  rows = np.concatenate([f(a) for a in angle for f in (np.sin, np.cos)], 1)
  return np.concatenate([np.zeros((int(cls_token), width)), rows])


def public(folder):
  """The authors' modules: network, engine, optimizer, rates."""
  timm = dict(timm={}, timm__models={})
  timm["timm__models__vision_transformer"] = dict(Block=Block, PatchEmbed=PatchEmbed)
  own = dict(util__misc={}, util__pos_embed={"get_2d_sincos_pos_embed": table})
  with beside.standing_in(folder, **timm, **own):
    import util

    util.misc = None
    import engine_pretrain
    import lmd
    from util import adan, lr_sched
  return lmd, engine_pretrain, adan, lr_sched


def groups(model, decay):
  """Vectors do not decay, nor what is called bias."""
  named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
  plain = [p for n, p in named if p.ndim == 1 or n.endswith(".bias")]
  strong = [p for n, p in named if not (p.ndim == 1 or n.endswith(".bias"))]
  return [{"params": plain, "weight_decay": 0.0}, {"params": strong, "weight_decay": decay}]


def main(folder):
  """Runs both."""
  code, engine, adan, schedule = public(folder)
  norm = functools.partial(torch.nn.LayerNorm, eps=1e-6)
  torch.manual_seed(3)
  model = code.MaskedAutoencoderViT(*SIZES, norm, norm_pix_loss=True)
  with torch.no_grad():
    for parameter in model.parameters():
      if parameter.requires_grad:
        parameter += 0.2 * torch.randn_like(parameter)
  latents, noise = torch.randn(BATCH, 4, SIDE, SIDE), torch.rand(BATCH, (SIDE // PATCH) ** 2)
  # The code takes the decoder's positions away where ours adds them.
  signed = lambda d: d | {"decoder_pos_embed": -model.decoder_pos_embed}
  weights = {k: v.clone() for k, v in signed(model.state_dict()).items()}
  ratio, asked = engine.cosine_schedule(STEPS * 2 // 3)[AT], []
  torch.rand = lambda *shape, **_: noise.clone()

  def loss():
    cost, _, mask = model(latents, mask_ratio=ratio)
    asked.append(mask > 0)
    return cost

  numbers = dict(betas=(0.98, 0.92, 0.90), eps=1e-8, max_grad_norm=CLIP, no_prox=True)
  tx = adan.Adan(groups(model, 0.05), lr=beside.RATE, **numbers)
  losses, slopes, after = beside.steps(model, tx, loss)
  args = types.SimpleNamespace(lr=3e-4 * 64 / 256, min_lr=1e-8, warmup_epochs=1, epochs=400)
  at = (0.0, 0.5, 1.0, 133.0, 399.5)
  rates = [schedule.adjust_learning_rate(tx, e, args) for e in at]
  with torch.device("meta"):
    code.MaskedAutoencoderViT.initialize_weights = lambda self: None
    base = code.mae_vit_base_patch4()
  trained = sum(p.numel() for p in base.parameters() if p.requires_grad)

  from maskjax import lab
  from maskjax.record import Record

  def change(c):
    c.batch_size, c.total_epochs, c.total_steps = BATCH, 0.0, STEPS
    c.over.patch, c.hide.keep, c.init_from = (PATCH, PATCH), (6, 14, 22), ""
    c.model.encoder.update(size="mu", width=24, depth=3, heads=3, dtype="float32")
    c.model.decoder.update(width=16, depth=2, heads=2)
    del c.model.codec
    c.let, c.answers, c.stages = {}, {}, {}
    c.score = "batch.noise"
    c.optimizer.update(beside.CONSTANT, clip=CLIP)

  record = lambda n: Record("image", (SIDE, SIDE, 4), {"train": n})
  batch = {"image": latents.permute(0, 2, 3, 1).numpy(), "noise": noise.numpy()}
  batch["position"] = np.arange(BATCH)
  ours = beside.Method("lmd", change, record(BATCH), batch)
  where = dict(patch=(PATCH, PATCH), grid=(SIDE // PATCH,) * 2)
  variables = ours.read(weights, **where)
  params = lambda tensors: ours.read(tensors, **where)["params"]
  costs, norms, moved = ours.steps(variables, first=AT)
  hidden = ours.values(variables, "hidden", step=AT)[0]

  def whole(c):
    small = {k: c[k] for k in ("batch_size", "total_epochs", "total_steps")}
    section = c.optimizer.copy_and_resolve_references()
    change(c)
    c.update(small)
    c.optimizer = section

  real = beside.Method("lmd", whole, record(64 * 100), batch)
  first, second, left = beside.moves(
    variables["params"], moved, [params(signed(a)) for a in after], params(slopes[0])
  )
  beside.row(
    "lmd",
    "AnonymousPony/lmd@6e3c016",
    [
      (f"masks at step {AT}", beside.far(hidden, asked[0]), beside.EXACT),
      ("loss", beside.far(np.array(costs), np.array(losses)), beside.LOSS),
      ("gradient norm", abs(norms[0] / beside.norm(slopes[0]) - 1), beside.STEP),
      ("step", first, beside.STEP),
      ("two steps", second, beside.SECOND),
      ("decay", beside.far(beside.of_decays(ours), params(beside.decayed(tx, model))), 1e-9),
      ("rates", beside.far([real.optimizer.rate(int(e * 100)) for e in at], rates), 1e-5),
      ("parameters", abs(trained - lab.note("lmd")["scale"]["parameters"]), beside.EXACT),
    ],
    f"{left}; norm {norms[0]:.2g}, clipped at {CLIP}",
  )


CLIP = 1.5  # of the code's 10.0 nothing would be seen here

if __name__ == "__main__":
  main(sys.argv[1])
