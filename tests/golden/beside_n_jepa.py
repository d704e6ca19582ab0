"""N-JEPA beside an oracle of its noise in the code of I-JEPA's authors: what beside_ijepa.py says.

Its own code is not public. The positions that mask tokens carry are made here, in numpy, from the
table, our levels and our draws: sqrt(a) · e + sqrt((1 - a) / 2) · epsilon.
Run: python tests/golden/beside_n_jepa.py CHECKOUT
"""

import sys

import beside_ijepa
import numpy as np


def faded(ours, variables, step):
  """The noisy positions of each target block of each example."""
  import jax

  names = ("view_keys", "level", "blocks", "where")
  keys, level, blocks, where = ours.values(variables, *names, step=step)
  table = variables["buffers"]["predictor"]["position"]
  left = np.asarray(level["alpha"])[..., None, None]
  assert left.min() < 0.5 < left.max()
  placed = table[np.asarray(blocks.index)]
  draw = lambda key: np.asarray(jax.random.normal(key, placed.shape[-2:]))
  noise = np.stack([draw(key) for key in keys.reshape(-1)]).reshape(placed.shape)
  made = np.sqrt(left) * placed + np.sqrt((1 - left) / 2) * noise
  np.testing.assert_allclose(where, made, atol=1e-6)
  return made.astype(np.float32)


if __name__ == "__main__":
  code = "oracle in facebookresearch/ijepa@52c1ae9"
  beside_ijepa.main(sys.argv[1], "n_jepa", code, faded)
