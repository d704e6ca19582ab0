r"""HPM (Wang et al., 2023): a model predicts where it will fail, and hides that from itself.

Paper: Wang, Song, Fan, Wang, Xie, Zhang. "Hard Patches Mining for Masked Image Modeling", CVPR
       2023, arXiv:2304.05919; code at github.com/Haochen-Wang409/HPM.
Claim: ViT-B/16, 800 epochs of ImageNet-1k: 84.2 %, MAE with 1600 83.6; ViT-L 85.8, 85.1. ADE20K
       48.5 mIoU (48.1); 200 epochs: 83.0 (82.2) and 42.1 (40.5).
Measured: CIFAR-10, `laptop`, 400 steps of 64, three seeds, f32, 2 shared cores, 2026-11-30, by the
       command below with --config.evals.linear.every=0. Of predicted_loss, the rank correlation
       with the losses, of hidden patches and of all in images shown whole:

       | run               | kNN           | linear probe  | predicted, hidden | predicted, whole |
       |-------------------|---------------|---------------|-------------------|------------------|
       | untrained         | 0.293 ± 0.003 | 0.391 ± 0.001 | -0.071 ± 0.213    | 0.001 ± 0.130    |
       | MAE (`mae:small`) | 0.328 ± 0.011 | 0.433 ± 0.009 | -                 | -                |
       | `laptop`          | 0.332 ± 0.016 | 0.429 ± 0.006 | 0.311 ± 0.045     | 0.200 ± 0.087    |

       *Not visible at this scale*: losses are predicted, of hidden patches better than of those in
       plain sight, and features are MAE's at twice its time. `ranked` and longer runs: not
       measured.
Run:   maskjax --config=hpm:laptop --workdir=runs/hpm
       --config.data.name=zip --config.data.path=cifar10.zip

A second tower of the decoder ranks the hidden patches by how large their losses will be; what it
predicts of an image shown whole, in an EMA teacher, says what is hidden: from none to half of all
hidden patches are those of the largest predicted losses, the rest is random. Presets: `laptop` is
a small ViT/4 on 10,000 images of CIFAR-10, three seeds; `ranked` is `laptop` with random masks,
which predicts losses all the same, and `plain` is MAE at equal steps; `cifar` is MAE's with hard
patches. --config.evals.linear.every=0 and the like turn on what the first
three leave out.
Deviations: in the public code shares and momenta move by epochs, the first epoch has 1/800 of the
last one's hard patches; here they move by steps from nothing. It adds 1e-6 inside the logarithms of
the relative loss and asks every pair both ways round, which has the same mean. The batch is MAE's
4096; scripts of the public code have 256 and 2048, and recover plain pixels, here MAE's normalised
ones. Its other targets (features of a teacher, of DINO or CLIP) and its absolute loss are not here.
A teacher begins as the parameters do, those of --config.init_from too.
"""

from ml_collections import ConfigDict

from maskjax import lab

BASE = lab.base("image_mim/mae")

NOTE = dict(
  # With the 252,160 numbers of the fixed position tables, what the public code counts.
  scale=dict(shape=(224, 224, 3), examples=1_281_167, parameters=137_269_760),
  counted="public code: hpm.safetensors golden.parameters_of_base",
  laptop=dict(shape=(32, 32, 3), classes=10, examples=10_000),
)


def method(c: ConfigDict) -> None:
  """A second tower predicts losses; its EMA teacher says which patches are hard."""
  # As deep as the tower that predicts pixels.
  c.model.decoder.loss_depth = c.model.decoder.depth
  # Of all patches, as 0.75 is: from none to half of those that are hidden.
  harder = dict(fn="schedule.linear", start=0.0, end=0.375)
  hardest = dict(fn="select.top", ratio=harder, rounding="down")
  c.score = dict(fn="score.hard_first", select=hardest, of=dict(loss="whole.predicted_loss"))
  c.let = dict(
    predicted="predicted_loss",
    reward=dict(fn="task.reward", loss=dict(fn="recover.squared_error")),
    predicted_map=dict(fn="task.on_grid", of=dict(x="predicted", hidden="asked")),
    loss_map=dict(fn="task.on_grid", of=dict(x="reward", hidden="asked")),
    whole_map=dict(fn="task.on_grid", of=dict(x="whole.predicted_loss")),
  )
  c.losses.teach = dict(fn="recover.pairwise_ranking")
  # Over the first 100 of 800 epochs.
  slower = dict(fn="schedule.linear", start=0.999, end=0.9999, stop=0.125)
  c.teachers = dict(teacher=dict(fn="task.ema", momentum=slower))
  # The teacher sees an image whole.
  c.branches = dict(
    whole=dict(encoder="teacher.encoder", decoder="teacher.decoder", hidden="nothing")
  )
  maps = dict(predicted_loss="whole_map", predicted_loss_masked="predicted_map", loss="loss_map")
  c.answers = dict(views=dict(fn="task.extended", of=dict(named="pictures", **maps)))
  # The default of the public code's gradient scaler.
  c.optimizer.clip = 5.0


def paper(c: ConfigDict) -> None:
  """ViT-B/16, 800 epochs."""
  c.total_epochs, c.model.encoder.size = 800.0, "B"


@lab.preset("small")
def laptop(c: ConfigDict) -> None:
  """A small ViT/4 on 10,000 images of CIFAR-10, 8 x 8 patches, three seeds."""
  c.teachers.teacher.momentum = dict(fn="schedule.constant", value=0.98)
  c.evals.linear.every = c.evals.masked_reconstruction.every = -1
  ranks = dict(
    shown=("predicted_loss", "loss"),  # of images shown whole, from which masks are made
    hidden=("predicted_loss_masked", "loss"),  # from what is seen, which is what is trained
  )
  c.evals.predicted_loss = dict(fn="train.evaluators.correlation", of=ranks, every=0)


@lab.preset("laptop")
def ranked(c: ConfigDict) -> None:
  """`laptop` with random masks: losses are predicted, and nothing follows from it."""
  c.score, c.teachers = dict(fn="score.uniform"), {}
  c.branches.whole.update(encoder="detached.encoder", decoder="detached.decoder")


@lab.preset("ranked")
def plain(c: ConfigDict) -> None:
  """`laptop` of MAE: random masks, no predicted losses, no teacher."""
  c.model.decoder.loss_depth = 0
  c.let, c.branches, c.answers, c.optimizer.clip = {}, {}, {}, 0.0
  del c.losses.teach, c.evals.predicted_loss
