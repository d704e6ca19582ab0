r"""MD4 (Shi et al., 2024): masked diffusion of text with a continuous-time likelihood bound.

Paper: "Simplified and Generalized Masked Diffusion for Discrete Data", NeurIPS 2024,
       arXiv:2406.04329. text8, 12 layers of width 768: at most 1.37 bits per character.
Here:  `small` on Tiny Shakespeare, f32, seed 0, 4 shared cores, 2026-11-21, by the command below
       with config.evals.bits.draws=4: bits per character on the last 5 % were 6.563 untrained,
       4.389 after 200 steps, 3.479 after 400, 3.352 after 600.
Run:   python launch.py --config=configs/text/md4.py:small --workdir=runs/md4
       --config.data.path=tiny_shakespeare.txt.gz

Presets: `laptop` and `small` learn the characters of a text file, `smoke` is two steps.
Deviations: the network is a transformer with rotary positions and gated MLPs that is not told the
time, which the masks show; the paper's is told.
"""

from ml_collections import ConfigDict

from maskjax import lab

NOTE = dict(
  id="md4",
  family="masked_generative",
  title="Simplified and Generalized Masked Diffusion for Discrete Data",
  claim="OpenWebText perplexity below earlier diffusion models at GPT-2's size",
  measured="Tiny Shakespeare, 5.5 M parameters, 600 steps: 3.352 bits per character",
  citation="Shi, Han, Wang, Doucet, Titsias. NeurIPS 2024. arXiv:2406.04329",
  scale=dict(shape=(256,), vocabulary=27, examples=351_563, parameters=84_996_096),
)


def get_config(arg: str | None = None) -> ConfigDict:
  """The paper's text8 model, or a preset."""
  c = ConfigDict()
  c.job = "train"
  c.seed, c.seeds = 0, 1
  c.batch_size, c.eval_batch_size, c.accumulate = 512, 512, 1
  c.total_epochs, c.total_steps = 0.0, 1_000_000
  c.ema = 0.9999

  c.task = dict(fn="diffuse")
  c.model = dict(
    fn="text_transformer", width=768, depth=12, heads=12, mlp=2048, dtype="bfloat16", remat=False
  )
  c.score = dict(fn="white")
  c.select = dict(fn="top")
  c.schedule = dict(fn="linear")
  c.generate = dict(
    fn="decode",
    steps=256,
    score=dict(fn="white"),
    select=dict(fn="top"),
    schedule=dict(fn="linear"),
    binomial=True,
    temperature=1.0,
  )
  c.sample = dict(count=4, prompt="", length=0, seed=0)

  c.data = dict(name="text", path="", length=256, split=(90_000_000, 5_000_000, 5_000_000))
  c.loader = dict(workers=8, threads=4, prefetch=4)
  c.optimizer = dict(
    fn="adamw",
    learning_rate=3e-4,
    scale_by_batch=0,
    schedule="cosine",
    warmup_steps=2000,
    weight_decay=0.03,
    b1=0.9,
    b2=0.999,
    clip=0.0,
  )

  c.evals = dict(bits=dict(fn="bits", every=50_000, split="test", draws=8, batch_size=32))
  c.checkpoint = dict(every=5000, keep=2, keep_every=0, best="")
  c.log = dict(every=100, tensorboard=True, wandb="")
  c.profile = dict(first=10, steps=0)
  c.resume, c.init_from = "", ""
  c.debug = False
  return lab.finish(c, arg, PRESETS)


def small(c: ConfigDict) -> None:
  """5.5 M parameters, 600 steps of 32 windows: the budget at which the public code gave 3.30."""
  characters(c)
  c.model.update(width=256, depth=6, heads=4, mlp=848)
  c.batch_size, c.eval_batch_size, c.total_steps = 32, 32, 600
  c.optimizer.update(learning_rate=3e-4, warmup_steps=0)
  c.evals.bits.every = 200
  c.checkpoint.every, c.log.every = 200, 50


def laptop(c: ConfigDict) -> None:
  """A smaller model, minutes on four cores."""
  characters(c)
  c.seeds = 3
  c.model.update(width=128, depth=4, heads=4, mlp=384)
  c.batch_size, c.eval_batch_size, c.total_steps = 32, 32, 600
  c.optimizer.update(learning_rate=2e-3, warmup_steps=50)
  c.evals.bits.every = 0
  c.checkpoint.every, c.log.every = 200, 100


def smoke(c: ConfigDict) -> None:
  """Two steps: everything runs, nothing is learned."""
  characters(c)
  c.model.update(width=32, depth=1, heads=2, mlp=64)
  c.data.length, c.generate.steps = 16, 4
  c.batch_size, c.eval_batch_size, c.total_steps = 8, 8, 2
  c.optimizer.warmup_steps = 1
  c.evals.bits.draws = 2
  c.checkpoint.every, c.log.every = 1, 1


def characters(c: ConfigDict) -> None:
  """A small text in memory: 90, 5 and 5 % of its characters, in order."""
  c.data.split = (0.9, 0.05, 0.05)
  c.loader.workers = 0
  c.model.dtype = "float32"
  c.ema = 0.0
  c.optimizer.weight_decay = 0.01


PRESETS = {"laptop": laptop, "small": small, "smoke": smoke}
