r"""Time-variant masking (Yang et al., 2023): word classes that are predicted badly are hidden more.

Paper: Yang, Zhang, Zhao. "Learning Better Masking for Better Language Model Pre-training", ACL
       2023, arXiv:2208.10806; code at github.com/mutonix/better_masking, 35652c2e.
Claim: Both schedules, of the masking ratio and of the masked content, pre-train more efficiently
       and do better downstream than random tokens at a fixed ratio.
Measured: Tiny Shakespeare's speeches, 600 steps of 16, three seeds, f32, one core,
       2026-11-30, by the command below, mask15 by maskjax --config=mask15:speeches
       --config.seeds=3 on two shared cores. The last fifth of each play, 15 % hidden at random or
       word by word by masks that are the same for all; a linear probe of the play:

       | run               | nats a token  | words: nats   | play          |
       |-------------------|---------------|---------------|---------------|
       | untrained         | 7.539 ± 0.059 | 7.545 ± 0.063 | 0.193 ± 0.009 |
       | `mask15:speeches` | 5.587 ± 0.077 | 5.616 ± 0.072 | 0.234 ± 0.009 |
       | `alike`           | not measured  | not measured  | not measured  |
       | `decay`           | not measured  | not measured  | not measured  |
       | `laptop`          | 5.928 ± 0.104 | 5.800 ± 0.162 | 0.237 ± 0.003 |

       Whole words by class cost nats beside random tokens; features are level: *not visible at this
       scale*. What is due to whole words, what to classes, and the falling ratio: *not measured*.
       Settings: those of mask15:speeches for both; nothing was chosen for the method.
Run:   maskjax --config=time_variant_mlm:laptop --workdir=runs/time_variant
       --config.data.path=tiny_shakespeare.txt.gz

Content (the paper's PTW): whole words come in random order, and each is accepted with the weight of
its class, $\sigma(2 (\ell_c - \mu) / s)$ by mean and deviation over the classes, where $\ell_c$ is
a moving average of the loss of the class; 15 % are hidden, 80/10/10. Ratio (MRD): the preset
`decay` hides random tokens, from 32 % down to 2 % by a cosine, where the paper's other schedule is
--config.select.select.ratio.fn=schedule.linear with start=0.3 and end=0.0, and a rising control
start=0.02 and end=0.32.

Presets: `laptop` learns the speeches of mask15's `speeches`, `decay` too, and `alike` with all
weights alike: whole words at random.
Deviations: classes are not parts of speech by a tagger, but clusters of token ids by the contexts
that they occur in, counted in the training text before step 0; a word is of the class of its first
token, and the loss of a token counts for its own. Exactly 15 % are hidden: where too few words are
accepted others follow, and the last one is cut, where the public code stops short and skips it. The
average is of 0.9 in `laptop`: 0.999, begun at 0, takes longer than its run. In the default the
first 2,048 ids alone are clustered, all others are one class. Continued from BERT there, from
scratch here. The cosine's mean is 17 %, as in the code. The network is mask15's.
"""

from ml_collections import ConfigDict, config_dict

from maskjax import lab

BASE = lab.base("text_mlm/mask15")
WITHOUT = ("small",)

NOTE = dict(
  scale=dict(
    kind="text",
    shape=(512,),
    vocabulary=30_522,
    examples=7_800_000,
    units=True,
    parameters=108_395_520,
  ),
  counted="by hand: 30_523 * 768 + 12 * (4 * 768**2 + 3 * 768 * 2048 + 2 * 768) + 768",
  laptop=dict(kind="text", shape=(96,), vocabulary=1024, examples=3128, classes=9, units=True),
  smoke=dict(prepare__token_classes__examples=16),
  held="partly: even weights and the falling ratio are not measured",
)


def method(c: ConfigDict) -> None:
  """Whole words by chances that follow the losses of their classes."""
  c.select.select.ratio, c.hide.shares = 0.15, (0.8, 0.1, 0.1)
  classes = config_dict.FieldReference(17)
  tagged = dict(fn="task.context_classes", classes=classes, window=3, ids=0, least=2, examples=3128)
  c.prepare = dict(token_classes=tagged)
  c.score = dict(fn="score.accepted", of=dict(chance="chance", unit="unit"))
  # Of what is trained on, whatever answers look at.
  told = dict(logits="main.logits", target="main.values", asked="main.asked", kind="kinds")
  c.let.update(
    kinds=dict(fn="task.at_ids", of=dict(table="token_classes", ids="batch.tokens")),
    running=dict(fn="task.running_losses", classes=classes, decay=0.999, of=told),
    class_chances=dict(fn="task.loss_weights", name="running", classes=classes, slope=2.0),
    chance=dict(fn="task.at_ids", of=dict(table="class_chances", ids="kinds")),
  )


def paper(c: ConfigDict) -> None:
  """BERT-base on texts of 512 pieces, a million steps of 256."""
  c.model.update(width=768, depth=12, heads=12, mlp=2048)
  c.data.update(vocabulary=30_522, length=512)
  c.batch_size, c.total_steps = 256, 1_000_000
  c.prepare.token_classes.update(examples=1_000_000, ids=2048)
  # Those of transformers' Trainer where the public code does not say.
  c.optimizer.update(learning_rate=2e-4, warmup_steps=10_000)
  c.optimizer.update(b2=0.999, eps=1e-8, clip=1.0, decay_rules=None)  # None: norms do not decay.


@lab.preset("speeches")
def laptop(c: ConfigDict) -> None:
  """A small model on the speeches of nine plays, three seeds."""
  c.let.running.decay = 0.9


@lab.preset("laptop")
def alike(c: ConfigDict) -> None:
  """Words of all classes alike."""
  c.let.class_chances.slope = 0.0


@lab.preset("speeches")
def decay(c: ConfigDict) -> None:
  """Random tokens, from 32 % down to 2 %."""
  c.prepare, c.score = {}, dict(fn="score.uniform")
  for name in ("kinds", "running", "class_chances", "chance"):
    del c.let[name]
  with c.ignore_type():
    c.select.select.ratio = dict(fn="schedule.cosine", start=0.32, end=0.02)
