"""Writes preact.json: logits of the pre-activation ResNet of FMix's public code.

The code is models/resnet.py of github.com/ecs-vlc/FMix at e5991dc, taken from a checkout. Its
network has two stages here, of 4 and 8 channels, in evaluation. Run with PyTorch 2.13:
python tests/golden/make_preact.py CHECKOUT
"""

import json
import pathlib
import sys

import numpy as np

WIDTH, CLASSES, SHAPE = 4, 5, (2, 12, 8, 3)


def filled(name, shape):
  """Numbers for the leaf `name` of maskjax's tree, or for the images."""
  n, start = int(np.prod(shape)), sum(map(ord, name))
  wave = np.sin(np.arange(n) * 1.7 + start).reshape(shape).astype(np.float32)
  return {"scale": 1 + wave / 4, "var": np.exp(wave / 4)}.get(name.split("/")[-1], wave / 2)


def ours(name):
  """The name of a parameter or statistic of the code in maskjax's tree."""
  *path, leaf = name.split(".")
  norm = "bn" in path[-1]
  known = {"weight": "scale" if norm else "kernel", "running_mean": "mean", "running_var": "var"}
  leaf = known.get(leaf, leaf)
  if path[0] == "linear":
    return f"head/{leaf}"
  if path[0] in ("conv1", "bn1"):
    return f"encoder/embed{'_norm' * norm}/{leaf}"
  block = 2 * (int(path[0][-1]) - 1) + int(path[1])
  part = path[2].replace("bn", "norm")
  return f"encoder/block_{block:02d}/{part}/{leaf}"


def main():
  """Runs the code of the checkout."""
  import torch  # here, so that the test that fills leaves does not need it

  sys.path.insert(0, str(pathlib.Path(sys.argv[1]) / "models"))
  import resnet

  network = resnet.ResNet(resnet.PreActBlock, [2, 1, 1, 1], num_classes=CLASSES)
  network.in_planes = WIDTH
  network.conv1, network.bn1 = resnet.conv3x3(3, WIDTH), torch.nn.BatchNorm2d(WIDTH)
  network.layer1 = network._make_layer(resnet.PreActBlock, WIDTH, 2, stride=1)
  network.layer2 = network._make_layer(resnet.PreActBlock, 2 * WIDTH, 1, stride=2)
  network.layer3 = network.layer4 = torch.nn.Sequential()
  network.linear = torch.nn.Linear(2 * WIDTH, CLASSES)
  state = network.state_dict()
  for name, tensor in state.items():
    if tensor.ndim:
      shape = np.array(tensor.shape)
      kernel = {4: (2, 3, 1, 0), 2: (1, 0)}.get(tensor.ndim)
      order = kernel or tuple(range(tensor.ndim))
      values = filled(ours(name), tuple(shape[list(order)]))
      tensor.copy_(torch.tensor(values.transpose(np.argsort(order))))
  images = torch.tensor(filled("images", SHAPE)).permute(0, 3, 1, 2)
  with torch.no_grad():
    logits = network.eval()(images)
  path = pathlib.Path(__file__).with_name("preact.json")
  path.write_text(json.dumps({"logits": logits.tolist()}) + "\n")


if __name__ == "__main__":
  main()
