r"""MAGE (Li et al., 2023): one network that represents images and makes them, of hidden codes.

Paper: Li, Chang, Mishra, Zhang, Katabi, Krishnan. "MAGE: MAsked Generative Encoder to Unify
       Representation Learning and Image Synthesis", CVPR 2023, arXiv:2211.09117; code at
       github.com/LTH14/mage.
Claim: ViT-L, ImageNet-1k: FID 9.10 without labels, linear probe 78.9 %. 1600 epochs; ViT-B 11.1 and
       74.7 %.
Measured: CIFAR-10, 600 steps of 32 images, three seeds, each with a tokenizer and a classifier of
       its own, f32, one core, 2026-12-01, by the command below with
       --config.evals.frechet.examples=500; other presets on the stages of the seed of `laptop`.
       Fréchet distance of 500 samples in the features of a ResNet-8 of 0.616 accuracy:

       | run              | Fréchet distance | kNN           | linear probe  |
       |------------------|------------------|---------------|---------------|
       | untrained        | 7.89 ± 2.04      | 0.230 ± 0.013 | 0.280 ± 0.010 |
       | `token_mae`      | 9.98 ± 2.51      | 0.273 ± 0.011 | 0.346 ± 0.010 |
       | `laptop`         | 7.39 ± 0.78      | 0.260 ± 0.009 | 0.331 ± 0.014 |
       | `labelled`       | 7.96 ± 0.84      | not measured  | 0.310 ± 0.009 |
       | with guidance 1  | 7.31 ± 1.00      | -             | -             |
       | with guidance 3  | 6.65 ± 1.07      | -             | -             |
       | `maskgit`        | not measured     | not measured  | not measured  |
       | `contrasted`     | not measured     | not measured  | not measured  |
       | real test images | 0.063 ± 0.005    | -             | -             |
       | uniform noise    | 30.2 ± 3.1       | -             | -             |

       `labelled` has samples of the classes of test images. Policies of decoding other than
       confidence are not measured since each seed has a tokenizer of its own; before, on one seed:
       confidence 5.20, after the noise 5.28, margin 5.19, entropy 5.08, random 5.76, remasking
       5.16, temperature 0.8 5.53, confidence without noise of its own 13.12.

       The tokenizer, 600 steps of 64, all images: the squared error of its last batch over their
       variance:

       | run       | error         |
       |-----------|---------------|
       | tokenizer | 0.148 ± 0.004 |

       Samples beside `token_mae`: nearer in two seeds of three, by 2.6 ± 3.3: *not visible at this
       scale*. Features are worse in each seed: *opposite*. Settings: those of `laptop` for both;
       nothing was chosen for the method.
Run:   maskjax --config=mage:laptop --workdir=runs/mage
       --config.data.name=zip --config.data.path=cifar10.zip and, likewise,
       --config.stages.tokenizer.data.… and --config.stages.classifier.data.…; finished stages are
       given by --config.init_from=DIR and --config.evals.frechet.network=DIR.

The tokenizer is learned first (stages/tokenizer) and frozen; a classifier (stages/classifier) gives
the features of the Fréchet distance. That is no FID, which is of Inception-v3. One ranking of the
codes of an image is cut twice: those hidden, a share drawn from a normal distribution cut to
[0.5, 1], and the half that the encoder does not see even as masks. Policies of decoding:
--config.let.generated.score.fn=score.uniform --config.let.generated.score.noise=None, likewise
score.margin, score.entropy and score.noisy_confidence (confidence after the noise);
score.confidence with --config.let.generated.score.noise=…; --config.let.generated.remask=True;
--config.let.generated.temperature=…; with the preset `labelled` --config.let.generated.guidance=….
Presets: `laptop` is a small ViT over 8 x 8 codes of CIFAR-10; `token_mae` the same with 75 % hidden
and all of it dropped; `maskgit` with nothing dropped; `labelled` is told the class; `contrasted`
finds images again behind another mask (MAGE-C).
Deviations: a ratio is drawn for every image, in the public code one for a device's batch. No
dropout. The public tokenizer is MaskGIT's VQGAN, with losses of a perceptual network and a
discriminator; here the squared error of pixels alone, convolutions without attention. The label
that stands for none has an embedding of its own, and embeddings of labels that are never told are
left out: the public code has 1,023,977 parameters more, beside those that it never uses. MAGE-C
contrasts two augmented crops, here two masks of the same. Labels and guidance are MaskGIT's and Ho
and Salimans', not the paper's.
"""

from ml_collections import ConfigDict, config_dict

from maskjax import lab

mae = lab.base("image_mim/mae")
supervised = lab.base("base/supervised")

NOTE = dict(
  scale=dict(shape=(256, 256, 3), classes=1000, examples=1_281_167, parameters=406_764_544),
  counted="public code: beside_mage.py",
  laptop=dict(shape=(32, 32, 3), classes=10, examples=10_000),
  held="partly: policies of decoding are not measured since gradients are clipped",
)


def method(c: ConfigDict) -> None:
  """Codes of a frozen tokenizer are hidden, half of all is dropped, what is hidden is asked."""
  c.over = dict(fn="over.codes")
  c.model = dict(
    tokenizer=dict(fn="model.tokenizer", dtype="float32", frozen=True),
    network=dict(
      fn="model.code_autoencoder",
      conditional=False,
      project=0,
      dtype="bfloat16",
      remat=False,
      scan=False,
    ),
  )
  c.score = dict(fn="score.uniform")
  # Drawn anew for every image and step; the encoder sees the other half, masks among it.
  drawn = dict(
    fn="schedule.truncated_normal", mean=0.55, deviation=0.25, low=0.5, high=1.0, by="example"
  )
  cut = lambda ratio: dict(fn="select.top", ratio=ratio, rounding="up", stream="mask")
  c.let = dict(
    source=dict(fn="task.codes"),
    # Two cuts of one ranking; `hidden` is a caller's own mask.
    chosen=cut(drawn),
    dropped=cut(0.5),
    masked=dict(fn="select.union", of=dict(a="chosen", b="dropped")),
    unseen="dropped",
    encoded=dict(fn="network.look"),
    logits=dict(fn="network.recover", of=dict(hidden="masked", dropped="unseen")),
  )
  as_masks = dict(fn="hide.token", mask="masked", of=dict(mask_id="network.codes"))
  c.hide = (as_masks, dict(fn="hide.drop", mask="unseen", keep=None))
  c.losses = dict(
    masked=dict(
      fn="recover.cross_entropy",
      smoothing=0.1,
      of=dict(target="values", asked="masked"),
    )
  )
  # Where a caller says what is hidden nothing is dropped.
  c.branches = dict(told=dict(masked="hidden", unseen="nothing"))
  sampling(c)
  showing(c)
  c.sample = dict(examples=16, columns=4)
  c.init_from = "stages/tokenizer"
  c.evals = dict(
    knn=dict(fn="train.evaluators.knn", every=0),
    linear=dict(fn="train.evaluators.linear_probe", every=0),
    reconstruction=dict(fn="train.evaluators.reconstruction", every=0),
    frechet=dict(fn="train.evaluators.frechet", every=0, network="stages/classifier"),
    samples=dict(fn="train.evaluators.samples", every=0, examples=16),
  )


def paper(c: ConfigDict) -> None:
  """ViT-L on ImageNet without labels, as long as MAE and by its optimizer."""
  m = mae.get_config()
  for name in ("batch_size", "eval_batch_size", "total_epochs", "total_steps"):
    c[name] = m[name]
  c.data, c.optimizer = m.data, m.optimizer
  c.data.size, c.optimizer.clip = (256, 256), 3.0
  c.model.tokenizer.update(codes=1024, code_width=256, unit=False, patch=(1, 1), blocks=2)
  c.model.tokenizer.widths = (128, 128, 256, 256, 512)
  unset = config_dict.placeholder
  c.model.network.update(size="L", width=unset(int), depth=unset(int), heads=unset(int))
  c.model.network.update(decoder_depth=8, decoder_heads=16)
  c.model.network.codes = c.model.tokenizer.get_ref("codes")
  c.stages = dict(tokenizer=tokenizer(c), classifier=supervised.get_config())
  c.evals.frechet.examples = 10_000


def sampling(c: ConfigDict) -> None:
  """Decoding from nothing, of codes that the tokenizer paints."""
  c.let.update(
    blank=dict(fn="task.blank"),
    everything=dict(fn="select.complement", of=dict(hidden="nothing")),
    predict=dict(fn="task.logits_of", value="told.logits", field="image"),
    generated=dict(
      fn="generate.decode",
      of=dict(keys="draws", tokens="blank", hidden="everything"),
      steps=12,
      score=dict(fn="score.confidence", noise=dict(fn="schedule.linear", start=4.5, end=0.0)),
      select=dict(fn="select.top"),
      schedule=dict(fn="schedule.quarter_cosine"),
      binomial=False,
      temperature=1.0,
      remask=False,
      guidance=0.0,
    ),
    image=dict(fn="tokenizer.decode", of=dict(tokens="generated.tokens")),
  )
  c.answers = dict(
    sample=dict(
      fn="task.together",
      of=dict(image="image", tokens="generated.tokens", step="generated.step"),
      takes=("draws", "batch"),
    ),
  )


def showing(c: ConfigDict) -> None:
  """Features of the encoder; pictures, by masks of its own in one branch, or told in another."""
  given = lambda present, absent: dict(
    fn="task.where_given", of=dict(given="hidden"), present=present, absent=absent
  )
  painted = lambda tokens: dict(fn="tokenizer.decode", of=dict(tokens=tokens))
  c.let.update(
    best=dict(fn="task.argmax", of=dict(hidden="masked")),
    gone=given("hidden", "masked"),
    found=given("told.best", "main.best"),
    seen_image=dict(fn="task.shown", of=dict(image="batch.image", hidden="gone")),
    coded=painted("values"),
    predicted=painted("found"),
  )
  c.answers.update(
    features=dict(
      fn="network.encode",
      of=dict(tokens="values", hidden="hidden"),
      takes=("batch", "hidden"),
    ),
    views=dict(
      fn="task.together",
      of=dict(input="batch.image", seen="seen_image", coded="coded", prediction="predicted"),
      takes=("batch", "key", "step", "hidden"),
    ),
  )


def tokenizer(c: ConfigDict) -> ConfigDict:
  """The tokenizer of a config as a run of its own."""
  t = lab.common()
  t.batch_size, t.eval_batch_size, t.total_epochs, t.total_steps = 256, 1024, 100.0, 0
  t.over = dict(fn="over.pixels")
  t.model = dict(tokenizer=c.model.tokenizer.copy_and_resolve_references())
  t.model.tokenizer.frozen = False
  fixed = lambda x: dict(fn="task.stop_gradient", of=dict(x=x))
  t.let = dict(
    quantised=dict(fn="task.apply", of=dict(network="tokenizer", x="batch.image")),
    painted=dict(fn="task.at_positions", of=dict(x="quantised.image")),
    fixed_codes=fixed("quantised.codes"),
    fixed_latents=fixed("quantised.latents"),
    each_code=dict(fn="task.everywhere", of=dict(x="quantised.codes")),
  )
  square = lambda prediction, target, asked: dict(
    fn="recover.squared_error", of=dict(prediction=prediction, target=target, asked=asked)
  )
  t.losses = dict(
    recover=square("painted", "values", "visible"),
    codes=square("quantised.codes", "fixed_latents", "each_code"),
    latents=square("quantised.latents", "fixed_codes", "each_code"),
  )
  t.losses.latents.scale = 0.25
  t.answers = dict(
    views=dict(fn="task.together", of=dict(input="batch.image", prediction="quantised.image")),
    # Its samples are the images of the batch through the codebook.
    sample=dict(
      fn="task.together",
      of=dict(image="quantised.image", tokens="quantised.tokens"),
      takes=("keys", "batch"),
    ),
  )
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
  t.evals = dict(reconstruction=dict(fn="train.evaluators.reconstruction", every=0))
  return t


@lab.preset
def laptop(c: ConfigDict) -> None:
  """CIFAR-10 in 8 x 8 tokens of 4 x 4 pixels, a small ViT, three seeds."""
  c.data.update(name="cifar10", test="test", size=config_dict.placeholder(tuple))
  c.data.augment = dict(pad=2, flip=True)
  c.seeds, c.batch_size, c.total_epochs, c.total_steps = 3, 32, 0.0, 600
  c.model.tokenizer.update(codes=256, code_width=8, unit=True, patch=(4, 4), widths=(64,), blocks=1)
  c.model.network.update(size="mu", width=64, depth=3, heads=2, decoder_depth=1, decoder_heads=2)
  c.model.network.dtype = "float32"
  c.optimizer.update(learning_rate=1.6e-2, warmup_epochs=0.0, warmup_steps=60)
  c.evals.linear.l2, c.evals.frechet.examples = 1e-3, 1000
  c.stages = dict(tokenizer=tokenizer(c), classifier=supervised.get_config("cifar"))
  t, classifier = c.stages.tokenizer, c.stages.classifier
  t.batch_size, t.total_epochs, t.total_steps = 64, 0.0, 600
  t.optimizer.update(learning_rate=8e-3, warmup_epochs=0.0, warmup_steps=60)
  for config in (c, t):
    config.checkpoint.every, config.log.every, config.loader.workers = 0, 50, 0
  classifier.total_epochs, classifier.optimizer.warmup_epochs = 1.5, 0.2
  classifier.evals.accuracy.every = 0
  # Tokenizer and classifier learn from all images, this from a fifth of them.
  c.data.limit = 10_000


@lab.preset("laptop")
def token_mae(c: ConfigDict) -> None:
  """`laptop` of the plain baseline: always 75 % hidden, and all of that dropped."""
  c.let.chosen.ratio = c.let.dropped.ratio = 0.75


@lab.preset("laptop")
def maskgit(c: ConfigDict) -> None:
  """`laptop` with nothing dropped: the encoder sees all masks, and hidden are 0 to 100 %."""
  c.let.chosen.ratio = dict(fn="schedule.quarter_cosine", start=1.0, end=0.0, by="example")
  c.let.masked, c.let.unseen, c.hide = "chosen", "nothing", c.hide[0]
  c.branches.told = dict(masked="hidden")


@lab.preset("laptop")
def labelled(c: ConfigDict) -> None:
  """`laptop` that is told the class, but for a tenth of the images."""
  c.model.network.conditional = True
  c.let.label = dict(fn="hide.drop_label", ratio=0.1, of=dict(label="batch.label"))
  c.let.encoded.of = dict(label="label")
  told = c.branches.told
  # Samples are told the labels of the batch, pictures none.
  c.branches.update(guided=dict(told, label="batch.label"), unlabelled=dict(label=None))
  told.label = None
  c.let.predict.value = "guided.logits"
  c.let.unguided_logits = dict(fn="task.logits_of", value="told.logits", field="image")
  c.let.generated.of.unguided = "unguided_logits"
  c.let.found.absent = "unlabelled.best"


@lab.preset("laptop")
def contrasted(c: ConfigDict) -> None:
  """`laptop` that also tells images apart behind two masks."""
  c.model.network.project = 64
  c.branches.other = dict(draws=("score",))
  c.let.vector = dict(fn="network.contrasted", of=dict(dropped="unseen"))
  c.losses.contrast = dict(
    fn="recover.info_nce", temperature=0.2, of=dict(a="vector", b="other.vector"), scale=0.1
  )
