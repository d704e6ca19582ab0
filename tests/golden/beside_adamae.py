"""AdaMAE beside its authors' code: masks, losses, gradient, two steps, decay, rates, parameters.

The code is github.com/wgcban/adamae at aa19850: models/pretrain/vit.py, optim_factory.py and
msc/engine_for_pretraining.py as they are, with the stand-ins of make_adamae.py. What it draws by is
our noise, its dropout is off, and biases that it leaves out do not move here (deviations of the
config).
Run: python tests/golden/beside_adamae.py CHECKOUT
"""

import functools
import sys
import types

import beside
import make_adamae
import numpy as np
import torch

ROWS, FRAMES, SIDES, PATCH, RATIO = 3, 16, (8, 12), 4, 0.8
GRID, LR = (8, 2, 3), 1.5e-4 * 2048 / 256
SIZES = dict(encoder_embed_dim=16, encoder_depth=2, encoder_num_heads=2, decoder_embed_dim=12)
SIZES |= dict(decoder_num_classes=96, decoder_depth=1, decoder_num_heads=3, qkv_bias=True)
WITHOUT = ("decoder/embed/bias", "score/block/attention/qkv/bias")
STEPS = (0, 500, 3279, 30_000, 65_000)  # of 82 an epoch


def public(folder):
  """The authors' modules."""
  make_adamae.stand_in()
  anything = make_adamae.Anything
  names = "adafactor adahessian adamp lookahead nadam nvnovograd radam rmsprop_tf sgdp"
  for name in ("timm.optim", *(f"timm.optim.{x}" for x in names.split())):
    sys.modules[name] = anything(name)
  sys.modules["timm.models.layers"].to_2tuple = lambda x: x if isinstance(x, tuple) else (x, x)
  sys.modules["torch._six"].inf = float("inf")
  torch.cuda.synchronize = lambda: None
  sys.path.insert(0, folder)
  import optim_factory
  from models.pretrain import vit
  from msc import engine_for_pretraining, utils

  return vit, engine_for_pretraining, optim_factory, utils


def read(given, tables):
  """Weights, gradients or decays by their names as our variables."""
  part = lambda name: beside.arrayed(given[name])
  project = part("encoder.patch_embed.proj.weight")
  embed = project.transpose(2, 3, 4, 1, 0).reshape(-1, len(project))
  biases = {}
  for name in given:
    if name.endswith("attn.q_bias"):
      q, v = part(name), part(name.replace("q_bias", "v_bias"))
      biases[name[: -len(".attn.q_bias")]] = np.concatenate([q, 0 * q, v])
  blocks = lambda name, n: {
    f"block_{i:02}": beside.block(given, f"{name}.{i}", biases[f"{name}.{i}"]) for i in range(n)
  }
  none = np.zeros(48, np.float32)
  params = {
    "encoder": {
      "embed": {"kernel": embed, "bias": part("encoder.patch_embed.proj.bias")},
      "norm": beside.normed(given, "encoder.norm"),
      **blocks("encoder.blocks", 2),
    },
    "decoder": {
      "embed": beside.dense(given, "encoder_to_decoder", none[:12]),
      "mask_token": part("mask_token").reshape(-1),
      "norm": beside.normed(given, "decoder.norm"),
      "predict": beside.dense(given, "decoder.head"),
      **blocks("decoder.blocks", 1),
    },
    "score": {
      "position": part("encoder.pos_embed_probs")[0],
      "block": beside.block(given, "encoder.get_token_probs.0", none),
      "logit": beside.dense(given, "encoder.get_token_probs.1"),
    },
  }
  return {"params": params, "buffers": tables}


def main(folder):
  """Runs both."""
  vit, engine, factory, utils = public(folder)
  torch.manual_seed(5)
  norm = functools.partial(torch.nn.LayerNorm, eps=1e-6)
  make = functools.partial(vit.PretrainVisionTransformer, norm_layer=norm, mask_ratio=RATIO)
  model = make(img_size=SIDES, patch_size=PATCH, **SIZES)
  with torch.no_grad():  # probabilities below 1e-7 are cut by torch.distributions
    beside.moved(model)
    model.encoder.get_token_probs[1].weight.mul_(0.3)
  weights = {name: x.clone() for name, x in model.state_dict().items()}
  for module in model.modules():
    if isinstance(module, torch.nn.Dropout):
      module.p = 0.0
  video = torch.randn(ROWS, 3, FRAMES, *SIDES)
  places = {"encoder": model.encoder.pos_embed[0], "decoder": model.pos_embed[0]}
  tables = {name: {"position": table.numpy()} for name, table in places.items()}

  from maskjax import lab
  from maskjax.record import Record

  def change(c):
    c.over.patch, c.select.ratio = (2, PATCH, PATCH), RATIO
    c.model.encoder.update(size="mu", width=16, depth=2, heads=2, dtype="float32")
    c.model.decoder.update(width=12, depth=1, heads=3)
    c.score.update(heads=8, dtype="float32")

  def held(c):
    change(c)
    c.optimizer.update(schedule="constant", warmup_epochs=0.0, end=0.0)
    c.optimizer.rate_rules = tuple((name, 0.0) for name in WITHOUT)

  record = Record("video", (FRAMES, *SIDES, 3), {"train": 8})
  batch = {"video": video.permute(0, 2, 3, 4, 1).numpy(), "position": np.arange(ROWS)}
  ours, variables = beside.Method("adamae", held, record, batch), read(weights, tables)
  draws = [ours.values(variables, "scores", "log_prob", step=i) for i in (0, 1)]
  # The noise of the draw: low where a token is worth seeing.
  noise = [torch.tensor(np.array(-scores - likely)) for scores, likely in draws]

  def drawn(p, num_samples, replacement):
    return (p.log() + noise[len(masks)]).topk(num_samples, -1).indices

  losses, slopes, after, masks, told = [], [], [], [], []
  torch.multinomial = drawn
  model.register_forward_hook(lambda *call: masks.append(call[-1][2]))
  args = types.SimpleNamespace(opt="adamw", opt_betas=(0.9, 0.95), opt_eps=1e-8, lr=LR)
  args.weight_decay = 0.05
  tx = factory.create_optimizer(args, model)
  scale = utils.NativeScalerWithGradNormCount()
  scale.state_dict = lambda: {"scale": 1.0}

  def step(loss, *rest, **more):
    losses.append(loss.item())
    return scale(loss, *rest, **more)

  def length(parameters):
    named = model.named_parameters()
    slopes.append({n: p.grad.clone() for n, p in named if p.grad is not None})
    return torch.zeros(())

  keep = lambda *_: after.append({n: p.detach().clone() for n, p in model.named_parameters()})
  tx.register_step_post_hook(keep)
  utils.get_grad_norm_ = length

  step.state_dict = scale.state_dict
  log = types.SimpleNamespace(update=lambda **x: told.append(x), set_step=lambda: None)
  engine.train_one_epoch(
    model,
    [(video, None)] * 2,
    tx,
    "cpu",
    0,
    step,
    None,
    patch_size=PATCH,
    start_steps=0,
    log_writer=log,
  )
  theirs, decays = (weights, losses, slopes, after), beside.decayed(tx, model)
  found, left = beside.trajectory(
    ours, lambda given: read(given, tables), theirs, decays, variables, without=WITHOUT
  )
  sampling = next(x["loss_sampling"] for x in told if "loss_sampling" in x)
  rates = utils.cosine_scheduler(LR, 1e-5 * 8, 800, 82, warmup_epochs=40)
  record = Record("video", (FRAMES, *SIDES, 3), {"train": 82 * 2048})
  rate = beside.Method("adamae", change, record, batch).optimizer.rate
  base = functools.partial(vit.pretrain_videomae_base_patch16_224, decoder_depth=4)
  count = lab.note("adamae")["scale"]["parameters"] - 13_440  # biases, see the config
  hidden = ours.values(variables, "hidden")[0]
  found += [
    ("sampling loss", abs(1e-4 * ours.metrics[0]["terms/teach"] / sampling - 1), beside.LOSS),
    ("masks", beside.far(hidden, masks[0]), beside.EXACT),
    ("rates", beside.far([rate(i) for i in STEPS], [rates[i] for i in STEPS]), 1e-3),
    ("parameters", abs(beside.trained(base) - count), beside.EXACT),
  ]
  beside.row("adamae", "wgcban/adamae@aa19850", found, left)


if __name__ == "__main__":
  main(sys.argv[1])
