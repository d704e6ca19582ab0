"""Time-variant masking beside its authors' code: averages, weights, accepted words, ratios.

The code is github.com/mutonix/better_masking at 35652c2e, cut out of its files and called as
make_time_variant_mlm.py says, on batches, orders and coins that no golden has. Their loop ends
where enough is hidden and skips a word that overshoots: words are compared where nothing ends it.
Network, loss and 80/10/10 are BERT's as mask15's are: see beside_mask15.py.
Run: python tests/golden/beside_time_variant_mlm.py CHECKOUT
"""

import sys

import beside
import jax
import jax.numpy as jnp
import make_time_variant_mlm as made
import numpy as np

UPDATES, FIRST, ORDERS, STEPS = 12, 40, 20, 1000


def main(folder):
  """Runs both."""
  from maskjax import schedule, score, task

  loss, data = made.authors(folder)
  update = jax.jit(lambda state, *batch: task.running_losses(*batch, state)[1])
  state, ours, theirs = jnp.zeros(made.CLASSES), [], []
  for i in range(FIRST, FIRST + UPDATES):
    theirs.append(made.updated(loss, data, i))
    logits, ids, asked, kind = made.given(i)
    state = update(state, logits, ids, asked, kind)
    ours.append((state, task.loss_weights({"running": state})))
  weights = theirs[-1][1]
  unit = np.repeat(np.arange(made.WORDS), [made.pieces(word) for word in range(made.WORDS)])
  chance, wrong = jnp.asarray(weights)[unit % made.CLASSES], 0
  for seed in range(ORDERS):
    key = jax.random.key(seed)
    # The coins that the key tosses here are tossed there.
    coins = np.asarray(jax.random.uniform(jax.random.split(key)[1], (len(unit),)), np.float64)
    made.coins = lambda coins=coins: coins[: made.WORDS]
    order = np.random.default_rng(seed).permutation(made.WORDS)
    found = made.taken(data, weights, order)
    wrong += int((np.array(found, bool) != (score.accepted(key, chance, unit) >= 1)).sum())
  del data.get_mask_prob
  at, ratios = np.arange(0, STEPS, 37), []
  curves = {"cosine": schedule.cosine(start=0.32, end=0.02)}
  curves |= {
    "desc": schedule.linear(start=0.3, end=0.0),
    "asc": schedule.linear(start=0.0, end=0.3),
  }
  for mode, curve in curves.items():
    data.masking_mode = mode
    there = [data.get_mask_prob(int(step)) for step in at]
    ratios.append(beside.far([np.array([float(curve(s / STEPS)) for s in at])], [np.array(there)]))
  beside.row(
    "time_variant_mlm",
    "mutonix/better_masking@35652c2e",
    [
      ("averages", beside.far([a for a, _ in ours], [a for a, _ in theirs]), 1e-5),
      ("weights", beside.far([w for _, w in ours], [w for _, w in theirs]), 1e-4),
      ("accepted words", wrong, beside.EXACT),
      ("ratios", max(ratios), 1e-5),
    ],
  )


if __name__ == "__main__":
  main(*sys.argv[1:])
