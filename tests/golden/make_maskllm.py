"""Writes maskllm.safetensors: priors, sampled masks and their gradients by MaskLLM's public code.

The code is github.com/NVlabs/MaskLLM: learnable_sparsity/differentiable_mask.py, the magnitude of
tasks/pruning/sparsity/core.py and the Wanda statistic of tasks/pruning/layerwrapper.py, run as they
are on the CPU; modules of Megatron, which they import, are stand-ins. Gumbel noise is drawn again
from the same state of PyTorch's generator.
Run with PyTorch 2.13: python tests/golden/make_maskllm.py MaskLLM
"""

import argparse
import importlib.util
import pathlib
import sys
import types

OUT, IN, TOTAL, STEPS = 6, 16, 2000, (0, 700, 1990)
REWARD = 1e-2


class StandIn(types.ModuleType):
  """A module in which every name is an empty class."""

  __path__: list[str] = []  # noqa: RUF012

  def __getattr__(self, name):
    if name.startswith("__"):
      raise AttributeError(name)
    return type(name, (), {})


def megatron(torch, args):
  """Puts the stand-ins where the public code looks for Megatron."""
  core = "tensor_parallel.layers tensor_parallel.utils model_parallel_config parallel_state"
  core = [*core.split(), "transformer.utils", "tensor_parallel.mappings"]
  names = [
    "megatron",
    "megatron.core",
    "megatron.core.tensor_parallel",
    "megatron.core.transformer",
  ]
  names += [*(f"megatron.core.{name}" for name in core), "megatron.model", "megatron.model.utils"]
  for name in names:
    sys.modules[name] = StandIn(name)
  sys.modules["megatron"].get_args = lambda: args
  sys.modules["megatron"].print_rank_0 = lambda *_: None
  layers = sys.modules["megatron.core.tensor_parallel.layers"]
  layers._initialize_affine_weight_gpu = lambda weight, method, **_: method(weight)
  torch.cuda.current_device = lambda: "cpu"


def load(folder, path):
  """A file of the public code as a module."""
  spec = importlib.util.spec_from_file_location(pathlib.Path(path).stem, f"{folder}/{path}")
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


def main(folder):
  """Draws a layer and runs its prior, its masks at some steps, and both one-shot criteria."""
  import torch  # here, so that collecting doctests does not need it
  from safetensors.torch import save_file

  args = argparse.Namespace(iteration=0, train_iters=TOTAL, update_weight=False)
  megatron(torch, args)
  public = load(folder, "learnable_sparsity/differentiable_mask.py")
  torch.manual_seed(0)
  layer = types.SimpleNamespace(weight=torch.nn.Parameter(torch.randn(OUT, IN)))
  slope = torch.randn(OUT, IN)
  out = {"weight": layer.weight.detach().clone(), "slope": slope}

  load(folder, "tasks/pruning/sparsity/core.py").MagnitudePruner(args, "", layer).prune()
  out["magnitude"] = layer.mask
  layer.diff_mask = mask = public.DifferentiableMask(
    layer.weight, temperature=[4, 0.05], scale_multiplier=[1e2, 5e2]
  )
  out["noise"] = mask.gate.detach().clone()
  layer.mask = layer.mask.float()
  public.ColumnParallelLinearSparse.init_diff_mask_from_prior(layer, 3.0)
  out["logits"] = mask.gate.detach().clone()

  for step in STEPS:
    args.iteration = step
    torch.manual_seed(step)
    mask.gate.grad = None
    soft = mask()
    seen = layer.weight.detach() * soft
    (torch.sum(seen * slope) - REWARD * (1 - step / TOTAL) * seen.pow(2).sum()).backward()
    torch.manual_seed(step)
    gumbel = -torch.empty_like(mask.gate).exponential_().log()
    out |= {f"{step}/gumbel": gumbel, f"{step}/soft": soft, f"{step}/gradient": mask.gate.grad}
  out["hard"] = mask.eval()()

  wrapped = load(folder, "tasks/pruning/layerwrapper.py").WrappedGPT(torch.nn.Linear(IN, OUT))
  out["inputs"] = torch.randn(5, 3, IN) * torch.rand(IN)
  for example in out["inputs"]:
    wrapped.add_batch(example[None], None)
  out["norms"] = wrapped.scaler_row.sqrt()

  path = pathlib.Path(__file__).with_name("maskllm.safetensors")
  save_file({name: x.detach().clone().contiguous() for name, x in out.items()}, path)
  print(f"{path}: {path.stat().st_size} bytes")


if __name__ == "__main__":
  main(sys.argv[1])
