"""Random masks by sorting noise, as facebookresearch/mae does, restated."""


def masks(size):
  """Two sorts a mask: the order of the noise, and each patch's place in it."""
  import torch

  patches = size["side"] ** 2
  keep = kept(patches, size["ratio"])

  def run():
    order = torch.argsort(torch.rand(size["batch"], patches), dim=1)
    places = torch.argsort(order, dim=1)
    mask = torch.ones(size["batch"], patches)
    mask[:, :keep] = 0
    return order[:, :keep], torch.gather(mask, dim=1, index=places)

  return {"run": run, "times": size["times"]}


def kept(patches, ratio):
  """How many patches stay visible."""
  return int(patches * (1 - ratio))
