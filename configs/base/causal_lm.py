r"""Causal language model: every token is predicted from those before it; the base of text methods.

Paper: Radford, Wu, Child, Luan, Amodei, Sutskever. "Language Models are Unsupervised Multitask
       Learners", OpenAI 2019 (GPT-2). The size is that of GPT-2 small, the data text8's characters,
       as md4's.
Claim: A language model learns many tasks without being trained for them.
Measured: Tiny Shakespeare, characters, `laptop`, 900 steps, three seeds, f32, one core, 7 min of it
       a seed, 2026-11-22, by the command of maskllm.py, whose stage it is: on the last 5 %:

       | run         | bits per character |
       |-------------|--------------------|
       | untrained   | 6.71 ± 0.12        |
       | `laptop`    | 2.550 ± 0.006      |
       | the default | not measured       |
Run:   maskjax --config=causal_lm:laptop --workdir=runs/causal_lm
       --config.data.path=tiny_shakespeare.txt.gz

Presets: `laptop` and `small` learn the characters of a text file. For pieces
of words set data.unit=bpe; with data.documents attention stays inside a document.
Deviations: rotary positions, RMS norms and gated MLPs, as in today's models; windows of 256
characters, each beginning without context, as md4's, so that bits per character compare.
"""

from typing import Any

from ml_collections import ConfigDict

from maskjax import lab

NOTE = dict(
  scale=dict(kind="text", shape=(256,), vocabulary=27, examples=351_563, parameters=84_996_096),
  counted="public code: beside_md4.py",
  laptop=dict(kind="text", shape=(128,), vocabulary=65, examples=7842),
)


def method(c: ConfigDict) -> None:
  """A causal transformer and the cross-entropy of the next token."""
  c.over = dict(fn="over.tokens")
  c.model = dict(
    fn="model.text_transformer", dtype="bfloat16", remat=False, scan=False, causal=True
  )
  c.let = dict(
    asked=dict(fn="task.asked_of", of=dict(batch="source")),
    told=read(),
    # What answers are made from: what is read where, the last layer, what each token looks at.
    read=dict(fn="task.shifted", of=dict(batch="source", begin="vocabulary")),
    last=read(features=True),
    looks=read(taps=("*/attention",)),
    writer=dict(fn="task.cached", of=dict(begin="vocabulary")),
  )
  c.losses = dict(
    next=dict(
      fn="recover.cross_entropy", smoothing=0.0, of=dict(logits="told.out", target="values")
    )
  )

  c.branches = dict(longer=dict(source=dict(fn="task.longer")))
  c.answers = dict(
    features=dict(
      fn="task.text_features",
      of=dict(tokens="longer.last.out", valid="longer.read.valid"),
      takes=("batch",),
    ),
    attention=dict(fn="task.stacked", axis=1, of=dict(named="looks.found"), takes=("batch",)),
    nats=dict(
      fn="task.text_nats",
      of=dict(logits="told.out", target="values", draws="draws"),
      takes=("batch", "key", "draws"),
    ),
    views=dict(
      fn="task.text_views",
      of=dict(tokens="values", hidden="asked", logits="told.out"),
      takes=("batch", "key"),
    ),
    generate=dict(
      fn="generate.autoregressive",
      temperature=1.0,
      top_k=0,
      top_p=1.0,
      of=dict(read="writer.read", follow="writer.follow"),
      takes=("keys", "tokens", "hidden"),
    ),
  )
  c.sample = dict(count=4, prompt="", length=0, seed=0)
  c.data = dict(name="text", path="", unit="characters", documents="")
  c.evals = dict(bits=dict(fn="train.evaluators.bits", draws=1, batch_size=32))


def paper(c: ConfigDict) -> None:
  """A model of GPT-2 small's size on the characters of text8."""
  c.batch_size, c.eval_batch_size = 512, 512
  c.total_epochs, c.total_steps = 0.0, 20_000
  c.model.update(width=768, depth=12, heads=12, mlp=2048)
  c.data.update(length=256, split=(90_000_000, 5_000_000, 5_000_000))
  c.optimizer = dict(
    fn="adamw",
    learning_rate=6e-4,
    scale_by_batch=0,
    schedule="cosine",
    warmup_steps=1000,
    weight_decay=0.1,
    b1=0.9,
    b2=0.95,
    clip=1.0,
  )
  c.evals.bits.every = 2000
  c.checkpoint.every, c.log.every = 1000, 100


def read(**more: Any) -> dict[str, Any]:
  """What the network says of each token, having read those before it."""
  return dict(fn="task.read_from_left", of=dict(begin="vocabulary"), **more)


@lab.preset
def small(c: ConfigDict) -> None:
  """5.5 M parameters, 600 steps of 32 windows: size, rate and budget of md4's `small`."""
  characters(c)
  c.model.update(width=256, depth=6, heads=4, mlp=848)
  c.batch_size, c.eval_batch_size, c.total_steps = 32, 32, 600
  c.optimizer.update(learning_rate=3e-4, warmup_steps=0)
  c.evals.bits.every = 200
  c.checkpoint.every, c.log.every = 200, 50


@lab.preset
def laptop(c: ConfigDict) -> None:
  """A smaller model and shorter windows, minutes on four cores."""
  characters(c)
  c.model.update(width=96, depth=4, heads=4, mlp=256)
  c.data.length = 128
  c.seeds, c.batch_size, c.eval_batch_size, c.total_steps = 3, 16, 16, 900
  c.optimizer.update(learning_rate=2e-3, warmup_steps=50)
  c.evals.bits.every, c.checkpoint.every = 0, 300


def characters(c: ConfigDict) -> None:
  """A small text in memory: 90, 5 and 5 % of its characters, in order."""
  c.data.split = (0.9, 0.05, 0.05)
  c.loader.workers = 0
  c.model.dtype = "float32"
  c.optimizer.weight_decay = 0.01
