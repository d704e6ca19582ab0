r"""Signed supermask (Koster et al., 2022): a network of untrained weights, kept, hidden or turned.

Paper: Koster, Grothe, Rettinger. "Signing the Supermask: Keep, Hide, Invert", ICLR 2022,
       arXiv:2201.13361; code at github.com/kosnil/signed_supermasks.
Claim: As accurate as trained networks with up to 99 % of the weights hidden. Conv-2 on CIFAR-10:
       68.4 % with 0.60 % of the weights kept (public code).
Measured: digits.

       | run      | accuracy     |
       |----------|--------------|
       | `laptop` | not measured |

Run:   maskjax --config=signed_supermask:laptop --workdir=runs/signed_supermask
"""

from ml_collections import ConfigDict, config_dict

from maskjax import lab

BASE = lab.base("base/supervised")
WITHOUT = ("cifar", "cifar_vit")

NOTE = dict(
  scale=dict(shape=(32, 32, 3), classes=10, examples=50_000, parameters=2 * 4_300_992),
  counted="public code: beside_signed_supermask.py",
)


def method(c: ConfigDict) -> None:
  """Each weight has a number that says whether it is kept, hidden or turned; none is trained."""
  c.model = dict(
    fn="model.conv_net",
    activation="elu",
    use_bias=False,
    kernel_init=dict(fn="model.signed_constant", scale=6.0),
    dtype="float32",
  )
  c.reparametrize = dict(
    fn="weights.thresholded_scores",
    start=dict(fn="weights.glorot_numbers"),
    threshold=0.4,
    of_largest=True,
    signed=True,
    where=(("kernel$", True),),
  )
  c.optimizer.update(coupled=False, rate_rules=(("^masks/", 1.0), (".", 0.0)))
  c.evals.scalars = dict(fn="train.evaluators.scalars", every=0)
  c.evals.sparsity = dict(fn="train.evaluators.sparsity", every=0)


def paper(c: ConfigDict) -> None:
  """Conv-2 on CIFAR-10."""
  c.data.update(name="cifar10", test="test", size=config_dict.placeholder(tuple))
  c.data.augment = config_dict.placeholder(dict)
  c.batch_size, c.total_epochs = 128, 100.0
  c.optimizer.update(learning_rate=0.04, scale_by_batch=0, weight_decay=0.0125, nesterov=True)
  c.optimizer.update(schedule="exponential", end=0.9**10, warmup_epochs=0.0)


@lab.preset
def laptop(c: ConfigDict) -> None:
  """Conv-2 on digits, three seeds: ten times the paper's decay in a fortieth of its steps."""
  c.total_steps = 1000
  c.optimizer.update(learning_rate=0.1, scale_by_batch=0, weight_decay=0.05, nesterov=True)
  c.optimizer.update(schedule="exponential", end=0.9**10, warmup_steps=0)


@lab.preset("laptop")
def dense(c: ConfigDict) -> None:
  """`laptop` without masks, its weights drawn as Glorot's and trained."""
  c.reparametrize = {}
  del c.model.kernel_init
  del c.evals.scalars
  c.optimizer.rate_rules = ()
  c.optimizer.update(coupled=True, learning_rate=0.02, weight_decay=1e-4)
