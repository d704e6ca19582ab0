"""Writes adan.json: 10 clipped steps of the authors' Adan with decay groups, warm-up and cosine.

The code is adan.py of github.com/sail-sg/Adan at 2c65bea, taken from a checkout; its weight decay
is the decoupled one (`no_prox`). Run with PyTorch 2.13: python tests/golden/make_adan.py CHECKOUT
"""

import json
import math
import pathlib
import sys

TOTAL, WARMUP, PEAK, DECAY, CLIP, EPS = 10, 3, 0.05, 0.1, 1.5, 1e-8
BETAS = (0.98, 0.92, 0.9)


def rate(step):
  """Linear from 0, then half a cosine to 0."""
  if step < WARMUP:
    return PEAK * step / WARMUP
  return PEAK * 0.5 * (1 + math.cos(math.pi * (step - WARMUP) / (TOTAL - WARMUP)))


def main():
  """Runs the optimiser on random gradients and stores start, gradients and path."""
  import torch  # here, so that collecting doctests does not need it

  sys.path.insert(0, sys.argv[1])
  from adan import Adan

  torch.manual_seed(0)
  kernel, bias = torch.randn(3, 2).requires_grad_(), torch.randn(2).requires_grad_()
  state = lambda: {"kernel": kernel.tolist(), "bias": bias.tolist()}
  start, gradients, path = state(), [], []
  groups = [{"params": [kernel], "weight_decay": DECAY}, {"params": [bias], "weight_decay": 0.0}]
  optimizer = Adan(groups, betas=BETAS, eps=EPS, max_grad_norm=CLIP, no_prox=True)
  for step in range(TOTAL):
    kernel.grad, bias.grad = torch.randn(3, 2), torch.randn(2)
    gradients.append({"kernel": kernel.grad.tolist(), "bias": bias.grad.tolist()})
    for group in optimizer.param_groups:
      group["lr"] = rate(step)
    optimizer.step()
    path.append(state())

  config = {"fn": "adan", "total_steps": TOTAL, "warmup_steps": WARMUP, "learning_rate": PEAK}
  config |= {"weight_decay": DECAY, "clip": CLIP, "eps": EPS}
  config |= {f"b{i}": beta for i, beta in enumerate(BETAS, 1)}
  fixture = {"config": config, "start": start, "gradients": gradients, "path": path}
  pathlib.Path(__file__).with_name("adan.json").write_text(json.dumps(fixture) + "\n")


if __name__ == "__main__":
  main()
