"""HPM beside its authors' code: masks, losses, gradient, two steps, its teacher, decay, parameters.

The code is github.com/Haochen-Wang409/HPM at c15ae90: `models_mae_learn_loss.MaskedAutoencoderViT`
and its functions as engine_pretrain.py calls them, in the middle of 800 epochs; AdamW and clipping
as in main_pretrain.py and util/misc.py, the teacher as timm's `ModelEma`. What it shuffles by is
our noise, and the 1e-6 inside its logarithms is left out (a deviation of the config).
Run: python tests/golden/beside_hpm.py CHECKOUT
"""

import copy
import functools
import itertools
import sys
import types

import beside
import numpy as np
import torch
from parts_of_timm import add_weight_decay

ROWS, SIDE, PATCH, RATIO, EXAMPLES = 3, 30, 5, 0.6, 4096
GRID, EPOCH = (SIDE // PATCH,) * 2, 400


# Epochs of whose teachers the momentum is compared.
MOMENTA = (0, 50, 100, 799)


def public(folder):
  """The authors' module, whose logarithms add nothing."""
  beside.timm()
  beside.stubs("einops", rearrange=None)
  beside.stubs("torch._six", inf=float("inf"))
  sys.path.insert(0, folder)
  import engine_pretrain
  import models_mae_learn_loss as code

  # Of probabilities, which lie far from 0 here.
  log = types.SimpleNamespace(log=lambda p: torch.log(p - 1e-6))
  code.torch = types.SimpleNamespace(**{**vars(torch), **vars(log)})
  return code, engine_pretrain


def trained(engine, model, teacher, tx, batches):
  """Their epoch: losses, gradients, parameters after a step, the first mask, teacher, momenta."""
  losses, slopes, after, masks = [], [], [], []
  object.__setattr__(model, "module", model)
  model.register_forward_hook(lambda *call: masks.append(call[-1]["mask"]))
  clip = torch.nn.utils.clip_grad_norm_

  def clipped(parameters, limit):
    slopes.append({n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None})
    return clip(parameters, limit)

  torch.nn.utils.clip_grad_norm_, torch.cuda.synchronize = clipped, lambda: None
  keep = lambda *_: after.append({n: p.detach().clone() for n, p in model.named_parameters()})
  tx.register_step_post_hook(keep)
  scale = engine.misc.NativeScalerWithGradNormCount()
  told = lambda loss, *rest, **more: losses.append(loss.item()) or scale(loss, *rest, **more)

  def update(_):
    now = model.state_dict()
    for name, x in teacher.state_dict().items():
      x.copy_(x * mean.decay + (1 - mean.decay) * now[name])

  mean = types.SimpleNamespace(ema=teacher, update=update, decay=0.999)
  args = types.SimpleNamespace(
    **dict(accum_iter=1, epochs=800, learning_loss=True, learn_feature_loss="none"),
    **dict(mask_ratio=RATIO, relative=True, warmup_epochs=0, lr=beside.RATE, min_lr=beside.RATE),
  )
  epoch = lambda at, told: engine.train_one_epoch(
    model, batches, tx, "cpu", at, told, args=args, model_ema=mean
  )
  epoch(EPOCH, told)
  found, momenta = {k: v.clone() for k, v in teacher.state_dict().items()}, []
  for at in MOMENTA:  # without steps
    epoch(at, lambda *_, **__: 0.0)
    momenta.append(mean.decay)
  return losses, slopes, after, masks[0], found, momenta


def main(folder):
  """Runs both."""
  code, engine = public(folder)
  torch.manual_seed(5)
  norm = functools.partial(torch.nn.LayerNorm, eps=1e-6)
  sizes = dict(embed_dim=24, depth=2, num_heads=3, decoder_embed_dim=16, decoder_depth=1)
  sizes |= dict(img_size=SIDE, patch_size=PATCH, decoder_num_heads=2)
  model = code.MaskedAutoencoderViT(**sizes, norm_layer=norm, norm_pix_loss=True)
  with torch.no_grad():
    model.decoder_pred.weight.mul_(8)  # so that gradients are clipped
  weights = beside.moved(model, 0.1)
  teacher = copy.deepcopy(model)
  taught = beside.moved(teacher, 0.5)
  pixels = torch.randn(ROWS, 3, SIDE, SIDE)

  import jax

  from maskjax import bind, lab
  from maskjax.record import Record
  from maskjax.sections import Lengths, bound

  def change(c):
    c.over.patch, c.select.ratio = (PATCH, PATCH), RATIO
    c.score.select.ratio.end = RATIO / 2
    c.model.encoder.update(size="mu", width=24, depth=2, heads=3, dtype="float32")
    c.model.decoder.update(width=16, depth=1, heads=2)
    c.model.decoder.loss_depth = 1
    c.batch_size = ROWS
    c.optimizer.update(beside.CONSTANT)

  record = Record("image", (SIDE, SIDE, 3), {"train": ROWS * 1000})
  batch = {"image": pixels.permute(0, 2, 3, 1).numpy(), "position": np.arange(ROWS)}
  ours, begin = beside.Method("hpm", change, record, batch), EPOCH * 1000 + 999
  read = lambda tensors: ours.read(tensors, patch=(PATCH, PATCH), grid=GRID)
  variables = read(weights)
  variables["teachers"] = {"teacher": {"params": read(taught)["params"]}}
  noise = [ours.values(variables, "scores", step=begin + i)[0] % 1 for i in (0, 1)]
  rows = itertools.cycle(itertools.chain(*noise))

  def shuffle(places):
    row = next(rows)
    places[:] = places[np.argsort(row[places])]

  code.np.random.shuffle = shuffle
  tx = torch.optim.AdamW(add_weight_decay(model, 0.05), lr=beside.RATE, betas=(0.9, 0.95))
  out = trained(engine, model, teacher, tx, [((pixels, torch.zeros(ROWS, *GRID)), None)] * 2)
  decays = beside.decayed(tx, model)
  found, left = beside.trajectory(
    ours, read, (weights, *out[:3]), decays, variables=variables, first=begin
  )
  assert ours.metrics[0]["gradient"] > 5
  rule = bound(ours.config["teachers"]["teacher"], Lengths(800, 1))
  momentum = lambda epoch: 1 - float(bind.at(rule, epoch).keywords["momentum"])
  gap = lambda mean: jax.tree.map(np.subtract, mean, variables["teachers"]["teacher"]["params"])
  mean = ours.variables["teachers"]["teacher"]["params"]
  hidden = ours.values(variables, "hidden", step=begin)[0]
  count = beside.trained(code.mae_vit_base_patch16_dec512d8b)
  found += [
    ("masks", beside.far(hidden, out[3]), beside.EXACT),
    # The norm of its moves, of 1e-4 of what it is away: parameters are rounded to 1e-7.
    ("teacher", beside.apart(gap(mean), gap(read(out[4])["params"])), 1e-2),
    ("momenta", beside.far([momentum(e) for e in MOMENTA], [1 - m for m in out[5]]), 1e-3),
    ("parameters", abs(count - lab.note("hpm")["scale"]["parameters"]), beside.EXACT),
  ]
  beside.row("hpm", "Haochen-Wang409/HPM@c15ae90", found, left)


if __name__ == "__main__":
  main(sys.argv[1])
