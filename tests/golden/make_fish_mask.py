"""Writes fish_mask.safetensors: importances and masks by the public code of FISH Mask.

The code is cifar10-fast/fisher.py of github.com/varunnair18/FISH, run as it is on a small network;
its data loader, which wants a GPU, is replaced by one that gives single examples in order.
Run with PyTorch 2.13: python tests/golden/make_fish_mask.py FISH/cifar10-fast
"""

import pathlib
import sys
import types

EXAMPLES, CLASSES, RATIO = 12, 3, 0.4


def main(folder):
  """Measures by labels of the data and of the model, and selects by the former."""
  import torch  # here, so that collecting doctests does not need it
  from safetensors.torch import save_file

  torch.manual_seed(0)
  images, labels = torch.randn(EXAMPLES, 2, 5, 4), torch.arange(EXAMPLES) % CLASSES

  class Network(torch.nn.Module):
    def __init__(self, named):
      super().__init__()
      self.conv = torch.nn.Conv2d(2, 4, 3, padding=1)
      self.fc = torch.nn.Linear(4, CLASSES)
      self.named = named  # by the label the code passes a dict, by the model bare images

    def forward(self, given):
      maps = torch.tanh(self.conv(given["input"] if self.named else given))
      logits = self.fc(maps.mean((2, 3)))
      return {"logits": logits, "target": given["target"]} if self.named else logits

  def loader(named):
    parts = zip(images.split(1), labels.split(1), strict=True)
    return [{"input": x, "target": y} if named else (x, y) for x, y in parts]

  stand_in = types.ModuleType("su_torch_backend")
  stand_in.DataLoader = lambda dataset, **_: dataset
  sys.modules["su_torch_backend"] = stand_in
  sys.path.insert(0, folder)
  import fisher

  by_label, by_model = Network(True), Network(False)
  by_model.load_state_dict(by_label.state_dict())
  data = fisher.calculate_the_importance_label(by_label, loader(True), EXAMPLES, "cpu", "square")
  model = fisher.calculate_the_importance_expect(by_model, loader(False), EXAMPLES, "cpu", "square")
  chosen = fisher.FisherMask(by_label, loader(True), EXAMPLES, RATIO, "label", "square")
  chosen.calculate_mask()
  tensors = {"images": images, "labels": labels}
  for (name, leaf), mask in zip(by_label.named_parameters(), chosen.mask, strict=True):
    tensors[f"params/{name}"] = leaf.detach()
    tensors[f"data/{name}"], tensors[f"model/{name}"] = data[name], model[name]
    tensors[f"mask/{name}"] = mask
  path = pathlib.Path(__file__).with_name("fish_mask.safetensors")
  save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
  print(f"{path}: {path.stat().st_size} bytes")


if __name__ == "__main__":
  main(sys.argv[1])
