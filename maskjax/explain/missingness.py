"""What hiding does to answers beyond taking away what was hidden: figures of missingness bias."""

import numpy as np
import scipy
from jaxtyping import Float, Int


def class_entropy(predicted: Int[np.ndarray, "n"], classes: int) -> float:
  r"""Entropy of the classes that are answered, in nats: $-\sum_c p_c \log p_c$.

  It falls where masks draw all answers to a few classes.

  Source: Jain et al., "Missingness Bias in Model Debugging", 2022, section 3.

  >>> round(class_entropy(np.array([0, 1, 2, 3]), 4), 4), class_entropy(np.array([2, 2]), 4)
  (1.3863, 0.0)
  """
  return float(scipy.stats.entropy(np.bincount(predicted, minlength=classes)))


def unchanged(predicted: Int[np.ndarray, "n"], before: Int[np.ndarray, "n"]) -> float:
  """The share of answers that are as they were with nothing hidden.

  >>> unchanged(np.array([0, 1, 2, 3]), np.array([0, 1, 2, 0]))
  0.75
  """
  return float(np.mean(predicted == before))


def rank_agreement(one: Float[np.ndarray, "n k"], other: Float[np.ndarray, "n k"]) -> float:
  """Spearman's rank correlation of two scores of k segments, the mean over examples; NaN is absent.

  Examples of which one score is the same everywhere have none, and do not count.

  >>> round(rank_agreement(np.array([[1.0, 2.0, 9.0]]), np.array([[0.1, 0.2, 0.3]])), 6)
  1.0
  """
  found = []
  for a, b in zip(one, other, strict=True):
    there = np.isfinite(a) & np.isfinite(b)
    if len(np.unique(a[there])) > 1 and len(np.unique(b[there])) > 1:
      found.append(scipy.stats.spearmanr(a[there], b[there]).statistic)
  return float(np.mean(found)) if found else float("nan")
