"""Makes multiblock.safetensors: the blocks that the code of I-JEPA draws, and the numbers for it.

Run as `python tests/golden/make_multiblock.py FOLDER`, where torch is and FOLDER is a checkout of
github.com/facebookresearch/ijepa at 52c1ae9: its `src.masks.multiblock.MaskCollator` is imported
and run unchanged, but for where its random numbers come from, which are stored beside what it makes
of them. Corners come as so many hundredths of their range; when it lets go of a target it is given
the same corners of the context again. Its models are counted, too.
"""

import logging
import pathlib
import sys

import torch
from safetensors.torch import save_file

sys.path.insert(0, sys.argv[1])
from src.helper import init_model
from src.masks import multiblock

logging.disable(logging.CRITICAL)
TARGETS, TRIES, EXAMPLES = 4, 20, 24
REAL = torch.rand, torch.randint


class Numbers:
  """Stands in for torch's generators: gives the stored numbers, one after another."""

  def __init__(self, sizes, corners, tries):
    self.sizes, self.fixed, self.tries, self.tried = list(sizes), list(corners.flatten()), tries, 0

  def rand(self, *_, **__):
    return torch.tensor([self.sizes.pop(0)])

  def randint(self, low, high, size):
    if self.fixed:
      number = self.fixed.pop(0)
    else:
      number = self.tries.flatten()[self.tried % self.tries.numel()]
      self.tried += 1
    return torch.tensor([min(int(float(number) * (high - low)), high - low - 1)]) + low


def sample(collator, sizes, corners, tries):
  """The masks of one image: four targets, and what the context sees."""
  numbers = Numbers(sizes, corners, tries)
  torch.rand, torch.randint = numbers.rand, numbers.randint
  try:
    _, seen, asked = collator([torch.zeros(1)])
  finally:
    torch.rand, torch.randint = REAL
  masks = torch.zeros(1 + TARGETS, collator.height * collator.width, dtype=torch.uint8)
  for mask, index in zip(masks, [seen[0][0], *(target[0] for target in asked)], strict=True):
    mask[index] = 1
  return masks, numbers.tried


golden = {}
torch.manual_seed(0)
# Two of the paper's grids; one so small that targets leave too little, and are let go of.
CASES = {"14x14": (14, 10), "16x16": (16, 10), "8x8": (8, 10)}
for name, (side, least) in CASES.items():
  few = (0.15, 0.2) if side > 8 else (0.2, 0.3)
  collator = multiblock.MaskCollator(
    input_size=side, patch_size=1, enc_mask_scale=(0.85, 1.0), pred_mask_scale=few,
    aspect_ratio=(0.75, 1.5), nenc=1, npred=TARGETS, min_keep=least,
  )  # fmt: skip
  sizes = REAL[0](EXAMPLES, 2)
  hundredths = lambda *shape: (REAL[1](0, 100, shape) + 0.5) / 100
  corners, tries = hundredths(EXAMPLES, TARGETS, 2), hundredths(EXAMPLES, TRIES, 2)
  drawn = [sample(collator, *given) for given in zip(sizes.tolist(), corners, tries, strict=True)]
  golden[f"{name}.masks"] = torch.stack([masks for masks, _ in drawn])
  golden[f"{name}.tried"] = torch.tensor([tried // 2 for _, tried in drawn])
  # Every size along the range, the context's too.
  steps = (torch.arange(400) + 0.5) / 400
  size = []
  for scale, aspect in ((few, (0.75, 1.5)), ((0.85, 1.0), (1.0, 1.0))):
    for u in steps.tolist():
      torch.rand = lambda *_, u=u, **__: torch.tensor([u])
      size.append(collator._sample_block_size(None, scale, aspect))
      torch.rand = REAL[0]
  golden[f"{name}.sizes"] = torch.tensor(size, dtype=torch.int32).reshape(2, len(steps), 2)
  golden |= {f"{name}.{k}": v for k, v in dict(u=sizes, corners=corners, tries=tries).items()}

# What is trained of ViT-H/14 and its predictor.
models = init_model("cpu", 14, "vit_huge", 224, 12, 384)
trained = [sum(p.numel() for p in m.parameters() if p.requires_grad) for m in models]
golden["parameters_of_huge"] = torch.tensor(trained)
path = pathlib.Path(__file__).with_name("multiblock.safetensors")
save_file({k: v.contiguous() for k, v in golden.items()}, path, metadata={"format": "pt"})
