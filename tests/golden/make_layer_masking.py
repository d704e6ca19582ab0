"""Writes layer_masking.safetensors: what masked residual networks of the public code answer.

The code is sal_resnet.py and sal_layers.py of github.com/SriramB-98/layer_masking, run as it is on
narrow networks with drawn weights; torchvision, of which it takes a logger alone, is replaced. Its
basic blocks fail on masks, so that network is run without. The metadata hold the names and shapes
that torchvision's ResNet-18 and ResNet-50 have.
Run with PyTorch 2.13: python tests/golden/make_layer_masking.py layer_masking
"""

import json
import pathlib
import sys
import types

WIDTH, CLASSES = 2, 5
BLOCKS = {"basic": (2, 2, 2, 2), "bottleneck": (2, 1, 1, 1)}


def main(folder):
  """Answers of both networks, with nothing hidden, and of the bottlenecks with masks."""
  import torch  # here, so that collecting doctests does not need it
  from safetensors.torch import save_file

  stand_in = types.ModuleType("torchvision.utils")
  stand_in._log_api_usage_once = lambda module: None
  sys.modules["torchvision"] = types.ModuleType("torchvision")
  sys.modules["torchvision.utils"] = stand_in
  sys.path.insert(0, folder)
  import sal_resnet

  torch.manual_seed(0)
  images, hidden = torch.randn(5, 3, 46, 38), torch.zeros(5, 46, 38, dtype=torch.bool)
  hidden[1] = torch.rand(46, 38) < 0.3  # grains
  hidden[2, 8:36, 4:30] = True  # a hole wider than the stem sees
  hidden[3] = True
  hidden[3, 32, 32] = False  # all but a pixel
  hidden[4, :, :19] = True
  tensors = {"golden.images": images.permute(0, 2, 3, 1), "golden.hidden": hidden}
  for name, block in (("basic", sal_resnet.BasicBlock), ("bottleneck", sal_resnet.Bottleneck)):
    network = narrow(sal_resnet, block, BLOCKS[name]).eval()
    with torch.no_grad():
      draw(torch, network)
      tensors[f"golden.{name}.plain"] = network(images)
      if name == "bottleneck":
        seen = (~hidden[:, None]).float()
        tensors[f"golden.{name}.masked"] = network((images, seen, [100, 100]))
    tensors |= {f"{name}.{leaf}": x for leaf, x in network.state_dict().items()}
  shapes = lambda model: {name: list(x.shape) for name, x in model.state_dict().items()}
  whole = {depth: shapes(getattr(sal_resnet, f"resnet{depth}")()) for depth in (18, 50)}
  path = pathlib.Path(__file__).with_name("layer_masking.safetensors")
  arrays = {name: x.contiguous() for name, x in tensors.items()}
  save_file(arrays, path, metadata={str(k): json.dumps(v) for k, v in whole.items()})
  print(f"{path}: {path.stat().st_size} bytes")


def narrow(public, block, blocks):
  """The public network with WIDTH channels in its first stage."""
  import torch

  network = public.ResNet(block, [1, 1, 1, 1], num_classes=CLASSES)
  network.inplanes = WIDTH
  network.conv1 = public.MyConv2d(3, WIDTH, kernel_size=7, stride=2, padding=3, bias=False)
  network.bn1 = public.MyBatchNorm2d(WIDTH)
  for stage, count in enumerate(blocks):
    layer = network._make_layer(block, WIDTH * 2**stage, count, stride=2 if stage else 1)
    setattr(network, f"layer{stage + 1}", layer)
  network.fc = torch.nn.Linear(8 * WIDTH * block.expansion, CLASSES)
  return network


def draw(torch, network):
  """Numbers for all weights and statistics, such that signals neither vanish nor explode."""
  for name, x in network.state_dict().items():
    if not x.is_floating_point():
      continue
    if x.ndim > 1:
      x.copy_(torch.randn_like(x) * (1.5 / x[0].numel()) ** 0.5)
    elif name.endswith("running_var"):
      x.copy_(0.5 + torch.rand_like(x))
    else:
      x.copy_(0.2 * torch.randn_like(x) + float(name.endswith("weight")))


if __name__ == "__main__":
  main(sys.argv[1])
