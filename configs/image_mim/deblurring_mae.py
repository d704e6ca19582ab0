r"""Deblurring MAE (Kang et al., 2023): patches of a blurred image are seen, sharp ones asked.

Paper: Kang, Gao, Li, Lao. "Deblurring Masked Autoencoder is Better Recipe for Ultrasound Image
       Recognition", MICCAI 2023, arXiv:2306.08249; code at github.com/openmedlab/DeblurringMIM.
Claim: State of the art in the classification of ultrasound images: asked to deblur beside what is
       hidden, the network learns the fine detail of noisy images.
Measured: CIFAR-10, photographs, a stand-in for ultrasound, `laptop`, 400 steps of 64, three seeds,
       f32, 2 shared cores, 2026-11-30, by the command below; settings are those of mae:small:

       | run               | kNN           | linear probe  | masked_reconstruction |
       |-------------------|---------------|---------------|-----------------------|
       | MAE (`mae:small`) | 0.328 ± 0.011 | 0.433 ± 0.009 | 0.201 ± 0.002         |
       | `laptop`          | not measured  | not measured  | not measured          |
       | `sharp`           | not measured  | not measured  | not measured          |

       What the blur is worth: *not measured*.
Run:   maskjax --config=deblurring_mae:laptop --workdir=runs/deblurring
       --config.data.name=zip --config.data.path=cifar10.zip

Every image is blurred, also for features, and so downstream (`task.blurred`). MAE's mask then drops
75 % of its patches; the loss is the plain mean over all, a quarter of which were seen.
Deviations: only abstract and code were at hand; the paper's images are private. Blurred is the crop
that the network is shown, in the code the image before crop and resize; at borders the Gaussian is
that of what lies inside, in the code the image is mirrored. Fine-tuning has no drop path (0.1), and
100 epochs, where the code waits for the validation loss. `laptop` blurs by half a pixel, as its
images are small; of speckle, the noise of ultrasound, it has none.
"""

from ml_collections import ConfigDict

from maskjax import lab

BASE = lab.base("image_mim/mae")
WITHOUT = ("cifar", "small")

NOTE = dict(
  scale=dict(shape=(224, 224, 3), examples=10_675, parameters=111_655_680),
  counted="public code: deblurring_mae.json parameters",
  laptop=dict(shape=(32, 32, 3), classes=10, examples=10_000),
  held="partly: its runs beside the baseline are not measured",
)


def method(c: ConfigDict) -> None:
  """A blur before MAE's mask, plain sharp pixels asked at all patches."""
  blur = dict(fn="task.blurred", mask="every", sigma=1.1)
  c.hide = (blur, dict(fn="hide.drop", keep=None))
  c.let = dict(
    every=dict(fn="task.everywhere", of=dict(x="values")),
    # For pictures: the encoder sees the blurred image.
    soft=dict(fn="task.to_field", of=dict(x="hide.0")),
    seen_image=dict(fn="task.shown", of=dict(image="soft")),
    sharp=dict(fn="task.pictures"),
    pictures=dict(fn="task.extended", of=dict(named="sharp", seen="seen_image")),
  )
  c.target.normalise, c.losses.recover.of = False, dict(asked="every")


def paper(c: ConfigDict) -> None:
  """ViT-B/16, 12,000 epochs of a folder of ultrasound images."""
  c.batch_size, c.total_epochs, c.model.encoder.size = 256, 12000.0, "B"
  c.data.name = "folder"
  c.evals.finetune.update(epochs=100.0, batch_size=256, learning_rate=1e-4, warmup=0.05)


@lab.preset("small")
def laptop(c: ConfigDict) -> None:
  """A small ViT/4 on 10,000 images of CIFAR-10, blurred by half a pixel, three seeds."""
  blur, drop = c.hide
  c.hide = ({**blur, "sigma": 0.5}, drop)


@lab.preset("laptop")
def sharp(c: ConfigDict) -> None:
  """`laptop` without the blur: MAE that is asked for all patches."""
  c.hide = c.hide[1]
  del c.let.soft, c.let.seen_image, c.let.sharp, c.let.pictures
