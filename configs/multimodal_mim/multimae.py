r"""MultiMAE (Bachmann et al., 2022): one budget of patches to see, split at random over modalities.

Paper: Bachmann, Mizrahi, Atanov, Zamir. "MultiMAE: Multi-modal Multi-task Masked Autoencoders",
       ECCV 2022, arXiv:2204.01678; code at github.com/EPFL-VILAB/MultiMAE.
Claim: ViT-B: NYUv2 52.0 mIoU from RGB (MAE 50.8), 56.0 with depth; ImageNet-1k 83.3 % (83.3). 1600
       epochs with pseudo labels; ADE20K 46.2 mIoU (46.2), Hypersim 37.0 (36.5), with depth 47.6;
       NYUv2 depth, δ1, 86.4 % (85.1).
Measured: CIFAR-10, `laptop`, 300 steps of 32, seeds 0 to 2, f32, one core, 2026-11-30, by the
       command below. Error of what is hidden over that of the mean image (of labels, nats over
       those of their shares), 512 test images; "from x": x is shown whole, and nothing else:

       | run           | image         | segments      | edges         | detail        |
       |---------------|---------------|---------------|---------------|---------------|
       | untrained     | 2.487 ± 0.129 | 1.158 ± 0.029 | 2.444 ± 0.720 | 2.572 ± 0.771 |
       | own masks     | 0.536 ± 0.012 | 0.711 ± 0.012 | 0.968 ± 0.014 | 1.003 ± 0.002 |
       | from image    | -             | 0.699 ± 0.020 | 1.034 ± 0.028 | 1.004 ± 0.002 |
       | from segments | 0.497 ± 0.031 | -             | 1.034 ± 0.011 | 1.003 ± 0.002 |
       | from edges    | 1.120 ± 0.026 | 1.172 ± 0.112 | -             | 1.005 ± 0.000 |

       kNN of the image's mean token (k 20, 5,000 training images), and masked_reconstruction of the
       image with three quarters hidden and nothing else shown; CPU of a seed:

       | run           | kNN           | masked_reconstruction | CPU          |
       |---------------|---------------|-----------------------|--------------|
       | MAE (`plain`) | 0.274 ± 0.008 | 0.626 ± 0.020         | 1 min 27 s   |
       | `laptop`      | 0.279 ± 0.007 | 0.630 ± 0.019         | 4 min 39 s   |
       | `even`        | not measured  | not measured          | not measured |

       A modality's share of what is shown, of its patches, and its standard deviation over the
       examples, expected 43 / 64 √(3 / 80):

       | masks    | share shown  | deviation |
       |----------|--------------|-----------|
       | `laptop` | 0.16 to 0.18 | 0.13      |
       | uniform  | -            | 0.04      |

       What is hidden of one modality is told from another: of colours and images, *reproduced*;
       edges and detail have not begun to be learned. For features and images alone a difference is
       *not visible at this scale*, at equal steps and three times the time. The linear probe,
       longer runs, and the paper's scale: not measured. Settings: those of `laptop` for both;
       nothing was chosen for the method.
Run:   maskjax --config=multimae:laptop --workdir=runs/multimae
       --config.data.name=zip --config.data.path=cifar10.zip

Of the patches of all modalities a sixth is shown: shares of the modalities from a Dirichlet
distribution, then random patches of each. One encoder sees them all; each modality has a decoder
whose queries look at everything encoded, so each is predicted from the others too.

Presets: `laptop` shows 43 of 256 patches of CIFAR-10's images, their edges, a band of detail and a
segmentation by eight colours; `given` has depth and labels that come with the images of a folder or
zip, in files of the same names at --config.data.maps.depth.path and .semseg.path, the latter with
its number of labels as `classes` (not measured: no such data here); `even` is `laptop` with patches
hidden at random whatever their modality; `plain` is MAE of the images alone at equal steps; `cifar`
has the sizes and the budget of MAE's `cifar`.
Modalities of the others are functions of the image (`maskjax.modalities`), each in a network: in
--config.model.detail_map.modality.fn=… one that was trained to tell depth, say.
Deviations: labels of no class (a value above the others) are refused. Queries, keys and values are
drawn as one matrix, in the public code as three, whose Xavier bounds are wider. Positions are a
table whose first half encodes the column, theirs the row. The paper's depth and semantic labels
come of networks (DPT-Hybrid, Mask2Former with 133 classes); in their place stand, of the same
shape, a band of detail (one channel, absolute error) and a segmentation by 133 colours at a quarter
of the resolution. So this depth is scaled by the mean and deviation of the training images; that of
`given`, as theirs, by those of each map without its extreme tenths. The encoder and each decoder
end in a normalisation (3,584 numbers of 97,920,656). The decoder of labels computes in bfloat16 as
the others do, its logits are float32. Statistics and colours are those of the first 1,024 training
images, as augmented.
"""

from typing import Any

from ml_collections import ConfigDict

from maskjax import lab

BASE = lab.base("image_mim/mae")


def asked(
  of: str, *, decoder: str = "", target: str = "", loss: str = "recover.squared_error"
) -> dict[str, Any]:
  """A loss of one modality's hidden patches: the mean of each example's own mean."""
  return dict(
    fn="recover.per_example",
    loss=dict(fn=loss),
    of=dict(
      prediction=f"predictions.{decoder or of}",
      target=target or f"values.{of}",
      asked=f"gone.{of}",
    ),
  )


LABELS = "recover.patch_cross_entropy"

NOTE = dict(
  scale=dict(shape=(224, 224, 3), examples=1_281_167, parameters=97_920_656),
  counted="public code: beside_multimae.py",
  laptop=dict(shape=(32, 32, 3), classes=10, examples=5000),
  # Each modality takes a decoder, and each decoder its time to compile.
  smoke=dict(
    over__order=("image", "segments"),
    over__parts=dict(
      image=dict(fn="over.patches", patch=(4, 4)),
      segments=dict(fn="over.labels", patch=(4, 4), field="segments", classes=8),
    ),
    losses=dict(image=asked("image"), segments=asked("segments", loss=LABELS)),
  ),
)


def method(c: ConfigDict) -> None:
  """An image and maps of it, patch by patch: an encoder as large as the base's, a decoder each."""
  encoder, decoder = c.model.encoder, c.model.decoder
  sizes = {name: encoder[name] for name in ("size", "width", "depth", "heads")}
  c.model = dict(
    network=dict(
      fn="model.multimodal_autoencoder",
      **sizes,
      decoder_width=decoder.width,
      decoder_depth=decoder.depth,
      decoder_heads=decoder.heads,
      dtype=encoder.dtype,
      remat=False,
      scan=False,
    )
  )
  c.score = dict(fn="score.split", alpha=1.0, of=dict(keep="kept"))
  c.select.update(ratio=5 / 6, rounding="nearest")
  # Class and mask tokens do not decay, embeddings of modalities do.
  c.optimizer.decay_rules = ((BASE.BIASES_AND_NORMS + "|token$", 0.0),)
  # Tokens of all modalities are alike, their patches are not: these are embedded before some drop.
  c.hide.place = "embedded"
  c.let = dict(
    source=dict(fn="task.maps"),
    sizes=dict(fn="over.sizes"),
    kept=dict(fn="task.kept", ratio=c.select.get_ref("ratio")),
    shown=dict(fn="task.emptied"),
    embedding=dict(fn="network.tokens", of=dict(patches="shown")),
    encoded=dict(fn="network.attend"),
    predictions=dict(fn="network.decode"),
    gone=dict(fn="over.apart", of=dict(x="hidden")),
    # Features are those of the image alone.
    alone=dict(fn="over.only", of=dict(x="values"), names=("image",)),
    alone_shown=dict(fn="task.emptied", of=dict(values="alone")),
  )
  del c.target
  c.answers = dict(
    features=dict(
      fn="network.encode",
      of=dict(patches="alone_shown", hidden="hidden"),
      takes=("batch", "hidden"),
    ),
    views=dict(fn="task.row_views"),
  )
  modalities(
    c,
    c.over.patch,
    detail=dict(fn="modalities.difference_of_gaussians", narrow=1.0, wide=3.0),
    edges=dict(fn="modalities.edges"),
    segments=dict(fn="modalities.palette", colors=8),
  )
  c.evals.modalities = dict(fn="train.evaluators.modalities", every=0)


def modalities(c: ConfigDict, patch: tuple[int, int], **made: dict[str, Any]) -> None:
  """The image and these maps of it, at its resolution, each with one decoder."""
  maps = {name: f"{name}_map" for name in made}
  c.over = dict(fn="over.row", order=("image", *made), parts={})
  c.over.parts.image = dict(fn="over.patches", patch=patch)
  c.model = dict(network=c.model.network)
  c.losses = dict(image=asked("image"))
  for name, modality in made.items():
    c.model[maps[name]] = dict(fn="model.image_map", modality=modality, frozen=True)
    if "colors" in modality:
      c.over.parts[name] = dict(fn="over.labels", patch=patch, field=name)
      c.over.parts[name].classes = c.model[maps[name]].modality.get_ref("colors")
      c.losses[name] = asked(name, loss=LABELS)
    else:
      c.over.parts[name] = dict(fn="over.patches", patch=patch, field=name)
      c.losses[name] = asked(name)
  c.let.source.of, c.answers.views.of = maps, maps


def paper(c: ConfigDict) -> None:
  """The public code's pre-training for 1600 epochs: depth, labels, and pixels asked for twice."""
  c.batch_size = 2048
  modalities(
    c,
    (16, 16),
    depth=dict(fn="modalities.difference_of_gaussians", narrow=2.0, wide=8.0),
    semseg=dict(fn="modalities.palette", colors=133, stride=4),
  )
  c.over.parts.semseg.patch = (4, 4)
  c.model.network.update(size="B", decoder_width=256, decoder_depth=2, decoder_heads=8)
  c.model.network.asks = dict(image="image", depth="depth", semseg="semseg", norm_image="image")
  c.losses.depth.loss.fn = "recover.absolute_error"
  c.losses.norm_image = asked("image", decoder="norm_image", target="normalised")
  target = dict(fn="recover.pixels", normalise=True)
  c.let.normalised = dict(fn="task.encode", of=dict(x="values.image"), target=target)
  c.optimizer.learning_rate = 1e-4
  # MAE's for ViT-B.
  c.evals.finetune.update(epochs=100.0, learning_rate=5e-4, layer_decay=0.65)


@lab.preset
def laptop(c: ConfigDict) -> None:
  """A small ViT/4 on 5,000 images of CIFAR-10 and three maps of each, three seeds."""
  c.data.name, c.data.limit = "cifar10", 5_000
  c.data.augment = dict(crop=(0.2, 1.0), flip=True)
  c.batch_size, c.eval_batch_size, c.total_steps = 32, 500, 300
  for part in c.over.parts.values():
    part.patch = (4, 4)
  c.model.network.update(depth=4, label_width=16, decoder_width=48)
  c.optimizer.warmup_steps = 30
  # kNN, what is recovered of each modality, and of the images by masks that all methods share.
  c.evals.kshot.every = c.evals.linear.every = c.evals.kshot_finetune.every = -1
  c.evals.knn.pixels = False
  masks = dict(score=dict(fn="score.uniform"), select=dict(fn="select.top", ratio=0.75))
  c.evals.masked_reconstruction.update(masks)
  c.evals.modalities.examples = 512
  c.checkpoint.every, c.log.every = 0, 50


@lab.preset("laptop")
def given(c: ConfigDict) -> None:
  """`laptop` of depth and labels that come with the images, at --config.data.maps.depth.path."""
  c.data.name, c.data.size = "folder", (32, 32)
  c.data.maps = dict(depth=dict(path=""), semseg=dict(path="", classes=8))
  modalities(c, (4, 4))
  c.over.order = ("image", "depth", "semseg")
  c.over.parts.depth = dict(fn="over.patches", patch=(4, 4), field="depth", channels=1)
  c.over.parts.semseg = dict(fn="over.labels", patch=(4, 4), field="semseg")
  c.over.parts.semseg.classes = c.data.maps.semseg.get_ref("classes")
  c.losses.depth = asked("depth", loss="recover.absolute_error")
  c.losses.semseg = asked("semseg", loss=LABELS)


@lab.preset("laptop")
def even(c: ConfigDict) -> None:
  """`laptop` with random patches hidden, whatever their modality."""
  c.score = dict(fn="score.uniform")


@lab.preset("laptop")
def plain(c: ConfigDict) -> None:
  """`laptop` of MAE: the images alone, three quarters of their patches hidden."""
  m = BASE.get_config("laptop")
  for name in ("over", "model", "score", "select", "hide"):
    c[name] = m[name]
  c.over.patch, c.select.ratio = (4, 4), 0.75
  c.model.encoder.depth = 4
  c.model.decoder.update(width=48, depth=2)
  c.losses = dict(recover=dict(fn="recover.squared_error", of=dict(target="values")))
  c.let, c.answers = {}, {}
  c.evals.modalities.every = -1
