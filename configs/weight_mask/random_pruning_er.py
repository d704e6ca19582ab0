r"""Random pruning (Gadhikar et al., 2023): networks begin sparse, by random masks that stay.

Paper: Gadhikar, Mukherjee, Burkholz. "Why Random Pruning Is All We Need to Start Sparse", ICML
       2023, arXiv:2210.02412; code at github.com/RelationalML/sparse_to_sparse.
Claim: a random mask with good layer ratios trains to what pruned networks reach, and whatever
       prunes a dense network does as well within such a mask.
Measured: digits of scikit-learn, a ResNet-8, 500 steps of 64, a tenth of the weights, three seeds,
       f32, shared cores, 2026-11-30, by the command below and its changes; magnitude is
       magnitude:laptop, 300 steps dense and 200 of pruning, its first layer dense; not tuned:

       | run                        | accuracy      |
       |----------------------------|---------------|
       | magnitude, dense to sparse | 0.977 ± 0.011 |
       | untrained                  | 0.104 ± 0.002 |
       | `laptop` (ERK)             | 0.984 ± 0.003 |
       | uniform                    | 0.980 ± 0.003 |
       | balanced                   | 0.990 ± 0.002 |
       | `pruned`                   | 0.985 ± 0.004 |
       | `grown`                    | 0.981 ± 0.003 |
       | `tickets`                  | 0.617 ± 0.067 |
       | `cifar`                    | not measured  |

       A tenth of the weights, drawn at random, does as well as one pruned from the dense network
       in as many steps, and as well as one that is pruned, or grown, within a half: *reproduced* on
       digits. The ratios differ by more than the spread; tickets are far behind after 500 steps,
       their search not tuned. Pyramidal ratios: *not measured*.
Run:   maskjax --config=random_pruning_er:laptop --workdir=runs/random_pruning_er

A random mask hides all but a fifth of the weights before the first step and for good, classifier
and first layer too; the shares of the layers are ERK's. Others:
--config.hold.within.ratios.fn=weights.uniform, weights.balanced, or
--config.hold.within.ratios.fn=weights.pyramidal
--config.hold.within.ratios.order='("embed","block","head")'; another mask,
--config.hold.within.seed=1. Presets: `laptop` is a ResNet-8 on scikit-learn's digits and `cifar`
one on CIFAR-10, a tenth of the weights shown; `pruned` begins `laptop` with half of the weights and
prunes them by magnitude to a tenth; `grown` exchanges a share of that tenth by gradients within
such a half; `tickets` searches the tenth in it by learned scores, its weights never trained.
Deviations: the number of weights of each layer is exact, in the public code each is drawn by
itself; where a layer would have more than it has the others are solved again, in the public code
for balanced ratios never, for ERK in dynamic sparse training alone. Growth keeps to the mask, which
the public code's drawing-anew does not. Weights are not pruned in rounds with resets but by and by.
Tickets are sought among weights as drawn, the first mask at random, by the number itself, not its
magnitude, and drawn, not all one half. Neurons that are left without an input or an output, which
the public code can give one back, stay so. The learning rate falls at each update, there by epoch.
The mask is that of `within.seed`, the same for every seed of a run.
"""

from ml_collections import ConfigDict, config_dict

from maskjax import lab

BASE = lab.base("base/supervised")
# Its layers' order and shapes are those of a ResNet.
WITHOUT = ("cifar_vit",)

NOTE = dict(
  scale=dict(shape=(32, 32, 3), classes=10, examples=50_000, parameters=11_173_962),
  counted="by hand: 11_159_232 + 9600 + 5130",
  held="partly: figures on digits alone; pyramidal ratios are not measured",
)


def method(c: ConfigDict) -> None:
  """Train what a random mask shows of the weights."""
  c.hold = dict(
    fn="weights.hold",
    where=(("kernel$", True),),
    scope="layer",
    every=100,
    within=dict(
      fn="weights.fixed_masks",
      density=0.2,
      ratios=dict(fn="weights.erk"),
      score=dict(fn="weights.random"),
      seed=0,
    ),
    score=dict(fn="weights.magnitude"),
    # No score of what is shown is positive: nothing more is hidden.
    select=dict(fn="select.threshold", above=0.0),
  )
  c.reparametrize = config_dict.placeholder(dict)
  c.evals.sparsity = dict(fn="train.evaluators.sparsity", every=0)


def paper(c: ConfigDict) -> None:
  """ResNet-18 on CIFAR-10, 160 epochs."""
  BASE.cifar(c)
  c.model.update(depth=18, width=64)
  c.batch_size, c.total_epochs = 256, 160.0
  c.optimizer.update(learning_rate=0.1, scale_by_batch=0, warmup_epochs=0.0, nesterov=False)
  c.optimizer.decay_rules = ((".*", 1.0),)  # norms and biases too


@lab.preset
def laptop(c: ConfigDict) -> None:
  """A tenth of a ResNet-8 on digits, 500 steps, three seeds."""
  c.total_steps, c.checkpoint.every = 500, 500
  c.hold.within.density = 0.1


@lab.preset
def cifar(c: ConfigDict) -> None:
  """A tenth of a ResNet-8 on CIFAR-10, 5 epochs, three seeds."""
  c.seeds, c.total_epochs, c.hold.within.density = 3, 5.0, 0.1


@lab.preset("laptop")
def pruned(c: ConfigDict) -> None:
  """`laptop` from half of the weights, pruned within them to a tenth."""
  c.hold.every, c.hold.within.density, c.hold.scope = 10, 0.5, "global"
  ratio = dict(fn="schedule.polynomial", start=0.5, end=0.9, power=3.0, begin=0.0, stop=0.75)
  c.hold.select = dict(fn="select.top", ratio=dict(ratio, by="step"))


@lab.preset("laptop")
def grown(c: ConfigDict) -> None:
  """`laptop` with a tenth that moves within a half: the smallest go, by gradients others come."""
  c.hold.every, c.hold.within.density = 25, 0.5
  c.hold.select = dict(fn="select.top", ratio=0.9)
  c.hold.drop = dict(fn="schedule.cosine", start=0.5, end=0.005, begin=0.0, stop=0.75, by="step")
  c.hold.grow = dict(fn="weights.gradient")


@lab.preset("laptop")
def tickets(c: ConfigDict) -> None:
  """`laptop` of weights that are never trained: a tenth is searched in a half of them."""
  c.hold.within.density = 0.5
  scores = dict(score=dict(fn="weights.random"), select=dict(fn="select.top", ratio=0.9), gap=0.0)
  shared = dict(where=c.hold.where, scope="layer", within=c.hold.within, change=1.0)
  with c.ignore_type():
    c.reparametrize, c.hold = dict(fn="weights.learned_scores", **shared, **scores), None
  c.optimizer.rate_rules = (("^masks/", 1.0), (".", 0.0))
