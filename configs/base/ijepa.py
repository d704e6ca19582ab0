r"""I-JEPA (Assran et al., 2023): from one block of an image, the representations of four others.

Paper: Assran, Duval, Misra, Bojanowski, Vincent et al. "Self-Supervised Learning from Images with a
       Joint-Embedding Predictive Architecture", CVPR 2023, arXiv:2301.08243; code at
       github.com/facebookresearch/ijepa.
Family: latent_prediction
Claim: ViT-H/14, 300 epochs of ImageNet-1k, linear probe: 79.3 %, MAE with 1600 epochs 77.2.
Measured: CIFAR-10, `laptop`, 300 steps of 32, three seeds, f32, 2 shared cores, 2026-11-30, by the
       command below. The loss is on 1,024 test images; deviation: of features over their root mean
       square; directions: how many of 64 the features fill:

       | run       | kNN           | linear probe  | loss          | deviation   | directions |
       |-----------|---------------|---------------|---------------|-------------|------------|
       | untrained | 0.271 ± 0.004 | 0.385 ± 0.003 | 0.643 ± 0.029 | 0.65 ± 0.04 | 17.6 ± 0.6 |
       | `laptop`  | 0.255 ± 0.009 | 0.379 ± 0.007 | 0.109 ± 0.012 | 0.64 ± 0.03 | 13.7 ± 0.5 |

       Seed 0 alone, 2026-11-21:

       | run                 | kNN   | linear probe |
       |---------------------|-------|--------------|
       | untrained           | 0.279 | 0.399        |
       | total_steps=3000    | 0.352 | 0.408        |
       | a peak rate of 4e-3 | 0.248 | 0.369        |

       *Not visible at this scale*: two epochs make no features yet, those of an untrained ViT are
       no worse. No collapse.
       The last table is from before weight decay was applied to the mask token.
Run:   maskjax --config=ijepa:laptop --workdir=runs/ijepa
       --config.data.name=zip --config.data.path=cifar10.zip

A ViT sees a large block without the target blocks; a narrow predictor is told where these lie, one
after another, and asked for what a teacher, the moving average of the ViT, makes there of the whole
image. Sizes are those of the public code given the same numbers, and so are masks given the same
corners (tests/golden/make_multiblock.py). Presets: `laptop` is a small ViT/4 on 5,000 images of
CIFAR-10, 8 x 8 patches, three seeds. --config.evals.linear.every=0 and
--config.evals.kshot.every=0 turn on what `laptop` leaves out.
Deviations: the public code draws corners from one fewer than there are, so that no block meets the
last row or column; here every corner is as likely. It draws one size of targets and of context for
a batch, here each example has its own; and it cuts all masks of a batch to the smallest, which
leaves out their last positions. Here there is room (hide.keep, let.blocks.count) for all that is
asked, and for the context of 999 examples of 1,000; smaller ones are padded outside attention. When
too little is left of a context it draws new corners for it 20 times, lets go of a target, and draws
20 again; here the same 20 are tried again. Its weight decay rises from 0.04 to 0.4 with a cosine,
here it is the mean of that; its warm-up begins at a fifth of the peak, here at 0; weights begin as
MAE's do, and not with a deviation of 0.02. Features, and what training comes to, are the teacher's.
"""

from ml_collections import ConfigDict, config_dict

from maskjax import lab

NOTE = dict(
  scale=dict(shape=(224, 224, 3), examples=1_281_167, parameters=652_713_984),
  counted="public code: multiblock.safetensors parameters_of_huge",
  laptop=dict(shape=(32, 32, 3), classes=10, examples=5000),
)


def method(c: ConfigDict) -> None:
  """Predict the EMA teacher's features of four blocks from those of one large block."""
  c.over = dict(fn="over.patches", patch=(14, 14))
  # Pairs of numbers: the sizes of targets and context, 4 corners, and 20 corners to try.
  c.score = dict(fn="score.uniform", grid=(26, 2))
  c.select = dict(
    fn="select.multiblock",
    targets=4,
    scale=(0.15, 0.2),
    aspect=(0.75, 1.5),
    context=(0.85, 1.0),
    least=11,
    tied=True,
  )
  c.hide = dict(fn="hide.drop", keep=168)
  c.teachers = dict(
    teacher=dict(fn="task.ema", momentum=dict(fn="schedule.linear", start=0.996, end=1.0))
  )
  c.final = "teacher"
  c.branches = dict(
    whole=dict(encoder="teacher.encoder", hidden="nothing"),
    taught=dict(encoder="teacher.encoder"),
  )
  c.let = dict(
    blocks=dict(fn="task.places", of=dict(asked="selected.asked"), count=54),
    where=dict(fn="predictor.locate", of=dict(index="blocks.index")),
    predicted=dict(
      fn="predictor.attend",
      of=dict(
        tokens="out.tokens",
        index="out.index",
        seen="out.valid",
        where="where",
        valid="blocks.valid",
      ),
    ),
    target=dict(
      fn="task.encode",
      of=dict(x="whole.out.tokens"),
      target=dict(fn="recover.latents", normalise=True),
    ),
    wanted=dict(fn="task.at", of=dict(x="target", index="blocks.index")),
    costs=dict(fn="task.costs", loss="losses.recover"),
  )
  of = dict(prediction="predicted", target="wanted", asked="blocks.valid")
  c.losses = dict(recover=dict(fn="recover.smooth_l1", of=of))
  c.answers = dict(
    features=dict(fn="task.features", of=dict(out="taught.out")),
    views=dict(fn="task.latent_views", of=dict(image="batch.image", asked="selected.asked")),
  )


def paper(c: ConfigDict) -> None:
  """ViT-H/14 at 224 px for 300 epochs."""
  c.batch_size, c.eval_batch_size = 2048, 1024
  c.total_epochs, c.total_steps = 300.0, 0

  c.model = dict(
    encoder=dict(
      fn="model.vit",
      size="H",
      width=config_dict.placeholder(int),
      depth=config_dict.placeholder(int),
      heads=config_dict.placeholder(int),
      class_token=False,
      dtype="bfloat16",
      remat=False,
      scan=False,
    ),
    predictor=dict(fn="model.predictor", width=384, depth=12, heads=config_dict.placeholder(int)),
  )
  c.data = dict(
    name="imagenet2012",
    path="",
    train="train",
    test="validation",
    size=(224, 224),
    augment=dict(crop=(0.3, 1.0)),
    on_error="raise",
  )
  c.optimizer = dict(
    fn="adamw",
    learning_rate=1e-3,
    scale_by_batch=0,
    schedule="cosine",
    end=1e-3,
    warmup_epochs=40.0,
    warmup_steps=0,
    weight_decay=0.22,
    # The mask token decays.
    decay_rules=((r"bias$|scale$", 0.0),),
  )
  c.evals = dict(
    knn=dict(fn="train.evaluators.knn", every=0),
    linear=dict(fn="train.evaluators.linear_probe", every=0),
    latent_prediction=dict(fn="train.evaluators.latent_prediction", every=0),
    reconstruction=dict(fn="train.evaluators.reconstruction", every=0),
  )


@lab.preset
def laptop(c: ConfigDict) -> None:
  """A small ViT/4 on 5,000 images of CIFAR-10, 8 x 8 patches, three seeds."""
  c.data.update(name="cifar10", test="test", size=config_dict.placeholder(tuple), limit=5_000)
  c.data.augment.flip, c.loader.workers = True, 0
  c.seeds, c.batch_size, c.eval_batch_size, c.total_epochs, c.total_steps = 3, 32, 512, 0.0, 300
  c.over.patch, c.select.least, c.hide.keep, c.let.blocks.count = (4, 4), 5, 38, 12
  c.model.encoder.update(size="mu", width=64, depth=2, heads=2, dtype="float32")
  c.model.predictor.update(width=32, depth=1, heads=2)
  c.optimizer.update(warmup_epochs=0.0, warmup_steps=30, weight_decay=0.05)
  c.teachers.teacher.momentum.start = 0.98
  c.evals.kshot = dict(fn="train.evaluators.kshot_probe", every=-1, pixels=True)
  c.evals.knn.pixels = c.evals.linear.pixels = False
  c.evals.latent_prediction.examples = 1024
  c.checkpoint.every = 0
