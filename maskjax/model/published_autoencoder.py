"""Published variational autoencoders, `AutoencoderKL` of diffusers, read from safetensors."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from safetensors import SafetensorError, safe_open

from maskjax.errors import BadInput

# Ours as it stands in a path, theirs; {level} is "down_blocks" or "up_blocks".
NAMES = (
  (r"^to_latent", "quant_conv"),
  (r"^from_latent", "post_quant_conv"),
  (r"\.first\.", ".conv_in."),
  (r"\.last\.", ".conv_out."),
  (r"coder\.norm\.", "coder.conv_norm_out."),
  (r"level_(\d+)_block_(\d+)", r"{level}.\1.resnets.\2"),
  (r"level_(\d+)_down", r"{level}.\1.downsamplers.0.conv"),
  (r"level_(\d+)_up", r"{level}.\1.upsamplers.0.conv"),
  (r"middle\.block_(\d+)", r"mid_block.resnets.\1"),
  (r"middle\.norm", "mid_block.attentions.0.group_norm"),
  (r"middle\.([qkv])\.", r"mid_block.attentions.0.to_\1."),
  (r"middle\.out", "mid_block.attentions.0.to_out.0"),
  (r"\.shortcut\.", ".conv_shortcut."),
  (r"\.(kernel|scale)$", ".weight"),
)
# As files from before 2023 have it.
OLDER = (("to_q", "query"), ("to_k", "key"), ("to_v", "value"), ("to_out.0", "proj_attn"))


def theirs(path: str) -> str:
  """The published name of one of our leaves, whose path is joined by slashes.

  >>> theirs("decoder/level_0_block_1/conv2/kernel")
  'decoder.up_blocks.0.resnets.1.conv2.weight'
  """
  name, level = path.replace("/", "."), "up_blocks" if path.startswith("decoder") else "down_blocks"
  for ours, published in NAMES:
    name = re.sub(ours, published, name)
  return name.format(level=level)


def load(path: str | os.PathLike[str], params: Mapping[str, Any]) -> dict[str, Any]:
  """The parameters of an `Autoencoder` from a file that has all of them, those of Stable Diffusion.

  Raises:
    BadInput: no safetensors file, a parameter that is not in it or has another shape.
  """
  path, filled = Path(path), {}
  try:
    with safe_open(path, framework="np") as file:
      tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
  except (OSError, SafetensorError) as error:
    raise BadInput(f"{path} is not a whole safetensors file: {error}") from error
  for ours, leaf in flatten_dict(params, sep="/").items():
    name = theirs(ours)
    for new, old in OLDER:
      name = name.replace(new, old) if name not in tensors else name
    if name not in tensors:
      raise BadInput(f"{path} has no {theirs(ours)}, which is {ours} of the autoencoder")
    value = tensors[name]
    if ours.endswith("kernel"):
      # [out, in, *space] to [*space, in, out]; old files have products as 1 x 1 convolutions.
      value = value.reshape(value.shape[: max(2, leaf.ndim)])
      value = np.moveaxis(value, (0, 1), (-1, -2))
    if value.shape != leaf.shape:
      raise BadInput(f"{path}: {name} has shape {value.shape}, {ours} {leaf.shape}")
    filled[ours] = jax.device_put(np.asarray(value, leaf.dtype))
  return unflatten_dict(filled, sep="/")
