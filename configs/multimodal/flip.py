r"""FLIP (Li et al., 2023): images and captions find each other, half of every image left out.

Paper: "Scaling Language-Image Pre-training via Masking", CVPR 2023, arXiv:2212.00794; code at
       github.com/facebookresearch/flip. LAION-400M, 12.8 billion pairs sampled, ImageNet-1k without
       its labels: ViT-B/16 68.0 %, ViT-L/16 74.3, ViT-H/14 75.5; LAION-2B: ViT-H/14 78.8.
Here:  not measured.
Run:   python launch.py --config=configs/multimodal/flip.py:laptop --workdir=runs/flip
       --config.data.name=zip --config.data.path=cifar10.zip
"""

import pathlib

from ml_collections import ConfigDict, config_dict

from maskjax import lab

mae = lab.load(pathlib.Path(__file__).parents[1] / "image" / "mae.py")

NOTE = dict(
  id="flip",
  family="token_dropping",
  title="Scaling Language-Image Pre-training via Masking",
  claim="LAION-400M, zero-shot ImageNet-1k: ViT-L/16 74.3 %, ViT-H/14 75.5; LAION-2B: 78.8",
  measured="not measured",
  citation="Li, Fan, Hu, Feichtenhofer, He. CVPR 2023. arXiv:2212.00794",
  scale=dict(
    shape=(224, 224, 3),
    examples=1_281_167,
    classes=1000,
    caption=32,
    words=30_523,
    parameters=412_998_401,
  ),
)


def get_config(arg: str | None = None) -> ConfigDict:
  """The pre-training of the public code's ViT-L/16, or a preset of it."""
  c = lab.common()
  c.batch_size, c.eval_batch_size = 65_536, 1024
  # Of ImageNet's size, as the public code counts them: 32 of LAION-400M.
  c.total_epochs, c.total_steps = 10_000.0, 0

  c.task = dict(fn="contrast", keep=config_dict.placeholder(tuple), equal=True)
  c.model = dict(
    fn="dual_encoder",
    size="L",
    patch=(16, 16),
    width=config_dict.placeholder(int),
    depth=config_dict.placeholder(int),
    heads=config_dict.placeholder(int),
    class_token=True,
    text_width=768,
    text_depth=12,
    text_heads=12,
    shared=768,
    pool="first",
    temperature=0.07,
    dtype="bfloat16",
    remat=False,
    scan=False,
  )
  c.score = dict(fn="white")
  c.select = dict(fn="top", ratio=0.5)
  c.recover = dict(fn="info_nce")

  c.data = dict(
    name="imagenet2012",
    path="",
    train="train",
    test="validation",
    size=(224, 224),
    limit=config_dict.placeholder(int),
    captions=dict(length=32, seed=0),
    augment=dict(crop=(0.5, 1.0), flip=True),
    on_error="raise",
  )
  c.optimizer = dict(
    fn="adamw",
    learning_rate=4e-6,
    schedule="cosine",
    warmup_epochs=40.0,
    warmup_steps=0,
    weight_decay=0.2,
    b1=0.9,
    b2=0.95,
    clip=0.0,
  )
  c.evals = dict(
    zero_shot=dict(fn="zero_shot", every=5000, split="validation"),
    figures=dict(fn="figures", every=5000),
    knn=dict(fn="knn", every=0, test="validation"),
    linear=dict(fn="linear", every=0, test="validation"),
  )
  return lab.finish(c, arg, PRESETS)


def laptop(c: ConfigDict) -> None:
  """A small ViT/4 on 10,000 images of CIFAR-10, 32 of 64 patches dropped, three seeds."""
  small(c, "cifar10", dict(pad=4, flip=True))
  c.data.limit = 10_000
  c.seeds, c.batch_size, c.total_steps = 3, 128, 220
  c.model.update(size="mu", patch=(4, 4), width=64, depth=2, heads=2)
  c.model.update(text_width=32, text_depth=1, text_heads=2, shared=32)
  c.optimizer.update(learning_rate=2e-3, warmup_steps=20, clip=1.0)
  # The rate is constant, so that all times of a run compare; the average stands in for its decay.
  c.ema = 0.95
  c.evals.zero_shot.update(every=44, limit=1_000)
  c.log.every = 44


def quarter(c: ConfigDict) -> None:
  """`laptop` with 48 of 64 patches dropped, and steps for about the same time."""
  laptop(c)
  c.select.ratio = 0.75
  c.total_steps = 400
  c.evals.zero_shot.every = c.log.every = 80


def clip(c: ConfigDict) -> None:
  """`laptop` with whole images, which is CLIP, and steps for about the same time."""
  laptop(c)
  c.select.ratio = 0.0
  c.total_steps = 120
  c.evals.zero_shot.every = c.log.every = 24


def tuned(c: ConfigDict) -> None:
  """A few steps more with whole images, from --config.init_from=the workdir of `quarter`."""
  clip(c)
  c.total_steps = 20
  c.optimizer.update(learning_rate=5e-4, warmup_steps=5)
  c.evals.zero_shot.every = c.log.every = 10


def small(c: ConfigDict, name: str, augment: object) -> None:
  """Small images in memory."""
  c.data = dict(
    name=name,
    path="",
    train="train",
    test="test",
    size=config_dict.placeholder(tuple),
    limit=config_dict.placeholder(int),
    captions=dict(length=12, seed=0),
    augment=augment,
    on_error="raise",
  )
  c.loader.workers = 0
  c.eval_batch_size, c.total_epochs = 500, 0.0
  c.model.dtype = "float32"
  c.optimizer.update(warmup_epochs=0.0, schedule="constant", scale_by_batch=0, b2=0.98)
  c.evals = dict(
    zero_shot=dict(fn="zero_shot", every=0, limit=config_dict.placeholder(int)),
    figures=dict(fn="figures", every=0),
    knn=dict(fn="knn", every=-1),
    linear=dict(fn="linear", every=-1),
  )
  c.checkpoint.every = 0


def smoke(c: ConfigDict) -> None:
  """Two steps on digits: everything runs, nothing is learned."""
  small(c, "digits", config_dict.placeholder(dict))
  c.batch_size, c.total_steps = 16, 2
  c.model.update(size="mu", patch=(2, 2), width=32, depth=1, heads=2)
  c.model.update(text_width=32, text_depth=1, text_heads=2, shared=16)
  c.optimizer.warmup_steps = 1
  c.checkpoint.every, c.log.every = 1, 1


PRESETS = {"laptop": laptop, "quarter": quarter, "clip": clip, "tuned": tuned, "smoke": smoke}
