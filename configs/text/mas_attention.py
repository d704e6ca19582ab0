r"""MAS (Katz et al., 2025): a prompt is read both ways within its blocks, the answer causally.

Paper: "Segment-Based Attention Masking for GPTs", ACL 2025, arXiv:2412.18487. Fine-tuned by LoRA on
       commonsense reasoning, mean accuracy of eight tasks, causal in brackets: Llama-3-8B 85.8 %
       (84.0), Llama-3.2-3B 82.3 (79.0), Qwen2.5-7B 88.8 (86.6).
Here:  `laptop`, Tiny Shakespeare, f32, shared cores, 2026-11-21: one causal network of 0.17 M
       weights (600 steps, 2.754 bits per character on plain windows), then 150 steps of 16 speeches
       with three seeds. Bits per character of the answers in the last 5 %: 2.808 ± 0.009, causal
       2.809 ± 0.010; the difference by seed is -0.001 ± 0.002: not visible at this scale. Before,
       2.821 and 2.820. Of what a prompt's tokens attend to, 0.585 ± 0.002 comes later (0.589
       before; 0.493 if attention were even), in a prompt's first quarter 0.746 ± 0.002 (0.758;
       0.865); of what answers attend to, nothing; causal nothing at all. By the command below with
       --config.init_from=runs/base, hide.fn as said, and runs/base from python launch.py
       --config=configs/text/causal_lm.py:laptop,model.width=64,model.depth=3,model.mlp=192
       --config.total_steps=600 --config.optimizer.learning_rate=3e-3 --config.seeds=1
       --workdir=runs/base. The default: not measured.
Run:   python launch.py --config=configs/text/mas_attention.py:laptop --workdir=runs/mas
       --config.data.path=tiny_shakespeare.txt.gz
       --config.stages.pretrained.data.path=tiny_shakespeare.txt.gz

A causal model is trained first, a stage, and then adapted: `--config.init_from=DIR` takes a
finished one. The plain model: --config.hide.fn=causal. `data.turns` is what separates turns; each
is an answer to what precedes it, the prompt, whose last turn is a block of its own (the user's) and
the rest another; `data.blocks` says how many blocks there are at most. Answers alone are asked.
`evals.ahead` tells where prompts look. With --config.job=generate a prompt is read at once, as one
block (data.blocks=1), and what follows is written token by token:
--config.sample.prompt=$'ROMEO:\nSpeak, love!\n\n'.

The default is Llama-3.2-1B's shape; rate and epochs are those of the public code's adapters.
Presets: `laptop` on the speeches of a play, `smoke` two steps.
Deviations: of the default, whole matrices of queries, keys and values learn, where the paper has
LoRA of rank 32 on queries and values; the presets train all weights. Turns of a text stand for
chats: no template, no names of roles. Rotary positions of base 10,000, not Llama's scaled 500,000.
Not found in the public code, which holds no training: that only answers count, the batch, the
warm-up and the window; they are decided here. The paper's figures are as a public summary quotes
them. The public code pads in front, and keeps a mask of all pairs.
"""

import pathlib

from ml_collections import ConfigDict

from maskjax import lab

causal_lm = lab.load(pathlib.Path(__file__).with_name("causal_lm.py"))

NOTE = dict(
  id="mas_attention",
  family="attention_mask",
  title="Segment-Based Attention Masking for GPTs",
  claim="eight commonsense tasks, LoRA: Llama-3-8B 85.8 % (causal 84.0), Llama-3.2-3B 82.3 (79.0)",
  measured="Tiny Shakespeare, bits per character of answers: 2.808 ± 0.009, causal 2.809 ± 0.010",
  citation="Katz, Ringel, Romano, Wolf. ACL 2025. arXiv:2412.18487",
  # Llama-3.2-1B's, whose vocabulary of 128,256 holds the begin token.
  scale=dict(
    kind="text", shape=(256,), vocabulary=128_255, examples=170_420, parameters=1_235_814_400
  ),
  laptop=dict(kind="text", shape=(128,), vocabulary=65, examples=6500, turns=True),
)
# Only attention learns, as in the paper; here whole matrices.
ATTENTION = (("attention/qkv/kernel$", 1.0), (".", 0.0))


def get_config(arg: str | None = None) -> ConfigDict:
  """Llama-3.2-1B, fine-tuned for three epochs of prompts and answers, or a preset."""
  c = causal_lm.get_config()
  c.hide = dict(fn="blocks")
  c.batch_size, c.eval_batch_size = 16, 32
  c.total_epochs, c.total_steps = 3.0, 0
  c.model.update(
    width=2048, depth=16, heads=32, kv_heads=8, mlp=8192, tied=True, remat=True, scan=True
  )
  c.data.update(unit="bpe", vocabulary=128_255, split=(0.99, 0.005, 0.005), turns="\n\n", blocks=2)
  c.optimizer.update(
    learning_rate=2e-4, schedule="linear", warmup_steps=100, weight_decay=0.0, rate_rules=ATTENTION
  )
  c.evals.ahead = dict(fn="ahead", every=0, split="test", batch_size=8, limit=64)
  c.checkpoint.every, c.log.every = 2000, 50

  before = causal_lm.get_config()
  before.model = c.model.copy_and_resolve_references()
  before.data.update(unit="bpe", vocabulary=128_255, split=(0.99, 0.005, 0.005))
  c.stages = dict(pretrained=before)
  c.init_from = "stages/pretrained"
  return lab.finish(c, arg, PRESETS)


def small(c: ConfigDict, length: int, separator: str, steps: int) -> None:
  """A stage of `causal_lm` on the characters of a text, then `steps` on its turns, all weights."""
  before = c.stages.pretrained
  for config in (c, before):
    causal_lm.characters(config)
    config.model.update(kv_heads=0, tied=False, remat=False, scan=False)
    config.data.update(unit="characters", length=length)
  c.data.update(turns=separator, blocks=1)
  c.total_epochs, c.total_steps = 0.0, steps
  c.optimizer.rate_rules = ((".", 1.0),)
  before.evals.bits.every = c.evals.bits.every = 0


def laptop(c: ConfigDict) -> None:
  """0.2 M weights: 600 steps on the characters of a play, then 150 on its speeches; three seeds."""
  small(c, 128, "\n\n", 150)
  c.seeds = 3
  before = c.stages.pretrained
  for config in (c, before):
    config.model.update(width=64, depth=3, heads=4, mlp=192)
    config.batch_size, config.eval_batch_size = 16, 32
    config.checkpoint.every, config.log.every = 300, 50
  before.total_steps = 600
  before.optimizer.update(learning_rate=3e-3, warmup_steps=50)
  c.optimizer.update(learning_rate=1e-3, warmup_steps=20, weight_decay=0.01)
  c.evals.ahead.update(batch_size=32, limit=256)


def smoke(c: ConfigDict) -> None:
  """Two steps of each: everything runs, nothing is learned."""
  small(c, 48, ". ", 2)
  before = c.stages.pretrained
  for config in (c, before):
    config.model.update(width=32, depth=1, heads=2, mlp=64)
    config.batch_size, config.eval_batch_size, config.total_steps = 8, 8, 2
    config.optimizer.warmup_steps = 1
    config.checkpoint.every, config.log.every = 1, 1
  c.evals.ahead.update(batch_size=8, limit=8)


PRESETS = {"laptop": laptop, "smoke": smoke}
