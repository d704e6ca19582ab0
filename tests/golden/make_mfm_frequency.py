"""Makes mfm_frequency.json: low bands, shown images, losses and a gradient of MFM's public code.

Run where torch is, with a clone of https://github.com/Jiahao000/MFM (commit c9194b1):
python tests/golden/make_mfm_frequency.py CLONE. Of it this runs `FreqMaskGenerator` and the forward
pass of `MFM`, whose encoder is the identity and whose decoder a product of channels; timm and
torchvision, which these hardly use, are left out.
"""

import json
import pathlib
import sys
import types

import numpy as np

SHAPE, MEAN, STD = (2, 3, 8, 12), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
KERNEL = np.array([[0.5, 0.1, -0.2], [0.0, 0.7, 0.3], [0.2, -0.1, 0.4]], np.float32)
SIDES = [(32, 2.29), (28, 2.0)]  # and a radius, in cycles an image


def images():
  """Images in [0, 1], from a closed formula."""
  at = np.arange(np.prod(SHAPE))
  return (0.5 + 0.5 * np.sin(0.7 * at + 0.01 * at**1.5)).reshape(SHAPE).astype(np.float32)


def low_band():
  """The low frequencies of an image that is no square, centred, as the public rule has them."""
  h, w = SHAPE[2:]
  y, x = np.mgrid[:h, :w]
  return ((y - h // 2) / h) ** 2 + ((x - w // 2) / w) ** 2 < 0.2**2


def normalize(mean, std):
  """What torchvision's Normalize does."""
  return lambda x: (x - x.new_tensor(mean)[:, None, None]) / x.new_tensor(std)[:, None, None]


def public(clone):
  """The public modules, what they import from timm and torchvision empty."""
  import torch
  from torch import nn

  sys.path.insert(0, clone)
  empty = {}
  for name in ("timm", "timm.data", "timm.data.transforms", "timm.models", "timm.models.layers",
               "timm.models.resnet", "torchvision", "torchvision.transforms",
               "torchvision.datasets", "cv2", "data.random_degradations", "data.data_finetune",
               "models.swin_transformer", "models.vision_transformer", "models.utils"):  # fmt: skip
    empty[name] = types.ModuleType(name)
    empty[name].__getattr__ = lambda attribute: type(attribute, (nn.Module,), {})
  empty["timm.data"].IMAGENET_DEFAULT_MEAN, empty["timm.data"].IMAGENET_DEFAULT_STD = MEAN, STD
  empty["torchvision.transforms"].Normalize = normalize
  empty["torchvision"].transforms = empty["torchvision.transforms"]
  for package in ("data", "models"):
    empty[package] = types.ModuleType(package)
    empty[package].__path__ = [str(pathlib.Path(clone) / package)]
  sys.modules.update(empty)
  torch.nn.Module.cuda = lambda self: self
  from data.data_mfm import FreqMaskGenerator
  from models.mfm import MFM

  return FreqMaskGenerator, MFM


class Section(dict):
  """A section of a config, by attributes."""

  __getattr__ = dict.__getitem__


def main(clone):
  """Two images, of the first the low band is hidden, of the second the high one."""
  import torch
  from torch import nn

  masks, mfm = public(clone)
  bands = []
  for side, radius in SIDES:
    mask = masks(input_size=side, mask_radius1=radius).mask
    bands.append({"side": side, "radius": radius, "low": np.flatnonzero(mask).tolist()})
  loss = Section(LOSS_GAMMA=1.0, MATRIX_GAMMA=1.0, PATCH_FACTOR=1, AVE_SPECTRUM=False,
                 WITH_MATRIX=False, LOG_MATRIX=False, BATCH_MATRIX=False)  # fmt: skip
  data = Section(FILTER_TYPE="mfm", MASK_RADIUS1=16, MASK_RADIUS2=999)
  model = Section(RECOVER_TARGET_TYPE="masked", FREQ_LOSS=loss, TYPE="vit")
  shown = []

  class Encoder(nn.Module):
    in_chans, patch_size = 3, 4

    def forward(self, x, corrupted):
      shown.append(corrupted)
      return corrupted

  decoder = nn.Conv2d(3, 3, 1, bias=False)
  decoder.weight.data = torch.tensor(KERNEL)[:, :, None, None]
  network = mfm(Encoder(), 4, decoder, Section(DATA=data, MODEL=model))
  keep = torch.tensor(np.stack([~low_band(), low_band()]).astype(int))
  found = network(torch.tensor(images()), mask=keep)
  found.backward()
  row = {
    "bands": bands,
    "shown": np.round(shown[0][:, :, ::3, ::2].numpy().astype(float), 6).tolist(),
    "loss": found.item(),
    "gradient": decoder.weight.grad[:, :, 0, 0].tolist(),
  }
  pathlib.Path(__file__).with_name("mfm_frequency.json").write_text(json.dumps(row) + "\n")


if __name__ == "__main__":
  main(sys.argv[1])
