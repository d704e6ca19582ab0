"""I-JEPA beside its authors' code: loss, gradient, two steps, teacher, decay, rates, parameters.

The code is github.com/facebookresearch/ijepa at 52c1ae9: the networks of
src/models/vision_transformer.py, `src.helper.init_opt` with its schedules, and the step of
src/train.py, written out. Blocks are given: both need the same sizes in all examples (how blocks
are drawn is in make_multiblock.py). Decay is held at the config's mean, and rates are compared
after the warm-up (deviations of the config). It takes square images only.
Run: python tests/golden/beside_ijepa.py CHECKOUT
"""

import copy
import functools
import sys

import beside
import numpy as np
import torch
from torch.nn import functional

ROWS, SIDE, PATCH, WIDTH, EACH = 2, 30, 5, 24, 625
GRID, VIEWS = (SIDE // PATCH,) * 2, 4
EPOCHS = (40, 100, 200, 299)


def public(folder):
  """The authors' modules."""
  sys.path.insert(0, folder)
  import src.models.vision_transformer as vit
  from src import helper
  from src.masks.utils import apply_masks

  return vit, helper, apply_masks


def blocks(rng):
  """Of each example four blocks of 2 x 3, and ten positions of its context, as indices."""
  places = np.arange(GRID[0] * GRID[1]).reshape(GRID)
  asked, seen = [], []
  for _ in range(ROWS):
    corners = rng.integers(0, (GRID[0] - 1, GRID[1] - 2), (VIEWS, 2))
    own = [places[i : i + 2, j : j + 3].ravel() for i, j in corners]
    free = np.setdiff1d(places, np.concatenate(own))
    asked.append(own), seen.append(np.sort(rng.choice(free, 10, replace=False)))
  return np.array(asked), np.array(seen)


def read(given):
  """Weights, gradients or decays by their names as our parameters."""
  part = lambda name: beside.arrayed(given[name])
  project = part("encoder.patch_embed.proj.weight")
  embed = project.transpose(2, 3, 1, 0).reshape(-1, len(project))
  own = lambda name, n: {f"block_{i:02}": beside.block(given, f"{name}.{i}") for i in range(n)}
  return {
    "encoder": {
      "embed": {"kernel": embed, "bias": part("encoder.patch_embed.proj.bias")},
      "norm": beside.normed(given, "encoder.norm"),
      **own("encoder.blocks", 2),
    },
    "predictor": {
      "embed": beside.dense(given, "predictor.predictor_embed"),
      "mask_token": part("predictor.mask_token").reshape(-1),
      "norm": beside.normed(given, "predictor.predictor_norm"),
      "predict": beside.dense(given, "predictor.predictor_proj"),
      **own("predictor.predictor_blocks", 1),
    },
  }


def main(folder, name="ijepa", code="facebookresearch/ijepa@52c1ae9", positions=None):
  """Runs both.

  Args:
    folder: of the authors' code.
    name: of the method.
    code: what the row calls it.
    positions: `(ours, variables, step)` to the embeddings of positions that mask tokens carry,
      `[b v k d]`; those of the table unless said.
  """
  vit, helper, apply_masks = public(folder)
  torch.manual_seed(5)
  norm = functools.partial(torch.nn.LayerNorm, eps=1e-6)
  same = dict(num_heads=3, qkv_bias=True, norm_layer=norm)
  model = torch.nn.Module()
  model.encoder = vit.VisionTransformer(
    img_size=[SIDE], patch_size=PATCH, embed_dim=WIDTH, depth=2, **same
  )
  model.predictor = vit.vit_predictor(
    num_patches=GRID[0] * GRID[1], embed_dim=WIDTH, predictor_embed_dim=12, depth=1, num_heads=3
  )
  weights = beside.moved(model)
  teacher = copy.deepcopy(model.encoder)
  taught = beside.moved(teacher, 0.5)
  asked, seen = blocks(np.random.default_rng(5))
  images = torch.randn(ROWS, 3, SIDE, SIDE)
  context = [torch.tensor(seen)]
  targets = [torch.tensor(asked[:, i]) for i in range(VIEWS)]
  steady = dict(start_lr=beside.RATE, ref_lr=beside.RATE, final_lr=beside.RATE)
  steady |= dict(wd=0.22, final_wd=0.22, warmup=0, iterations_per_epoch=1, num_epochs=4)
  tx, _, rates, decays = helper.init_opt(model.encoder, model.predictor, **steady)
  momenta = [0.996 + i * 0.004 / (300 * EACH) for i in range(2)]
  rest = list(momenta)

  def loss():
    rates.step(), decays.step()
    with torch.no_grad():
      h = teacher(images)
      h = apply_masks(functional.layer_norm(h, (h.size(-1),)), targets)
    z = model.predictor(model.encoder(images, context), context, targets)
    return functional.smooth_l1_loss(z, h)

  def average(*_):
    m = rest.pop(0)
    for q, k in zip(model.encoder.parameters(), teacher.parameters(), strict=True):
      k.data.mul_(m).add_((1.0 - m) * q.detach().data)

  tx.register_step_post_hook(average)

  import jax

  from maskjax import lab
  from maskjax.record import Record

  def change(c):
    c.over.patch = (PATCH, PATCH)
    c.model.encoder.update(size="mu", width=WIDTH, depth=2, heads=3, dtype="float32")
    c.model.predictor.update(width=12, depth=1)
    same = dict(a="batch.hidden", b="batch.hidden")
    c.let["hidden"], c.hide.keep = dict(fn="select.union", of=same), 10
    c.let.blocks = dict(fn="task.places", of=dict(asked="batch.asked"), count=6)

  def held(c):
    change(c)
    c.optimizer.update(beside.CONSTANT)

  record = Record("image", (SIDE, SIDE, 3), {"train": 2048 * EACH})
  batch = {"image": images.permute(0, 2, 3, 1).numpy(), "position": np.arange(ROWS)}
  at = lambda index: np.eye(GRID[0] * GRID[1], dtype=bool)[index].any(-2)
  batch |= {"hidden": ~at(seen), "asked": at(asked).swapaxes(0, 1)}
  ours = beside.Method(name, held, record, batch)
  table = lambda name: {"position": weights[name][0].numpy()}
  tables = {"encoder": table("encoder.pos_embed")}
  tables["predictor"] = table("predictor.predictor_pos_embed")
  whole = lambda given: {"params": read(given), "buffers": tables}
  mean = lambda tensors: {**weights, **{f"encoder.{k}": v for k, v in tensors.items()}}
  variables = whole(weights)
  variables["teachers"] = {"teacher": {"params": read(mean(taught))}}
  carried = [positions(ours, variables, step) for step in (0, 1)] if positions else []

  def masked(x, masks):
    if masks is not targets or not carried:
      return apply_masks(x, masks)
    return torch.cat(list(torch.tensor(carried.pop(0)).transpose(0, 1)))

  vit.apply_masks = masked
  theirs = weights, *beside.steps(model, tx, loss)
  found, left = beside.trajectory(ours, whole, theirs, beside.decayed(tx, model), variables)
  gap = lambda tree: jax.tree.map(np.subtract, tree["encoder"], read(mean(taught))["encoder"])
  moved = gap(ours.variables["teachers"]["teacher"]["params"])
  rate = beside.Method(name, change, record, batch).optimizer.rate
  told = dict(start_lr=0.0, ref_lr=1e-3, final_lr=1e-6, warmup=40, num_epochs=300, ipe_scale=1.0)
  slow = helper.init_opt(model.encoder, model.predictor, iterations_per_epoch=EACH, **told)[2]
  wanted = []
  for epoch in EPOCHS:
    slow._step = epoch * EACH - 1
    wanted.append(slow.step())
  small = functools.partial(
    vit.vit_predictor, num_patches=256, embed_dim=1280, predictor_embed_dim=384, depth=12
  )
  count = beside.trained(functools.partial(vit.vit_huge, patch_size=14, img_size=[224]))
  count += beside.trained(functools.partial(small, num_heads=16))
  found += [
    ("teacher", beside.apart(moved, gap(read(mean(teacher.state_dict())))), beside.STEP),
    ("rates", beside.far([rate(e * EACH) for e in EPOCHS], wanted), beside.ROUNDED),
    ("parameters", abs(count - lab.note(name)["scale"]["parameters"]), beside.EXACT),
  ]
  beside.row(name, code, found, left)


if __name__ == "__main__":
  main(sys.argv[1])
