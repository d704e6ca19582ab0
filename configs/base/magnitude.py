r"""Gradual magnitude pruning (Zhu and Gupta, 2017): the smallest weights go, by and by, for good.

Paper: Zhu, Gupta. "To prune, or not to prune: exploring the efficacy of pruning for model
       compression", 2017, arXiv:1710.01878.
Family: weight_mask
Claim: InceptionV3 on ImageNet-1k: 78.0 % top-1 at 50 % sparsity, 74.6 at 87.5, dense 78.1. At 75 %
       sparsity 76.1 (table 1).
Measured: CIFAR-10, `cifar` and `cifar_vit`, three seeds, f32, 4 shared cores, 2026-11-21, by
       maskjax --config=magnitude:cifar --config.data.name=zip
       --config.data.path=cifar10.zip --config.init_from=runs/dense --workdir=runs/pruned and the
       changes named below; runs/dense is the run noted in configs/base/supervised.py, for the ViT
       with model.patch (8, 8):

       | run          | accuracy (ResNet-8) | accuracy (ViT/8) |
       |--------------|---------------------|------------------|
       | dense        | 0.705 ± 0.003       | 0.513 ± 0.004    |
       | 50 %         | 0.709 ± 0.004       | 0.559 ± 0.005    |
       | 80 %         | 0.675 ± 0.001       | 0.535 ± 0.005    |
       | 90 %         | 0.629 ± 0.005       | 0.505 ± 0.003    |
       | 95 %         | 0.558 ± 0.005       | 0.464 ± 0.004    |
       | 2:4          | 0.705 ± 0.005       | 0.549 ± 0.003    |
       | 90 % at once | 0.625 ± 0.011       | 0.492 ± 0.003    |
       | 90 % random  | 0.469 ± 0.003       | 0.365 ± 0.012    |

       ResNet-8: Measured before decay was part of the momentum; not measured since.

       Scikit-learn's digits, `laptop`, three seeds, f32, shared cores, 2026-11-30, by the command
       below with --config.init_from=runs/dense, a run of supervised:laptop:

       | run                      | parameters | accuracy      |
       |--------------------------|------------|---------------|
       | dense                    | 75,002     | 0.987 ± 0.002 |
       | 90 %                     | 8,070      | 0.977 ± 0.011 |
       | 90 % random              | 8,070      | 0.920 ± 0.043 |
       | dense, of width 5 for 16 | 7,605      | 0.979 ± 0.008 |

       Half of the weights go at no loss; from 80 % on the ResNet loses accuracy. A large sparse
       network goes before a small dense one of as many weights, trained for as many steps in all:
       *not visible at this scale*. Settings: those of `laptop` and of supervised:laptop; nothing
       was chosen for either.
Run:   maskjax --config=magnitude:laptop --workdir=runs/magnitude

The dense network is a stage, trained first; `--config.init_from=DIR` takes a finished one. Others:
--config.hold.select.ratio.end=0.8; one-shot: --config.hold.select.ratio.start=0.9; random:
--config.hold.score.fn=weights.random; one ranking for all layers: --config.hold.scope=global.
Presets: `laptop` prunes a ResNet-8 on scikit-learn's digits, `cifar` and `cifar_vit` a ResNet-8 and
a small ViT on CIFAR-10 to 90 %; `two_four` and `two_four_vit` to 2 of every 4 inputs; `rows` and
`heads` whole output channels and attention heads.
As in the paper, masked weights get no gradient. The first layer is left dense.
Deviations: a ResNet-50 stands for InceptionV3. TensorFlow's code (contrib/model_pruning) reads its
threshold from a histogram and smooths it, and what is masked keeps its value and may come back;
here the share is exact, and what is masked is zero.
"""

import copy

from ml_collections import ConfigDict, config_dict

from maskjax import lab

BASE = lab.base("base/supervised")


def method(c: ConfigDict) -> None:
  """Train the dense network, then prune its smallest weights, by and by, to 80 %."""
  c.stages = dict(dense=copy.deepcopy(c))
  c.init_from = "stages/dense"
  c.optimizer.update(warmup_epochs=0.0, warmup_steps=0)
  c.hold = dict(
    fn="weights.hold",
    where=(("embed", False), ("kernel$", True)),
    scope="layer",
    every=100,
    units=config_dict.placeholder(tuple),
    score=dict(fn="weights.magnitude"),
    select=dict(
      fn="select.top",
      ratio=dict(
        fn="schedule.polynomial", start=0.0, end=0.8, power=3.0, begin=0.0, stop=0.75, by="step"
      ),
    ),
  )
  c.evals.sparsity = dict(fn="train.evaluators.sparsity", every=0)


def paper(c: ConfigDict) -> None:
  """ResNet-50 on ImageNet."""
  c.total_epochs, c.optimizer.learning_rate = 30.0, 0.01


@lab.preset
def laptop(c: ConfigDict) -> None:
  """ResNet-8 on digits to 90 %, three seeds."""
  small(c, 200, 0.2)


@lab.preset
def cifar(c: ConfigDict) -> None:
  """ResNet-8 on CIFAR-10: 4 epochs dense, one of pruning."""
  small(c, 390, 0.1)
  c.hold.select.ratio.stop, c.stages.dense.total_epochs = 0.5, 4.0


@lab.preset
def cifar_vit(c: ConfigDict) -> None:
  """A small ViT/8 on CIFAR-10: 4 epochs dense, 4 of pruning."""
  small(c, 1560, 2e-3)
  c.hold.select.ratio.stop, c.stages.dense.total_epochs = 0.5, 4.0
  c.model.patch = c.stages.dense.model.patch = (8, 8)
  c.optimizer.warmup_steps = 40


@lab.preset("cifar")
def two_four(c: ConfigDict) -> None:
  """`cifar` with two of every four inputs of a weight kept."""
  sparse_groups(c)


@lab.preset("cifar_vit")
def two_four_vit(c: ConfigDict) -> None:
  """`cifar_vit` with two of every four inputs of a weight kept."""
  sparse_groups(c)


@lab.preset("cifar")
def rows(c: ConfigDict) -> None:
  """`cifar` with half of the output channels of every layer but the last."""
  c.hold.where = (("embed|head", False), ("kernel$", True))
  c.hold.units, c.hold.select.ratio.end = (-1, 1), 0.5


@lab.preset("cifar_vit")
def heads(c: ConfigDict) -> None:
  """`cifar_vit` with one of its two heads in every layer, cut where they enter the output."""
  c.hold.where = (("attention/out/kernel$", True),)
  c.hold.units, c.hold.select.ratio.end = (0, c.model.width // c.model.heads), 0.5


def small(c: ConfigDict, steps: int, rate: float) -> None:
  """`steps` of pruning a small network to 90 %, three seeds."""
  c.seeds, c.total_epochs, c.total_steps = 3, 0.0, steps
  c.optimizer.learning_rate, c.hold.every, c.hold.select.ratio.end = rate, 10, 0.9
  c.evals.accuracy.every, c.checkpoint.every = 0, steps


def sparse_groups(c: ConfigDict) -> None:
  """2:4 along the input axis, chosen anew every 10 steps."""
  c.hold.select = dict(fn="select.n_of_m", keep=2, of=4, axis=-2)
  c.evals.sparsity.group = (2, 4)
