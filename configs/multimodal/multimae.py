r"""MultiMAE (Bachmann et al., 2022): one budget of patches to see, split at random over modalities.

Paper: "MultiMAE: Multi-modal Multi-task Masked Autoencoders", ECCV 2022, arXiv:2204.01678; code
       at github.com/EPFL-VILAB/MultiMAE. ViT-B/16, 1600 epochs of ImageNet-1k with pseudo labels:
       83.3 % after fine-tuning (MAE 83.3), ADE20K 46.2 mIoU (46.2), Hypersim 37.0 (36.5), with
       depth 47.6, NYUv2 52.0 (50.8), with depth 56.0; its depth, δ1, 86.4 % (85.1).
Here:  CIFAR-10, `laptop`, 300 steps of 32, seeds 0 to 2, f32, 2026-11-21. Error of what is
       hidden over that of the mean image (of labels, nats over those of their shares), 512 test
       images; "from x": x is shown whole, and nothing else:

       |          | untrained     | own masks     | from image    | from segments | from edges    |
       |----------|---------------|---------------|---------------|---------------|---------------|
       | image    | 2.541 ± 0.140 | 0.533 ± 0.007 |               | 0.486 ± 0.027 | 1.150 ± 0.089 |
       | segments | 1.179 ± 0.036 | 0.705 ± 0.016 | 0.687 ± 0.014 |               | 1.141 ± 0.024 |
       | edges    | 2.465 ± 0.028 | 0.970 ± 0.015 | 1.030 ± 0.023 | 1.045 ± 0.034 |               |
       | detail   | 2.271 ± 0.703 | 1.003 ± 0.000 | 1.004 ± 0.000 | 1.004 ± 0.001 | 1.005 ± 0.000 |

       What is hidden of one modality is told from another: of colours and images, *reproduced*;
       edges and detail have not begun to be learned. A modality's share of what is shown is 0.16 to
       0.18 of its patches, ± 0.13 over the examples (43 / 64 √(3 / 80) = 0.13; uniform masks 0.04).
       kNN of the image's mean token (k 20, 5,000 training images): 0.266 ± 0.004, seeds 0 and 1;
       `plain` 0.284 ± 0.008, three seeds. The image with three quarters hidden and nothing else
       shown: recovery 0.624 ± 0.026, seeds 0 and 1, `plain` 0.595 ± 0.011: for features and images
       alone *opposite* at this budget, of which a quarter of what is shown is of the image. 9 min
       23 s of CPU, `plain` 2 min 47 s; kNN and recovery after training by --config.job=evaluate.
       `even`, the linear probe, longer runs, and the paper's scale: not measured.
Run:   python launch.py --config=configs/multimodal/multimae.py:laptop --workdir=runs/multimae
       --config.data.name=zip --config.data.path=cifar10.zip

Of the patches of all modalities a sixth is shown: shares of the modalities from a Dirichlet
distribution, then random patches of each. One encoder sees them all; each modality has a decoder
whose queries look at everything encoded, so each is predicted from the others too.

Presets: `laptop` shows 43 of 256 patches of CIFAR-10's images, their edges, a band of detail and a
segmentation by eight colours; `even` is `laptop` with patches hidden at random whatever their
modality; `plain` is MAE of the images alone at equal steps; `smoke` is two steps.
Modalities are functions of the image (`maskjax.modalities`): `fn="mypackage.labels:depth"` names
one's own, a network that was trained to tell depth, say.
Deviations: the paper's depth and semantic labels come of networks (DPT-Hybrid, Mask2Former with 133
classes); in their place stand, of the same shape, a band of detail (one channel, absolute error)
and a segmentation by 133 colours at a quarter of the resolution. So depth is scaled by the mean and
deviation of the training images, not by those of each map without its extreme tenths. The encoder
and each decoder end in a normalisation (3,584 numbers of 97,920,656). The decoder of labels
computes in bfloat16 as the others do, its logits are float32. Statistics and colours are those of
the first 1,024 training images, as augmented.
"""

import pathlib

from ml_collections import ConfigDict

from maskjax import lab

mae = lab.load(pathlib.Path(__file__).parents[1] / "image" / "mae.py")

NOTE = dict(
  id="multimae",
  family="multimodal_mim",
  title="MultiMAE: Multi-modal Multi-task Masked Autoencoders",
  claim="ViT-B: NYUv2 52.0 mIoU from RGB (MAE 50.8), 56.0 with depth; ImageNet-1k 83.3 % (83.3)",
  measured="CIFAR-10, 300 steps: image from colour labels, 0.486 ± 0.027 of the mean image's error",
  citation="Bachmann, Mizrahi, Atanov, Zamir. ECCV 2022. arXiv:2204.01678",
  scale=dict(shape=(224, 224, 3), examples=1_281_167, parameters=97_920_656),
  laptop=dict(shape=(32, 32, 3), classes=10, examples=5000),
  # Each modality takes a decoder, and each decoder its time to compile.
  smoke=dict(task__examples=8, task__modalities=dict(segments=dict(fn="palette", colors=8))),
)


def get_config(arg: str | None = None) -> ConfigDict:
  """The public code's pre-training for 1600 epochs, or a preset of it."""
  c = mae.get_config()
  c.batch_size = 2048
  c.task = dict(
    fn="reconstruct_modalities",
    modalities=dict(
      depth=dict(fn="difference_of_gaussians", narrow=2.0, wide=8.0),
      semseg=dict(fn="palette", colors=133, stride=4),
    ),
    asks=dict(
      image={},
      depth=dict(recover="absolute_error"),
      semseg={},
      norm_image=dict(of="image", target=dict(normalise=True)),
    ),
  )
  c.model = dict(
    fn="multimodal_autoencoder",
    size="B",
    patch=(16, 16),
    decoder_width=256,
    decoder_depth=2,
    decoder_heads=8,
    label_width=64,
    dtype="bfloat16",
    remat=False,
    scan=False,
  )
  c.score = dict(fn="split", alpha=1.0)
  c.select = dict(fn="top", ratio=5 / 6)
  c.target.normalise = False
  c.optimizer.learning_rate = 1e-4
  c.evals.modalities = dict(fn="modalities", every=0, test="validation", batch_size=256)
  return lab.finish(c, arg, PRESETS)


def laptop(c: ConfigDict) -> None:
  """A small ViT/4 on 5,000 images of CIFAR-10 and three maps of each, three seeds."""
  small(c)
  mae.small_images(c, "cifar10", dict(crop=(0.2, 1.0), flip=True))
  c.data.limit = 5_000
  c.seeds, c.batch_size, c.total_steps = 3, 32, 300
  c.eval_batch_size = 500
  c.model.update(width=64, depth=4, heads=4, patch=(4, 4), label_width=16)
  c.model.update(decoder_width=48, decoder_depth=1, decoder_heads=4)
  c.optimizer.update(learning_rate=1.6e-2, warmup_steps=30)
  evaluators(c)
  c.checkpoint.every, c.log.every = 0, 50


def even(c: ConfigDict) -> None:
  """`laptop` with random patches hidden, whatever their modality."""
  laptop(c)
  c.score = dict(fn="white")


def plain(c: ConfigDict) -> None:
  """`laptop` of MAE: the images alone, three quarters of their patches hidden."""
  laptop(c)
  sizes = dict(width=64, depth=4, heads=4, decoder_width=48, decoder_depth=2, decoder_heads=4)
  c.task = dict(fn="reconstruct")
  c.model = dict(fn="masked_autoencoder", size="mu", patch=(4, 4), dtype="float32", **sizes)
  c.score, c.select = dict(fn="white"), dict(fn="top", ratio=0.75)
  c.evals.modalities.every = -1


def smoke(c: ConfigDict) -> None:
  """Two steps on digits: everything runs, nothing is learned."""
  small(c)
  mae.small_images(c, "digits", None)
  c.model.update(width=16, depth=1, heads=2, patch=(2, 2), label_width=4)
  c.model.update(decoder_width=16, decoder_depth=1, decoder_heads=2)
  # Each decoder takes its time to compile.
  c.task.modalities = dict(segments=dict(fn="palette", colors=4))
  c.batch_size, c.total_steps, c.eval_batch_size = 16, 2, 512
  c.optimizer.warmup_steps = 1
  evaluators(c)
  c.evals.modalities.update(examples=256)
  c.evals.recovery.every = -1
  c.checkpoint.every, c.log.every = 1, 1


def small(c: ConfigDict) -> None:
  """What laptop and smoke share: modalities, and a run of so many steps."""
  c.task = dict(
    fn="reconstruct_modalities",
    modalities=dict(
      edges=dict(fn="edges"),
      detail=dict(fn="difference_of_gaussians", narrow=1.0, wide=3.0),
      segments=dict(fn="palette", colors=8),
    ),
    examples=1024,
  )
  c.model.update(size="mu", dtype="float32")
  c.total_epochs, c.optimizer.warmup_epochs = 0.0, 0.0


def evaluators(c: ConfigDict) -> None:
  """kNN, what is recovered of each modality, and of the images by masks that all methods share."""
  for name in ("fewlabel", "linear"):
    c.evals[name].every = -1
  c.evals.knn.pixels = False
  masks = dict(score=dict(fn="white"), select=dict(fn="top", ratio=0.75))
  c.evals.recovery = dict(fn="recovery", every=0, **masks)
  c.evals.modalities = dict(fn="modalities", every=0, examples=512)


PRESETS = {"laptop": laptop, "even": even, "plain": plain, "smoke": smoke}
