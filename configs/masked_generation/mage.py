r"""MAGE (Li et al., 2023): one network that represents images and makes them, of hidden codes.

Paper: "MAGE: MAsked Generative Encoder to Unify Representation Learning and Image Synthesis",
       CVPR 2023, arXiv:2211.09117; code at github.com/LTH14/mage. ViT-L, 1600 epochs of
       ImageNet-1k: FID 9.10 without labels, linear probe 78.9 %; ViT-B 11.1 and 74.7 %.
Here:  CIFAR-10, 600 steps of 32 images, three seeds on one tokenizer and one classifier, f32, one
       core, 5 min of it a seed, 2026-11-22, by the command below with init_from, evals.frechet
       .network and --config.evals.frechet.examples=500. Fréchet distance of 500 samples in the
       features of a ResNet-8 of 0.599 accuracy (real test images 0.057, uniform noise 25.3):

       |                | Fréchet distance | kNN           | linear probe  |
       |----------------|------------------|---------------|---------------|
       | untrained      | 5.80 ± 0.35      | 0.226 ± 0.001 | 0.271 ± 0.002 |
       | `laptop`       | 5.16 ± 0.31      | 0.256 ± 0.005 | 0.312 ± 0.005 |
       | `token_mae`    | 9.03 ± 0.75      | 0.266 ± 0.008 | 0.324 ± 0.003 |

       Samples are *reproduced*: a network that only ever saw 75 % hidden cannot begin from nothing;
       its features are no worse, so what drawing the share does for them is *opposite* here.
       By policy, seed 0: confidence 5.20, confidence after the noise 5.28, margin 5.19, entropy
       5.08, confidence without noise of its own 13.12, random 5.76, remasking 5.16, temperature 0.8
       5.53. `labelled`, seed 0, samples of the classes of test images: 4.65, with guidance 1 4.33,
       3 4.20; linear probe 0.324. The tokenizer (600 steps of 64, all images) brings images back
       with a squared error of 0.148 of their variance (its last batch). `maskgit`, `contrasted`:
       not measured.
Run:   python launch.py --config=configs/masked_generation/mage.py:laptop --workdir=runs/mage
       --config.data.name=zip --config.data.path=cifar10.zip and, likewise,
       --config.stages.tokenizer.data.… and --config.stages.classifier.data.…; finished stages are
       given by --config.init_from=DIR and --config.evals.frechet.network=DIR.

The tokenizer is learned first (stages/tokenizer) and frozen; a classifier (stages/classifier) gives
the features of the Fréchet distance. That is no FID, which is of Inception-v3. One ranking of the
codes of an image is cut twice: those hidden, a share drawn from a normal distribution cut to
[0.5, 1], and the half that the encoder does not see even as masks. Policies of decoding are words:
--config.generate.score.fn=white, margin, entropy, noisy_confidence (confidence after the noise), or
confidence with --config.generate.score.noise=…, --config.generate.remask=True,
--config.generate.temperature=…; with the preset `labelled` --config.generate.guidance=….
Presets: `laptop` is a small ViT over 8 x 8 codes of CIFAR-10; `token_mae` the same with 75 % hidden
and all of it dropped; `maskgit` with nothing dropped; `labelled` is told the class; `contrasted`
finds images again behind another mask (MAGE-C); `smoke` is two steps.
Deviations: a ratio is drawn for every image, in the public code one for a device's batch; counts of
hidden codes are rounded to the nearest, there up. No dropout. The public tokenizer is MaskGIT's
VQGAN, with losses of a perceptual network and a discriminator; here the squared error of pixels
alone, convolutions without attention. The label that stands for none has an embedding of its own,
and embeddings of labels that are never told are left out: the public code has 1,023,977 parameters
more, beside those that it never uses. MAGE-C contrasts two augmented crops, here two masks of the
same. Labels and guidance are MaskGIT's and Ho and Salimans', not the paper's.
"""

import pathlib

from ml_collections import ConfigDict, config_dict

from maskjax import lab

HERE = pathlib.Path(__file__)
mae = lab.load(HERE.parents[1] / "image" / "mae.py")
supervised = lab.load(HERE.parents[1] / "image" / "supervised.py")

NOTE = dict(
  id="mage",
  family="masked_generative",
  title="MAGE: MAsked Generative Encoder to Unify Representation Learning and Image Synthesis",
  claim="ViT-L, ImageNet-1k: FID 9.10 without labels, linear probe 78.9 %",
  measured="CIFAR-10, Fréchet distance: 5.16 ± 0.31, untrained 5.80 ± 0.35, fixed ratio 9.03",
  citation="Li, Chang, Mishra, Zhang, Katabi, Krishnan. CVPR 2023. arXiv:2211.09117",
  scale=dict(shape=(256, 256, 3), classes=1000, examples=1_281_167, parameters=406_764_544),
  laptop=dict(shape=(32, 32, 3), classes=10, examples=10_000),
)


def get_config(arg: str | None = None) -> ConfigDict:
  """ViT-L on ImageNet without labels, its tokenizer trained first; or a preset."""
  c = mae.get_config()
  c.task = dict(fn="masked_code", contrasting=0.1, keep=config_dict.placeholder(object))
  c.task.unlabelled = 0.1
  c.tokenizer = dict(
    fn="tokenizer",
    codes=1024,
    code_width=256,
    unit=False,
    patch=(1, 1),
    widths=(128, 128, 256, 256, 512),
    blocks=2,
    dtype="float32",
  )
  c.model = dict(
    fn="code_autoencoder",
    conditional=False,
    size="L",
    width=config_dict.placeholder(int),
    depth=config_dict.placeholder(int),
    heads=config_dict.placeholder(int),
    decoder_depth=8,
    decoder_heads=16,
    project=0,
    dtype="bfloat16",
    remat=False,
    scan=False,
  )
  # Drawn anew for every image and step; the encoder sees the other half, masks among it.
  drawn = dict(fn="truncated_normal", mean=0.55, deviation=0.25, low=0.5, high=1.0, by="example")
  c.select = dict(fn="top", ratio=drawn)
  c.drop = dict(fn="top", ratio=0.5)
  del c.target
  c.recover = dict(fn="cross_entropy", smoothing=0.1)
  c.contrast = config_dict.placeholder(dict)
  c.generate = dict(
    fn="decode",
    steps=12,
    score=dict(fn="confidence", noise=dict(fn="linear", start=4.5, end=0.0)),
    select=dict(fn="top"),
    schedule=dict(fn="quarter_cosine"),
    binomial=False,
    temperature=1.0,
    remask=False,
    guidance=0.0,
  )
  c.sample = dict(split="validation", examples=16, columns=4)
  c.data.update(size=(256, 256))
  c.optimizer.learning_rate = 1.5e-4

  c.stages = dict(tokenizer=tokenizer(c), classifier=supervised.get_config())
  c.init_from = "stages/tokenizer"
  for name in ("finetune", "recovery"):
    del c.evals[name]
  c.evals.frechet = dict(
    fn="frechet", every=0, split="validation", network="stages/classifier", examples=10_000
  )
  c.evals.samples = dict(fn="samples", every=0, split="validation", examples=16)
  return lab.finish(c, arg, PRESETS)


def tokenizer(c: ConfigDict) -> ConfigDict:
  """The tokenizer of a config as a run of its own."""
  t = lab.common()
  t.batch_size, t.eval_batch_size, t.total_epochs, t.total_steps = 256, 1024, 100.0, 0
  t.task = dict(fn="tokenize", commitment=0.25)
  t.model = c.tokenizer.copy_and_resolve_references()
  t.recover = dict(fn="squared_error")
  t.data = c.data.copy_and_resolve_references()
  t.optimizer = dict(
    fn="adamw",
    learning_rate=1e-4,
    schedule="cosine",
    warmup_steps=0,
    warmup_epochs=1.0,
    weight_decay=0.0,
    b1=0.9,
    b2=0.99,
    clip=1.0,
  )
  t.evals = dict(reconstruction=dict(fn="reconstruction", every=0, split="validation"))
  return t


def laptop(c: ConfigDict) -> None:
  """CIFAR-10 in 8 x 8 tokens of 4 x 4 pixels, a small ViT, three seeds."""
  mae.small_images(c, "cifar10", dict(pad=2, flip=True))
  small(c)
  c.seeds, c.batch_size, c.total_epochs, c.total_steps = 3, 32, 0.0, 600
  c.tokenizer.update(codes=256, code_width=8, unit=True, patch=(4, 4), widths=(64,), blocks=1)
  c.model.update(size="mu", width=64, depth=3, heads=2, decoder_depth=1, decoder_heads=2)
  c.optimizer.update(learning_rate=1.6e-2, warmup_epochs=0.0, warmup_steps=60)
  c.stages = dict(tokenizer=tokenizer(c), classifier=supervised.get_config("cifar"))
  t = c.stages.tokenizer
  t.batch_size, t.total_epochs, t.total_steps = 64, 0.0, 600
  t.optimizer.update(learning_rate=8e-3, warmup_epochs=0.0, warmup_steps=60)
  t.evals.reconstruction.split = "test"
  t.checkpoint.every, t.log.every, t.loader.workers = 0, 50, 0
  c.stages.classifier.total_epochs = 1.5
  c.stages.classifier.optimizer.warmup_epochs = 0.2
  c.stages.classifier.evals.accuracy.every = 0
  # Tokenizer and classifier learn from all images, this from a fifth of them.
  c.data.limit = 10_000
  c.checkpoint.every, c.log.every = 0, 50


def token_mae(c: ConfigDict) -> None:
  """`laptop` of the plain baseline: always 75 % hidden, and all of that dropped."""
  laptop(c)
  c.select = dict(fn="top", ratio=0.75)
  c.drop.ratio = 0.75


def maskgit(c: ConfigDict) -> None:
  """`laptop` with nothing dropped: the encoder sees all masks, and hidden are 0 to 100 %."""
  laptop(c)
  c.select.ratio = dict(fn="quarter_cosine", start=1.0, end=0.0, by="example")
  c.drop = None


def labelled(c: ConfigDict) -> None:
  """`laptop` that is told the class, but for a tenth of the images."""
  laptop(c)
  c.model.conditional = True


def contrasted(c: ConfigDict) -> None:
  """`laptop` that also tells images apart behind two masks."""
  laptop(c)
  c.model.project = 64
  c.contrast = dict(fn="info_nce", temperature=0.2)


def smoke(c: ConfigDict) -> None:
  """Two steps on digits: everything runs, nothing is learned."""
  mae.small_images(c, "digits", config_dict.placeholder(dict))
  small(c)
  c.eval_batch_size, c.batch_size, c.total_epochs, c.total_steps = 64, 16, 0.0, 2
  c.tokenizer.update(codes=16, code_width=4, patch=(2, 2), widths=(8,), blocks=1)
  c.model.update(size="mu", width=16, decoder_depth=1, decoder_heads=2)
  c.optimizer.update(warmup_epochs=0.0, warmup_steps=1)
  c.generate.steps = 2
  c.stages = dict(tokenizer=tokenizer(c), classifier=supervised.get_config("smoke"))
  t = c.stages.tokenizer
  t.batch_size, t.total_epochs, t.total_steps = 16, 0.0, 2
  t.optimizer.update(warmup_epochs=0.0, warmup_steps=1)
  t.loader.workers, t.evals.reconstruction.every = 0, -1
  c.stages.classifier.evals.accuracy.every = -1
  for name in ("knn", "linear", "reconstruction"):
    c.evals[name].every = -1
  c.evals.frechet.update(examples=16, batch_size=16)
  c.evals.samples.update(examples=16, columns=4)
  c.checkpoint.every, c.log.every = 1, 1


def small(c: ConfigDict) -> None:
  """What `laptop` and `smoke` share: evaluators of a split called "test", float32."""
  c.model.dtype, c.sample.split = "float32", "test"
  c.evals = dict(
    knn=dict(fn="knn", every=0),
    linear=dict(fn="linear", every=0, l2=1e-3),
    reconstruction=dict(fn="reconstruction", every=0),
    frechet=dict(fn="frechet", every=0, network="stages/classifier", examples=1000, batch_size=250),
    samples=dict(fn="samples", every=0, examples=16, columns=4),
  )


PRESETS = {
  "laptop": laptop,
  "token_mae": token_mae,
  "maskgit": maskgit,
  "labelled": labelled,
  "contrasted": contrasted,
  "smoke": smoke,
}
