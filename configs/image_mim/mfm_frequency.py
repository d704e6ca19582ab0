r"""MFM (Xie et al., 2023): hide the low or the high frequencies of an image, predict them.

Paper: Xie, Li, Zhan, Liu, Ong, Loy. "Masked Frequency Modeling for Self-Supervised Visual
       Pre-Training", ICLR 2023, arXiv:2206.07706; code at github.com/Jiahao000/MFM.
Claim: ImageNet-1k, 300 epochs: ViT-B/16 83.1 % after fine-tuning, ResNet-50 80.1 %.
Measured: CIFAR-10, `laptop`, 400 steps of 64, three seeds, f32, 2 shared cores, 2026-11-30, by the
       command below; error: of the removed band, over the mean image's. Settings: those of
       mae:small for both; nothing was chosen for the method:

       | run               | kNN           | linear probe  | error         |
       |-------------------|---------------|---------------|---------------|
       | untrained         | 0.294 ± 0.005 | 0.358 ± 0.008 | 1.006 ± 0.044 |
       | MAE (`mae:small`) | 0.328 ± 0.011 | 0.433 ± 0.009 | -             |
       | `laptop`          | 0.267 ± 0.004 | 0.388 ± 0.006 | 0.497 ± 0.008 |

       *Opposite* at this budget, in kNN below untrained. Fine-tuning, robustness: not measured.
Run:   maskjax --config=mfm_frequency:laptop --workdir=runs/mfm
       --config.data.name=zip --config.data.path=cifar10.zip
Deviations: the public code's ViT begins otherwise, its keys lack 9,216 biases, its warm-up begins
at 1/1200 of the peak, here at 0. `radius` is in cycles a pixel: the same share of a spectrum at any
size.
"""

from ml_collections import ConfigDict

from maskjax import lab

BASE = lab.base("image_mim/mae")

NOTE = dict(
  scale=dict(shape=(224, 224, 3), examples=1_281_167, parameters=86_389_248),
  counted="public code: beside_mfm_frequency.py",
  laptop=dict(shape=(32, 32, 3), classes=10, examples=10_000),
)


def method(c: ConfigDict) -> None:
  """Positions are frequencies; what is left of the image enters a ViT in patches."""
  c.input, c.over = c.over, dict(fn="over.frequencies")
  c.model.encoder.position = "learned"
  c.model.decoder = dict(fn="model.linear_head")
  c.score = dict(fn="score.band", radius=16 / 224, low=0.5)  # 793 low frequencies.
  c.select = dict(fn="select.threshold", above=0.0)
  c.hide = dict(fn="hide.fill", of=dict(value="black"))
  c.let = dict(
    black=dict(fn="task.black"),
    image=dict(fn="task.to_field", of=dict(x="masked.values")),
    shown=dict(fn="task.clipped", of=dict(x="image")),
  )
  c.target.normalise, c.losses.recover.fn = False, "recover.complex_distance"
  tables = "|class_token$|position$"
  c.optimizer.update(clip=3.0, decay_rules=((BASE.BIASES_AND_NORMS + tables, 0.0),))


def paper(c: ConfigDict) -> None:
  """ViT-B/16, 300 epochs."""
  c.batch_size, c.total_epochs, c.model.encoder.size = 2048, 300.0, "B"
  # The public code counts the cosine from the first step, warm-up included.
  c.optimizer.schedule = dict(fn="schedule.cosine_tail", start=1.0, end=1 / 120, begin=20 / 300)
  c.optimizer.warmup_epochs = 20.0
  c.evals.finetune.update(epochs=100.0, warmup=0.05, layer_decay=0.8)


@lab.preset("small")
def laptop(c: ConfigDict) -> None:
  """A small ViT/4 on 10,000 images of CIFAR-10, three seeds."""


@lab.preset("laptop")
def resnet(c: ConfigDict) -> None:
  """`laptop` of a ResNet-20, whose low band is hidden in seven of ten images; not measured."""
  c.model.encoder, c.score.low = dict(fn="model.resnet", depth=20), 0.7
  c.let.maps = dict(fn="encoder.maps", of=dict(image="shown"))
  c.let.out = dict(fn="task.map_tokens")
