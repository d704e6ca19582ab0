"""ReMasker beside its authors' code: masks, loss, gradient, two steps, decay, rates, parameters.

The code is github.com/tydusky/remasker at 69b4108, its `model_mae.MaskedAutoencoder` and
`utils.adjust_learning_rate`; blocks of timm are those of parts_of_timm.py.
Run: python tests/golden/beside_remasker.py CHECKOUT
"""

import functools
import sys

import beside
import numpy as np
import torch
from parts_of_timm import Block

ROWS, COLUMNS, RATIO, EPS = 5, 11, 0.35, 1e-8
SIZES = dict(embed_dim=24, depth=3, num_heads=3, decoder_embed_dim=24, decoder_depth=2)


def public(folder):
  """The authors' two modules."""
  np.float = float
  timm = dict(timm={}, timm__models={}, timm__models__vision_transformer={"Block": Block})
  with beside.standing_in(folder, tkinter={"E": None}, pandas={}, **timm):
    import model_mae
    import utils
  return model_mae, utils


def main(folder):
  """Runs both."""
  code, utils = public(folder)
  make = functools.partial(
    code.MaskedAutoencoder, mlp_ratio=4.0, norm_layer=functools.partial(torch.nn.LayerNorm, eps=EPS)
  )
  torch.manual_seed(5)
  model = make(COLUMNS, **SIZES, decoder_num_heads=3).train()
  with torch.no_grad():
    for parameter in model.parameters():
      if parameter.requires_grad:
        parameter += 0.2 * torch.randn_like(parameter)
  table, noise = torch.rand(ROWS, COLUMNS), torch.rand(ROWS, COLUMNS)
  there = torch.ones(ROWS, COLUMNS)
  for i in range(ROWS):
    there[i, torch.randperm(COLUMNS)[: i % 4]] = 0
  table = table * there
  named = lambda d: {k.replace("mask_embed", "patch_embed"): v for k, v in d.items()}
  weights = {k: v.clone() for k, v in model.state_dict().items()}
  torch.rand = lambda *shape, **_: noise.clone()
  asked = []

  def loss():
    cost, _, mask, _ = model(table[:, None], there, mask_ratio=RATIO)
    asked.append(mask > 0)
    return cost

  tx = torch.optim.AdamW(model.parameters(), lr=beside.RATE, betas=(0.9, 0.95))  # as in its `fit`
  losses, slopes, after = beside.steps(model, tx, loss)
  at = (0.0, 13.0, 200.5, 599.0)  # epochs
  rates = [utils.adjust_learning_rate(tx, e, 1e-3, 1e-5, 600, 40) for e in at]
  trained = sum(p.numel() for p in make(10, 32, 4, 4, 32, 2, 4).parameters() if p.requires_grad)

  from maskjax import lab
  from maskjax.record import Record

  def change(c):
    c.batch_size = ROWS
    c.model.encoder.update(width=24, depth=3, heads=3)
    c.model.decoder.update(width=24, depth=2, heads=3)
    c.score, c.select.ratio = "batch.noise", RATIO
    c.optimizer.update(beside.CONSTANT)

  record = Record("table", (COLUMNS, 1), {"train": ROWS}, mean=(0.0,), std=(1.0,))
  batch = {"table": table[..., None], "valid": there[..., None] > 0, "noise": noise}
  batch = {k: v.numpy() for k, v in batch.items()} | {"position": np.arange(ROWS)}
  ours = beside.Method("remasker", change, record, batch)
  read = lambda tensors: ours.read(named(tensors), patch=(1,), grid=(COLUMNS,))
  variables, params = read(weights), lambda tensors: read(tensors)["params"]
  costs, norms, moved = ours.steps(variables)
  full = lambda c: c.update(batch_size=64)
  whole = beside.Method(
    "remasker", full, Record("table", (COLUMNS, 1), {"train": 640}, mean=(0.0,), std=(1.0,)), batch
  )
  first, second, left = beside.moves(
    variables["params"], moved, [params(a) for a in after], params(slopes[0])
  )
  beside.row(
    "remasker",
    "tydusky/remasker@69b4108",
    [
      ("masks", beside.far(ours.values(variables, "hidden")[0], asked[0]), beside.EXACT),
      ("loss", beside.far(np.array(costs), np.array(losses)), beside.LOSS),
      ("gradient norm", abs(norms[0] / beside.norm(slopes[0]) - 1), beside.STEP),
      ("step", first, beside.STEP),
      ("two steps", second, beside.SECOND),
      ("decay", beside.far(beside.of_decays(ours), params(beside.decayed(tx, model))), 1e-9),
      ("rates", beside.far([whole.optimizer.rate(int(e * 10)) for e in at], rates), 1e-5),
      ("parameters", abs(trained - lab.note("remasker")["scale"]["parameters"]), beside.EXACT),
    ],
    left,
  )


if __name__ == "__main__":
  main(sys.argv[1])
