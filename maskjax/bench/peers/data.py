"""PyTorch's DataLoader over PIL images, with the transforms of torchvision restated."""

import functools
import io
import math
import os
import pathlib
import random
import time
import zipfile

import numpy as np

AREA, ASPECT = (0.2, 1.0), (3 / 4, 4 / 3)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Images:
  """Images of a folder or a zip without end, each decoded when asked for."""

  def __init__(self, kind, path, side):
    self.kind, self.path, self.side = kind, path, side
    if kind == "zip":
      names = zipfile.ZipFile(path).namelist()
      trained = [name for name in names if "train/" in name]
      self.names = [name for name in trained if name.endswith((".jpg", ".png"))]
    else:
      self.names = sorted(map(str, pathlib.Path(path, "train").rglob("*.jpg")))

  def __len__(self):
    """More than will be asked for."""
    return 1 << 40

  def __getitem__(self, index):
    """The transformed image at some place of the split."""
    from PIL import Image

    name = self.names[index * 7919 % len(self.names)]
    if self.kind == "zip":
      data = archive(self.path, os.getpid()).read(name)
    else:
      data = pathlib.Path(name).read_bytes()
    with Image.open(io.BytesIO(data)) as image:
      return transform(image.convert("RGB"), self.side)


@functools.cache
def archive(path, process):
  """The zip, open once in each process."""
  return zipfile.ZipFile(path)


def transform(image, side):
  """RandomResizedCrop (bicubic), RandomHorizontalFlip, ToTensor and Normalize."""
  import torch
  from PIL import Image

  box = crop(*image.size)
  image = image.crop(box).resize((side, side), Image.Resampling.BICUBIC)
  if random.random() < 0.5:
    image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
  pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()
  tensor = pixels.to(torch.float32).div_(255)
  mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (MEAN, STD))
  return tensor.sub_(mean).div_(std)


def crop(width, height):
  """A box (left, top, right, bottom) of random area and aspect; the whole after ten tries."""
  for _ in range(10):
    area = random.uniform(*AREA) * width * height
    aspect = math.exp(random.uniform(*map(math.log, ASPECT)))
    w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
    if 0 < w <= width and 0 < h <= height:
      left, top = random.randint(0, width - w), random.randint(0, height - h)
      return left, top, left + w, top + h
  return 0, 0, width, height


def loader(size):
  """As many worker processes as there are cores, unless `workers` says."""
  import PIL  # noqa: F401  a missing package is told before workers start
  import torch

  kind = size["kind"]
  images = Images(kind, size[kind], size[f"{kind}_side"])
  workers = size["workers"] or len(os.sched_getaffinity(0))
  made = torch.utils.data.DataLoader(images, batch_size=size["batch"], num_workers=workers)
  stream, batches = iter(made), size[f"{kind}_batches"]

  def before():
    time.sleep(size["pause"])
    for _ in range(size["drain"]):
      next(stream)

  def run():
    began = time.perf_counter()
    for _ in range(batches):
      next(stream)
    return (time.perf_counter() - began) / (batches * size["batch"])

  return {"run": run, "before": before}
