"""Writes fmix.json: masks, mixed images and losses of FMix's public code, with the draws they used.

The code is github.com/ecs-vlc/FMix: its fmix.py and implementations/lightning.py are taken from a
checkout. Run with PyTorch 2.13 and scipy: python tests/golden/make_fmix.py CHECKOUT
"""

import json
import pathlib
import sys

DECAY = 3.0
CASES = [((32,), 0.4), ((8, 8), 0.3), ((12, 7), 0.75), ((6, 8, 4), 0.5)]


def case(public, loss, shape, share):
  """One mask, drawn and cut to its area by the code, and what the code does with it."""
  import numpy as np
  import torch

  rng = np.random.default_rng(len(shape))
  drawn, scaled = [], []

  def randn(*sizes):
    drawn.append(rng.normal(size=sizes).astype(np.float32))
    return drawn[-1]

  def get_spectrum(*args):
    scaled.append(plain(*args))
    return scaled[-1]

  plain, public.get_spectrum = public.get_spectrum, get_spectrum
  randoms = public.np.random.randn, public.random.random
  public.np.random.randn, public.random.random = randn, lambda: 0.0
  field = public.make_low_freq_image(DECAY, list(shape))[0]
  kept = public.binarise_mask(field.copy(), share, shape)[0]
  public.get_spectrum = plain
  public.np.random.randn, public.random.random = randoms
  images = rng.normal(size=(3, 2, *shape)).astype(np.float32)
  logits = rng.normal(size=(3, 5)).astype(np.float32)
  labels, index = np.array([0, 3, 4]), np.array([2, 0, 1])
  mixed = images * kept + images[index] * (1 - kept)
  cost = loss(torch.tensor(logits), torch.tensor(labels), torch.tensor(index), float(kept.mean()))
  # Of its draws the code keeps the first two rows, as real and imaginary parts.
  arrays = {"draws": drawn[0][0, :2], "spectrum": scaled[0][0, :2], "field": field, "kept": kept}
  arrays |= {"images": images, "mixed": mixed, "logits": logits, "labels": labels, "index": index}
  return {"shape": list(shape), "loss": float(cost), **{k: tolist(v) for k, v in arrays.items()}}


def tolist(x):
  """Nested lists, seven digits of each number."""
  import numpy as np

  x = np.asarray(x)
  short = np.vectorize(lambda value: float(f"{value:.7g}"))
  return (x if x.dtype.kind in "iu" else short(x)).tolist()


def main():
  """Runs the code of the checkout."""
  sys.path[:0] = [sys.argv[1], str(pathlib.Path(sys.argv[1]) / "implementations")]
  import fmix
  from lightning import fmix_loss

  rows = [case(fmix, fmix_loss, *one) for one in CASES]
  path = pathlib.Path(__file__).with_name("fmix.json")
  path.write_text("[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n")


if __name__ == "__main__":
  main()
