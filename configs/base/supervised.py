r"""Supervised image classification: the dense base that pruning, explanations and fine-tuning mask.

Paper: He, Zhang, Ren, Sun. "Deep Residual Learning for Image Recognition", CVPR 2016,
       arXiv:1512.03385. By the recipe of Goyal et al., 2017, arXiv:1706.02677.
Claim: ResNet-50, 90 epochs of ImageNet-1k: 23.6 % top-1 error (Goyal et al., 2017, table 1).
Measured: CIFAR-10, zip of JPEGs, 4 epochs, three seeds, f32, 4 shared cores, 2026-11-21, by maskjax
       --config=supervised:cifar --config.data.name=zip
       --config.data.path=cifar10.zip --config.seeds=3 --config.total_epochs=4.0
       --config.evals.accuracy.every=0 --workdir=runs/resnet:

       | run                | accuracy      |
       |--------------------|---------------|
       | `cifar` (ResNet-8) | 0.705 ± 0.003 |
       | `cifar_vit`        | 0.590 ± 0.007 |

       `cifar`: Measured before decay was part of the momentum; not measured since.

       Scikit-learn's digits, three seeds, f32, shared cores, 2026-11-30, by the command below:

       | run       | accuracy      |
       |-----------|---------------|
       | untrained | 0.127 ± 0.043 |
       | `laptop`  | 0.987 ± 0.002 |
Run:   maskjax --config=supervised:laptop --workdir=runs/supervised

Presets: `laptop` is a ResNet-8 on scikit-learn's digits; `cifar` and `cifar_vit` are a ResNet-8 and
a small ViT on CIFAR-10. Deviations: the rate falls by a cosine, not in steps; the classifier's bias
does not decay; no colour jitter; test images are fitted to 224 pixels, not cut from 256.
"""

from ml_collections import ConfigDict, config_dict

from maskjax import lab

NOTE = dict(
  scale=dict(shape=(224, 224, 3), classes=1000, examples=1_281_167, parameters=25_557_032),
  counted="public code: beside_layer_masking.py",
  laptop=dict(shape=(8, 8, 1), classes=10, examples=1437),
)


def method(c: ConfigDict) -> None:
  """A network that classifies images, none of them hidden."""
  c.over = dict(fn="over.pixels")
  c.let = dict(
    logits=dict(fn="task.logits", of=dict(image="batch.image")),
    examples=dict(fn="task.valid_examples"),
  )
  asked = dict(target="batch.label", asked="examples")
  c.losses = dict(recover=dict(fn="recover.cross_entropy", smoothing=0.0, of=asked))
  # A caller's own mask lies over the network's grid: pixels of a ResNet, patches of a ViT.
  left = dict(of=dict(image="batch.image", hidden="hidden"), takes=("batch", "hidden"))
  c.answers = dict(
    predict=dict(fn="network.__call__", **left),
    features=dict(fn="network.encode", **left),
  )


def paper(c: ConfigDict) -> None:
  """ResNet-50 on ImageNet."""
  c.batch_size, c.eval_batch_size = 1024, 1024
  c.total_epochs, c.total_steps = 90.0, 0

  c.model = dict(
    fn="model.resnet",
    depth=50,
    width=config_dict.placeholder(int),
    norm="batch",
    stem="auto",
    zero_init=True,
    dtype="bfloat16",
  )
  c.data = dict(
    name="imagenet2012",
    path="",
    train="train",
    test="validation",
    size=(224, 224),
    classes=config_dict.placeholder(tuple),
    augment=dict(crop=(0.08, 1.0), flip=True),
    on_error="raise",
  )
  c.optimizer = dict(
    fn="sgd",
    learning_rate=0.1,
    schedule="cosine",
    warmup_epochs=5.0,
    warmup_steps=0,
    weight_decay=1e-4,
    coupled=True,
    momentum=0.9,
    nesterov=False,
    clip=0.0,
  )
  c.evals = dict(accuracy=dict(fn="train.evaluators.accuracy", every=5000, batch_size=1024))


@lab.preset
def laptop(c: ConfigDict) -> None:
  """ResNet-8 on digits, three seeds: a minute on two cores."""
  small_images(c, "digits", config_dict.placeholder(dict))
  c.seeds, c.batch_size, c.total_epochs, c.total_steps = 3, 64, 0.0, 300
  c.optimizer.update(learning_rate=0.4, warmup_epochs=0.0, warmup_steps=30)
  c.checkpoint.every = 300


@lab.preset
def cifar(c: ConfigDict) -> None:
  """ResNet-8 on CIFAR-10, 6 epochs."""
  small_images(c, "cifar10", dict(pad=4, flip=True))
  c.batch_size, c.total_epochs, c.model.width = 128, 6.0, 16
  c.optimizer.update(learning_rate=0.4, warmup_epochs=1.0, nesterov=True)
  c.evals.accuracy.every, c.checkpoint.every = 780, 780


@lab.preset("cifar")
def cifar_vit(c: ConfigDict) -> None:
  """A small ViT/4 on CIFAR-10, 6 epochs."""
  c.model = dict(fn="model.vit_classifier", size="mu", patch=(4, 4), pool="mean", dtype="float32")
  c.model.update(width=64, depth=4, heads=2)
  c.optimizer = dict(fn="adamw", learning_rate=4e-3, weight_decay=0.05, b1=0.9, b2=0.999, clip=1.0)
  c.optimizer.update(schedule="cosine", warmup_epochs=1.0, warmup_steps=0)


def small_images(c: ConfigDict, name: str, augment: dict | None) -> None:
  """Data in memory with a split called "test", no worker processes; a ResNet-8."""
  c.data.update(name=name, test="test", size=config_dict.placeholder(tuple))
  c.data.augment = augment
  c.eval_batch_size, c.loader.workers = 512, 0
  c.evals.accuracy.update(every=0, batch_size=512)
  c.model.update(depth=8, zero_init=False, dtype="float32")
