r"""FMix (Harris et al., 2020): regions of any shape come from another image, labels mix by area.

Paper: Harris, Marcu, Painter, Niranjan, Prügel-Bennett, Hare. "FMix: Enhancing Mixed Sample Data
       Augmentation", 2020, arXiv:2002.12047; code at github.com/ecs-vlc/FMix. The default here is
       the recipe of its PreAct ResNet-18.
Claim: CIFAR-10, PyramidNet-200: 98.64 %, without mixing 98.31, with MixUp 97.92 (README of the
       code).
Measured: CIFAR-10, 1,000 images, ViT/8, `laptop` and `plain`, 50 epochs, three seeds, f32, shared
       cores, 2026-11-21, by the command below:

       | run                 | accuracy      | on training images | difference   |
       |---------------------|---------------|--------------------|--------------|
       | untrained           | 0.102 ± 0.014 | not measured       | not measured |
       | no mixing (`plain`) | 0.342 ± 0.010 | 0.455 ± 0.016      | 0.113        |
       | `laptop`            | 0.292 ± 0.007 | 0.343 ± 0.010      | 0.051        |
       | `white`             | not measured  | not measured       | not measured |
       | `box`               | not measured  | not measured       | not measured |
       | `cifar`             | not measured  | not measured       | not measured |
       | `cifar_vit`         | not measured  | not measured       | not measured |

       *Opposite*, where neither comes near to fitting its training images. Settings: those of
       supervised:cifar_vit for both, patches and warm-up aside; nothing was chosen for mixing.
Run:   maskjax --config=fmix:laptop --workdir=runs/fmix
       --config.data.name=zip --config.data.path=cifar10.zip

Presets: `laptop` is a small ViT/8 on 1,000 images of CIFAR-10, three seeds; `plain`, `white` and
`box` are `laptop` without mixing, with white noise, and with boxes in the manner of CutMix; `cifar`
and `cifar_vit` are the networks of `supervised` on all of CIFAR-10, not measured.
`--config.job=view` draws images, partners, masks and what is asked.
Deviations: the paper's code draws one mask and one share a batch, here each example has its own; it
weighs the labels by the share drawn, here by the area realised, and rounds the area up or down by a
coin, here to the nearest. Its spectrum keeps the first two rows of its array of draws alone, which
leaves waves of one cycle at most along the last axis; here, as in the paper's equation, all draws
count.
"""

from ml_collections import ConfigDict, config_dict

from maskjax import lab

BASE = lab.base("base/supervised")

NOTE = dict(
  scale=dict(shape=(32, 32, 3), classes=10, examples=50_000, parameters=11_171_274),
  counted="public code: beside_fmix.py",
  laptop=dict(shape=(32, 32, 3), classes=10, examples=1000),
)


def method(c: ConfigDict) -> None:
  """Regions of an image come from another one, and labels mix by their area."""
  c.score = dict(fn="score.fourier_noise", decay=3.0)
  # The share that is hidden is drawn for each example, from a stream of its own.
  share = dict(fn="schedule.beta", a=1.0, b=1.0, by="example")
  c.select = dict(fn="select.top", ratio=share, stream="amount")
  c.hide = dict(fn="hide.mix", of=dict(other="partner.values"))
  c.branches = dict(partner=dict(batch="partners"))
  labels = dict(label="batch.label", other="partners.label", classes="record.classes")
  c.let.update(
    image=dict(fn="task.to_field", of=dict(x="seen.values")),
    target=dict(fn="recover.mixed_labels", of=labels),
    pixels=dict(fn="task.on_grid", of=dict(x="hidden")),
  )
  c.let.logits.of.image, c.losses.recover.of.target = "image", "target"
  shown = dict(input="batch.image", other="partners.image", seen="image", hidden="pixels")
  c.answers.views = dict(fn="task.together", of=dict(shown, target="target"))


def paper(c: ConfigDict) -> None:
  """PreAct ResNet-18 on CIFAR-10, 200 epochs."""
  BASE.small_images(c, "cifar10", dict(pad=4, flip=True))
  c.data.limit = config_dict.placeholder(int)
  c.batch_size, c.total_epochs = 128, 200.0
  c.model.update(depth=18, width=64, preact=True)
  steps = dict(fn="schedule.step", values=(1.0, 0.1, 0.01), boundaries=(0.5, 0.75))
  c.optimizer.update(scale_by_batch=0, schedule=steps, warmup_epochs=0.0)
  c.optimizer.decay_rules = ((".*", 1.0),)  # biases and norms too
  c.evals.accuracy.every, c.checkpoint.every = 3910, 3910


@lab.preset("cifar_vit")
def laptop(c: ConfigDict) -> None:
  """A small ViT/8 on 1,000 images of CIFAR-10, 50 epochs, three seeds."""
  c.model.patch, c.optimizer.warmup_epochs = (8, 8), 4.0
  c.seeds, c.total_epochs, c.data.limit = 3, 50.0, 1000
  c.evals.accuracy.every, c.checkpoint.every = 0, 391
  c.evals.fitted = dict(fn="train.evaluators.accuracy", every=0, split="train", batch_size=500)


@lab.preset("laptop")
def plain(c: ConfigDict) -> None:
  """`laptop` with nothing hidden."""
  base = BASE.get_config("cifar_vit")
  c.let, c.losses, c.answers = base.let, base.losses, base.answers
  c.hide, c.branches = None, {}


@lab.preset("laptop")
def white(c: ConfigDict) -> None:
  """`laptop` with every pixel as likely to be hidden as any other."""
  c.score = dict(fn="score.uniform")


@lab.preset("laptop")
def box(c: ConfigDict) -> None:
  """`laptop` with a box around a random place."""
  c.score = dict(fn="score.box")
