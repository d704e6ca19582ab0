"""Mean and deviation of each channel of a training split, as a model sees it."""

import itertools
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from maskjax.data.augment import peak
from maskjax.data.images import evenly
from maskjax.data.source import Example, Source, same

_IMAGES = 10_000
_PIXELS = 1 << 27  # enough for three digits, and seconds rather than minutes of decoding


def mean_std(
  source: Source, kind: str = "image", prepare: Callable[[Example], Example] = same
) -> tuple[tuple[float, ...], tuple[float, ...]]:
  r"""Mean and deviation of each channel of prepared examples, stored range mapped to [0, 1].

  With x the pixels of example i of n, each of P,
  $\mu_c = \frac{1}{nP} \sum_{i,p} x_{ipc}$ and
  $\sigma_c^2 = \frac{1}{nP} \sum_{i,p} (x_{ipc} - \mu_c)^2$.

  Args:
    source: the training split, of which at most 10,000 evenly spaced examples are looked at, fewer
      where they are large (about 2^27 pixels in all).
    kind: where an example has its pixels, "image" or "video".
    prepare: what examples go through, such as a resize: as the model sees them all are equally
      large, so that each has the same weight.

  Returns:
    Means and deviations. A channel without any deviation gets 1, so that dividing by it is safe.
  """
  first = np.asarray(prepare(source[0])[kind])
  limit = min(_IMAGES, max(_PIXELS // math.prod(first.shape[:-1]), 100))

  def moments(indices: np.ndarray) -> list[np.ndarray]:
    return [_moments(np.asarray(prepare(source[int(i)])[kind])) for i in indices]

  chosen = np.asarray(evenly(len(source), limit))
  with ThreadPoolExecutor(4) as pool:
    parts = pool.map(moments, np.array_split(chosen, -(-len(chosen) // 256)))
    means, variances, counts = np.stack(list(itertools.chain.from_iterable(parts)), axis=1)
  total = counts.sum(0)
  mean = (means * counts).sum(0) / total
  std = np.sqrt(((variances + (means - mean) ** 2) * counts).sum(0) / total)
  std = np.where(std > 1e-6, std, 1.0)
  return tuple(mean.tolist()), tuple(std.tolist())


def _moments(image: np.ndarray) -> np.ndarray:
  """Mean, variance and number of pixels, each by channel: [3, c]."""
  pixels = image.reshape(-1, image.shape[-1]).astype(np.float64) / peak(image.dtype)
  return np.stack([pixels.mean(0), pixels.var(0), np.full(pixels.shape[1], len(pixels))])
