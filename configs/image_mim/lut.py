r"""LUT (Kim et al., 2024): of two views, visible tokens of one predict a teacher's of the other.

Paper: Kim, Chun, Heo, Han. "Learning with Unmasked Tokens Drives Stronger Vision Learners", ECCV
       2024, arXiv:2310.13593; code at github.com/naver-ai/lut.
Claim: ViT-B/16, 1600 epochs of ImageNet-1k: 84.2 % top-1, 0.6 points above MAE.
Measured: CIFAR-10, `laptop`, 400 steps of 64, three seeds, f32, 2 shared cores, 2026-11-30, by the
       command below. Settings: those of mae:small for both, but `laptop` crops as the paper;
       nothing was chosen for the method:

       | run               | kNN           | linear probe  | masked_reconstruction |
       |-------------------|---------------|---------------|-----------------------|
       | untrained         | 0.293 ± 0.003 | 0.391 ± 0.001 | 0.585 ± 0.046         |
       | MAE (`mae:small`) | 0.328 ± 0.011 | 0.433 ± 0.009 | 0.201 ± 0.002         |
       | `laptop`          | 0.324 ± 0.003 | 0.427 ± 0.012 | 0.201 ± 0.003         |

       *Not visible at this scale*, though views agree with the teacher (last cosines of seed 0:
       0.83, 0.80). The effective rank of an image's tokens is no higher: 18.0, MAE's 17.9 (mean of
       200 test images, seed 0).
Run:   maskjax --config=lut:laptop --workdir=runs/lut
       --config.data.name=zip --config.data.path=cifar10.zip

Two views of an image, the second with other colors, show other quarters of the patches. The mean of
each view's tokens predicts what an EMA teacher makes of the whole other view; pixels of the first.
Deviations: batch normalisation is over all 4096 examples, in the public script over the 1024 of
each microbatch; running variances lack the factor n / (n - 1). The projector is in float32. The
momentum moves by updates, there by microbatches; the learning rate scales with the batch, there
with its root, the same at 4096. `laptop` has projectors of width 256, and a teacher that begins at
0.98.
"""

from ml_collections import ConfigDict

from maskjax import lab

BASE, WITHOUT = lab.base("image_mim/mae"), ("small",)

NOTE = dict(
  # With the 252,160 numbers of the fixed position tables, what the public code counts.
  scale=dict(shape=(224, 224, 3), examples=1_281_167, parameters=124_254_976),
  counted="public code: lut.json parameters_of_base",
  laptop=dict(shape=(32, 32, 3), classes=10, examples=10_000),
)


def method(c: ConfigDict) -> None:
  """Two views that see other patches; each predicts what an EMA teacher makes of the other."""
  c.data.augment = crops = dict(simple=4, flip=True)
  colors = dict(jitter=(0.4, 0.4, 0.2, 0.1), jitter_share=0.8, one_of=("gray", "solarize", "blur"))
  c.data.looks = dict(second=dict(crops, **colors))
  c.model.update(projector=dict(fn="model.projector"), predictor=dict(fn="model.projector"))
  c.teachers = dict(
    teacher=dict(fn="task.ema", momentum=dict(fn="schedule.cosine", start=0.996, end=1.0))
  )
  c.let = dict(
    found=dict(fn="task.features"),
    projected=dict(fn="projector.__call__", of=dict(x="found.mean")),
    predicted=dict(fn="predictor.__call__", of=dict(x="projected")),
    # What the first look sees, and the half that neither does.
    neither=dict(fn="select.top", ratio=0.5, rounding="up", of=dict(scores="scores")),
  )
  look, apart = dict(fn="task.look", name="second"), dict(a="neither", b="main.visible")
  taught = dict(encoder="teacher.encoder", projector="teacher.projector", hidden="nothing")
  taught["projected"] = dict(c.let.projected, train=False)
  c.branches = dict(
    second=dict(source=look, hidden=dict(fn="select.union", of=apart)),
    whole=taught,
    second_whole=dict(taught, source=look),
  )
  agree = lambda a, b: dict(
    fn="recover.cosine_distance", scale=0.125, of=dict(prediction=a, target=b)
  )
  c.losses.first = agree("predicted", "second_whole.projected")
  c.losses.second = agree("second.predicted", "whole.projected")


def paper(c: ConfigDict) -> None:
  """ViT-B/16, 1600 epochs."""
  c.model.encoder.size, c.evals.finetune.epochs = "B", 100.0


@lab.preset("small")
def laptop(c: ConfigDict) -> None:
  """A small ViT/4 on 10,000 images of CIFAR-10, 8 x 8 patches, three seeds."""
  c.model.projector.width = c.model.predictor.width = 256
  c.teachers.teacher.momentum.start = 0.98
