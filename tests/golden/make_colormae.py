"""Makes colormae.json: windows of noise, and the patches that ColorMAE's public code hides there.

Run where torch is, with a clone of https://github.com/carlosh93/ColorMAE (commit f0ad557):
python tests/golden/make_colormae.py CLONE. Of its `models/utils/masking_generator.py` this runs the
normalisation and `ColorMasking.color_noise_mask`; torchvision and matplotlib, which these do not
use, are left out, and the windows are drawn here, as its noise is a download.
"""

import importlib.util
import json
import pathlib
import sys
import types

import numpy as np

CASES = [(14, 0.75), (14, 0.6), (7, 0.75)]


def public(clone):
  """The public module, its unused imports empty."""
  for name in ("torchvision", "matplotlib"):
    sys.modules[name] = types.ModuleType(name)
  sys.modules["torchvision"].io = sys.modules["torchvision"].transforms = None
  sys.modules["matplotlib.pyplot"] = types.ModuleType("pyplot")
  path = pathlib.Path(clone) / "models" / "utils" / "masking_generator.py"
  spec = importlib.util.spec_from_file_location("masking_generator", path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


def main(clone):
  """Two windows of every case, of 14 x 14 or 7 x 7 patches, in [0, 1) as the published noise."""
  import torch  # here, so that collecting doctests needs none

  code, rng, rows = public(clone), np.random.default_rng(0), []
  for side, ratio in CASES:
    noise = rng.permuted(np.tile(np.arange(1, side**2 + 1), (2, 1)), axis=1)
    windows = torch.tensor(noise / (side**2 + 1)).reshape(2, side, side)
    masking = code.ColorMasking.__new__(code.ColorMasking)
    masking.mask_ratio, masking.device = ratio, "cpu"
    mask, _, _ = masking.color_noise_mask(code.NormalizeBySliceMax()(windows))
    hidden = [np.flatnonzero(row).tolist() for row in mask.numpy()]
    rows += [
      {"side": side, "ratio": ratio, "noise": values, "hidden": where}
      for values, where in zip(noise.tolist(), hidden, strict=True)
    ]
  text = ",\n".join(map(json.dumps, rows))
  pathlib.Path(__file__).with_name("colormae.json").write_text(f"[\n{text}\n]\n")


if __name__ == "__main__":
  main(sys.argv[1])
