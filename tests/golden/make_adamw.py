"""Writes adamw.json: 20 clipped steps of torch.optim.AdamW with decay groups, warm-up and cosine.

Run with PyTorch 2.13: python tests/golden/make_adamw.py
"""

import json
import math
import pathlib

TOTAL, WARMUP, PEAK, DECAY, CLIP = 20, 5, 0.05, 0.1, 1.0


def rate(step):
  """Linear from 0, then half a cosine to 0."""
  if step < WARMUP:
    return PEAK * step / WARMUP
  return PEAK * 0.5 * (1 + math.cos(math.pi * (step - WARMUP) / (TOTAL - WARMUP)))


def main():
  """Runs the optimiser on random gradients and stores start, gradients and path."""
  import torch  # here, so that collecting doctests does not need it

  torch.manual_seed(0)
  kernel, bias = torch.randn(3, 2).requires_grad_(), torch.randn(2).requires_grad_()
  start = {"kernel": kernel.tolist(), "bias": bias.tolist()}
  optimizer = torch.optim.AdamW(
    [{"params": [kernel], "weight_decay": DECAY}, {"params": [bias], "weight_decay": 0.0}],
    betas=(0.9, 0.95),
    eps=1e-8,
  )
  gradients, path = [], []
  for step in range(TOTAL):
    kernel.grad, bias.grad = torch.randn(3, 2), torch.randn(2)
    gradients.append({"kernel": kernel.grad.tolist(), "bias": bias.grad.tolist()})
    torch.nn.utils.clip_grad_norm_([kernel, bias], CLIP)
    for group in optimizer.param_groups:
      group["lr"] = rate(step)
    optimizer.step()
    path.append({"kernel": kernel.tolist(), "bias": bias.tolist()})

  config = {"total_steps": TOTAL, "warmup_steps": WARMUP, "learning_rate": PEAK}
  config |= {"weight_decay": DECAY, "clip": CLIP, "b1": 0.9, "b2": 0.95, "eps": 1e-8}
  fixture = {"config": config, "start": start, "gradients": gradients, "path": path}
  pathlib.Path(__file__).with_name("adamw.json").write_text(json.dumps(fixture) + "\n")


if __name__ == "__main__":
  main()
