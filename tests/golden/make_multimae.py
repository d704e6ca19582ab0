"""Writes multimae.safetensors: what the public code of MultiMAE shows of three modalities.

It runs `MultiMAE.generate_random_masks` of github.com/EPFL-VILAB/MultiMAE (multimae/multimae.py, at
commit 66910f5b5ba2) as it is, and keeps the noise that it drew. Needs torch and einops; its package
`utils` is not imported, only the name `register_model` that it takes from there.

  python tests/golden/make_multimae.py CHECKOUT

"draws/…": every mask of a few examples, with the shares, the permutation of each modality and the
second noise that led to it; position j is wanted where its number in the permutation is below the
wanted count. "counts/SETTING": of 100,000 examples of 196 patches a modality, 98 shown, by modality
the mean, the deviation, the quantiles at QUANTILES, the share with none and the covariance of
numbers shown.
"""

import pathlib
import sys
import types

import numpy as np

SIZES, KEEP = {"small": (16, 9, 20), "paper": (196, 196, 196)}, {"small": 12, "paper": 98}
BATCH = {"small": 32, "paper": 6}
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
SETTINGS = {
  "even": dict(alphas=1.0),
  "sparse": dict(alphas=0.2),
  "uneven": dict(alphas=[0.5, 1.0, 4.0]),
  "subsets": dict(alphas=1.0, sample_tasks_uniformly=True),
}
MANY, AT_ONCE = 100_000, 10_000


def public_code(checkout):
  """The class MultiMAE of a checkout, without its package `utils`."""
  utils, registry = types.ModuleType("utils"), types.ModuleType("utils.registry")
  registry.register_model = lambda model: model
  sys.modules.update({"utils": utils, "utils.registry": registry})
  sys.path.insert(0, checkout)
  from multimae.multimae import MultiMAE

  return MultiMAE


def main(checkout):
  """Runs the public code and stores what it did."""
  import torch
  from safetensors.numpy import save_file

  model = public_code(checkout)
  network = model.__new__(model)
  found = {}

  def masks(batch, sizes, keep, **setting):
    tokens = {str(i): torch.zeros(batch, n, 1) for i, n in enumerate(sizes)}
    return torch.cat(list(network.generate_random_masks(tokens, keep, **setting)[0].values()), 1)

  noise, drawn = [], []
  kept = dict(rand=torch.rand, rand_like=torch.rand_like)
  sample = torch.distributions.Dirichlet.sample

  def keeping(name, into):
    def call(*args, **kwargs):
      into.append(kept[name](*args, **kwargs))
      return into[-1]

    return call

  def shares(self, *args):
    drawn.append(sample(self, *args))
    return drawn[-1]

  torch.manual_seed(0)
  torch.rand, torch.rand_like = keeping("rand", noise), keeping("rand_like", noise)
  torch.distributions.Dirichlet.sample = shares
  for case, sizes in SIZES.items():
    noise.clear(), drawn.clear()
    hidden = masks(BATCH[case], sizes, KEEP[case], alphas=1.0)
    *order, rest = noise
    places = torch.cat([torch.argsort(x, dim=1) for x in order], 1)
    found |= {
      f"draws/{case}/shares": drawn[0].numpy(),
      f"draws/{case}/places": places.numpy().astype(np.uint8),
      f"draws/{case}/rest": rest.numpy(),
      f"draws/{case}/hidden": hidden.numpy().astype(bool),
    }
  torch.rand, torch.rand_like = kept["rand"], kept["rand_like"]
  torch.distributions.Dirichlet.sample = sample
  for name, setting in SETTINGS.items():
    parts = []
    for _ in range(MANY // AT_ONCE):
      hidden = masks(AT_ONCE, SIZES["paper"], KEEP["paper"], **setting)
      parts.append((hidden == 0).reshape(AT_ONCE, 3, 196).sum(-1).numpy())
    counts = np.concatenate(parts).astype(np.float64)
    found |= {
      f"counts/{name}/mean": counts.mean(0),
      f"counts/{name}/deviation": counts.std(0),
      f"counts/{name}/quantiles": np.quantile(counts, QUANTILES, axis=0),
      f"counts/{name}/none": (counts == 0).mean(0),
      f"counts/{name}/covariance": np.cov(counts.T),
    }
  save_file(found, pathlib.Path(__file__).with_name("multimae.safetensors"))


if __name__ == "__main__":
  main(*sys.argv[1:])
