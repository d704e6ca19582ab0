r"""N-JEPA (Qiu et al., 2025): I-JEPA whose mask tokens are told where they are through noise.

Paper: Qiu, Zhu, Chen. "Improving Joint Embedding Predictive Architecture with Diffusion Noise",
       2025, arXiv:2507.15216.
Claim: Noise on mask tokens' positions makes features more robust; no figures in the abstract. Its
       base is I-JEPA.
Measured: CIFAR-10, `laptop`, 300 steps of 32, three seeds, f32, 2 shared cores, 2026-11-30, by the
       command below and by that of `ijepa`; directions: how many of 64 the features fill:

       | run       | kNN           | linear probe  | directions |
       |-----------|---------------|---------------|------------|
       | untrained | 0.271 ± 0.004 | 0.385 ± 0.003 | 17.6 ± 0.6 |
       | `ijepa`   | 0.255 ± 0.009 | 0.379 ± 0.007 | 13.7 ± 0.5 |
       | `laptop`  | 0.248 ± 0.013 | 0.381 ± 0.008 | 12.6 ± 0.5 |

       3,000 steps (total_steps=3000), three seeds, one core, 2026-11-30:

       | run       | kNN           | linear probe  | directions |
       |-----------|---------------|---------------|------------|
       | untrained | 0.271 ± 0.004 | 0.385 ± 0.003 | 17.6 ± 0.6 |
       | `ijepa`   | 0.344 ± 0.015 | 0.404 ± 0.002 | 28.8 ± 0.9 |
       | `laptop`  | 0.291 ± 0.012 | 0.378 ± 0.018 | 21.7 ± 2.1 |

       Loss on 1,024 test images, three seeds, blocks cut into quarters by their level of noise, the
       noisiest in the first, and the loss of the first over that of the last:

       | run       | first         | second        | third         | last          | ratio |
       |-----------|---------------|---------------|---------------|---------------|-------|
       | untrained | 0.624 ± 0.004 | 0.631 ± 0.011 | 0.638 ± 0.021 | 0.642 ± 0.029 | 0.97  |
       | `laptop`  | 0.114 ± 0.008 | 0.107 ± 0.012 | 0.102 ± 0.012 | 0.100 ± 0.013 | 1.14  |

       In this order in every seed: the predictor uses where it is asked as far as it is told.
       Features: after 300 steps neither learns any; after 3,000 `ijepa`'s are better in every
       seed, kNN by 0.030 to 0.080: *opposite* at this budget. No collapse. Settings: those of
       `ijepa` for both; nothing was chosen for the method.
Run:   maskjax --config=n_jepa:laptop --workdir=runs/n_jepa
       --config.data.name=zip --config.data.path=cifar10.zip

The positions of a target block, which its mask tokens carry, fade into Gaussian noise as data do in
diffusion (`hide.noise`): at alpha = 1 the predictor knows where it is asked, at 0 it has nothing
but the context. The rest is `ijepa`, whose presets these are.
Deviations: of the paper nothing but the abstract could be read, and its code is not public. Decided
here: noise that keeps the mean square of the positions at every level (with it the table's nearest
entry is the right one for 82 % of the paper's 16 x 16 positions at alpha = 0.5, and for 29 % of the
8 x 8 of `laptop`), new for every position and step; a level for each target block
of each image, alpha = cos²(πu / 2) with u uniform in [0, 1), all the way from no noise to nothing
else (the several levels of the abstract are those of the blocks of an image); the predictor is told
the level by nothing but what it sees; features are made without noise. The paper's sizes are not
known: scale and hyperparameters are those of `ijepa`.
"""

from ml_collections import ConfigDict

from maskjax import lab

BASE = lab.base("base/ijepa")

NOTE = dict(held="partly: of the paper the abstract alone could be read")


def method(c: ConfigDict) -> None:
  """The positions of every target block fade into noise, by a level of its own."""
  alpha = dict(fn="schedule.cosine", start=1.0, end=0.0, by="example")
  c.let.update(
    view_keys=dict(fn="task.view_keys", of=dict(index="blocks.index"), stream="hide"),
    level=dict(fn="task.drawn", of=dict(keys="view_keys"), alpha=alpha),
    located=c.let.where,
  )
  of = dict(x="located", hidden="blocks.valid", keys="view_keys", alpha="level.alpha")
  # Sines and cosines have a mean square of one half.
  c.let.where = dict(fn="hide.noise", deviation=0.5**0.5, of=of)
  c.answers.views.of.alpha = "level.alpha"
