"""Writes adamae.safetensors: a training step of AdaMAE's public code on a tiny model.

The code is github.com/wgcban/adamae: models/pretrain/vit.py and msc/engine_for_pretraining.py are
run as they are, in a checkout, with stand-ins for what they import beside PyTorch and einops and
do not need here. Dropout is off. Run with PyTorch 2.13: python tests/golden/make_adamae.py CHECKOUT
"""

import pathlib
import sys
import types

SIZES = dict(img_size=8, patch_size=4, encoder_embed_dim=16, encoder_depth=1, encoder_num_heads=2)
SIZES |= dict(decoder_num_classes=96, decoder_embed_dim=12, decoder_depth=1, decoder_num_heads=3)
GRADIENTS = (
  "encoder.patch_embed.proj.weight",
  "encoder.pos_embed_probs",
  "encoder.get_token_probs.0.attn.qkv.weight",
  "encoder.get_token_probs.0.mlp.fc1.weight",
  "encoder.get_token_probs.1.weight",
  "decoder.head.weight",
)


class Anything(types.ModuleType):
  """Stands in for a module, and for whatever is asked of it."""

  def __getattr__(self, name):
    """Another one."""
    if name.startswith("__"):
      raise AttributeError(name)
    return Anything(name)

  def __call__(self, *args, **kwargs):
    """What it is given first, as a decorator would."""
    return args[0] if args else self


def stand_in():
  """Makes imports work that the step does not need, or that newer versions have elsewhere."""
  names = "timm timm.models timm.models.layers timm.models.registry timm.data timm.data.constants"
  names += " timm.utils torch._six tensorboardX scipy scipy.io"
  for name in names.split():
    sys.modules[name] = Anything(name)
  layers = sys.modules["timm.models.layers"]
  layers.to_2tuple = lambda size: (size, size)
  constants = sys.modules["timm.data.constants"]
  constants.IMAGENET_DEFAULT_MEAN = (0.485, 0.456, 0.406)
  constants.IMAGENET_DEFAULT_STD = (0.229, 0.224, 0.225)


class Scaler:
  """In place of the loss scaler: takes the gradient, and leaves the weights as they are."""

  def __call__(self, loss, optimizer, parameters, **kwargs):
    """Differentiates."""
    self.loss = float(loss)
    loss.backward()

  def state_dict(self):
    """What is logged."""
    return {"scale": 1.0}


def main():
  """Runs one step of the checkout's code."""
  import torch
  from safetensors.torch import save_file

  sys.path.insert(0, sys.argv[1])
  stand_in()

  torch.cuda.synchronize = lambda: None
  sys.modules["torch._six"].inf = float("inf")
  from functools import partial

  from models.pretrain.vit import PretrainVisionTransformer
  from msc.engine_for_pretraining import train_one_epoch

  torch.manual_seed(0)
  norm = partial(torch.nn.LayerNorm, eps=1e-6)
  model = PretrainVisionTransformer(**SIZES, qkv_bias=True, norm_layer=norm, mask_ratio=0.75)
  with torch.no_grad():
    for parameter in model.parameters():
      parameter.add_(0.1 * torch.randn_like(parameter))
  # The step puts the model into training mode, in which the sampler's block would drop.
  for module in model.modules():
    if isinstance(module, torch.nn.Dropout):
      module.p = 0.0
  weights = {name: value.clone() for name, value in model.state_dict().items()}
  video = torch.randn(2, 3, 16, 8, 8)
  seen = []
  model.register_forward_hook(lambda module, inputs, outputs: seen.append(outputs))
  scaler, optimizer = Scaler(), torch.optim.SGD(model.parameters(), lr=0.0)
  logged = train_one_epoch(
    model, [(video, None)], optimizer, "cpu", 0, scaler, patch_size=4, start_steps=0,
    log_writer=(log := Log()),
  )  # fmt: skip
  assert logged["loss"] == scaler.loss
  arrays = {f"weights/{name}": value for name, value in weights.items()}
  arrays |= {"encoder_positions": model.encoder.pos_embed[0], "positions": model.pos_embed[0]}
  arrays |= {"video": video.permute(0, 2, 3, 4, 1), "chance": seen[0][1], "hidden": seen[0][2]}
  arrays |= {name: torch.tensor(value) for name, value in log.kept.items()}
  slopes = dict(model.named_parameters())
  arrays |= {f"gradients/{name}": slopes[name].grad for name in GRADIENTS}
  path = pathlib.Path(__file__).with_name("adamae.safetensors")
  save_file({name: value.detach().contiguous() for name, value in arrays.items()}, path)


class Log:
  """Keeps what the step logs."""

  def __init__(self):
    self.kept = {}

  def update(self, head="", **values):
    """Keeps the losses."""
    self.kept |= values if head == "loss" else {}

  def set_step(self):
    """Ends a step."""


if __name__ == "__main__":
  main()
