r"""MAS (Katz et al., 2025): a prompt is read both ways within its blocks, the answer causally.

Paper: Katz, Ringel, Romano, Wolf. "Segment-Based Attention Masking for GPTs", ACL 2025,
       arXiv:2412.18487.
Claim: Eight commonsense tasks, LoRA: Llama-3-8B 85.8 % (causal 84.0), Llama-3.2-3B 82.3 (79.0).
       Qwen2.5-7B 88.8 (86.6).
Measured: Tiny Shakespeare, `laptop`, 150 steps of 16 speeches, three seeds, f32, shared cores,
       2026-11-30, by the command below with --config.init_from=runs/base and let.pairs.fn as said:
       bits per character of the answers in the last 5 %, and how much of what the tokens of a
       prompt, those of its first quarter, and answers attend to comes later:

       | run                | bits per character | prompt        | first quarter | answers      |
       |--------------------|--------------------|---------------|---------------|--------------|
       | `laptop` (blocks)  | 2.800 ± 0.009      | 0.413 ± 0.003 | 0.403 ± 0.002 | nothing      |
       | causal             | 2.801 ± 0.009      | nothing       | nothing       | nothing      |
       | before (blocks)    | 2.833              | 0.411         | 0.406         | nothing      |
       | before (causal)    | 2.830              | nothing       | nothing       | nothing      |
       | difference by seed | 0.000 ± 0.001      | -             | -             | -            |
       | even attention     | -                  | 0.336         | 0.469         | -            |
       | the default        | not measured       | not measured  | not measured  | not measured |

       runs/base, one causal network of 0.17 M weights, by maskjax
       --config=causal_lm:laptop,model.width=64,model.depth=3,model.mlp=192
       --config.total_steps=600 --config.optimizer.learning_rate=3e-3 --config.seeds=1
       --workdir=runs/base:

       | run                   | bits per character, plain windows |
       |-----------------------|-----------------------------------|
       | runs/base (600 steps) | 2.755                             |

       *Not visible at this scale*. Settings: those of `laptop` for both; nothing was chosen for the
       method.
Run:   maskjax --config=mas_attention:laptop --workdir=runs/mas
       --config.data.path=tiny_shakespeare.txt.gz
       --config.stages.pretrained.data.path=tiny_shakespeare.txt.gz

A causal model is trained first, a stage, and then adapted: `--config.init_from=DIR` takes a
finished one. The plain model: --config.let.pairs.fn=hide.causal. `data.turns` is what separates
turns; each is an answer to what precedes it, the prompt. Two take turns: the last turn of a prompt
is the user's and read both ways, the one before it an earlier answer and read causally, and so on
back; every turn is a block of its own. The last answer alone is asked. `evals.lookahead` tells
where prompts look. With --config.job=generate a prompt is one turn, read at once, and what follows
is written token by token: --config.sample.prompt=$'ROMEO:\nSpeak, love!\n\n'.

The default is Llama-3.2-1B's shape; rate and epochs are those of the public code's adapters.
Presets: `laptop` on the speeches of a play, `small` a larger model at the budget of md4's `small`,
`smoke` two steps.
Deviations: there is no LoRA here: of the default, whole matrices of queries, keys and values learn
(with all their parameters, optimizer states and a rate tuned for adapters), where the paper has
LoRA of rank 32 on queries and values, scaled by 2; the presets train all weights. Turns of a text
stand for chats: no template, no names of roles, and every second turn counts as the same speaker's.
Rotary positions are of base 500,000 without Llama's scaling for long texts. Not found in the public
code, which holds no training: that only answers count, the batch, the warm-up and the window; they
are decided here. The paper's figures are as a public summary quotes them. The public code pads in
front, and keeps a mask of all pairs.
"""

from ml_collections import ConfigDict

from maskjax import lab

BASE = lab.base("base/causal_lm")

NOTE = dict(
  # Llama-3.2-1B's, whose vocabulary of 128,256 holds the begin token.
  scale=dict(
    kind="text", shape=(256,), vocabulary=128_255, examples=170_420, parameters=1_235_814_400
  ),
  counted="public code: beside_mas_attention.py",
  laptop=dict(kind="text", shape=(128,), vocabulary=65, examples=6500, turns=True),
)
# Only attention learns, as in the paper; here whole matrices.
ATTENTION = (("attention/qkv/kernel$", 1.0), (".", 0.0))


def method(c: ConfigDict) -> None:
  """Prompts are read both ways in their blocks, and answers asked; a causal stage comes before."""
  c.stages = dict(pretrained=c.copy_and_resolve_references())
  c.init_from = "stages/pretrained"
  c.let.pairs = dict(fn="hide.blocks")
  for name in ("told", "last", "looks", "writer"):
    c.let[name].of.pairs = "pairs"
  # A caller may tell which block of a prompt each token belongs to.
  c.let.writer.of.blocks = "blocks"
  c.answers.generate.takes = ("keys", "tokens", "hidden", "blocks")
  c.data.turns = "\n\n"
  # All weights learn; at the paper's scale attention alone.
  c.optimizer.update(schedule="linear", rate_rules=())
  c.evals.lookahead = dict(fn="train.evaluators.lookahead", every=0)


def paper(c: ConfigDict) -> None:
  """Llama-3.2-1B, fine-tuned for three epochs of prompts and answers."""
  for config in (c, c.stages.pretrained):
    config.model.update(
      width=2048, depth=16, heads=32, kv_heads=8, mlp=8192, tied=True, remat=True, scan=True
    )
    config.model.update(norm_eps=1e-5, base=500_000.0)
    config.data.update(unit="bpe", vocabulary=128_255, split=(0.99, 0.005, 0.005))
  c.batch_size, c.eval_batch_size = 16, 32
  c.total_epochs, c.total_steps = 3.0, 0
  c.optimizer.update(learning_rate=2e-4, warmup_steps=100, weight_decay=0.0, rate_rules=ATTENTION)
  c.evals.lookahead.update(batch_size=8, limit=64)
  c.checkpoint.every, c.log.every = 2000, 50


@lab.preset
def laptop(c: ConfigDict) -> None:
  """0.2 M weights: 600 steps on the characters of a play, then 150 on its speeches; three seeds."""
  before = c.stages.pretrained
  for config in (c, before):
    config.model.update(width=64, depth=3, mlp=192)
    config.eval_batch_size, config.log.every = 32, 50
  before.seeds, before.total_steps, c.total_steps = 1, 600, 150
  before.optimizer.learning_rate = 3e-3
  c.optimizer.update(learning_rate=1e-3, warmup_steps=20)
