r"""Sparse connectivity learning (Tang et al., 2022): each connection costs.

Paper: Tang, Luo, Xie, Zhu, Zhao, Bi, Lu. "Automatic Sparse Connectivity Learning for Neural
       Networks", TNNLS 2022, arXiv:2201.05020. No public code was found.
Claim: Sparser, more accurate and with fewer FLOPs than networks pruned by hand or automatically,
       without criteria or ratios for layers.
Measured: digits of scikit-learn, a ResNet-8 of 75,002 parameters, 500 steps of 64, three seeds,
       f32, one shared core, 2026-11-30, by the command below; magnitude, 300 steps dense and
       200 of pruning: --config=magnitude:laptop --config.hold.scope=global
       --config.hold.where='(("kernel$",True),)' --config.hold.select.ratio.end=0.924; dense:
       --config=supervised:laptop --config.total_steps=500:

       | run         | accuracy      | sparsity      |
       |-------------|---------------|---------------|
       | untrained   | 0.127 ± 0.043 | 0.000         |
       | `laptop`    | 0.979 ± 0.006 | 0.924 ± 0.002 |
       | magnitude   | 0.984 ± 0.008 | 0.924 ± 0.000 |
       | dense       | 0.991 ± 0.002 | 0.000         |
       | the default | not measured  | not measured  |

       The sparsity of layers in `laptop`, which nobody gave:

       | layer                               | sparsity      |
       |-------------------------------------|---------------|
       | first convolution                   | 0.875 ± 0.018 |
       | first block, its first convolution  | 0.935 ± 0.005 |
       | middle block, its first convolution | 0.932 ± 0.001 |
       | last block, its last convolution    | 0.918 ± 0.003 |
       | classifier                          | 0.682 ± 0.016 |

       On a fifth of train that was held out, one seed, by cost and rate of the numbers:

       | cost, rate | accuracy | sparsity |
       |------------|----------|----------|
       | 0.2, 0.01  | 0.983    | 0.035    |
       | 0.5, 0.01  | 0.969    | 0.922    |
       | 0.5, 0.03  | 0.951    | 0.994    |
       | 1.0, 0.01  | 0.707    | 0.998    |

       That it goes before magnitude pruning of as many weights is *not visible at this scale*.
       Settings: cost and rate of the numbers are of these four; magnitude and dense have those of
       their presets. Not measured: gradients that are not normalised, magnitude at its layers'
       shares.
Run:   maskjax --config=scl_sparse_connectivity:laptop --workdir=runs/scl

Each weight is multiplied by the unit step of a number, and both are trained, the number straight
through the step; the loss gets a cost of each connection. Gradients of numbers have unit scale in
each output feature, so that the cost pulls alike at all: what the loss values less than that goes,
and how many go in which layer is told by nobody. A weight without a connection gets no gradient.
--config.reparametrize.cost is the one knob; --config.reparametrize.per_feature=False leaves
gradients as they are. Presets: `laptop` is a ResNet-8 on scikit-learn's digits, from scratch.
The default is the base's ResNet-50 on ImageNet-1k.
Deviations: of the paper no more than the abstract was at hand. Decided here: the cost pulls after
gradients are divided by their root mean square, which it would vanish in; numbers begin at 1 and do
not decay, at 0 a connection is off; their rate, the cost, and the base's recipe. The identity is
the only straight-through estimator here. Numbers sink on while they are off. No count of FLOPs.
"""

from ml_collections import ConfigDict

from maskjax import lab

BASE = lab.base("base/supervised")
# Its layers' kernels are those of a ResNet.
WITHOUT = ("cifar_vit",)

NOTE = dict(
  scale=dict(shape=(224, 224, 3), classes=1000, examples=1_281_167, parameters=51_059_944),
  counted="by hand: 25_557_032 + 25_557_032 - 53_120 - 1000",
  held="partly: the paper by its abstract alone, no FLOPs, figures on digits alone",
)


def method(c: ConfigDict) -> None:
  """A weight is seen where its number is positive; both learn, and each that is seen costs."""
  c.reparametrize = dict(
    fn="weights.thresholded_scores",
    start=dict(fn="weights.uniform_numbers", low=1.0, high=1.0),
    threshold=0.0,
    where=(("kernel$", True),),
    learns=True,
    cost=0.5,
    per_feature=True,
  )
  # Numbers do not decay, and move by a hundredth of the weights' rate.
  c.optimizer.decay_rules = ((r"^masks/|(^|/)(bias|scale)$", 0.0),)
  c.optimizer.rate_rules = (("^masks/", 0.01),)
  c.evals.scalars = dict(fn="train.evaluators.scalars", every=0)
  c.evals.sparsity = dict(fn="train.evaluators.sparsity", every=0, layers=True)


@lab.preset
def laptop(c: ConfigDict) -> None:
  """ResNet-8 on digits from scratch, 500 steps, three seeds."""
  c.total_steps, c.checkpoint.every = 500, 500
