"""Writes masks.json: which positions a seed hides, for score.white and select.top on a few grids.

Run on any supported jax: python tests/golden/make_masks.py [--check]
"""

import json
import pathlib
import sys

CASES = [((7,), 0.5), ((3, 4), 0.75), ((14, 14), 0.75), ((2, 3, 4), 0.9)]
SEEDS, STEPS, POSITIONS = (0, 42), (0, 1000), (0, 1, 255)


def hidden_positions():
  """The hidden indices by grid, ratio, seed, step and position in the batch."""
  import jax  # here, so that collecting doctests is quick
  import jax.numpy as jnp
  import numpy as np

  from maskjax import keys, score, select, stream

  rows = []
  for grid, ratio in CASES:
    draw = jax.jit(lambda keys, g=grid, r=ratio: select.top(score.white(keys, g), ratio=r))
    for seed in SEEDS:
      for step in STEPS:
        drawn = keys(stream(jax.random.key(seed), "mask", step), jnp.array(POSITIONS))
        hidden = np.asarray(draw(drawn))
        for position, row in zip(POSITIONS, hidden, strict=True):
          where = {"grid": list(grid), "ratio": ratio, "seed": seed, "step": step}
          indices = np.flatnonzero(row).tolist()
          rows.append({**where, "position": position, "hidden": indices})
  return rows


def main():
  """Stores them; with --check, exits with an error where the stored ones differ."""
  path = pathlib.Path(__file__).with_name("masks.json")
  rows = hidden_positions()
  if "--check" in sys.argv:
    sys.exit(0 if rows == json.loads(path.read_text()) else "masks differ from masks.json")
  path.write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")


if __name__ == "__main__":
  main()
