r"""InforMask (Sadeq et al., 2022): hide the tokens that have most to do with those that are seen.

Paper: Sadeq, Xu, McAuley. "InforMask: Unsupervised Informative Masking for Language Model
       Pretraining", EMNLP 2022, arXiv:2210.11771; code at github.com/NafisSadeq/InforMask.
Claim: Better than random masking and earlier strategies on LAMA's facts, SQuAD v1 and v2.
Measured: Tiny Shakespeare's speeches, 600 steps of 16, three seeds, f32, one core, 2026-11-30, by
       the command below; mask15, on two shared cores, by maskjax --config=mask15:speeches
       --config.seeds=3, and, never but with the mask token, --config.hide.shares='(1.0,0.0,0.0)'
       besides. The last fifth of each play, 15 % hidden at random or word by word by masks that are
       the same for all; a linear probe of the play:

       | run                 | nats a token  | words: nats   | play          |
       |---------------------|---------------|---------------|---------------|
       | untrained           | 7.539 ± 0.059 | 7.545 ± 0.063 | 0.193 ± 0.009 |
       | `mask15:speeches`   | 5.587 ± 0.077 | 5.616 ± 0.072 | 0.234 ± 0.009 |
       | mask15, mask tokens | 5.575 ± 0.022 | 5.603 ± 0.013 | 0.215 ± 0.010 |
       | `laptop`            | 5.832 ± 0.049 | 5.879 ± 0.020 | 0.232 ± 0.020 |
       | `best`              | not measured  | not measured  | not measured  |

       What the rates of `laptop` hide of the training tokens, all and by quarters, in the first the
       commonest ids, seed 0; random masks of 15 % hide as many, rounded in each text:

       | masks     | all   | first | second | third | last  |
       |-----------|-------|-------|--------|-------|-------|
       | the rates | 0.148 | 0.070 | 0.119  | 0.165 | 0.237 |
       | random    | 0.148 | -     | -      | -     | -     |

       Common tokens are seldom asked and so less well known, which costs nats at random masks of as
       many tokens; features are level: *not visible at this scale*. Facts and SQuAD: *not
       measured*. Settings: those of mask15:speeches for all; nothing was chosen for the method.
Run:   maskjax --config=informask:laptop --workdir=runs/informask
       --config.data.path=tiny_shakespeare.txt.gz

Of 30 random masks of a text the one is best whose hidden and seen tokens have the largest sum
of pointwise mutual information, counted in windows of 11 tokens of the training text. Before step 0
these are drawn once for the training examples, and how often each id is hidden in them is its rate;
training hides every token by itself at the rate of its id.

Presets: `laptop` learns the speeches of mask15's `speeches`, `best` hides the best of the random
masks themselves.
Deviations: neither counts nor candidates are in the public code, only the table of rates and its
use; 30 candidates of 15 % and the window of 11 are from the paper by memory. Pairs that occur less
than `least` times have no information, and pairs are counted of the first `ids` ids, the most
frequent. The loss is of the hidden tokens; the public code's is of all positions, padding too.
Rates are not scaled, so the share that is hidden is what they make it. The network is mask15's.
"""

from ml_collections import ConfigDict

from maskjax import lab

BASE = lab.base("text_mlm/mask15")
WITHOUT = ("small",)

NOTE = dict(
  scale=dict(
    kind="text", shape=(512,), vocabulary=50_265, examples=7_800_000, parameters=123_558_144
  ),
  counted="by hand: 50_266 * 768 + 12 * (4 * 768**2 + 3 * 768 * 2048 + 2 * 768) + 768",
  laptop=dict(kind="text", shape=(96,), vocabulary=1024, examples=3128, classes=9, units=True),
  smoke=dict(prepare__pairs__examples=16, prepare__rates__examples=16),
)


def method(c: ConfigDict) -> None:
  """A coin for each token, at the rate at which its id is hidden in the best of random masks."""
  c.hide.shares = (1.0, 0.0, 0.0)
  c.prepare = dict(
    pairs=dict(fn="task.pair_counts", window=11, ids=0, examples=3128),
    rates=dict(fn="task.hidden_rates", mask="chosen", unseen=0.15, examples=3128),
  )
  c.score = dict(fn="score.bernoulli", of=dict(p="chances"))
  c.select.select = dict(fn="select.threshold", above=0.0)
  share = dict(fn="select.top", ratio=0.15)
  of_text = dict(ids="batch.tokens", allowed="batch.valid")
  c.let.update(
    chances=dict(fn="task.at_ids", of=dict(table="rates", ids="batch.tokens")),
    information=dict(fn="task.mutual_information", least=4, of=dict(pairs="pairs")),
    try_keys=dict(fn="keys.of_views", views=30, stream="tries"),
    tries=dict(fn="score.uniform", of=dict(keys="try_keys")),
    candidates=dict(share, of=dict(scores="tries", allowed="batch.valid")),
    relevance=dict(
      fn="task.relevance", of=dict(table="information", hidden="candidates", **of_text)
    ),
    best=dict(fn="score.best_of", of=dict(scores="tries", worth="relevance")),
    chosen=dict(share, of=dict(scores="best", allowed="batch.valid")),
  )
  c.answers.chosen = dict(value="chosen", takes=("batch", "key"))


def paper(c: ConfigDict) -> None:
  """RoBERTa-base's size on texts of 512 tokens, 40 epochs."""
  c.model.update(width=768, depth=12, heads=12, mlp=2048)
  c.batch_size, c.total_epochs, c.total_steps = 256, 40.0, 0
  c.data.length = 512
  c.prepare.pairs.ids = 4096
  c.prepare.pairs.examples = c.prepare.rates.examples = 1_000_000
  # Those of transformers' Trainer, of which the public code changes none.
  c.optimizer.update(learning_rate=5e-5, warmup_steps=0, weight_decay=0.0)
  c.optimizer.update(b2=0.999, eps=1e-8, clip=1.0)


@lab.preset("speeches")
def laptop(c: ConfigDict) -> None:
  """A small model on the speeches of nine plays, three seeds."""


@lab.preset("speeches")
def best(c: ConfigDict) -> None:
  """The best of the random masks themselves."""
  c.score = dict(fn="score.best_of", of=dict(scores="tries", worth="relevance"))
  c.select.select = dict(fn="select.top", ratio=0.15)
