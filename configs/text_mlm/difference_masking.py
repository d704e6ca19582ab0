r"""Difference-Masking (Wilf et al., 2023): hide what makes a domain different from general text.

Paper: Wilf, Akter, Mathur, Liang, Mathew, Shou, Nyberg, Morency. "Difference-Masking: Choosing What
       to Mask in Continued Pretraining", Findings of EMNLP 2023, arXiv:2305.14577; code at
       github.com/abwilf/Difference-Masking, 3bb9dd6.
Claim: Continued pretraining that masks so is better than random and other strategies on two tasks
       of text (ACL-ARC, ChemProt) and two of video (TVQA, Social-IQ).
Measured: Tiny Shakespeare's speeches of four comedies, 300 steps of 16 after 600 on five other
       plays, three seeds, f32, one core, 2026-11-30, by the command below and by that of `random`,
       whose stages are the same, seed by seed: --config.init_from=runs/difference/stages/general,
       and of seeds 1 and 2 runs/difference/seeds/1/stages/general. The last fifth of each comedy,
       15 % hidden at random or word by word by masks that are the same for all; a linear probe of
       the play:

       | run      | nats a token  | words: nats   | play          |
       |----------|---------------|---------------|---------------|
       | before   | 5.543 ± 0.070 | 5.608 ± 0.037 | 0.415 ± 0.038 |
       | `random` | 5.191 ± 0.182 | 5.382 ± 0.068 | 0.445 ± 0.017 |
       | `laptop` | 5.347 ± 0.176 | 5.502 ± 0.123 | 0.431 ± 0.041 |

       Who is asked for rare words learns less of common ones, 0.16 ± 0.03 nats at random masks, by
       seed; features are level: *not visible at this scale*. Settings: those of mask15:speeches for
       both; nothing was chosen for the method.
Run:   maskjax --config=difference_masking:laptop --workdir=runs/difference
       --config.data.path=tiny_shakespeare.txt.gz
       --config.stages.general.data.path=tiny_shakespeare.txt.gz

A network learns a general text first, by random masks, the stage `general`
(--config.init_from=DIR takes a finished one); then that of a domain, whose anchors are the terms of
largest TF-ICF, those frequent in the domain and rare in the general text. Words are ranked within
their text by the largest cosine of their context vectors to an anchor's; weights fall in a line
with the rank, and 15 % of the pieces are drawn without replacement, each with the weight of its
word. --config.let.weights.alpha=0.5 mixes them with even ones. 80/10/10 is BERT's.

Presets: `laptop` goes from the speeches of five plays, histories and tragedies, to those of four
comedies; `random` goes on with random masks. The default wants --config.prepare.general.data.path,
the general text.
Deviations: the authors' anchors are lists of words in their code, which has no TF-ICF; the formula
is from the paper by memory, stop words are left out, and where both texts are of one kind the share
of a term in the general text is held against that in the domain's, else anchors are what is most
frequent. Their similarity is that of BERT's pooled outputs for each word alone; here of context
vectors of pieces, a word's being that of its piece nearest to an anchor; in the default the first
2,048 pieces alone have one, so that no other is an anchor, and words of others rank last. A word
that occurs twice counts twice, where their code keeps its last place alone, and the share is
rounded, not cut. They train jointly with the task; here masks alone are asked for. The network is
mask15's.
"""

from ml_collections import ConfigDict

from maskjax import lab

BASE = lab.base("text_mlm/mask15")
WITHOUT = ("small", "speeches")

NOTE = dict(
  # ChemProt's training texts.
  scale=dict(
    kind="text", shape=(512,), vocabulary=50_265, examples=4169, units=True, parameters=123_558_144
  ),
  counted="by hand: 50_266 * 768 + 12 * (4 * 768**2 + 3 * 768 * 2048 + 2 * 768) + 768",
  laptop=dict(kind="text", shape=(96,), vocabulary=1024, examples=1196, classes=4, units=True),
  smoke=dict(
    prepare__domain__examples=16, prepare__general__examples=16, prepare__cosines__examples=16
  ),
)

GENERAL = ("Coriolanus", "Richard III", "Richard II", "Romeo and Juliet", "Henry VI, Part 3")
COMEDIES = ("The Winter's Tale", "Measure for Measure", "The Taming of the Shrew", "The Tempest")


def method(c: ConfigDict) -> None:
  """Draws without replacement by weights that fall with the rank of each word's similarity."""
  c.stages = dict(general=c.copy_and_resolve_references())
  c.init_from = "stages/general"
  c.select.select.ratio, c.hide.shares = 0.15, (0.8, 0.1, 0.1)
  c.prepare = dict(
    domain=dict(fn="task.token_counts", examples=1196),
    general=dict(fn="task.token_counts", examples=1932, data=dict(path="")),
    cosines=dict(fn="task.context_cosines", window=11, ids=0, least=2, examples=1196),
  )
  c.score = dict(fn="score.gumbel", of=dict(logits="log_chances"))
  allowed = dict(allowed="batch.valid")
  c.let.update(
    worth=dict(fn="task.tf_icf", relative=False, of=dict(target="domain")),
    content=dict(fn="task.content_words", share=0.1, of=dict(counts="domain")),
    nearness=dict(fn="task.nearest_anchor", anchors=20),
    similarity=dict(fn="task.at_ids", of=dict(table="nearness", ids="batch.tokens")),
    weights=dict(fn="task.rank_weights", alpha=1.0, of=dict(unit="batch.unit", **allowed)),
    log_chances=dict(fn="task.log_shares", of=dict(weights="weights", **allowed)),
  )


def paper(c: ConfigDict) -> None:
  """RoBERTa-base's size on texts of 512 pieces, 150 epochs of ChemProt's."""
  for config in (c, c.stages.general):
    config.model.update(width=768, depth=12, heads=12, mlp=2048)
    config.data.length = 512
  c.batch_size, c.total_epochs, c.total_steps = 512, 150.0, 0
  # The public code's, under which norms do not decay.
  c.optimizer.update(learning_rate=1e-4, warmup_steps=74, clip=1.0, decay_rules=None)
  c.prepare.domain.examples = c.prepare.cosines.examples = 4169
  c.prepare.general.examples, c.prepare.cosines.ids = 1_000_000, 2048


@lab.preset("speeches")
def laptop(c: ConfigDict) -> None:
  """600 steps on the speeches of five plays, then 300 on those of four comedies, three seeds."""
  before = c.stages.general
  before.seeds, before.data.classes, c.data.classes = 1, GENERAL, COMEDIES
  c.prepare.general.data = dict(classes=GENERAL)
  c.let.worth.relative = True
  c.total_steps, c.optimizer.warmup_steps, c.checkpoint.every = 300, 30, 300


@lab.preset("laptop")
def random(c: ConfigDict) -> None:
  """Random masks of as many, from the same stage."""
  c.score, c.prepare = dict(fn="score.uniform"), {}
  for name in ("worth", "content", "nearness", "similarity", "weights", "log_chances"):
    del c.let[name]
