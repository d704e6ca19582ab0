"""Writes masks.json: which positions a seed hides.

First by score.uniform and select.top on a few grids, then by one kind each of the other scores and
selections. Run on any supported jax: python tests/golden/make_masks.py [--check]
"""

import json
import pathlib
import sys

CASES = [((7,), 0.5), ((3, 4), 0.75), ((14, 14), 0.75), ((2, 3, 4), 0.9)]
SEEDS, STEPS, POSITIONS = (0, 42), (0, 1000), (0, 1, 255)
FEW = (0, 255)
GRID = (4, 6)
STARTS = (0, 1, 4, 5, 7, 10)


def hidden_positions():
  """The hidden indices by grid and ratio, or kind, and by seed, step and position in the batch."""
  import itertools

  import jax  # here and below, so that collecting doctests is quick
  import jax.numpy as jnp
  import numpy as np

  from maskjax import keys, stream

  cases = [
    *(({"grid": list(grid), "ratio": r}, draw, STEPS, POSITIONS) for grid, r, draw in by_grid()),
    *(({"kind": kind}, draw, STEPS[-1:], FEW) for kind, draw in by_kind().items()),
  ]

  def of(seed, step, positions):
    return keys(stream(jax.random.key(seed), "mask", step), jnp.array(positions))

  @jax.jit
  def all_of_them():
    places = [(draw, itertools.product(SEEDS, s), p) for _, draw, s, p in cases]
    return [draw(jnp.concatenate([of(*when, p) for when in w])) for draw, w, p in places]

  rows = []
  for (where, _, steps, positions), hidden in zip(cases, all_of_them(), strict=True):
    each = itertools.product(SEEDS, steps, positions)
    for (seed, step, position), row in zip(each, np.asarray(hidden), strict=True):
      when = {"seed": seed, "step": step, "position": position}
      rows.append({**where, **when, "hidden": indices(row)})
  return rows


def indices(row):
  """Where a mask hides, of each view where it has views."""
  return row.nonzero()[0].tolist() if row.ndim == 1 else [*map(indices, row)]


def by_grid():
  """Yields grid, ratio and what draws the masks: `keys -> hidden`."""
  from maskjax import score, select

  for grid, ratio in CASES:
    yield grid, ratio, lambda keys, g=grid, r=ratio: select.top(score.uniform(keys, g), ratio=r)


def by_kind():
  """What draws the masks of every other kind: `keys -> hidden`."""
  from functools import partial

  import jax.numpy as jnp
  import numpy as np

  from maskjax import score, select, units

  unit = lambda: units.words(jnp.zeros(12, bool).at[jnp.array(STARTS)].set(True))
  logits = jnp.asarray(-np.arange(12, dtype=np.float32) / 4)
  white = lambda keys: score.uniform(keys, GRID)
  blocks = lambda keys, **words: score.blocks(keys, GRID, size=(2, 3), **words)
  green = lambda keys: score.color_noise(keys, GRID, color="green")
  nested = lambda keys: select.nested(white(keys), counts=(4, 9))
  table = jnp.asarray(np.arange(24, dtype=np.float32).reshape(6, 4) * 5 % 7)
  tables = lambda keys: jnp.broadcast_to(table, (*keys.shape, 6, 4))
  missing = lambda scores: select.threshold(scores, above=0.0)
  there = jnp.asarray(np.arange(24) % 3 > 0)
  loss = lambda keys: jnp.broadcast_to(table.reshape(-1), (*keys.shape, 24))
  hard = partial(select.top, count=6)
  return {
    "blocks": lambda keys: select.top(blocks(keys), ratio=0.5),
    "blocks/offset": lambda keys: select.top(blocks(keys, offset=True), ratio=0.5),
    "spans": lambda keys: select.top(score.spans(keys, (24,)), ratio=0.5),
    "words": lambda keys: select.top(score.words(keys, unit()), ratio=0.5),
    "draw_kept": lambda keys: select.top(score.draw_kept(keys, logits).scores, count=7),
    "box": lambda keys: select.top(score.box(keys, GRID), count=7),
    "fourier_noise": lambda keys: select.top(score.fourier_noise(keys, GRID), ratio=0.5),
    "hard_first": lambda keys: select.top(
      score.hard_first(keys, loss(keys), select=hard), ratio=0.5
    ),
    "normal": lambda keys: select.top(score.normal(keys, GRID), ratio=0.5),
    "gumbel": lambda keys: select.top(score.gumbel(keys, logits), count=4),
    "split": lambda keys: select.top(score.split(keys, (8, 6, 10), 7), count=17),
    "n_of_m": lambda keys: select.n_of_m(white(keys), keep=2, of=4),
    "per_block": lambda keys: select.per_block(white(keys), grid=GRID, size=(2, 2), count=3),
    "per_axis": lambda keys: select.per_axis(white(keys), grid=GRID, counts=(1, 2)),
    "nested": lambda keys: jnp.moveaxis(nested(keys), 0, -2),
    "multiblock": lambda keys: jnp.moveaxis(
      select.multiblock(score.uniform(keys, (10, 2)), grid=GRID).asked, 0, -2
    ),
    "top_up": lambda keys: select.top_up(white(keys), ratio=0.5, allowed=there),
    "logistic": lambda keys: missing(score.logistic(keys, tables(keys), ratio=0.5)),
    "self_masked": lambda keys: missing(score.self_masked(keys, tables(keys), ratio=0.5)),
    "color_noise": lambda keys: select.top(green(keys), ratio=0.5),
  }


def main():
  """Stores them; with --check, exits with an error where the stored ones differ."""
  path = pathlib.Path(__file__).with_name("masks.json")
  rows = hidden_positions()
  if "--check" in sys.argv:
    sys.exit(0 if rows == json.loads(path.read_text()) else "masks differ from masks.json")
  path.write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")


if __name__ == "__main__":
  main()
