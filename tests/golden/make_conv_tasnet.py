"""Writes conv_tasnet.safetensors: what public PyTorch code makes of Conv-TasNet and its loss.

The network is `torchaudio.models.ConvTasNet` (torchaudio 2.11.0, src/torchaudio/models/
conv_tasnet.py of github.com/pytorch/audio; its file alone is loaded, as nothing else is needed),
with small sizes and weights drawn by numpy; it has no causal mode. The loss is `cal_loss` of
src/pit_criterion.py of github.com/kaituoxu/Conv-TasNet. Run where torch and safetensors are:
python tests/golden/make_conv_tasnet.py CONV_TASNET.PY PIT_CRITERION.PY
"""

import importlib.util
import pathlib
import sys

import numpy as np

SIZES = dict(
  num_sources=3,
  enc_kernel_size=8,
  enc_num_feats=10,
  msk_kernel_size=3,
  msk_num_feats=6,
  msk_num_hidden_feats=12,
  msk_num_layers=3,
  msk_num_stacks=2,
)


def load(path: str):
  """The module in a file, by itself."""
  spec = importlib.util.spec_from_file_location(pathlib.Path(path).stem, path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


def main(network: str, criterion: str) -> None:
  """Runs both and writes their inputs, weights and outputs."""
  import torch  # here, so that collecting doctests needs none
  from safetensors.numpy import save_file

  rng = np.random.default_rng(0)
  model = load(network).ConvTasNet(**SIZES)
  names, shapes = zip(*((n, tuple(p.shape)) for n, p in model.named_parameters()), strict=True)
  weights = {
    n: rng.normal(0, 0.4, s).astype(np.float32) for n, s in zip(names, shapes, strict=True)
  }
  model.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
  mixture = rng.normal(size=(2, 1, 101)).astype(np.float32)
  with torch.no_grad():
    estimates = model(torch.from_numpy(mixture)).numpy()
  full = sum(p.numel() for p in load(network).ConvTasNet().parameters())

  sources = rng.normal(size=(4, 3, 50)).astype(np.float32)
  mixing = rng.normal(size=(4, 3, 3)).astype(np.float32)
  guesses = (mixing @ sources + 0.3 * rng.normal(size=sources.shape)).astype(np.float32)
  lengths = torch.full((4,), 50)
  loss, best, _, ordered = load(criterion).cal_loss(
    torch.from_numpy(sources), torch.from_numpy(guesses.copy()), lengths
  )
  arrays = {f"weights/{name}": value for name, value in weights.items()}
  arrays |= {"mixture": mixture[:, 0], "estimates": estimates, "parameters": np.array(full)}
  arrays |= {
    "sources": sources,
    "guesses": guesses,
    "loss": loss.numpy(),
    "best": best.numpy()[:, 0],
  }
  arrays |= {"ordered": ordered.numpy()}
  place = pathlib.Path(__file__).with_name("conv_tasnet.safetensors")
  save_file({name: np.ascontiguousarray(value) for name, value in arrays.items()}, place)
  print(place, place.stat().st_size, "bytes", full, "parameters")


if __name__ == "__main__":
  main(*sys.argv[1:])
