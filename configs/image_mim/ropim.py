r"""ROPIM (Haghighat et al., 2024): patches are projected on a random subspace, the rest is asked.

Paper: Haghighat, Moghadam, Mohamed, Koniusz. "Pre-training with Random Orthogonal Projection Image
       Modeling", ICLR 2024, arXiv:2310.18737; code at github.com/csiro-robotics/ROPIM.
Claim: A random orthogonal projection of patch embeddings, with bounded variance of its noise, is a
       better mask than patches that are left out (SimMIM, MAE), on ImageNet-1k and in transfer.
Measured: CIFAR-10, `laptop`, 400 steps of 64, three seeds, f32, 2 shared cores, 2026-11-30, by
       the command below, settings of mae:small, not tuned; error: of what the projection took away,
       over that of the whole mean image:

       | run               | kNN           | linear probe  | error         |
       |-------------------|---------------|---------------|---------------|
       | untrained         | 0.293 ± 0.003 | 0.391 ± 0.001 | 1.652 ± 0.271 |
       | MAE (`mae:small`) | 0.328 ± 0.011 | 0.433 ± 0.009 | -             |
       | SimMIM, `laptop`  | 0.260 ± 0.006 | 0.398 ± 0.009 | -             |
       | `laptop`          | 0.262 ± 0.005 | 0.376 ± 0.007 | 0.495 ± 0.002 |

       *Opposite* for frozen features at this budget. Fine-tuning: not measured. The untrained
       network is SimMIM's, whose kNN and probe stand here.
Run:   maskjax --config=ropim:laptop --workdir=runs/ropim
       --config.data.name=zip --config.data.path=cifar10.zip

The subspace is that of a count sketch: embeddings are dealt out to m units of equal size, and
each becomes the signed mean of its unit (`select.deal`, `hide.project`). Of the error the part in
the complement counts (`hide.reject`). Nothing is hidden, nor projected, in features.
Deviations: only abstract and code were at hand. The share m / n is 1/4 for half of the images, else
1/7: the code's first version, as its comment says; its last has 1/7 alone, rounded to 0.14 in P,
which then is no exact projection. The batch of 2048 is SimMIM's. No drop path (0.1). Weights begin
as in other ViTs here, keys have a bias, 9,216 numbers, the warm-up begins at 0. In fine-tuning
blocks share their table of positions. `laptop` has shares of 1/4 and 1/8, as 7 does not divide 64.
"""

from ml_collections import ConfigDict

from maskjax import lab

BASE = lab.base("image_mim/simmim")

NOTE = dict(
  scale=dict(shape=(224, 224, 3), examples=1_281_167, parameters=86_265_168),
  counted="public code: ropim.safetensors parameters_of_base + 9_216",
)


def method(c: ConfigDict) -> None:
  """All patches keep a projection of the image's embeddings; L1 of what it took away."""
  c.score, c.select = dict(fn="score.uniform"), dict(fn="select.top", ratio=1.0)
  c.hide = dict(fn="hide.project", place="embedded")
  share = dict(fn="schedule.step", values=(1 / 4, 1 / 7), boundaries=(0.5,), by="example")
  c.let = dict(
    unit=dict(fn="select.deal", ratio=share),
    coins=dict(fn="score.uniform"),
    negative=dict(fn="select.top", ratio=0.5, of=dict(scores="coins")),
    answered=dict(fn="hide.reject", of=dict(x="prediction")),
    removed=dict(fn="hide.reject", of=dict(x="target")),
    # Pictures: what the projection leaves of pixels, alone and with what is predicted of the rest.
    left=dict(fn="hide.project", of=dict(x="values")),
    predicted_values=dict(fn="task.added", of=dict(left="left", rest="answered")),
    shown=dict(fn="task.to_field", of=dict(x="left")),
    pictures=dict(fn="task.entering.degraded_pictures"),
  )
  # Features are of the image as it is.
  c.branches = dict(whole=dict(hidden="nothing", embedded=dict(fn="task.values.embedding")))
  whole = dict(fn="task.features", of=dict(out="whole.out"), takes=("batch",))
  c.answers = dict(features=whole)
  c.losses.recover.of = dict(prediction="answered", target="removed")


def paper(c: ConfigDict) -> None:
  """ViT-B/16, 300 epochs."""
  c.total_epochs = 300.0
  # The public code counts the cosine from the first step, warm-up included.
  c.optimizer.schedule = dict(fn="schedule.cosine_tail", start=1.0, end=1 / 30, begin=5 / 300)
  c.optimizer.update(learning_rate=1.5e-4, warmup_epochs=5.0, b2=0.95)
  c.evals.finetune.update(learning_rate=2.5e-3, warmup=0.05, layer_decay=0.75)


@lab.preset
def laptop(c: ConfigDict) -> None:
  """A small ViT/4 on 10,000 images of CIFAR-10, 64 patches in 16 or 8 units, three seeds."""
  c.let.unit.ratio.values = (1 / 4, 1 / 8)
