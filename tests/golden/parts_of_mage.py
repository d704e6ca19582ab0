"""MAGE's public code where timm, its VQGAN and omegaconf are not: stand-ins, and its import."""

import sys
import types

from beside_theirs import stubs, timm
from torch import Tensor, nn


class Mlp(nn.Module):
  """Two dense layers with a GELU between them."""

  def __init__(self, in_features, hidden_features, act_layer, drop):
    super().__init__()
    self.fc1 = nn.Linear(in_features, hidden_features)
    self.fc2 = nn.Linear(hidden_features, in_features)
    self.act = act_layer()

  def forward(self, x):
    return self.fc2(self.act(self.fc1(x)))


class PatchEmbed(nn.Module):
  """Nothing that a forward pass uses."""

  places = 256

  def __init__(self, img_size, patch_size, in_chans, embed_dim):
    super().__init__()
    self.num_patches, self.proj = self.places, nn.Conv2d(in_chans, embed_dim, 1)


class VQModel(nn.Module):
  """Hands over the tokens that it is given as images."""

  def __init__(self, **_):
    super().__init__()

  def encode(self, x):
    return x[:, None], None, (None, None, x.clone())


def public(folder, codes):
  """The authors' `models_mage`, and the sizes of its VQGAN, whose `n_embed` is that many codes."""
  timm()
  stubs("timm.models.vision_transformer", PatchEmbed=PatchEmbed, DropPath=nn.Identity, Mlp=Mlp)
  stubs("taming", "taming.models")
  stubs("taming.models.vqgan", VQModel=VQModel)
  params = types.SimpleNamespace(ddconfig={}, n_embed=codes, embed_dim=4)
  load = lambda path: types.SimpleNamespace(model=types.SimpleNamespace(params=params))
  stubs("omegaconf", OmegaConf=types.SimpleNamespace(load=load))
  Tensor.cuda = lambda self, *_, **__: self
  sys.path.insert(0, str(folder))
  import models_mage

  return models_mage, params
