"""Makes random_pruning_er.json: the authors' layer ratios, and two of their drop-and-grow steps.

Run as `python tests/golden/make_random_pruning_er.py FOLDER`, where torch is and FOLDER is a
checkout of github.com/RelationalML/sparse_to_sparse at 6abdf0e: the class `Masking` and
`get_pyramid_sparsity` of its ER_DST/sparselearning/core.py are imported and run unchanged, on the
CPU. Ratios are what it prints, or the chances that it draws with; weights and gradients of the
steps come from formulas that the test repeats, the first mask from one too.
"""

import contextlib
import io
import json
import pathlib
import re
import sys
import types

import numpy as np
import torch

sys.path.insert(0, f"{sys.argv[1]}/ER_DST")
from sparselearning.core import Masking, get_pyramid_sparsity

torch.Tensor.cuda = lambda self, *_: self
# Output and input channels of a ResNet-8 of width 8, in the order of depth.
SHAPES = [(8, 3, 3, 3), (8, 8, 3, 3), (8, 8, 3, 3), (16, 8, 3, 3), (16, 16, 3, 3)]
SHAPES += [(32, 16, 3, 3), (32, 32, 3, 3), (10, 32)]
DROP, WIDTH = 0.3, (9, 7)


def network(shapes):
  """Layers of these shapes."""
  kinds = {4: lambda o, i, *k: torch.nn.Conv2d(i, o, k, bias=False)}
  kinds[2] = lambda o, i: torch.nn.Linear(i, o, bias=False)
  return torch.nn.Sequential(*(kinds[len(shape)](*shape) for shape in shapes))


def masking(model, mode, density, optimizer=None):
  """Their masks of a network, and what was printed while they were drawn."""
  args = types.SimpleNamespace(
    sparse_init=mode, init_density=density, init_method="default", prune="magnitude", fix=True,
    method="DST", rm_first=False, flow_preservation=False, ortho_repair=False, model="resnet18",
  )  # fmt: skip
  optimizer = optimizer or torch.optim.SGD(model.parameters(), 0.1)
  said = io.StringIO()
  with contextlib.redirect_stdout(said):
    made = Masking(optimizer, prune_rate=DROP, args=args)
    made.add_module(model, mode)
  return made, said.getvalue()


golden = {}
for density in (0.05, 0.2, 0.5):
  model = network(SHAPES)
  said = masking(model, "ERK", density)[1]
  found = [float(x) for x in re.findall(r"layer: .*, density: (\S+)", said)]
  golden[f"erk {density}"] = np.round(found, 9).tolist()
  found = get_pyramid_sparsity(model, density)[: len(SHAPES)]
  golden[f"pyramidal {density}"] = np.round(found, 9).tolist()
said = masking(network(SHAPES), "ER_same_params_per_layer", 0.05)[1]
golden["balanced 0.05"] = json.loads(re.search(r"\[[^\[\]]*\]\n", said)[0])

wave = lambda pace, i=0: np.float32(np.sin(pace * np.arange(np.prod(WIDTH)) + i)).reshape(WIDTH)
model = network([WIDTH])
tx = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=5e-4)
made, _ = masking(model, "ERK", 0.5, tx)
(weight,) = model.parameters()
(name,) = made.masks
with torch.no_grad():
  weight.copy_(torch.tensor(wave(1.7)))
  made.masks[name] = torch.tensor(np.float32(wave(2.3) > 0.2))
  made.apply_mask()
golden["steps"] = []
with contextlib.redirect_stdout(io.StringIO()):
  for i in range(2):
    weight.grad = torch.tensor(wave(0.9, i))
    tx.step()
    made.apply_mask()
    made.truncate_weights()
    value = np.round(weight.detach().numpy().astype(float), 6).tolist()
    golden["steps"].append({"shown": made.masks[name].int().tolist(), "weight": value})
path = pathlib.Path(__file__).with_name("random_pruning_er.json")
path.write_text(json.dumps(golden) + "\n")
print(path.stat().st_size, "bytes", golden["balanced 0.05"])
