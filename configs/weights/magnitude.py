r"""Gradual magnitude pruning (Zhu and Gupta, 2017): the smallest weights go, by and by, for good.

Paper: "To prune, or not to prune: exploring the efficacy of pruning for model compression", 2017,
       arXiv:1710.01878. InceptionV3 on ImageNet-1k: 78.1 % top-1 dense, 78.0 at 50 % sparsity,
       76.1 at 75 %, 74.6 at 87.5 % (table 1).
Here:  CIFAR-10, three seeds, f32, 4 shared cores, 2026-11-21. `cifar` from a dense ResNet-8 of
       accuracy 0.705 ± 0.003: 50 % 0.709 ± 0.004, 80 % 0.675 ± 0.001, 90 % 0.629 ± 0.005, 95 %
       0.558 ± 0.005, 2:4 0.705 ± 0.005, 90 % at once 0.625 ± 0.011, 90 % random 0.469 ± 0.003.
       `cifar_vit` from a dense ViT/8 of 0.513 ± 0.004: 50 % 0.559 ± 0.005, 80 % 0.535 ± 0.005, 90 %
       0.505 ± 0.003, 95 % 0.464 ± 0.004, 2:4 0.549 ± 0.003, 90 % at once 0.492 ± 0.003, 90 % random
       0.365 ± 0.012. By python launch.py --config=configs/weights/magnitude.py:cifar
       --config.data.name=zip --config.data.path=cifar10.zip --config.init_from=runs/dense
       --workdir=runs/pruned and the changes named below; runs/dense is the run noted in
       configs/image/supervised.py, for the ViT with --config.model.patch=(8,8).
Run:   python launch.py --config=configs/weights/magnitude.py:laptop --workdir=runs/magnitude

The dense network is a stage, trained first; `--config.init_from=DIR` takes a finished one. Others:
--config.hold.select.ratio.end=0.8; one-shot: --config.hold.select.ratio.start=0.9; random:
--config.hold.score.fn=random; one ranking for all layers: --config.hold.scope=global.
Presets: `laptop` prunes a ResNet-8 on scikit-learn's digits, `cifar` and `cifar_vit` a ResNet-8 and
a small ViT on CIFAR-10 to 90 %; `two_four` and `two_four_vit` to 2 of every 4 inputs; `rows` and
`heads` whole output channels and attention heads; `smoke` is two steps.
Deviations: a ResNet-50 stands for InceptionV3; the first layer is left dense; masked weights get no
gradient.
"""

import pathlib
from collections.abc import Callable

from ml_collections import ConfigDict, config_dict

from maskjax import lab

supervised = lab.load(pathlib.Path(__file__).parents[1] / "image" / "supervised.py")

NOTE = dict(
  id="magnitude",
  kind="base",
  family="base",
  title="To prune, or not to prune: exploring the efficacy of pruning for model compression",
  claim="InceptionV3 on ImageNet-1k: 78.0 % top-1 at 50 % sparsity, 74.6 at 87.5, dense 78.1",
  measured="CIFAR-10, 90 %: ResNet-8 0.629 ± 0.005, dense 0.705; ViT/8 0.505 ± 0.003, dense 0.513",
  citation="Zhu, Gupta. 2017. arXiv:1710.01878",
  scale=dict(shape=(224, 224, 3), classes=1000, examples=1_281_167, parameters=25_557_032),
  laptop=dict(shape=(8, 8, 1), classes=10, examples=1437),
)


def get_config(arg: str | None = None) -> ConfigDict:
  """ResNet-50 on ImageNet to 80 %, or a preset."""
  c = supervised.get_config()
  c.stages = dict(dense=supervised.get_config())
  c.init_from = "stages/dense"
  c.total_epochs = 30.0
  c.optimizer.update(learning_rate=0.01, warmup_epochs=0.0)
  c.hold = dict(
    fn="hold",
    where=(("embed", False), ("kernel$", True)),
    scope="layer",
    every=100,
    units=config_dict.placeholder(tuple),
    score=dict(fn="magnitude"),
    select=dict(
      fn="top",
      ratio=dict(fn="polynomial", start=0.0, end=0.8, power=3.0, begin=0.0, stop=0.75, by="step"),
    ),
  )
  c.evals.sparsity = dict(fn="sparsity", every=0)
  return lab.finish(c, arg, PRESETS)


def small(c: ConfigDict, preset: Callable[[ConfigDict], None], steps: int, rate: float) -> None:
  """A small network of `supervised`: the dense one, then `steps` of pruning to 90 %."""
  for config in (c, c.stages.dense):
    preset(config)
  c.seeds = 3
  c.total_epochs, c.total_steps = 0.0, steps
  c.optimizer.update(learning_rate=rate, warmup_epochs=0.0, warmup_steps=0)
  c.hold.every, c.hold.select.ratio.end = 10, 0.9
  c.evals.accuracy.every, c.checkpoint.every, c.log.every = 0, steps, 50
  c.evals.sparsity = dict(fn="sparsity", every=0)


def laptop(c: ConfigDict) -> None:
  """ResNet-8 on digits to 90 %, three seeds."""
  small(c, supervised.laptop, 200, 0.2)


def smoke(c: ConfigDict) -> None:
  """Two steps of each: everything runs, nothing is learned."""
  small(c, supervised.smoke, 2, 0.1)
  c.seeds, c.hold.every = 1, 1
  c.checkpoint.every, c.log.every = 1, 1


def cifar(c: ConfigDict) -> None:
  """ResNet-8 on CIFAR-10: 4 epochs dense, one of pruning."""
  small(c, supervised.cifar, 390, 0.1)
  c.hold.select.ratio.stop = 0.5
  c.stages.dense.total_epochs = 4.0


def cifar_vit(c: ConfigDict) -> None:
  """A small ViT/8 on CIFAR-10: 4 epochs dense, 4 of pruning."""
  small(c, supervised.cifar_vit, 1560, 2e-3)
  c.optimizer.warmup_steps = 40
  c.hold.select.ratio.stop = 0.5
  c.stages.dense.total_epochs = 4.0
  for config in (c, c.stages.dense):
    config.model.patch = (8, 8)


def two_four(c: ConfigDict) -> None:
  """`cifar` with two of every four inputs of a weight kept."""
  cifar(c)
  sparse_groups(c)


def two_four_vit(c: ConfigDict) -> None:
  """`cifar_vit` with two of every four inputs of a weight kept."""
  cifar_vit(c)
  sparse_groups(c)


def sparse_groups(c: ConfigDict) -> None:
  """2:4 along the input axis, chosen anew every 10 steps."""
  c.hold.select = dict(fn="n_of_m", keep=2, of=4, axis=-2)
  c.evals.sparsity.group = (2, 4)


def rows(c: ConfigDict) -> None:
  """`cifar` with half of the output channels of every layer but the last."""
  cifar(c)
  c.hold.where = (("embed|head", False), ("kernel$", True))
  c.hold.units = (-1, 1)
  c.hold.select.ratio.end = 0.5


def heads(c: ConfigDict) -> None:
  """`cifar_vit` with one of its two heads in every layer, cut where they enter the output."""
  cifar_vit(c)
  c.hold.where = (("attention/out/kernel$", True),)
  c.hold.units = (0, c.model.width // c.model.heads)
  c.hold.select.ratio.end = 0.5


PRESETS = {
  "laptop": laptop,
  "smoke": smoke,
  "cifar": cifar,
  "cifar_vit": cifar_vit,
  "two_four": two_four,
  "two_four_vit": two_four_vit,
  "rows": rows,
  "heads": heads,
}
