"""Difference-Masking beside its authors' code: chances of pieces, and how many are drawn.

The code is github.com/abwilf/Difference-Masking at 3bb9dd6, cut out of its file and called as
make_difference_masking.py says, on texts of random words that no golden has; similarities are
theirs. Its network, loss and optimizer are RoBERTa's masked language model as mask15 is: see
beside_mask15.py. Run: python tests/golden/beside_difference_masking.py CHECKOUT
"""

import sys

import beside
import jax
import make_difference_masking as made
import numpy as np

TEXTS, LENGTH, ALPHA = 40, 96, 0.45


def main(folder):
  """Runs both."""
  from maskjax import task

  sampler, rng = made.authors(folder), np.random.default_rng(7)
  ours, theirs, counts = [], [], []
  cosine = lambda a, b: a @ b / np.linalg.norm(a) / np.linalg.norm(b)
  anchors = [made.embedding(word) for word in range(made.WORDS, made.WORDS + made.SEEDS)]
  weights = jax.jit(task.rank_weights, static_argnames="alpha")
  for _ in range(TEXTS):
    words = [str(w) for w in rng.permutation(made.WORDS)[: rng.integers(5, 45)]]
    sizes = [made.pieces(word) for word in words]
    unit = np.pad(np.repeat(np.arange(len(words)), sizes), (0, LENGTH))[:LENGTH]
    allowed = np.arange(LENGTH) < sum(sizes)
    near = [max(cosine(made.embedding(word), a) for a in anchors) for word in words]
    near = np.pad(np.repeat(near, sizes), (0, LENGTH))[:LENGTH].astype(np.float32)
    for alpha in (None, ALPHA):
      p, count = made.chances(sampler, words, alpha)
      found = weights(near, unit, allowed, alpha=1.0 if alpha is None else alpha)
      ours.append(np.asarray(found, np.float64))
      theirs.append(np.pad(p, (0, LENGTH))[:LENGTH])
      counts.append(round(0.15 * sum(sizes)) - count)
  beside.row(
    "difference_masking",
    "abwilf/Difference-Masking@3bb9dd6",
    [("chances", beside.far(ours, theirs), 1e-5)],
    f"the share is rounded here and cut there: {sum(counts)} of {len(counts)} texts have one more",
  )


if __name__ == "__main__":
  main(*sys.argv[1:])
