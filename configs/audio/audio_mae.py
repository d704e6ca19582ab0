r"""Audio-MAE (Huang et al., 2022): MAE on spectrograms, 80 % hidden, a decoder that looks nearby.

Paper: "Masked Autoencoders that Listen", NeurIPS 2022, arXiv:2207.06405; code at
       github.com/facebookresearch/AudioMAE. ViT-B/16, 32 epochs of AudioSet-2M, fine-tuned there
       with 20 % of times and 20 % of frequencies hidden: mAP 47.3; on AudioSet-20K 37.0 (README
       and logs of the code).
Here:  spoken digits, 600 steps of 64, three seeds, f32, one core, 2026-11-22, by the command below
       and with `plain`, both with --config.evals.finetune.every=-1, 3 min of the core a seed:

       |                              | kNN           | linear        | recovery      |
       |------------------------------|---------------|---------------|---------------|
       | untrained                    | 0.359 ± 0.028 | 0.556 ± 0.025 | 2.531 ± 0.057 |
       | `laptop`                     | 0.436 ± 0.042 | 0.507 ± 0.032 | 0.359 ± 0.003 |
       | `plain`                      | 0.480 ± 0.033 | 0.597 ± 0.028 | 0.287 ± 0.009 |

       *Opposite* at this budget: both learn to fill in (recovery is of 80 % and of 75 %, not the
       same task), features gain more by MAE's masks and decoder. Fine-tuning with and without
       masks, `time_frequency`: not measured. With normalised values as target and 80 frames, 240
       steps, one seed: loss 0.472, linear 0.640 to 0.497, that is worse than untrained.
Run:   python launch.py --config=configs/audio/audio_mae.py:laptop --workdir=runs/audio_mae
       --config.data.path=spoken_digit.zip

Presets, all on spoken digits (github.com/Jakobovski/free-spoken-digit-dataset): `laptop`; `plain`,
the same as MAE does images, 75 % hidden and a decoder that looks everywhere; `time_frequency`, 80 %
hidden as whole times and frequencies; `smoke`, two steps. Time alone: select.fn=per_axis with
ratios=(0.8, None); a position hidden only where both are: join="all". In fine-tuning times and
frequencies are hidden too, evals.finetune.select; evals.finetune.score=None and .select=None leave
all to see. The paper's own data are a folder of 16 kHz recordings, --config.data.path=DIR.
Deviations: the decoder's blocks are the encoder's, with windows as a mask of pairs; those of the
public code are Swin V2's (norms after the branches, cosine attention, a learned bias of distance),
with 117,248 parameters more. The variant whose last blocks look everywhere is not here. A run rolls
the frames of a spectrogram where the public code rolls samples, and has no random gain. AudioSet's
several labels a clip, mAP and weighted sampling are not here: fine-tuning is the evaluator, on data
of one label a clip, without SpecAugment or mixup, pooled after the encoder's norm. The presets ask
for plain values. What is hidden in fine-tuning is kept out of attention and of the mean rather than
dropped: the same features.
Shares of slices are rounded, where the public code rounds what is kept down: the same at 80 % of
patches and at 20 %, at 30 % its 20 of 64 times and 3 of 8 frequencies are counts=(20, 3).
"""

from ml_collections import ConfigDict, config_dict

from maskjax import lab

NOTE = dict(
  id="audio_mae",
  family="audio_mim",
  title="Masked Autoencoders that Listen",
  claim="ViT-B, AudioSet-2M: mAP 47.3, AudioSet-20K 37.0, without labels of other domains",
  measured="digits, 600 steps: kNN 0.436 ± 0.042, plain 0.480 ± 0.033, untrained 0.359 ± 0.028",
  citation="Huang, Xu, Li, Baevski, Auli, Galuba, Metze, Feichtenhofer. NeurIPS 2022. 2207.06405",
  # About so many clips. The encoder with 527 classes has the 85,659,407 of the public log.
  scale=dict(shape=(1024, 128, 1), examples=1_960_000, parameters=136_218_880),
  laptop=dict(shape=(48, 64, 1), classes=10, examples=2700),
)


def get_config(arg: str | None = None) -> ConfigDict:
  """The paper's pre-training on AudioSet, or a preset of it."""
  c = lab.common()
  c.batch_size, c.eval_batch_size = 512, 256
  c.total_epochs, c.total_steps = 32.0, 0

  c.task = dict(fn="reconstruct")
  c.model = dict(
    fn="masked_autoencoder",
    size="B",
    patch=(16, 16),
    width=config_dict.placeholder(int),
    depth=config_dict.placeholder(int),
    heads=config_dict.placeholder(int),
    class_token=True,
    decoder_width=512,
    decoder_depth=16,
    decoder_heads=16,
    decoder_window=(4, 4),
    decoder_shift=(2, 0),
    dtype="bfloat16",
    remat=False,
    scan=False,
  )
  c.score = dict(fn="white")
  c.select = dict(fn="top", ratio=0.8)
  c.target = dict(fn="pixels", normalise=True)
  c.recover = dict(fn="squared_error")

  # 10 s at 16 kHz: 998 frames, filled up to 1024. AudioSet's mean, and twice its deviation.
  c.data = dict(
    name="wav",
    path="",
    train="train",
    test="",
    label="",
    length=160_000,
    mel=dict(frames=1024, bins=128),
    mean=(-4.2677393,),
    std=(9.1379948,),
    augment=dict(roll=True),
    on_error="raise",
  )
  c.optimizer = dict(
    fn="adamw",
    learning_rate=2e-4,
    schedule="cosine",
    warmup_epochs=3.0,
    warmup_steps=0,
    weight_decay=1e-4,
    b1=0.9,
    b2=0.95,
    clip=0.0,
  )

  c.evals = dict(
    # The paper's own measure, dear, and for data of one label a clip: every=0 turns it on.
    finetune=dict(
      fn="finetune",
      every=-1,
      epochs=60.0,
      batch_size=64,
      learning_rate=1e-3,
      score=dict(fn="white"),
      select=dict(fn="per_axis", ratios=(0.2, 0.2)),
    ),
    reconstruction=dict(fn="reconstruction", every=0, split="train"),
  )
  return lab.finish(c, arg, PRESETS)


def laptop(c: ConfigDict) -> None:
  """Spoken digits, a small ViT on 6 x 8 patches, three seeds."""
  digits(c)
  c.seeds = 3
  c.batch_size, c.total_steps = 64, 600
  c.optimizer.update(learning_rate=8e-3, warmup_steps=60)
  c.checkpoint.every, c.log.every = 300, 50


def plain(c: ConfigDict) -> None:
  """`laptop` as MAE does images: 75 % hidden, a decoder that looks everywhere."""
  laptop(c)
  c.select.ratio = 0.75
  c.model.decoder_window = c.model.decoder_shift = config_dict.placeholder(tuple)


def time_frequency(c: ConfigDict) -> None:
  """`laptop` with 3 of 6 times and 5 of 8 frequencies hidden, 81 % of the patches."""
  laptop(c)
  c.select = dict(fn="per_axis", counts=(3, 5))


def smoke(c: ConfigDict) -> None:
  """Two steps: everything runs, nothing is learned."""
  digits(c)
  c.model.update(width=32, depth=1, heads=2, decoder_width=16)
  c.batch_size, c.total_steps = 16, 2
  c.optimizer.warmup_steps = 1
  c.data.test_where = dict(n=("0",))
  c.evals = dict(
    finetune={**c.evals.finetune.to_dict(), "steps": 2, "batch_size": 16},
    reconstruction=dict(fn="reconstruction", every=0),
  )
  c.checkpoint.every, c.log.every = 1, 1


def digits(c: ConfigDict) -> None:
  """What the presets share: half a second at 8 kHz, 6 x 8 patches, plain values as target."""
  c.data = dict(
    name="wav",
    path="",
    train="train",
    test="test",
    label="{label}_{speaker}_{n}.wav",
    test_where=dict(n=("0", "1", "2", "3", "4")),
    mel=dict(frames=48, bins=64),
    on_error="raise",
  )
  c.eval_batch_size, c.total_epochs, c.loader.workers = 256, 0.0, 0
  c.model.update(size="mu", patch=(8, 8), width=64, depth=3, heads=4, dtype="float32")
  c.model.update(decoder_width=64, decoder_depth=2, decoder_heads=4)
  # In so few steps nothing is learned of normalised patches, which are mostly noise.
  c.target.normalise = False
  c.optimizer.warmup_epochs = 0.0
  c.evals.finetune.update(every=0, epochs=3.0, batch_size=64, learning_rate=4e-3)
  c.evals.finetune.select = dict(fn="per_axis", counts=(2, 2))
  c.evals.update(
    knn=dict(fn="knn", pixels=True, every=0),
    fewlabel=dict(fn="fewlabel", every=0),
    linear=dict(fn="linear", every=0),
    recovery=dict(fn="recovery", every=0),
    reconstruction=dict(fn="reconstruction", every=0, split="test"),
  )


PRESETS = {"laptop": laptop, "plain": plain, "time_frequency": time_frequency, "smoke": smoke}
