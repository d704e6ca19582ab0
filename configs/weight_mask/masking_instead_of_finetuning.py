r"""Masking in place of fine-tuning (Zhao et al., 2020): a task is a mask over pretrained weights.

Paper: Zhao, Lin, Mi, Jaggi, Schütze. "Masking as an Efficient Alternative to Finetuning for
       Pretrained Language Models", EMNLP 2020, arXiv:2004.12406; code at
       github.com/ptlmasking/maskbert.
Claim: As good as fine-tuning for BERT, RoBERTa and DistilBERT on eleven tasks, each stored as a bit
       for each weight. A line between the masked and the fine-tuned network is nearly as good.
Measured: scikit-learn's digits 5 to 9, a ViT/2 of 200,773 parameters trained on 0 to 4, then 300
       steps of 64, three seeds, f32, one shared core, 30 s of it a seed, stage included,
       2026-11-30, by the command below; the others from the same stages, seed by seed:
       --config.seed=1 --config.seeds=1
       --config.init_from=runs/masking/seeds/1/stages/pretrained. random is `trained_head` with
       --config.optimizer.rate_rules='(("^head/",0.1),(".",0.0))'
       --config.reparametrize.threshold=0.17, masks as drawn that hide as much:

       | run            | accuracy      | sparsity      |
       |----------------|---------------|---------------|
       | before         | 0.244 ± 0.019 | 0.050 ± 0.001 |
       | `laptop`       | 0.967 ± 0.029 | 0.325 ± 0.011 |
       | `trained_head` | 0.954 ± 0.025 | 0.284 ± 0.004 |
       | random         | 0.807 ± 0.017 | 0.315 ± 0.002 |
       | `finetuned`    | 0.943 ± 0.025 | 0.000         |
       | the default    | not measured  | not measured  |

       A run takes 14,609 bytes on top of its stage, of 807,444 of the network. On the line from
       `laptop` to `finetuned` with the same frozen head, which is 0.954 ± 0.008:

       | point                    | accuracy      |
       |--------------------------|---------------|
       | 0.1                      | 0.654 ± 0.158 |
       | 0.2, the lowest          | 0.550 ± 0.169 |
       | 0.5                      | 0.772 ± 0.136 |
       | 0.8                      | 0.933 ± 0.006 |

       Masks alone do what fine-tuning does, random ones do not: *reproduced*. On a straight line
       the networks are not connected: *opposite*; the public code trains the curves that connect
       them. Settings: rates chosen on a fifth of train that was held out, one seed, among four of
       `laptop`, 0.001 to 0.03, and four of `finetuned`, 0.0001 to 0.003; `trained_head` has those
       of `laptop`.
Run:   maskjax --config=masking_instead_of_finetuning:laptop --workdir=runs/masking

Each weight of attention and MLP has a number, those of the two lowest blocks apart. Above 0.01 the
weight is seen, else zero. Numbers begin uniform, a twentieth below the threshold, and are trained
straight through it; the network is never changed, nor are biases, norms and embeddings. The new
head is drawn, masked as the others and not trained either. Presets: `finetuned` trains all weights
and the head; `trained_head` trains the head beside the masks. What a run learned as bits, on top of
the pretrained network: python -m maskjax.train.checkpoints.delta runs/masking/stages/pretrained
runs/masking task.safetensors. The line from a run to another of the same head:
--job=evaluate --config.evals.between.every=0 --config.evals.between.other=runs/same, where
runs/same is of `finetuned` with --config.optimizer.rate_rules='(("^head/",0.0),(".",1.0))'.
The default is a ViT-B/16, whose blocks are of BERT-base's sizes, from ImageNet-1k to CIFAR-10;
`laptop` is a small ViT of the digits 0 to 4 that learns the other five.
Deviations: images stand for texts; the network was trained with labels, not by masks, and has no
pooler. Batches, rate, 10 epochs and the constant rate are those of the public code's settings for
BERT on MRPC. The queries', keys' and values' matrices are one. The other two maskers of the public
code, masks of whole heads and the curves that connect two networks are not here.
"""

from ml_collections import ConfigDict

from maskjax import lab

BASE = lab.base("base/supervised")
WITHOUT = ("cifar", "cifar_vit")

NOTE = dict(
  scale=dict(shape=(224, 224, 3), classes=10, examples=50_000, parameters=156_441_610),
  counted="by hand: 590_592 + 768 + 12 * 7_087_872 + 1536 + 7690 + 10 * 7_077_888 + 7680",
  laptop=dict(shape=(8, 8, 1), classes=5, examples=720),
  smoke=dict(model__depth=3),
  held="partly: images in place of texts; trained curves and two other maskers are not there",
)


def method(c: ConfigDict) -> None:
  """A pretrained network learns a task by masks over its weights, none of which is trained."""
  c.stages = {}
  c.reparametrize = dict(
    fn="weights.thresholded_scores",
    start=dict(fn="weights.uniform_numbers", low=-0.02, high=0.58),
    threshold=0.01,
    where=(("block_0[01]/", False), ("(block_..|head)/.*kernel$", True)),
  )
  c.evals.scalars = dict(fn="train.evaluators.scalars", every=0)
  c.evals.sparsity = dict(fn="train.evaluators.sparsity", every=0)
  c.evals.between = dict(fn="train.evaluators.between", every=-1, other="")


def paper(c: ConfigDict) -> None:
  """ViT-B/16 from ImageNet-1k, 300 epochs, to CIFAR-10 at 224 pixels, 10 epochs of 32."""
  before = BASE.get_config()
  for config in (before, c):
    config.model = dict(fn="model.vit_classifier", size="B", patch=(16, 16), dtype="bfloat16")
    config.optimizer = dict(fn="adamw", learning_rate=1e-3, b1=0.9, b2=0.999, clip=0.0)
  before.total_epochs = 300.0
  before.optimizer.update(schedule="cosine", warmup_epochs=5.0, weight_decay=0.3)
  c.stages = dict(pretrained=before)
  c.data.update(name="cifar10", test="test")
  c.batch_size, c.total_epochs = 32, 10.0
  masking(c)


@lab.preset
def laptop(c: ConfigDict) -> None:
  """A small ViT/2 from the digits 0 to 4 to 5 to 9, three seeds."""
  before = BASE.get_config("laptop")
  for config in (before, c):
    config.model = dict(fn="model.vit_classifier", size="mu", patch=(2, 2), dtype="float32")
    config.model.update(width=64, depth=4, heads=4, mlp=256)
    config.optimizer = dict(fn="adamw", learning_rate=1e-3, b1=0.9, b2=0.999, clip=0.0)
  before.optimizer.update(schedule="cosine", warmup_steps=30, weight_decay=0.05)
  before.data.classes, c.data.classes = tuple(range(5)), tuple(range(5, 10))
  c.stages = dict(pretrained=before)
  masking(c)
  c.optimizer.learning_rate = 0.03


def masking(c: ConfigDict) -> None:
  """Begins with the stage and a new head and trains numbers alone, by the public code's Adam."""
  c.init_from, c.init_except = "stages/pretrained", "^params/head/"
  c.optimizer.update(scale_by_batch=0, schedule="constant", warmup_epochs=0.0, warmup_steps=0)
  c.optimizer.update(weight_decay=0.0, rate_rules=(("^masks/", 1.0), (".", 0.0)))


@lab.preset("laptop")
def trained_head(c: ConfigDict) -> None:
  """`laptop` whose head is trained, at a tenth of the rate, and has no mask."""
  c.reparametrize.where = (("block_0[01]/", False), ("block_.*kernel$", True))
  c.reparametrize.learns = True
  c.optimizer.rate_rules = (("^masks/", 1.0), ("^head/", 0.1), (".", 0.0))


@lab.preset("laptop")
def finetuned(c: ConfigDict) -> None:
  """All weights and the head are trained, from the same stage."""
  c.reparametrize, c.optimizer.rate_rules = {}, ()
  c.optimizer.learning_rate = 1e-3
  del c.evals.scalars
