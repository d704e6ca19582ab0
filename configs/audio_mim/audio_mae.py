r"""Audio-MAE (Huang et al., 2022): MAE on spectrograms, 80 % hidden, a decoder that looks nearby.

Paper: Huang, Xu, Li, Baevski, Auli, Galuba, Metze, Feichtenhofer. "Masked Autoencoders that
       Listen", NeurIPS 2022, arXiv:2207.06405; code at github.com/facebookresearch/AudioMAE.
Claim: ViT-B, AudioSet-2M: mAP 47.3, AudioSet-20K 37.0, without labels of other domains. 32 epochs,
       fine-tuned with 20 % of times and 20 % of frequencies hidden (README and logs of the code).
Measured: spoken digits, 600 steps of 64, three seeds, f32, one core, 1.5 min of it a seed,
       2026-11-30, by the command below and with `plain`, both with
       --config.evals.finetune.every=-1:

       | run              | kNN           | linear probe  | masked_reconstruction |
       |------------------|---------------|---------------|-----------------------|
       | untrained        | 0.389 ± 0.039 | 0.524 ± 0.023 | 2.438 ± 0.172         |
       | `plain`          | 0.504 ± 0.049 | 0.648 ± 0.026 | 0.282 ± 0.006         |
       | `laptop`         | 0.430 ± 0.012 | 0.530 ± 0.013 | 0.374 ± 0.008         |
       | `time_frequency` | not measured  | not measured  | not measured          |

       `laptop` with normalised values as target and 80 frames, 240 steps, one seed, 2026-11-22
       (tokens did not decay yet):

       | run        | linear probe | loss         |
       |------------|--------------|--------------|
       | untrained  | 0.640        | not measured |
       | normalised | 0.497        | 0.472        |

       `plain` with both targets, 240 steps, seed 0, recordings 5 to 9 held out of train,
       2026-11-30:

       | run          | kNN   | linear probe |
       |--------------|-------|--------------|
       | untrained    | 0.367 | 0.553        |
       | plain values | 0.427 | 0.557        |
       | normalised   | 0.370 | 0.573        |

       *Opposite* at this budget: both learn to fill in (masked_reconstruction is of 80 % and of 75
       %, not the same task), features gain more by MAE's masks and decoder. With normalised values
       they are worse than untrained. Fine-tuning with and without masks: not measured. Settings:
       those of `laptop` for both, and of two targets the same one; for `plain` it was chosen on a
       part of train, by kNN.
Run:   maskjax --config=audio_mae:laptop --workdir=runs/audio_mae
       --config.data.path=spoken_digit.zip

Presets, all on spoken digits (github.com/Jakobovski/free-spoken-digit-dataset): `laptop`; `plain`,
the same as MAE does images, 75 % hidden and a decoder that looks everywhere; `time_frequency`, 80 %
hidden as whole times and frequencies. Time alone: select.fn=select.per_axis
with ratios=(0.8, None); a position hidden only where both are: join="all". In fine-tuning times and
frequencies are hidden too, evals.finetune.select; evals.finetune.score=None and .select=None leave
all to see. The paper's own data are a folder of 16 kHz recordings, --config.data.path=DIR.
Deviations: `finetune` has the rate decay by layer of MAE's ViT-L. Positions of a clip of another
length are resized, in the public code cut; its tables are made for 8 x 64 and read for 64 x 8, so
that the i-th token has the place (i // 64, i % 64). Here each has its own time and frequency;
published weights bring their tables along. The decoder's blocks are the encoder's, with windows as
a mask of pairs; those of the public code are Swin V2's (norms after the branches, cosine attention,
a learned bias of distance), with 117,248 parameters more. The variant whose last blocks look
everywhere is not here. A run rolls the frames of a spectrogram where the public code rolls samples,
and has no random gain. AudioSet's several labels a clip, mAP and weighted sampling are not here:
fine-tuning is the evaluator, on data of one label a clip, without SpecAugment or mixup, pooled
after the encoder's norm. The presets ask for plain values. What is hidden in fine-tuning is kept
out of attention and of the mean rather than dropped: the same features. Shares of slices are
rounded, where the public code rounds what is kept down: the same at 80 % of patches and at 20 %, at
30 % its 20 of 64 times and 3 of 8 frequencies are counts=(20, 3).
"""

from ml_collections import ConfigDict, config_dict

from maskjax import lab

BASE = lab.base("image_mim/mae")
# MAE's preset for images.
WITHOUT = ("cifar", "small")

NOTE = dict(
  # About so many clips. The encoder with 527 classes has the 85,659,407 of the public log.
  scale=dict(shape=(1024, 128, 1), examples=1_960_000, parameters=136_218_880),
  counted="public code: beside_audio_mae.py",
  laptop=dict(shape=(48, 64, 1), classes=10, examples=2700),
)


def method(c: ConfigDict) -> None:
  """Random masking of 80 %, decoder blocks that look into windows, masks in fine-tuning too."""
  c.data.name = "wav"
  del c.data.size
  c.select.ratio = 0.8
  c.model.decoder.update(window=(4, 4), shift=(2, 0))
  c.optimizer.weight_decay = 1e-4
  both = dict(fn="select.per_axis", ratios=(0.2, 0.2), rounding="up")
  c.evals.finetune.update(score=dict(fn="score.uniform"), select=both)


def paper(c: ConfigDict) -> None:
  """ViT-B/16, 32 epochs of AudioSet."""
  c.batch_size, c.eval_batch_size, c.total_epochs = 512, 256, 32.0
  c.model.encoder.size, c.model.decoder.depth = "B", 16

  # 10 s at 16 kHz: 998 frames, filled up to 1024. AudioSet's mean, and twice its deviation.
  c.data.update(test="", label="", length=160_000, mel=dict(frames=1024, bins=128))
  c.data.update(mean=(-4.2677393,), std=(9.1379948,))
  c.data.augment = dict(roll=True)
  c.optimizer.update(learning_rate=2e-4, warmup_epochs=3.0)

  # The paper's own measure, dear, and for data of one label a clip: every=0 turns it on.
  c.evals.finetune.update(epochs=60.0, batch_size=64, learning_rate=1e-3)
  c.evals.reconstruction.split = c.data.train
  del c.evals.knn, c.evals.linear, c.evals.masked_reconstruction


@lab.preset
def laptop(c: ConfigDict) -> None:
  """Half a second of spoken digits at 8 kHz, a small ViT on 6 x 8 patches, three seeds.

  The target is plain values, as of MAE's digits: normalised patches are mostly noise, of which
  nothing is learned in so few steps.
  """
  c.data.update(label="{label}_{speaker}_{n}.wav", mel=dict(frames=48, bins=64))
  c.data.test_where = dict(n=("0", "1", "2", "3", "4"))
  del c.data.augment
  c.eval_batch_size, c.over.patch = 256, (8, 8)
  c.model.decoder.depth = 2
  c.evals.finetune.update(every=0, epochs=3.0, batch_size=64, learning_rate=4e-3)
  c.evals.finetune.select = dict(fn="select.per_axis", counts=(2, 2))
  del c.evals.kshot.pixels, c.evals.linear.pixels, c.evals.kshot_finetune
  c.model.encoder.depth, c.total_steps = 3, 600
  c.optimizer.update(learning_rate=8e-3, warmup_steps=60)
  c.checkpoint.every, c.log.every = 300, 50


@lab.preset("laptop")
def plain(c: ConfigDict) -> None:
  """`laptop` as MAE does images: 75 % hidden, a decoder that looks everywhere."""
  c.select.ratio = 0.75
  c.model.decoder.window = c.model.decoder.shift = config_dict.placeholder(tuple)


@lab.preset("laptop")
def time_frequency(c: ConfigDict) -> None:
  """`laptop` with 3 of 6 times and 5 of 8 frequencies hidden, 81 % of the patches."""
  c.select = dict(fn="select.per_axis", counts=(3, 5))
