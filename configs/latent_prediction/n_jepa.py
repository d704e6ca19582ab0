r"""N-JEPA (Qiu et al., 2025)"""

import pathlib

from ml_collections import ConfigDict

from maskjax import lab

ijepa = lab.load(pathlib.Path(__file__).with_name("ijepa.py"))

NOTE = dict(
  id="n_jepa",
  family="latent_prediction",
  title="Improving Joint Embedding Predictive Architecture with Diffusion Noise",
  claim="better than I-JEPA on ImageNet-1k; the abstract gives no figures",
  measured="not measured",
  citation="Qiu, Zhu, Chen. 2025. arXiv:2507.15216",
  scale=ijepa.NOTE["scale"],
)


def get_config(arg: str | None = None) -> ConfigDict:
  """I-JEPA with noise on the positions that mask tokens are told, or a preset of it."""
  c = ijepa.get_config()
  noisy(c)
  return lab.finish(c, arg, PRESETS)


def noisy(c: ConfigDict) -> None:
  """The positions of every target block fade into noise, by a level of its own."""
  c.hide = dict(fn="noise", alpha=dict(fn="cosine", start=1.0, end=0.0, by="example"))


def laptop(c: ConfigDict) -> None:
  """A small ViT/4 on 5,000 images of CIFAR-10, 8 x 8 patches, three seeds."""
  ijepa.laptop(c)


def smoke(c: ConfigDict) -> None:
  """Two steps on digits: everything runs, nothing is learned."""
  ijepa.smoke(c)


PRESETS = {"laptop": laptop, "smoke": smoke}
