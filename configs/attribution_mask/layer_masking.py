r"""Layer masking (Balasubramanian and Feizi, 2023): what is hidden, no layer of a CNN gets to see.

Paper: Balasubramanian, Feizi. "Towards Improved Input Masking for Convolutional Neural Networks",
       ICCV 2023, arXiv:2211.14646.
Claim: ResNet-50, mean accuracy over 0 to 100 % of the patches hidden: 58.5 %, in grey 24.6 %.
       Patches of 16 x 16 pixels of ImageNet pictures, in random order (the public notebook
       "Analysis").
Measured: CIFAR-10, zip of JPEGs, `laptop`, ResNet-8, three seeds, f32, one core, 6 minutes of CPU a
       seed to train and 30 seconds to explain, 2026-11-30, by the command below with
       --config.data.name=zip --config.data.path=cifar10.zip --config.init_from=runs/resnet. 256
       test images, 36 segments; means over 0 to 100 % of them hidden; partial convolutions, here
       and below, by model.carry="partial":

       | hidden by            | predictions unchanged | accuracy      | entropy of classes |
       |----------------------|-----------------------|---------------|--------------------|
       | carried              | 0.566 ± 0.011         | 0.440 ± 0.020 | 1.954 ± 0.019      |
       | grey                 | 0.494 ± 0.001         | 0.377 ± 0.010 | 1.745 ± 0.030      |
       | black                | 0.401 ± 0.011         | 0.333 ± 0.012 | 1.660 ± 0.122      |
       | mean                 | 0.515 ± 0.010         | 0.387 ± 0.020 | 1.783 ± 0.036      |
       | blur                 | 0.599 ± 0.010         | 0.450 ± 0.026 | 2.001 ± 0.006      |
       | partial convolutions | 0.338 ± 0.024         | 0.271 ± 0.020 | 1.388 ± 0.193      |
       | the default          | not measured          | not measured  | not measured       |

       The same, LIME and deletion of 24 images (128 draws); the shape told is one of five (0.2 by
       chance):

       | hidden by            | shape told    | LIME, one at a time | unchanged by deletion |
       |----------------------|---------------|---------------------|-----------------------|
       | black                | 0.840 ± 0.041 | 0.322 ± 0.052       | 0.750 ± 0.042         |
       | grey                 | 0.589 ± 0.023 | 0.422 ± 0.059       | 0.292 ± 0.083         |
       | mean                 | 0.538 ± 0.045 | 0.467 ± 0.054       | 0.375 ± 0.083         |
       | blur                 | 0.390 ± 0.022 | 0.538 ± 0.031       | 0.403 ± 0.087         |
       | carried              | 0.368 ± 0.023 | 0.554 ± 0.032       | 0.458 ± 0.042         |
       | partial convolutions | 0.899 ± 0.044 | 0.191 ± 0.070       | 0.625 ± 0.072         |

       The classifiers, 2 epochs, by maskjax --config=supervised:cifar
       --config.data.name=zip --config.data.path=cifar10.zip --config.total_epochs=2.0
       --config.optimizer.warmup_epochs=0.3 --config.seeds=3 --workdir=runs/resnet:

       | run         | accuracy      |
       |-------------|---------------|
       | runs/resnet | 0.647 ± 0.001 |

       Carried masks leave more predictions as they were than grey, black or mean colour, keep all
       classes in play up to 90 % hidden, and give less of their shape away: *reproduced*. A blur,
       which leaves a part of what it hides, is level with them. LIME agrees best with hiding one
       segment at a time where masks are carried or blurred; deletion is judged by grey, which
       foretells itself best, so no gain shows there. Masks carried by partial convolutions are
       below black. Settings: one classifier and the same segments for all ways of hiding; nothing
       was chosen for any.
Run:   maskjax --config=layer_masking:laptop
       --workdir=runs/layer_masking

Nothing is trained for it: `model.carry="neighbours"` is how a trained network is given a mask.
Before each convolution what is hidden is filled in from its border, ring by ring; afterwards a
pixel is visible if its window saw something, and that of a sum if both parts of it are. Beside it
stand the pictures in which hidden pixels are grey, black, of the mean colour, or blurred.

`job=explain`, the default here, cuts test images into superpixels and compares these ways of
hiding: see `maskjax.train.jobs.explanation`. It serves any classifier: `--config.job=explain` on
configs/base/supervised.py, whose masks are carried by partial convolutions, or a ViT, which drops
what is hidden. The default is the paper's network; its weights are torchvision's, converted to
safetensors and given by --config.init_from=resnet50.safetensors. Presets: `laptop` trains a
ResNet-8 on CIFAR-10 first, as the stage `trained` (--config.init_from=DIR is one that is there);
`smoke` is two steps on digits. `job=train` goes on training from there.
Deviations: the paper's study of masks as augmentation, networks trained with hidden patches and
then asked without, is not here: nothing is trained with masks. The mean of the neighbours of a
pixel is exact, where the public code adds 1e-5 to their number. Pictures that are grey have 0.5
everywhere, the paper's the mean colour of ImageNet. The figures that need masks of objects are
replaced: shapes are geometric, and what is asked is which of five of one area is hidden; LIME is
compared with hiding one segment at a time, and by deletion, not with where the object is.
Superpixels are SLIC's in RGB; no quickshift.
"""

from ml_collections import ConfigDict

from maskjax import lab

BASE = lab.base("base/supervised")
# `cifar` would explain an untrained network, and a ViT carries no masks.
WITHOUT = ("cifar", "cifar_vit")

NOTE = dict(
  laptop=dict(shape=(32, 32, 3), classes=10, examples=50_000),
  held="partly: masks as augmentation are not there",
)


def method(c: ConfigDict) -> None:
  """A trained network carries masks, and ways of hiding are compared by what it answers."""
  c.job = "explain"
  c.model.update(carry="neighbours", dtype="float32")
  c.stages = {}
  c.explain = dict(
    hides=dict(
      carried=dict(fn="hide.carry"),
      grey=dict(fn="hide.fill", value=0.5),
      black=dict(fn="hide.fill", value=0.0),
      mean=dict(fn="hide.mean"),
      blur=dict(fn="hide.blur", sigma=20.0),
    ),
    examples=1024,
    segments=196,
    compactness=0.1,
    explained=128,
    draws=512,
    deleted=0.1,
    judge="grey",
    shape=0.2,
    batch_size=128,
  )


@lab.preset("cifar")
def laptop(c: ConfigDict) -> None:
  """ResNet-8 on CIFAR-10, trained for 2 epochs, three seeds."""
  c.stages, c.init_from = dict(trained=BASE.get_config("cifar")), "stages/trained"
  c.stages.trained.total_epochs, c.stages.trained.optimizer.warmup_epochs = 2.0, 0.3
  c.seeds, c.explain.deleted = 3, 0.2
  c.explain.update(examples=256, explained=24, draws=128, segments=36, compactness=0.3)
  c.explain.hides.blur.sigma = 4.0
