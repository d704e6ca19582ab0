r"""AdaMAE (Bandara et al., 2023): a network learns which 5 % of a clip's tokens to show.

Paper: Bandara, Patel, Gholami, Nikkhah, Agrawal, Patel. "AdaMAE: Adaptive Masking for Efficient
       Spatiotemporal Learning with Masked Autoencoders", CVPR 2023, arXiv:2211.09120.
Claim: ViT-B, 800 epochs, 95 % hidden: Something-Something v2 70.0 %, Kinetics-400 81.7 % top-1. 16
       frames at 224, tubelets of 2 x 16 x 16, after fine-tuning.
Measured: moving digits, `laptop`, 300 steps of 32 clips, three seeds, f32, 2 shared cores,
       2026-11-30, by the command below. Rates of visible tokens, where something moves and where
       all is still, their ratio, and that to still tokens of equal detail (`matched_ratio`):

       | run       | moving / still | matched       | moving        | still         |
       |-----------|----------------|---------------|---------------|---------------|
       | untrained | 1.027 ± 0.575  | 0.943 ± 0.194 | 0.048 ± 0.023 | 0.049 ± 0.006 |
       | `random`  | 1.002 ± 0.032  | 1.009 ± 0.014 | 0.049 ± 0.001 | 0.049 ± 0.000 |
       | `tube`    | 1.006 ± 0.030  | 0.969 ± 0.044 | 0.049 ± 0.001 | 0.049 ± 0.000 |
       | `laptop`  | 2.094 ± 0.021  | 1.159 ± 0.042 | 0.083 ± 0.001 | 0.039 ± 0.000 |

       The same runs, masked_reconstruction of tokens hidden at random and a linear probe of the
       class of what moves:

       | run       | masked_reconstruction | linear probe  |
       |-----------|-----------------------|---------------|
       | untrained | 3.518 ± 0.369         | 0.115 ± 0.013 |
       | `random`  | 1.008 ± 0.001         | 0.104 ± 0.011 |
       | `tube`    | 1.010 ± 0.001         | 0.126 ± 0.013 |
       | `laptop`  | 1.007 ± 0.001         | 0.112 ± 0.009 |

       The sampler prefers what moves, as in the paper (*reproduced*), most of it for its detail:
       beside still tokens of equal detail little is left, but more than the spread. None has yet
       learned more than the mean clip (masked_reconstruction 1), so what this does for features is
       *not visible at this scale*. The paper's scale: not measured. Settings: those of
       `laptop` for all; nothing was chosen for the sampler.
Run:   maskjax --config=adamae:laptop --workdir=runs/adamae

The sampler, one transformer block and a linear layer, reads all tokens as the model embeds them and
says how likely each is to be shown; those shown are drawn without replacement. Its loss is the mean
of -log p · error over the hidden tokens, no gradient through the error, times 1e-4: what is hard to
recover becomes likelier to be seen.

Presets: `laptop` moves scikit-learn's digits over others that stand still, `random` and `tube` are
the same with as many tokens hidden at random and in VideoMAE's tubes. Any set
of images can move: --config.data.images=cifar10, or zip with --config.data.path=FILE. Videos are
read from an npz of clips [n, 16, 224, 224, 3], train_videos and test_videos, frames two apart on
Something-Something v2 (four on Kinetics-400).
Deviations: clips are given ready-made, so there is no multi-scale crop; fixed positions encode
time, row and column each, not the number of the token; every projection has its bias, which the
public code leaves out of keys, of the sampler's queries and values, and between encoder and decoder
(13,440 numbers of 102,514,945); its sampler drops 10 % of the block's outputs while training;
epsilon is added to the variance of a target, not to its deviation.
"""

from typing import Any

from ml_collections import ConfigDict

from maskjax import lab

BASE = lab.base("image_mim/mae")
# MAE's preset for images.
WITHOUT = ("cifar", "small")

NOTE = dict(
  scale=dict(kind="video", shape=(16, 224, 224, 3), examples=168_913, parameters=102_514_945),
  counted="public code: beside_adamae.py",
  laptop=dict(kind="video", shape=(8, 24, 24, 1), classes=10, examples=1437),
)


def evals() -> dict[str, Any]:
  """By what methods of clips are compared."""
  uniform = dict(score=dict(fn="score.uniform"), select=dict(fn="select.top", ratio=0.95))
  return dict(
    motion=dict(fn="train.evaluators.motion", every=0),
    # Hidden at random, the same for every method.
    masked_reconstruction=dict(
      fn="train.evaluators.masked_reconstruction", every=0, batch_size=64, **uniform
    ),
    own=dict(fn="train.evaluators.masked_reconstruction", every=-1, batch_size=64),
    linear=dict(fn="train.evaluators.linear_probe", every=0, l2=1e-3),
    reconstruction=dict(fn="train.evaluators.reconstruction", every=0, examples=2),
  )


def moving_digits(c: ConfigDict) -> None:
  """The data, geometry and budget by which they are."""
  c.data.update(name="motion", images="digits", side=8, speed=1.5, still=0.5, draws=1)
  # Three that stand still, as detailed as the one that moves.
  c.data.update(frames=8, size=(24, 24), resting=3)
  c.over.patch, c.eval_batch_size, c.batch_size, c.total_steps = (2, 4, 4), 128, 32, 300
  c.model.decoder.width = 48
  c.optimizer.update(learning_rate=2.4e-2, warmup_steps=30)
  c.checkpoint.every, c.log.every = 200, 20


def method(c: ConfigDict) -> None:
  """A sampler of what is shown, taught by the errors of what is hidden; 95 % of tubelets are."""
  c.model.encoder.class_token = False
  c.score = dict(fn="model.Sampler", heads=4, norm_eps=1e-5, dtype=c.model.encoder.dtype)
  c.let = dict(
    # All tokens, for the sampler.
    tokens=dict(fn="task.apply", of=dict(network="encoder", x="values"), method="embed"),
    reward=dict(fn="task.reward", loss=dict(fn="recover.squared_error")),
    relative=dict(fn="task.relative_probability"),
    chance=dict(fn="task.over_field", of=dict(x="relative")),
  )
  teach = dict(fn="recover.policy_gradient", baseline=0.0)
  c.losses.teach = dict(teach, of=dict(asked="asked"), scale=1e-4)
  views = dict(named="pictures", chance="chance")
  c.answers = dict(views=dict(fn="task.extended", of=views))
  c.select.ratio = 0.95
  c.data = dict(name="npz", path="", train="train", test="test")
  c.optimizer.end = 1e-5 / 1.5e-4
  # The sampler's positions decay.
  c.optimizer.decay_rules = ((BASE.BIASES_AND_NORMS + "|mask_token$", 0.0),)
  c.evals = evals()


def paper(c: ConfigDict) -> None:
  """ViT-B, 800 epochs of Something-Something v2, as in the public code."""
  c.batch_size, c.eval_batch_size, c.total_epochs = 2048, 256, 800.0
  c.over.patch, c.target.apart = (2, 16, 16), 3
  c.model.encoder.size = "B"
  c.model.decoder.update(width=384, depth=4, heads=6)
  c.score.heads = 8
  c.evals.linear.every = -1


@lab.preset
def laptop(c: ConfigDict) -> None:
  """Digits that move over others that stand still: 8 frames of 24 x 24, 4 x 6 x 6 tubelets."""
  moving_digits(c)


@lab.preset("laptop")
def random(c: ConfigDict) -> None:
  """`laptop` with as many tokens hidden at random, nothing learned about where."""
  c.score, c.let, c.answers = dict(fn="score.uniform"), {}, {}
  del c.losses.teach


@lab.preset("random")
def tube(c: ConfigDict) -> None:
  """`laptop` with the same positions hidden in every frame: VideoMAE's masks."""
  c.score = dict(fn="score.blocks", size=(None, 1, 1))
