r"""Supervised classification with masked image modelling beside it (Chen et al., 2023).

Paper: Chen, Salz, Chang, Sohn, Krishnan, Seyedhosseini. "Improve Supervised Representation Learning
       with Masked Image Modeling", arXiv:2312.00950.
Claim: ViT-B/14, ImageNet-1k: 81.72 %, 2.01 above the same without masked image modelling. kNN
       retrieval is 1.32 above it.
Measured: CIFAR-10, `laptop`, 400 steps of 64, three seeds, f32, 2 cores (shared for the last two
       rows), 2026-11-30, by the command below. 750 steps of `plain` are equal seconds: it trains on
       646 images a second, `laptop` on 345:

       | run                | kNN           | linear probe  | accuracy      |
       |--------------------|---------------|---------------|---------------|
       | untrained          | 0.293 ± 0.003 | 0.391 ± 0.001 | 0.108 ± 0.024 |
       | `plain`            | 0.378 ± 0.006 | 0.429 ± 0.004 | 0.368 ± 0.002 |
       | `laptop`           | 0.407 ± 0.006 | 0.459 ± 0.004 | 0.387 ± 0.000 |
       | `pixels`           | 0.384 ± 0.003 | 0.434 ± 0.001 | 0.369 ± 0.004 |
       | `plain`, 750 steps | 0.436 ± 0.005 | 0.465 ± 0.013 | 0.427 ± 0.008 |

       *Reproduced* at equal steps, with codes, hardly with pixels; *opposite* at equal seconds.
       Settings: those of mae:small for all; nothing was chosen for the method.
Run:   maskjax --config=sup_mim:laptop --workdir=runs/sup_mim
       --config.data.name=zip --config.data.path=cifar10.zip, and --config.stages.tokenizer.data.…

The class is read from the whole image, codes of a frozen tokenizer from what MAE's mask leaves.
`predict` needs no decoder. `pixels` asks pixels, not codes; `plain` is the supervised baseline.
Deviations: no public code, and only the abstract was at hand. Recalled: two passes, discrete codes.
Decided: 75 % dropped, two decoder blocks, weights 1 and 1, the mean of tokens pooled, the recipe.
The tokenizer is trained here, a code for each 14 x 14 pixels.
"""

from ml_collections import ConfigDict

from maskjax import lab

BASE = lab.base("image_mim/mae")
mage = lab.base("masked_generative/mage")
WITHOUT = ("cifar", "small")

NOTE = dict(
  # Encoder 85,509,120, class head 769,000, decoder 7,225,344.
  scale=dict(shape=(224, 224, 3), classes=1000, examples=1_281_167, parameters=93_503_464),
  counted="by hand: 85_509_120 + 769_000 + 7_225_344",
  laptop=dict(shape=(32, 32, 3), classes=10, examples=10_000),
)


def method(c: ConfigDict) -> None:
  """The class from the image as it is, codes of a frozen tokenizer from what a mask leaves."""
  c.model.tokenizer = dict(fn="model.tokenizer", frozen=True, codes=1024)
  c.model.head = dict(fn="model.class_head")
  c.model.decoder.update(depth=2, outputs=c.model.tokenizer.get_ref("codes"))
  c.target, c.init_from = None, "stages/tokenizer"
  c.branches = dict(whole=dict(hidden="nothing"))
  c.let = dict(
    examples=dict(fn="task.valid_examples"),
    pooled=dict(fn="task.features"),
    logits=dict(fn="head.__call__", of=dict(x="pooled.mean")),
    codes=dict(fn="tokenizer.encode", of=dict(image="batch.image")),
    found=dict(fn="task.argmax", of=dict(logits="prediction", values="codes")),
    seen_image=dict(fn="task.shown", of=dict(image="batch.image")),
    coded=dict(fn="tokenizer.decode", of=dict(tokens="codes")),
    predicted=dict(fn="tokenizer.decode", of=dict(tokens="found")),
  )
  loss = lambda **of: dict(fn="recover.cross_entropy", of=of)
  c.losses = dict(
    classify=loss(logits="whole.logits", target="batch.label", asked="examples"),
    recover=loss(logits="prediction", target="codes"),
  )
  shown = dict(input="batch.image", seen="seen_image", coded="coded", prediction="predicted")
  c.answers = dict(predict="logits", views=dict(fn="task.together", of=shown))
  c.evals.accuracy = dict(fn="train.evaluators.accuracy", every=0)
  del c.evals.finetune, c.evals.masked_reconstruction


def paper(c: ConfigDict) -> None:
  """ViT-B/14, 300 epochs of ImageNet-1k."""
  c.total_epochs, c.model.encoder.size, c.over.patch = 300.0, "B", (14, 14)
  c.model.tokenizer.update(patch=(7, 7), widths=(256, 512))
  c.stages = dict(tokenizer=mage.tokenizer(c))
  c.losses.classify.smoothing, c.data.augment.crop = 0.1, (0.08, 1.0)
  c.optimizer.update(learning_rate=1e-4, warmup_epochs=20.0, weight_decay=0.3)
  c.evals.accuracy.batch_size = 1024


@lab.preset("small")
def laptop(c: ConfigDict) -> None:
  """A small ViT/4 on 10,000 images of CIFAR-10, 8 x 8 codes, three seeds on one tokenizer."""
  c.model.tokenizer.update(codes=256, code_width=8, unit=True, patch=(4, 4), widths=(64,), blocks=1)
  c.stages = dict(tokenizer=mage.tokenizer(c))
  c.stages.tokenizer.update(batch_size=64, total_epochs=0.0, total_steps=400)
  c.stages.tokenizer.optimizer.update(learning_rate=8e-3, warmup_epochs=0.0, warmup_steps=40)


@lab.preset("laptop")
def pixels(c: ConfigDict) -> None:
  """`laptop` with pixels of each patch, normalised, in the place of codes."""
  c.target, c.stages, c.init_from = dict(fn="recover.pixels", normalise=True), {}, ""
  c.losses.recover = dict(fn="recover.squared_error")
  del c.model.tokenizer, c.model.decoder.outputs, c.answers.views
  c.let = {name: c.let[name] for name in ("examples", "pooled", "logits")}


@lab.preset("pixels")
def plain(c: ConfigDict) -> None:
  """`laptop` of the class alone: a supervised ViT, nothing hidden and no decoder."""
  del c.model.decoder, c.losses.recover, c.evals.reconstruction
  c.target = None
