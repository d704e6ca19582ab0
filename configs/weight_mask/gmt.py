r"""GMT (Li et al., 2024): of each accumulated gradient only the largest entries update the network.

Paper: Li, Zhang, Liu, Gong, Wang, Chen, Cheng. "Gradient-Mask Tuning Elevates the Upper Limits of
       LLM Performance", AAAI 2025, arXiv:2406.15330. No public code was found.
Claim: Better than updating all parameters in supervised fine-tuning and preference optimisation of
       7B models, whatever the share, at its cost.
Measured: 2026-11-30, by the command below:

       | run      | bits per character |
       |----------|--------------------|
       | `laptop` | not measured       |

       *Not measured*. Settings: nothing was chosen.
Run:   maskjax --config=gmt:laptop --workdir=runs/gmt
       --config.data.path=comedies.txt --config.stages.pretrained.data.path=others.txt

At each step the mean gradient over the microbatches is formed, and of each leaf the fifth of
largest absolute value is updated: clipping and the moments of Adam are told no gradient of the
others, which stay what they are, bit for bit. --config.hold.frozen=False masks the gradient alone,
so that moments move on what was selected before. Others: all parameters,
--config.hold.select.ratio=0.0; a random fifth at each step,
--config.hold.score.fn=weights.resampled; one quantile for the whole network,
--config.hold.scope=global. The pretrained network is a stage, trained first;
--config.init_from=DIR takes a finished one, or published weights of Llama's names.

The default is Llama-2 7B on a text of instructions, `laptop` fine-tunes the small model of
`causal_lm:laptop` for 200 steps. Its two texts: Tiny Shakespeare up to "The Taming of the Shrew",
and from there on, begun with a line "$&3", so that both have the same characters.
Deviations: of the paper little more than the abstract and two formulas was at hand. They say
which entries are updated, by the rate times the masked mean gradient; what becomes of Adam's
moments, whether a quantile is of a leaf or of all, the shares, and the default's rates, batches and
lengths are decided here. Preference optimisation is not here.
"""

from ml_collections import ConfigDict

from maskjax import lab

BASE = lab.base("base/causal_lm")

NOTE = dict(
  scale=dict(
    kind="text",
    shape=(2048,),
    vocabulary=32_000,
    examples=326_154,
    # Llama-2 7B, and a begin token.
    parameters=6_738_415_616 + 4096,
  ),
  counted="public code: beside_maskllm.py",
  held="partly: not measured, the paper by its abstract alone, no preference optimisation",
)


def method(c: ConfigDict) -> None:
  """A pretrained network is fine-tuned where the gradient of a step is largest."""
  c.stages = dict(pretrained=c.copy_and_resolve_references())
  c.init_from = "stages/pretrained"
  c.hold = dict(
    fn="weights.update_only",
    score=dict(fn="weights.gradient"),
    select=dict(fn="select.top", ratio=0.8),
    scope="layer",
    every=1,
    frozen=True,
  )
  c.evals.selected = dict(fn="train.evaluators.selected", every=0)


def paper(c: ConfigDict) -> None:
  """Llama-2 7B on instructions."""
  for config in (c, c.stages.pretrained):
    config.model.update(width=4096, depth=32, heads=32, mlp=11_008, norm_eps=1e-5, remat=True)
    config.data.update(unit="bpe", vocabulary=32_000, length=2048, split=(0.98, 0.01, 0.01))
  c.batch_size, c.eval_batch_size, c.total_steps, c.total_epochs = 128, 128, 0, 2.0
  c.optimizer.update(learning_rate=2e-5, warmup_steps=0, warmup_epochs=0.06, weight_decay=0.0)


@lab.preset
def laptop(c: ConfigDict) -> None:
  """The small model of `causal_lm` from one part of a text to another, three seeds."""
  c.optimizer.update(learning_rate=5e-4, warmup_steps=0, weight_decay=0.0)
  c.total_steps = 200
  c.checkpoint.every = 200
