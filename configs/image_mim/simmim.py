r"""SimMIM (Xie et al., 2022): a mask token for blocks of patches, and one layer for raw pixels.

Paper: Xie, Zhang, Cao, Lin, Bao, Yao, Dai, Hu. "SimMIM: A Simple Framework for Masked Image
       Modeling", CVPR 2022, arXiv:2111.09886; code at github.com/microsoft/SimMIM.
Claim: ViT-B/16 with a linear head and raw pixels, ImageNet-1k: 83.8 % after fine-tuning.
Measured: CIFAR-10, `laptop`, 400 steps of 64, three seeds, f32, 2 shared cores, 2026-11-30, by the
       command below; the ratio is of the masked reconstruction error to the mean image's:

       | run               | kNN           | linear probe  | ratio         |
       |-------------------|---------------|---------------|---------------|
       | untrained         | 0.293 ± 0.003 | 0.391 ± 0.001 | 2.118 ± 0.346 |
       | MAE (`mae:small`) | 0.328 ± 0.011 | 0.433 ± 0.009 | 0.201 ± 0.002 |
       | `laptop`          | 0.260 ± 0.006 | 0.398 ± 0.009 | 0.611 ± 0.005 |

       *Opposite* for frozen features (65 tokens are encoded, MAE's 17); fine-tuning: not measured.
       Settings: those of mae:small for both; nothing was chosen for the method.
Run:   maskjax --config=simmim:laptop --workdir=runs/simmim
       --config.data.name=zip --config.data.path=cifar10.zip
Deviations: no drop path (0.1), no Swin; `laptop` has encoder and optimizer of mae:small, not tuned.
Weights begin as in other ViTs here, the public code's with a deviation of 0.02, less in deep
layers. Keys have a bias, 9,216 numbers. The warm-up begins at 0, theirs at 1/200 of the peak. In
fine-tuning blocks share their table of positions, which theirs do not.
"""

from ml_collections import ConfigDict, config_dict

from maskjax import lab

BASE = lab.base("image_mim/mae")

NOTE = dict(
  scale=dict(shape=(224, 224, 3), examples=1_281_167, parameters=86_265_936),
  counted="public code: simmim.safetensors parameters_of_base + 9_216",
  laptop=dict(shape=(32, 32, 3), classes=10, examples=10_000),
)
WITHOUT = ("cifar", "small")


def method(c: ConfigDict) -> None:
  """Blocks of 2 x 2 patches become a token that the encoder sees; L1 of their pixels."""
  block = config_dict.FieldReference((2, 2))
  c.score = dict(fn="score.blocks", size=block)
  some = dict(fn="select.top", ratio=0.6, rounding="up")
  c.let = dict(unit=dict(fn="units.blocks", size=block), some=some)
  c.select = dict(fn="select.whole", up=True, of=dict(hidden="some"))
  c.hide = dict(fn="model.MaskToken", place="embedded")
  c.model.decoder = dict(fn="model.linear_head")
  c.target.normalise, c.losses.recover.fn = False, "recover.absolute_error"
  # As in the public code, whose ViT lists the class token, but not the mask token.
  c.optimizer.decay_rules = ((BASE.BIASES_AND_NORMS + r"|class_token$|/scale\d$", 0.0),)


def paper(c: ConfigDict) -> None:
  """ViT-B/16, 800 epochs, from epoch 700 on at a tenth of the learning rate."""
  c.batch_size, c.total_epochs, c.data.augment.crop = 2048, 800.0, (0.67, 1.0)
  c.model.encoder.update(size="B", position="relative", layer_scale=0.1)
  c.optimizer.update(learning_rate=1e-4, scale_by_batch=512, warmup_epochs=10.0, b2=0.999, clip=5.0)
  c.optimizer.schedule = dict(fn="schedule.step", values=(1.0, 0.1), boundaries=(690 / 790,))
  c.evals.finetune.update(epochs=100.0, learning_rate=6.25e-4, warmup=0.2, layer_decay=0.65)


@lab.preset("small")
def laptop(c: ConfigDict) -> None:
  """A small ViT/4 on 10,000 images of CIFAR-10, blocks of 8 x 8 pixels, three seeds."""
