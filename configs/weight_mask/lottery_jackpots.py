r"""Lottery jackpots (Zhang et al., 2021): from magnitude's mask to a better one, weights untrained.

Paper: Zhang, Lin, Zhong, Chao, Ji. "Lottery Jackpots Exist in Pre-trained Models", TPAMI 2023,
       arXiv:2104.08700; code at github.com/zyxxmu/lottery-jackpots.
Claim: ResNet-32 on CIFAR-10, 90 % of the weights hidden, the others untrained: 93.70 % after 30
       epochs of search, 94.39 after 160 (public code). ResNet-50 on ImageNet-1k: above 70 % top-1
       after 5 epochs.
Measured: digits of scikit-learn, a ResNet-8 of 75,002 parameters, 300 steps dense, then 200 of 64,
       90 % hidden, three seeds, f32, shared cores, 2026-11-30, by the command below with
       --config.init_from=runs/dense, a run of supervised:laptop; magnitude is magnitude:laptop from
       the same, settings of the presets, not tuned:

       | run                         | accuracy      | first mask kept |
       |-----------------------------|---------------|-----------------|
       | dense                       | 0.987 ± 0.002 | -               |
       | magnitude, weights trained  | 0.977 ± 0.011 | -               |
       | first mask, nothing trained | 0.225 ± 0.116 | 1.000 ± 0.000   |
       | first mask, statistics anew | 0.952 ± 0.010 | 1.000 ± 0.000   |
       | `laptop`                    | 0.991 ± 0.002 | 0.458 ± 0.005   |
       | `laptop`, without a limit   | 0.988 ± 0.002 | 0.453 ± 0.011   |
       | `laptop`, from a random one | 0.981 ± 0.003 | 0.097 ± 0.002   |

       CIFAR-10, a ResNet-8 of width 8, 391 steps dense, then 200 of 128, 90 % hidden, three seeds,
       f32, shared cores, 2026-11-30, by maskjax --config=lottery_jackpots:cifar
       --config.data.name=zip --config.data.path=cifar10.zip --config.model.width=8
       --config.total_steps=200 --config.init_from=runs/dense, a run of supervised:cifar with
       --config.total_epochs=1.0 --config.optimizer.warmup_epochs=0.2; magnitude:cifar likewise:

       | run                        | accuracy      |
       |----------------------------|---------------|
       | dense                      | 0.510 ± 0.004 |
       | magnitude, weights trained | 0.432 ± 0.004 |
       | `cifar`                    | not measured  |

       With a tenth of the weights, none of them trained, the network is as good as the dense one:
       *reproduced* on digits. Batch statistics alone bring most of it, the search the rest, a
       point more from magnitude's mask than from a random one. What the limit is worth: *not
       visible at this scale*.
Run:   maskjax --config=lottery_jackpots:laptop --workdir=runs/lottery_jackpots

The dense network is a stage, trained first; `--config.init_from=DIR` takes a finished one. Each
weight has a number, which begins at 1 where the magnitude mask (one threshold for all layers) keeps
it and at 0.99 where not, and is trained straight through the mask. After each update a share of the
exchanges that the numbers ask for is made in each layer, (1 - t / T)^4 of them, the most wanted
first. Others: without a limit, --config.reparametrize.change.end=1.0; magnitude's mask alone, with
batch statistics as renewed, --config.optimizer.learning_rate=1e-9; from a random mask,
--config.reparametrize.score.fn=weights.random --config.reparametrize.gap=0.0.
The default is the public code's ResNet-32 on CIFAR-10 for 30 epochs; `laptop` is a ResNet-8 on
scikit-learn's digits, `cifar` one on CIFAR-10. Classifier, biases and norms have no mask.
Deviations: share and learning rate fall at each update, in the public code by epoch; there the
share is 1 throughout, by a ceiling about it for CIFAR-10 and as such for ImageNet. Its last
cifar.py makes the network anew once the layers' shares are known, and so searches among weights as
drawn: not here. How its dense networks were trained is not public, here for 160 epochs. Between
equal numbers nothing is exchanged, where the public code exchanges nothing in the whole layer. The
classifier's numbers, which hide nothing there, are not here. Presets search in far fewer steps, at
ten times the rate, which was not tuned.
"""

import copy

from ml_collections import ConfigDict

from maskjax import lab

BASE = lab.base("base/supervised")
# A ViT has no convolutions, which the paper is about.
WITHOUT = ("cifar_vit",)

NUMBERS = 864 + 10 * 9216 + 18_432 + 9 * 36_864 + 73_728 + 9 * 147_456
NOTE = dict(
  scale=dict(shape=(32, 32, 3), classes=10, examples=50_000, parameters=2 * NUMBERS + 4544 + 1290),
  counted="by hand: 2 * 1_844_064 + 4544 + 1290",
  held="partly: figures on digits alone",
)


def method(c: ConfigDict) -> None:
  """Train the dense network, then search for the tenth of its weights that does without others."""
  c.stages = dict(dense=copy.deepcopy(c))
  c.init_from = "stages/dense"
  c.optimizer.rate_rules = (("^masks/", 1.0), (".", 0.0))
  c.reparametrize = dict(
    fn="weights.learned_scores",
    where=(("head", False), ("kernel$", True)),
    scope="global",
    score=dict(fn="weights.magnitude"),
    select=dict(fn="select.top", ratio=0.9),
    gap=0.01,
    change=dict(fn="schedule.polynomial", start=1.0, end=0.0, power=4.0, by="step"),
  )
  c.evals.scalars = dict(fn="train.evaluators.scalars", every=0)
  c.evals.sparsity = dict(fn="train.evaluators.sparsity", every=0)


def paper(c: ConfigDict) -> None:
  """ResNet-32 on CIFAR-10, 30 epochs of search."""
  for config in (c, c.stages.dense):
    BASE.cifar(config)
    config.model.update(depth=32, width=32)
  c.batch_size, c.total_epochs, c.stages.dense.total_epochs = 256, 30.0, 160.0
  search(c)


@lab.preset
def laptop(c: ConfigDict) -> None:
  """ResNet-8 on digits, three seeds."""
  small(c, 200)


@lab.preset
def cifar(c: ConfigDict) -> None:
  """ResNet-8 on CIFAR-10: 4 epochs dense, one of search."""
  small(c, 390)
  c.stages.dense.total_epochs = 4.0


def small(c: ConfigDict, steps: int) -> None:
  """`steps` of search in a small network, three seeds."""
  c.seeds, c.total_epochs, c.total_steps = 3, 0.0, steps
  search(c)
  c.optimizer.learning_rate = 1.0
  c.evals.accuracy.every, c.checkpoint.every = 0, steps


def search(c: ConfigDict) -> None:
  """The optimiser of the public code."""
  c.optimizer.update(learning_rate=0.1, scale_by_batch=0, weight_decay=5e-4, nesterov=False)
  c.optimizer.update(warmup_epochs=0.0, warmup_steps=0)
