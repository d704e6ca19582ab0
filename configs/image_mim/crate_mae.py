r"""CRATE-MAE (Pai et al., 2024): each block of encoder and decoder is a step of sparse coding.

Paper: Pai, Buchanan, Wu, Yu, Ma. "Masked Completion via Structured Diffusion with White-Box
       Transformers", ICLR 2024, arXiv:2404.02446; code at github.com/Ma-Lab-Berkeley/CRATE.
Claim: ImageNet-1k: with about 30 % of the parameters of MAE of the same configuration, features
       whose structure is explicit; the number is that of 12 + 12 blocks of width 768 beside MAE's
       12 + 8 of that width, 43.7 of 143.8 million.
Measured: CIFAR-10, `laptop`, 400 steps of 64:

       | run      | kNN          | linear probe | ratio        |
       |----------|--------------|--------------|--------------|
       | `laptop` | not measured | not measured | not measured |

       Settings: not measured.
Run:   maskjax --config=crate_mae:laptop --workdir=runs/crate_mae
       --config.data.name=zip --config.data.path=cifar10.zip
Presets: `laptop`.
Deviations: none yet.
"""

from ml_collections import ConfigDict

from maskjax import lab

BASE = lab.base("image_mim/mae")
WITHOUT = ("cifar", "small")

NOTE = dict(
  scale=dict(shape=(224, 224, 3), examples=1_281_167, parameters=43_745_280),
  counted="public code: beside_crate_mae.py",
  laptop=dict(shape=(32, 32, 3), classes=10, examples=10_000),
)


def method(c: ConfigDict) -> None:
  """MAE's mask; mask tokens enter the encoder; blocks code sparsely and, turned round, decode."""
  c.hide = dict(fn="model.MaskToken", place="embedded")
  c.model.encoder.block = dict(fn="model.SparseCodingBlock", step_size=0.1, penalty=0.5)
  c.model.decoder = dict(
    fn="model.in_place_decoder", depth=12, block=dict(fn="model.SparseDecodingBlock")
  )
  c.taps, c.let, c.answers = {}, {}, {}  # What `layers` looks at.


def paper(c: ConfigDict) -> None:
  """Base: 12 + 12 blocks of width 768, 800 epochs of ImageNet-1k."""
  c.total_epochs, c.model.encoder.size = 800.0, "B"


def layers(c: ConfigDict, depth: int) -> None:
  """Tells of each layer of the encoder the share of zeros in its codes, and their coding rate."""
  of = {}
  for i in range(depth):
    place = dict(zeros="{0}/output", rate="block_{0:02d}/attention/projections")
    for name, fn in dict(zeros="zero_share", rate="coding_rate").items():
      c.taps[f"{name}_at_{i}"] = f"encoder/{place[name].format(i)}"
      c.let[f"{name}_{i}"] = dict(fn=f"task.{fn}", of=dict(x=f"{name}_at_{i}"))
      of[f"{name}_{i}"] = f"{name}_{i}"
  c.answers = dict(views=dict(fn="task.extended", of=dict(named="pictures", **of)))
  c.evals.layers = dict(fn="train.evaluators.mean", of=of, every=0)


@lab.preset("small")
def laptop(c: ConfigDict) -> None:
  """A small network on 10,000 images of CIFAR-10, 8 x 8 patches, three seeds."""
  c.model.decoder.depth = c.model.encoder.depth
  layers(c, c.model.encoder.depth)


@lab.preset("small")
def transformer(c: ConfigDict) -> None:
  """`laptop` with a transformer's own blocks of the same width, four times the parameters."""
  c.model.decoder.depth = c.model.encoder.depth
  c.model.encoder.block = c.model.decoder.block = None


@lab.preset("transformer")
def narrow(c: ConfigDict) -> None:
  """`transformer` of half the width, with as many parameters as `laptop`."""
  c.model.encoder.width = 32
