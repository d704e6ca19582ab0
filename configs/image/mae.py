r"""MAE (He et al., 2022): hide 75 % of an image's patches, encode the rest, predict what is hidden.

Paper: "Masked Autoencoders Are Scalable Vision Learners", CVPR 2022, arXiv:2111.06377.
       ViT-L/16, 1600 epochs of ImageNet-1k: 85.9 % after fine-tuning; ViT-H at 448 px: 87.8 %.
Here:  `cifar`, seed 0, CIFAR-10 zip of JPEGs, f32, 71 min of steps on 4 shared cores, 2026-11-21:

       |                                | raw pixels | untrained | 8 epochs |
       |--------------------------------|------------|-----------|----------|
       | kNN (cosine, k 20, T 0.07)     | 0.458      | 0.344     | 0.456    |
       | linear probe, mean of patches  | 0.411      | 0.471     | 0.567    |
       | 10 labels a class              | 0.229      | 0.233     | 0.303    |
       | loss, 5 steps of the last epoch|            |           | 0.435    |

       by python launch.py --config=configs/image/mae.py:cifar --workdir=runs/cifar
       --config.data.name=zip --config.data.path=cifar10.zip (stopped and resumed twice on the way).
Run:   python launch.py --config=configs/image/mae.py:laptop --workdir=runs/mae

Presets: `laptop` learns scikit-learn's digits, `cifar` is ViT-Ti/4 on CIFAR-10, `smoke` is two
steps. Deviations: the paper's code draws a device's masks from one key, here each example has one.
"""

from typing import Any

from ml_collections import ConfigDict, config_dict

from maskjax import lab

NOTE = dict(
  id="mae",
  family="image_mim",
  title="Masked Autoencoders Are Scalable Vision Learners",
  claim="ViT-Huge 87.8 % top-1 with ImageNet-1K data only; training 3x or more faster",
  measured="CIFAR-10, ViT-Ti/4, 8 epochs: kNN 0.344 to 0.456, linear probe 0.471 to 0.567",
  citation="He, Chen, Xie, Li, Dollár, Girshick. CVPR 2022. arXiv:2111.06377",
  # Its examples and their number, and what is trained: with the 302,592 numbers of the fixed
  # position tables these are the 329,541,888 that the paper's code counts.
  scale=dict(shape=(224, 224, 3), examples=1_281_167, parameters=329_239_296),
  laptop=dict(shape=(8, 8, 1), classes=10, examples=1437),
)


def get_config(arg: str | None = None) -> ConfigDict:
  """The paper's pre-training, or a preset of it."""
  c = lab.common()
  c.batch_size, c.eval_batch_size = 4096, 1024
  c.total_epochs, c.total_steps = 1600.0, 0

  c.task = dict(fn="reconstruct")
  c.model = dict(
    fn="masked_autoencoder",
    size="L",
    patch=(16, 16),
    width=config_dict.placeholder(int),
    depth=config_dict.placeholder(int),
    heads=config_dict.placeholder(int),
    class_token=True,
    decoder_width=512,
    decoder_depth=8,
    decoder_heads=16,
    dtype="bfloat16",
    remat=False,
    scan=False,
  )
  c.score = dict(fn="white")
  c.select = dict(fn="top", ratio=0.75)
  c.target = dict(fn="pixels", normalise=True)
  c.recover = dict(fn="squared_error")

  c.data = dict(
    name="imagenet2012",
    path="",
    train="train",
    test="validation",
    size=(224, 224),
    augment=dict(crop=(0.2, 1.0), flip=True),
    on_error="raise",
  )
  c.optimizer = dict(
    fn="adamw",
    learning_rate=1.5e-4,
    schedule="cosine",
    warmup_epochs=40.0,
    warmup_steps=0,
    weight_decay=0.05,
    b1=0.9,
    b2=0.95,
    clip=0.0,
  )

  c.evals = dict(
    knn=dict(fn="knn", every=0, test="validation"),
    linear=dict(fn="linear", every=0, test="validation"),
    # The paper's own measure, dear: every=0 turns it on.
    finetune=dict(fn="finetune", every=-1, epochs=50.0, batch_size=1024, test="validation"),
    recovery=dict(fn="recovery", every=0, test="validation"),
    reconstruction=dict(fn="reconstruction", every=0, split="validation"),
  )
  return lab.finish(c, arg, PRESETS)


def laptop(c: ConfigDict) -> None:
  """Digits, a small ViT on 2 x 2 patches, plain pixels as target: minutes on two cores."""
  digits(c)
  c.seeds = 3
  c.batch_size, c.total_steps = 64, 1200
  c.optimizer.update(learning_rate=1.6e-2, warmup_steps=120)
  c.checkpoint.every, c.log.every = 400, 100


def smoke(c: ConfigDict) -> None:
  """Two steps on digits: everything runs, nothing is learned."""
  digits(c)
  c.model.update(width=32, depth=1, heads=2, decoder_width=16, decoder_depth=1)
  c.batch_size, c.total_steps = 16, 2
  c.optimizer.warmup_steps = 1
  # Each evaluator compiles for one shape only.
  c.evals.fewlabel.pixels = False
  c.evals.linear.update(pixels=False, l2=1e-2)
  c.checkpoint.every, c.log.every = 1, 1


def cifar(c: ConfigDict) -> None:
  """ViT-Ti/4 on CIFAR-10, 8 epochs: the run whose figures stand in NOTE."""
  small_images(c, "cifar10", dict(crop=(0.2, 1.0), flip=True))
  c.batch_size, c.total_epochs = 256, 8.0
  c.model.update(size="Ti", patch=(4, 4), dtype="float32")
  c.model.update(decoder_width=96, decoder_depth=4, decoder_heads=3)
  c.optimizer.update(learning_rate=1.5e-3, warmup_epochs=1.0)
  c.checkpoint.every = 500


def digits(c: ConfigDict) -> None:
  """What laptop and smoke share."""
  small_images(c, "digits", config_dict.placeholder(dict))
  c.eval_batch_size, c.total_epochs = 512, 0.0
  c.model.update(size="mu", patch=(2, 2), width=64, depth=2, heads=4, dtype="float32")
  c.model.update(decoder_width=64, decoder_depth=1, decoder_heads=4)
  # A patch of four pixels has too little to normalise by.
  c.target.normalise = False
  c.optimizer.warmup_epochs = 0.0


def small_images(c: ConfigDict, name: str, augment: Any) -> None:
  """Data in memory with a split called "test", all evaluators, no worker processes."""
  c.data = dict(
    name=name,
    path="",
    train="train",
    test="test",
    size=config_dict.placeholder(tuple),
    augment=augment,
    on_error="raise",
  )
  c.loader.workers = 0
  c.evals = dict(
    knn=dict(fn="knn", pixels=True, every=0),
    fewlabel=dict(fn="fewlabel", pixels=True, every=0),
    linear=dict(fn="linear", pixels=True, every=0),
    finetune=dict(fn="finetune", every=-1, epochs=50.0, batch_size=128),
    recovery=dict(fn="recovery", every=0),
    reconstruction=dict(fn="reconstruction", every=0),
  )


PRESETS = {"laptop": laptop, "smoke": smoke, "cifar": cifar}
