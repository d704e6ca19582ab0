r"""MAE of clips (Feichtenhofer et al., 2022): 90 % of space-time patches hidden, none in a shape.

Paper: Feichtenhofer, Fan, Li, He. "Masked Autoencoders As Spatiotemporal Learners", NeurIPS 2022,
       arXiv:2205.09113; code at github.com/facebookresearch/mae_st.
Claim: Kinetics-400, 90 % hidden, after fine-tuning: ViT-L 84.8 % top-1, ViT-H 85.1 %. 16 frames at
       224, patches of 2 x 16 x 16; masks that ignore the grid are better than tubes and frames.
Measured: moving digits, `laptop`, 300 steps of 32 clips, three seeds, f32, 2 shared cores,
       2026-11-30, by the command below and with the other presets; `plain pixels` with
       --config.target.normalise=False. masked_reconstruction is of patches hidden at random, 95 %
       of them for all, in both frames of each; `zeros` are no run, but the true mean of the frame
       that is asked, which a normalised target gives away, over all patches:

       | run                     | masked_reconstruction | linear probe  | moving / still |
       |-------------------------|-----------------------|---------------|----------------|
       | untrained               | 1.353 ± 0.123         | 0.115 ± 0.013 | 0.998 ± 0.033  |
       | zeros                   | 0.619                 | -             | -              |
       | `laptop`                | 0.552 ± 0.001         | 0.108 ± 0.005 | 0.998 ± 0.033  |
       | `tube`                  | 0.552 ± 0.001         | 0.125 ± 0.007 | 0.988 ± 0.009  |
       | `frame`                 | 0.573 ± 0.021         | 0.103 ± 0.022 | 1.004 ± 0.004  |
       | untrained, plain pixels | 3.220 ± 0.259         | 0.115 ± 0.013 | 0.998 ± 0.033  |
       | `plain pixels`          | 1.021 ± 0.008         | 0.105 ± 0.017 | 0.998 ± 0.033  |

       Which masks are best is *not visible at this scale*: the linear probe, of the class of what
       moves, stays at chance, and what is filled in is little more than means, as with AdaMAE's
       `random` and `tube` (figures in its file). The paper's scale: not measured.
Run:   maskjax --config=mae_st:laptop --workdir=runs/mae_st

Of each patch one frame is asked for, half of the frames of a clip, normalised by itself.

Presets: `laptop` is what AdaMAE's `random` and `tube` see, moving digits, with 90 % hidden and one
frame asked; `tube` hides whole tubes, `frame` all positions at three of four times.
Clips are read from an npz as for AdaMAE. With other patches or channels model.decoder.outputs says
how many numbers one frame of a patch has.
Deviations: clips are given ready-made and one at a time, so epochs are effective ones (the code
draws each clip four times an epoch); positions are fixed, sines of time, row and column each, where
the code learns a table of time plus one of space, 314,880 numbers in encoder and decoder; the
decoder reads the encoder's class token and has none of its own, 512 numbers; pictures show the
predicted frame at all times of its patch.
"""

from ml_collections import ConfigDict

from maskjax import lab

BASE = lab.base("image_mim/mae")
VIDEO = lab.base("video_mim/adamae")
# MAE's preset for images.
WITHOUT = ("cifar", "small")

NOTE = dict(
  scale=dict(kind="video", shape=(16, 224, 224, 3), examples=240_000, parameters=317_416_192),
  counted="by hand: 1537 * 1024 + 24 * (12 * 1024**2 + 13 * 1024) + 3 * 1024"
  " + 1025 * 512 + 4 * (12 * 512**2 + 13 * 512) + 3 * 512 + 513 * 768",
  laptop=dict(kind="video", shape=(8, 24, 24, 1), classes=10, examples=1437),
)


def method(c: ConfigDict) -> None:
  """Of patches in space and time 90 % are hidden at random; one frame of each is predicted."""
  c.select.ratio = 0.9
  c.target = dict(fn="recover.frame_pixels", normalise=True)
  c.data = dict(name="npz", path="", train="train", test="test", augment=c.data.augment)
  c.evals = VIDEO.evals()


def paper(c: ConfigDict) -> None:
  """ViT-L, 800 effective epochs of Kinetics-400."""
  c.batch_size, c.eval_batch_size, c.total_epochs = 512, 256, 800.0
  c.over.patch = (2, 16, 16)
  # One frame of a patch.
  c.model.decoder.update(depth=4, outputs=16 * 16 * 3)
  c.data.augment.crop = (0.5, 1.0)
  c.optimizer.update(learning_rate=1.6e-3, warmup_epochs=120.0, clip=0.02)
  c.evals.linear.every = -1


@lab.preset
def laptop(c: ConfigDict) -> None:
  """AdaMAE's `laptop` of moving digits: 8 frames of 24 x 24, 4 x 6 x 6 patches."""
  VIDEO.moving_digits(c)
  c.model.decoder.outputs = 16


@lab.preset("laptop")
def tube(c: ConfigDict) -> None:
  """`laptop` with the same positions hidden at all times."""
  c.score = dict(fn="score.blocks", size=(None, 1, 1))


@lab.preset("laptop")
def frame(c: ConfigDict) -> None:
  """`laptop` with all positions of a time hidden, in three of four times."""
  c.score, c.select.ratio = dict(fn="score.blocks", size=(1, None, None)), 0.75
