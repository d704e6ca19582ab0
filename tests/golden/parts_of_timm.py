"""What authors' code takes from timm 0.3.2: the patch embedding and the pre-norm block."""

from torch import nn


class PatchEmbed(nn.Module):
  """A convolution whose windows are the patches."""

  def __init__(self, img_size, patch_size, in_chans, embed_dim):
    super().__init__()
    self.patch_size, self.num_patches = (patch_size,) * 2, (img_size // patch_size) ** 2
    self.proj = nn.Conv2d(in_chans, embed_dim, patch_size, patch_size)

  def forward(self, x):
    return self.proj(x).flatten(2).transpose(1, 2)


class Attention(nn.Module):
  def __init__(self, dim, heads):
    super().__init__()
    self.heads, self.qkv, self.proj = heads, nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)

  def forward(self, x):
    b, n, d = x.shape
    q, k, v = self.qkv(x).reshape(b, n, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
    weight = (q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5).softmax(-1)
    return self.proj((weight @ v).transpose(1, 2).reshape(b, n, d))


class Block(nn.Module):
  def __init__(self, dim, heads, mlp_ratio, norm_layer, **_):
    super().__init__()
    self.norm1, self.attn, self.norm2 = norm_layer(dim), Attention(dim, heads), norm_layer(dim)
    wide = int(dim * mlp_ratio)
    self.mlp = nn.ModuleDict({"fc1": nn.Linear(dim, wide), "fc2": nn.Linear(wide, dim)})

  def forward(self, x):
    x = x + self.attn(self.norm1(x))
    hidden = nn.functional.gelu(self.mlp["fc1"](self.norm2(x)))
    return x + self.mlp["fc2"](hidden)


def add_weight_decay(model, weight_decay):
  """Groups for an optimizer: vectors and biases do not decay."""
  groups = ([], [])
  for name, parameter in model.named_parameters():
    if parameter.requires_grad:
      groups[parameter.ndim == 1 or name.endswith(".bias")].append(parameter)
  return [
    {"params": group, "weight_decay": d}
    for group, d in zip(groups, (weight_decay, 0.0), strict=True)
  ]
