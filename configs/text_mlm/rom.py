r"""ROM (Long et al., 2022): tokens are hidden by the weight of their terms, stop words seldom.

Paper: Long, Zhang, Xu, Xie. "Retrieval Oriented Masking Pre-training Language Model for Dense
       Passage Retrieval", 2022, arXiv:2210.15133. No public code was found.
Claim: Pre-training that hides important terms more often is better for dense passage retrieval;
       neither network nor loss change.
Measured: Tiny Shakespeare's speeches, 600 steps of 16, three seeds, f32, one core, 2026-11-30, by
       the command below, mask15 on two shared cores by maskjax --config=mask15:speeches
       --config.seeds=3. The last fifth of each play, 15 % hidden at random or word by word by masks
       that are the same for all; a linear probe of the play:

       | run               | nats a token  | words: nats   | play          |
       |-------------------|---------------|---------------|---------------|
       | untrained         | 7.539 ± 0.059 | 7.545 ± 0.063 | 0.193 ± 0.009 |
       | `mask15:speeches` | 5.587 ± 0.077 | 5.616 ± 0.072 | 0.234 ± 0.009 |
       | `laptop`          | 6.386 ± 0.066 | 6.427 ± 0.076 | 0.224 ± 0.007 |
       | `content`         | not measured  | not measured  | not measured  |

       Who is hardly ever asked for stop words does not know them, which costs nats at random masks;
       features are level: *not visible at this scale*. Retrieval: *not measured*. Settings: those
       of mask15:speeches for all; nothing was chosen for the method.
Run:   maskjax --config=rom:laptop --workdir=runs/rom --config.data.path=tiny_shakespeare.txt.gz

A token's chance is the share that its term has of the weight of its own text, BM25's: the idf in
the training text times the frequency in the text, saturated. 15 % are hidden, drawn without
replacement, so that frequencies follow the weights where few are hidden, and 80/10/10 is BERT's.

Presets: `laptop` learns the speeches of mask15's `speeches`, `content` hides any but stop words
alike, those in more than a tenth of all speeches being stop words and signs.
Deviations: the paper's text was not at hand beyond its abstract; share, draw, 80/10/10 and which
term weights are decided here. Its learned weights, from a ranking task, are not here. Terms are
the tokens, pieces of words where those are the unit. An id in fewer than `least` texts weighs as if
in so many. The default's size, data and budget are mask15's, with BERT-base's network.
"""

from ml_collections import ConfigDict

from maskjax import lab

BASE = lab.base("text_mlm/mask15")
WITHOUT = ("small",)

NOTE = dict(
  scale=dict(
    kind="text", shape=(128,), vocabulary=50_265, examples=31_400_000, parameters=123_558_144
  ),
  counted="by hand: 50_266 * 768 + 12 * (4 * 768**2 + 3 * 768 * 2048 + 2 * 768) + 768",
  laptop=dict(kind="text", shape=(96,), vocabulary=1024, examples=3128, classes=9, units=True),
  smoke=dict(prepare__token_counts__examples=16),
  held="partly: learned term weights and retrieval are not there",
)


def method(c: ConfigDict) -> None:
  """Gumbel noise on the logarithm of each token's share of the weight of its text."""
  c.select.select.ratio, c.hide.shares = 0.15, (0.8, 0.1, 0.1)
  c.prepare = dict(token_counts=dict(fn="task.token_counts", examples=3128))
  c.score = dict(fn="score.gumbel", of=dict(logits="log_chances"))
  of_text = dict(ids="batch.tokens", allowed="batch.valid")
  c.let.update(
    idf=dict(fn="task.inverse_document_frequency", least=3, of=dict(counts="token_counts")),
    weights=dict(fn="task.term_weights", k1=1.2, of=dict(idf="idf", **of_text)),
    log_chances=dict(fn="task.log_shares", of=dict(weights="weights", allowed="batch.valid")),
  )


def paper(c: ConfigDict) -> None:
  """BERT-base on windows of 128 pieces of words, terms counted in a million of them."""
  c.model.update(width=768, depth=12, heads=12, mlp=2048)
  c.prepare.token_counts.examples = 1_000_000


@lab.preset("speeches")
def laptop(c: ConfigDict) -> None:
  """A small model on the speeches of nine plays, three seeds."""


@lab.preset("speeches")
def content(c: ConfigDict) -> None:
  """Any token but stop words, all alike: what the weights add beyond these."""
  c.let.idf = dict(fn="task.content_words", share=0.1, of=dict(counts="token_counts"))
  c.let.weights = dict(fn="task.at_ids", of=dict(table="idf", ids="batch.tokens"))
