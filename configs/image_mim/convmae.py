r"""ConvMAE (Gao et al., 2022): MAE of a network that begins with masked convolutions.

Paper: Gao, Ma, Li, Lin, Dai, Qiao. "ConvMAE: Masked Convolution Meets Masked Autoencoders", NeurIPS
       2022, arXiv:2205.03892.
Claim: ConvMAE-B, 1600 epochs: 85.0 % on ImageNet-1k, 1.4 above MAE-B; 53.2 box AP in 25 epochs.
       Linear probe 70.9 % (MAE 67.8), ADE20K 51.7 mIoU (48.1).
Measured: CIFAR-10, `laptop`, 400 steps of 64, three seeds, f32, 2 shared cores, 2026-11-30, by the
       command below. Settings: those of mae:small for both; nothing was chosen for the method:

       | run               | kNN           | linear probe  | masked_reconstruction |
       |-------------------|---------------|---------------|-----------------------|
       | untrained         | 0.306 ± 0.006 | 0.367 ± 0.002 | 0.584 ± 0.035         |
       | MAE (`mae:small`) | 0.328 ± 0.011 | 0.433 ± 0.009 | 0.201 ± 0.002         |
       | `laptop`          | 0.323 ± 0.006 | 0.376 ± 0.007 | 0.199 ± 0.003         |

       *Opposite* at this budget in the linear probe, with no difference in kNN or reconstruction.
Run:   maskjax --config=convmae:laptop --workdir=runs/convmae
       --config.data.name=zip --config.data.path=cifar10.zip

Deviations: only seen cells are computed, with the values of the public code's masked convolutions
of whole images. Convolutions begin as Xavier, windows as LeCun, the public code's as PyTorch's.
Features are normalised before they are pooled, there after. `laptop` has one block a stage, not
two, at strides 1 and 2, not 4 and 8; behind them 4, not 16.
"""

from ml_collections import ConfigDict

from maskjax import lab

BASE = lab.base("image_mim/mae")
WITHOUT = ("cifar", "small")
NOTE = dict(
  # As the public code counts it, which has two tables of positions more, fixed ones.
  scale=dict(shape=(224, 224, 3), examples=1_281_167, parameters=114_790_528),
  counted="public code: convmae.json parameters_of_base",
  laptop=dict(shape=(32, 32, 3), classes=10, examples=10_000),
)


def method(c: ConfigDict) -> None:
  """One mask at three strides: convolutions see seen cells alone, then a ViT sees seen patches."""
  c.model.encoder.class_token = False
  c.model.embedder = dict(fn="model.conv_stages", widths=(256, 384), depth=2)
  seen = dict(patches="seen.values", index="seen.index", valid="seen.valid")
  c.let = dict(
    staged=dict(fn="embedder.__call__", of=seen),
    embedding=dict(fn="task.apply", of=dict(network="encoder", x="staged.tokens"), method="embed"),
    out=dict(fn="task.out", of=dict(residual="staged.added")),
    # Downstream, finer stages add nothing.
    last=dict(fn="task.out"),
  )
  c.answers = dict(features=dict(fn="task.features", of=dict(out="last")))


def paper(c: ConfigDict) -> None:
  """ConvMAE-B: 11 blocks as of ViT-B behind two stages of convolutions."""
  c.batch_size = 3072
  c.model.encoder.update(size="B", depth=11)
  # MAE's for ViT-B.
  c.evals.finetune.update(epochs=100.0, learning_rate=5e-4, layer_decay=0.65)


@lab.preset("small")
def laptop(c: ConfigDict) -> None:
  """MAE's small ViT/4 on 10,000 images of CIFAR-10, behind stages of strides 1 and 2."""
  c.model.embedder.update(widths=(24, 32), depth=1)
