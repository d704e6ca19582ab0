"""ColorMAE beside its authors' masks in MAE's code: what beside_mae.py says.

The masks are those of github.com/carlosh93/ColorMAE at f0ad557, `ColorMasking.color_noise_mask` of
given windows. The rest of it is MMPretrain's port of MAE, in whose place stands MAE's own code, at
efb2a80; what decays is an oracle from MMPretrain's config of MAE, the schedule MAE's.
Run: python tests/golden/beside_colormae.py CHECKOUT_OF_MAE CHECKOUT
"""

import sys

import beside
import beside_mae
import torch


def public(folder):
  """The authors' masks of given noise; downloads of noise are not needed."""
  from make_colormae import public

  code = public(folder)

  def masking(noise, x, ratio):
    masks = code.ColorMasking.__new__(code.ColorMasking)
    masks.mask_ratio, masks.device = ratio, "cpu"
    # Strong values stay: what MAE's code, and ours, hides first are large ones.
    windows = code.NormalizeBySliceMax()(1 - noise.reshape(-1, *beside_mae.GRID))
    mask, restore, keep = masks.color_noise_mask(windows)
    return torch.gather(x, 1, keep[..., None].expand(-1, -1, x.shape[-1])), mask, restore

  return masking


def groups(model, weight_decay):
  """Biases, norms, tokens and tables of positions do not decay."""
  parts = ([], [])
  for name, parameter in model.named_parameters():
    if parameter.requires_grad:
      still = any(key in name for key in ("norm", "bias", "pos_embed", "mask_token", "cls_token"))
      parts[still].append(parameter)
  return [
    {"params": parts[0], "weight_decay": weight_decay},
    {"params": parts[1], "weight_decay": 0},
  ]


if __name__ == "__main__":
  beside.stubs("torchvision", "matplotlib")
  own = dict(masking=public(sys.argv[2]), groups=groups, size="base", epochs=300)
  names = "carlosh93/ColorMAE@f0ad557 (masks), facebookresearch/mae@efb2a80, decay: oracle"
  beside_mae.main(sys.argv[1], "colormae", names, **own)
