r"""FISH Mask (Sung et al., 2021): updates of the parameters of largest Fisher information only.

Paper: Sung, Nair, Raffel. "Training Neural Networks with Fixed Sparse Masks", NeurIPS 2021,
       arXiv:2111.09839.
Claim: BERT-large on GLUE: updating 0.5 % of the parameters does what updating all of them does.
Measured: scikit-learn's digits, `laptop`, a ResNet-8 of 74,352 weights and a head, 200 steps of 64
       on 5 to 9, three seeds, f32, shared cores, 2026-11-30, by the commands below with
       --config.init_from=runs/five, from maskjax
       --config=supervised:laptop --config.data.classes='(0,1,2,3,4)'
       --workdir=runs/five. One test image is 0.006:

       | learned                  | accuracy on 5 to 9 | accuracy on 0 to 4 |
       |--------------------------|--------------------|--------------------|
       | FISH 0.5 %               | 0.967 ± 0.006      | not measured       |
       | random 0.5 %             | 0.956 ± 0.015      | not measured       |
       | all parameters           | 0.991 ± 0.006      | not measured       |
       | biases (240)             | not measured       | not measured       |
       | the head alone           | 0.931 ± 0.027      | not measured       |
       | runs/five (its own head) | -                  | 0.994 ± 0.006      |
       | before (a new head)      | 0.207 ± 0.012      | -                  |
       | FISH 0.5 % (`cifar`)     | not measured       | -                  |
       | the default              | not measured       | -                  |

       FISH minus random, and the loss of both, by seed:

       | seed | difference | loss (FISH) | loss (random) |
       |------|------------|-------------|---------------|
       | 0    | 0.011      | 0.114       | 0.175         |
       | 1    | 0.022      | 0.089       | 0.208         |
       | 2    | 0.000      | 0.079       | 0.105         |

       Where the 372 weights that FISH selects lie, and which share of the place they are:

       | place                        | share of the 372 | share of the place |
       |------------------------------|------------------|--------------------|
       | first convolution            | 29 %             | 76 %               |
       | its norm                     | 5 %              | 54 %               |
       | first block                  | 33 %             | 2.6 %              |
       | middle block                 | 13 %             | 0.4 %              |
       | last block                   | 20 %             | 0.1 %              |
       | the 372 of largest magnitude | 21 ± 2 %         | -                  |

       That FISH goes before random is *not visible at this scale* by accuracy, whose difference is
       as large as its spread; by the loss it is, in every seed. All parameters lead. Settings:
       those of supervised:laptop for all; nothing was chosen for any.
Run:   maskjax --config=fish_mask:laptop --workdir=runs/fish_mask

Before step 0 the empirical Fisher information of the first examples is measured, as many as
`prepare.squared_gradients.examples` says, and of all parameters but the head's the 0.5 % where it
is largest are selected, once. Others: random, --config.hold.score.fn=weights.random; all
parameters, --config.hold.select.ratio=0.0; the head alone, --config.hold.select.ratio=1.0; biases
and the head, beside that
--config.hold.where='(("^head/|bias$",False),(".",True))'; labels from the model,
--config.prepare.squared_gradients.labels=model. What was changed, as a file: python -m
maskjax.train.checkpoints.delta runs/fish_mask/stages/pretrained runs/fish_mask delta.safetensors.

The default is the paper's ResNet-34 on CIFAR-10, trained from scratch by a mask that stays: the
small checkpoints of the public code with --fix_mask (scripts/run_table_4.sh: 1,024 examples, 100
epochs), at the rate of its best log among 0.008 to 0.8 (61.4 %; at 0.2 and above nothing is
learned). Presets: `laptop` fine-tunes a ResNet-8 of the digits 0 to 4 on the other five; `cifar`
one of CIFAR-10's first five classes on the others.
The head is new, always trained whole and, as in the paper, counted among the 0.5 % of the default;
the presets' networks are so small that it is counted beside them.
Deviations: distributed training, in which workers send the updates of one mask alone every so many
steps, is not here: it asks for workers that drift apart between merges, which a mesh does not have.
Nor is a mask that is chosen anew in every epoch, the public code's small checkpoints without
--fix_mask: `weights.update_only` keeps what it selected before step 0. Images stand for GLUE. What
is not selected does not decay, in the public code for CIFAR-10 it does; no max pool after the stem
and no cutout. Batch normalisation uses its running statistics while the Fisher information is
measured, in the public code those of the one image; they go on running whatever is selected. Random
masks are those of hold.seed, the same for every seed of a run.
"""

from ml_collections import ConfigDict

from maskjax import lab

BASE = lab.base("base/supervised")
# It would train from scratch, where the other presets fine-tune.
WITHOUT = ("cifar_vit",)

NOTE = dict(
  scale=dict(shape=(32, 32, 3), classes=10, examples=50_000, parameters=21_282_122),
  counted="public code: beside_fish_mask.py",
  laptop=dict(shape=(8, 8, 1), classes=5, examples=720),
  smoke=dict(prepare__squared_gradients__examples=8),
  held="partly: distributed training and a mask chosen anew in every epoch are not there",
)
HEAD = 512 * 10 + 10


def method(c: ConfigDict) -> None:
  """Fisher information is measured, then 0.5 % of the parameters and the head are trained."""
  c.stages = {}
  fisher = dict(fn="task.squared_gradients", examples=256, labels="data", at_once=8)
  c.prepare = dict(squared_gradients=fisher)
  c.hold = dict(
    fn="weights.update_only",
    where=(("^head/", False), (".", True)),
    scope="global",
    score=dict(fn="weights.fisher"),
    select=dict(fn="select.top", ratio=0.995),
  )
  c.evals.selected = dict(fn="train.evaluators.selected", every=0)


def paper(c: ConfigDict) -> None:
  """ResNet-34 on CIFAR-10 from scratch, 0.5 % of its parameters with the head."""
  BASE.cifar(c)
  c.model.update(depth=34, width=64)
  c.batch_size, c.total_epochs = 512, 100.0
  c.optimizer.update(learning_rate=0.02, scale_by_batch=0, schedule="linear", warmup_epochs=5.0)
  # All that is selected decays, biases and norms too.
  c.optimizer.update(weight_decay=5e-4, decay_rules=((".*", 1.0),))
  c.prepare.squared_gradients.examples = 1024
  parameters = NOTE["scale"]["parameters"]
  trained = int(0.005 * parameters) - HEAD
  c.hold.select.ratio = 1 - trained / (parameters - HEAD)


@lab.preset
def laptop(c: ConfigDict) -> None:
  """ResNet-8 from the digits 0 to 4 to 5 to 9, three seeds."""
  transfer(c, BASE.get_config("laptop"), 200)


@lab.preset
def cifar(c: ConfigDict) -> None:
  """ResNet-8 from five classes of CIFAR-10, 4 epochs, to the other five, one."""
  transfer(c, BASE.get_config("cifar"), 195)
  c.stages.pretrained.total_epochs = 4.0


def transfer(c: ConfigDict, before: ConfigDict, steps: int) -> None:
  """`before` for five classes, then `steps` on the other five, three seeds."""
  before.data.classes, c.data.classes = tuple(range(5)), tuple(range(5, 10))
  c.stages = dict(pretrained=before)
  c.init_from, c.init_except = "stages/pretrained", "^params/head/"
  c.seeds, c.total_epochs, c.total_steps = 3, 0.0, steps
  c.optimizer.update(warmup_epochs=0.0, warmup_steps=0)
  c.prepare.squared_gradients.examples = 1024
  c.evals.accuracy.every, c.checkpoint.every = 0, steps
