"""Makes lottery_jackpots.json: numbers and masks of the authors' layer in three steps of training.

Run as `python tests/golden/make_lottery_jackpots.py FOLDER`, where torch is and FOLDER is a
checkout of github.com/zyxxmu/lottery-jackpots at 1b802ea: its `utils.conv_type.PretrainConv` is
imported and run unchanged, its masks moved by `ls_pop_up` at shares that the paper's rule could
give. Weights, images and targets come from formulas that the test repeats.
"""

import json
import pathlib
import sys
import types

import numpy as np
import torch

sys.modules["utils.options"] = types.ModuleType("utils.options")
sys.modules["utils.options"].args = None
sys.path.insert(0, sys.argv[1])
from utils.conv_type import PretrainConv  # noqa: E402

SHARES, PRUNED = (1.0, 0.5, 0.1), 0.75
wave = lambda shape, pace: np.float32(np.sin(pace * np.arange(np.prod(shape)))).reshape(shape)
rounded = lambda x: np.round(x.detach().numpy().astype(float), 6).transpose(2, 3, 1, 0).tolist()

layer = PretrainConv(3, 4, 3, padding=1, bias=False)
with torch.no_grad():
  layer.weight.copy_(torch.tensor(wave((3, 3, 3, 4), 1.7).transpose(3, 2, 0, 1)))
layer.set_prune_rate(PRUNED)
layer.weight.requires_grad = False
images = torch.tensor(wave((2, 5, 7, 3), 1.3).transpose(0, 3, 1, 2))
target = torch.tensor(wave((2, 5, 7, 4), 0.9).transpose(0, 3, 1, 2))
optimizer = torch.optim.SGD([layer.mask], 0.1, momentum=0.9, weight_decay=5e-4)
begun, steps, exchanged = rounded(layer.b_mask), [], []
for share in SHARES:
  optimizer.zero_grad()
  loss = (layer(images) - target).square().mean()
  loss.backward()
  optimizer.step()
  exchanged.append(layer.ls_pop_up(share))
  shown = np.int32(rounded(layer.b_mask)).tolist()
  steps.append({"loss": loss.item(), "numbers": rounded(layer.mask), "shown": shown})
golden = {"begun": np.int32(begun).tolist(), "steps": steps, "exchanged": exchanged}
path = pathlib.Path(__file__).with_name("lottery_jackpots.json")
path.write_text(json.dumps(golden) + "\n")
print(path.stat().st_size, "bytes", exchanged)
