r"""MaskLLM (Fang et al., 2024): 2:4 masks of a language model are learned, its weights are not.

Paper: Fang, Yin, Muralidharan, Heinrich, Pool, Kautz, Molchanov, Wang. "MaskLLM: Learnable
       Semi-Structured Sparsity for Large Language Models", NeurIPS 2024, arXiv:2409.17481.
Claim: Llama-2 7B, WikiText-2 perplexity: learned 2:4 6.72, one-shot 10 and more, dense 5.12.
Measured: Tiny Shakespeare, `laptop`, three dense models of 900 steps and of each its own masks, 150
       steps of 16 windows of 128 characters, f32, one core, 2026-11-22, by the command below. Bits
       per character on the last 5 %, and groups that ended in another pattern than magnitude's;
       Wanda and magnitude are the masks of a prior alone, see below:

       | run                | bits per character | groups elsewhere |
       |--------------------|--------------------|------------------|
       | dense              | 2.550 ± 0.006      | -                |
       | `laptop` (learned) | 2.883 ± 0.023      | 59.7 ± 0.3 %     |
       | Wanda              | 3.467 ± 0.086      | not measured     |
       | magnitude          | 3.702 ± 0.172      | -                |
       | the default        | not measured       | not measured     |

       Of the first dense model:

       | run                                  | bits per character |
       |--------------------------------------|--------------------|
       | random (one draw)                    | 6.550              |
       | `wanda` (learned from Wanda's prior) | 2.911              |

       The mean probability of the likeliest pattern of a group:

       | run      | step 0 | step 50 | step 150 |
       |----------|--------|---------|----------|
       | `laptop` | 0.74   | 0.98    | 0.9999   |

       *Reproduced*. Every group keeps 2 of 4. Settings: magnitude and Wanda train nothing, and have
       none; of `laptop` rate, reward and steps were set by hand, nothing was chosen by comparison.
Run:   maskjax --config=maskllm:laptop --workdir=runs/maskllm
       --config.data.path=tiny_shakespeare.txt.gz
       --config.stages.dense.data.path=tiny_shakespeare.txt.gz

Every four inputs of an output have six patterns that keep two. Their logits are trained through
soft masks drawn by Gumbel softmax, from a prior: magnitude; others:
--config.reparametrize.score.fn=weights.random, or Wanda's, the preset `wanda`. The masks of a
prior alone are those of step 0 with --config.reparametrize.prior=1000.0. `mj.load` gives the
weights with what the likeliest patterns hide at zero. The dense model is a stage, trained first;
--config.init_from=DIR takes a finished one.

The default is Llama-2 7B with the public code's numbers for C4: 2,000 steps of 256 windows. Its
published weights are read from --config.init_from=DIR/model-00001-of-00002.safetensors, names as in
transformers; the tokens are then to be its own.
Presets: `laptop` learns masks for the small model of `causal_lm:laptop`, `small` for that of
`causal_lm:small`, `wanda` is `laptop` from Wanda's prior.
Deviations: the prior is magnitude, in the public code SparseGPT's; Wanda's meets the inputs of the
dense model in every layer. Tokens are pieces learned from the text, the first is predicted from a
begin token, one more embedding, which published weights do not have and keep as drawn; Llama's own
tokenizer is not here, so that published weights meet other tokens until data of its ids are given.
The masks of a step are the same for all of its microbatches.
"""

from ml_collections import ConfigDict

from maskjax import lab

BASE = lab.base("base/causal_lm")

WEIGHTS = 6_738_415_616  # Llama-2 7B
LOGITS = 32 * (4 * 4096 * 4096 + 3 * 4096 * 11_008) // 4 * 6

NOTE = dict(
  scale=dict(
    kind="text",
    shape=(4096,),
    vocabulary=32_000,
    examples=512_000,
    parameters=WEIGHTS + 4096 + LOGITS,
  ),
  counted="public code: beside_maskllm.py",
)


def method(c: ConfigDict) -> None:
  """Patterns of two of every four weights are learned; a dense stage gives the weights."""
  c.stages = dict(dense=c.copy_and_resolve_references())
  c.init_from = "stages/dense"
  c.prepare = {}
  c.reparametrize = dict(
    fn="weights.learned_patterns",
    keep=2,
    of=4,
    where=(("embed|predict", False), ("kernel$", True)),
    score=dict(fn="weights.magnitude"),
    prior=3.0,
    deviation=0.01,
    scale=dict(fn="schedule.linear", start=100.0, end=500.0),
    select=dict(fn="select.softmax", temperature=dict(fn="schedule.linear", start=4.0, end=0.05)),
    reward=dict(fn="schedule.linear", start=1e-5, end=0.0),
  )
  c.optimizer.update(learning_rate=5e-4, end=0.1, warmup_steps=0, weight_decay=0.1)
  c.optimizer.rate_rules = (("^masks/", 1.0), (".", 0.0))
  c.evals.scalars = dict(fn="train.evaluators.scalars", every=0)
  c.evals.sparsity = dict(fn="train.evaluators.sparsity", every=0, group=(2, 4))


def paper(c: ConfigDict) -> None:
  """Masks for Llama-2 7B."""
  for config in (c, c.stages.dense):
    config.model.update(width=4096, depth=32, heads=32, mlp=11_008, norm_eps=1e-5, remat=True)
    config.data.update(unit="bpe", vocabulary=32_000, length=4096, split=(0.98, 0.01, 0.01))
    config.batch_size, config.eval_batch_size, config.total_steps = 256, 256, 2000
    config.evals.bits.every = 500
  c.optimizer.eps, c.evals.scalars.every = 1e-5, 500


@lab.preset
def laptop(c: ConfigDict) -> None:
  """Masks for the small model of `causal_lm`, three seeds."""
  c.optimizer.learning_rate, c.reparametrize.reward.start, c.total_steps = 1e-2, 1e-4, 150
  c.evals.bits.every = c.evals.scalars.every = 50
  c.checkpoint.every, c.log.every = 150, 25


@lab.preset("laptop")
def wanda(c: ConfigDict) -> None:
  """`laptop` from the masks of Wanda."""
  c.prepare = dict(input_norms=dict(fn="task.input_norms", examples=128))
  c.reparametrize.score = dict(fn="weights.input_scaled_magnitude")
