"""Collocations: n-grams of words that belong together more than their parts do by chance.

They and the other words of a text are its units, what is to be hidden together.
"""

import itertools
import math
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

import numpy as np
from jaxtyping import Bool

from maskjax.data.tokens import words
from maskjax.errors import BadInput

Gram = tuple[str, ...]
LONGEST = 5
# Parts of a vocabulary by length: the measures of n-grams of other lengths do not compare.
SHARES = {2: 0.5, 3: 0.25, 4: 0.125, 5: 0.125}

_LETTER = re.compile(r"\w")


def learn(
  texts: Iterable[Sequence[str]], *, size: int, least: int = 11, power: float = 1.0
) -> dict[Gram, float]:
  """The `size` n-grams of two to five words of largest `pmi`, each with it; ties by code point.

  Half of them are 2-grams, a quarter 3-grams, an eighth each 4- and 5-grams, or as many as occur
  `least` times. `texts` are cut by `tokens.words`; see `runs` for what a word is here. An n-gram's
  probability is its share of all n-grams of its length.

  Raises:
    BadInput: a size below 0, or a least count below 1.

  >>> text = words("old king Lear met old king Lear, who met old Kent")
  >>> sorted(learn([text], size=4, least=2))
  [('king', 'lear'), ('met', 'old'), ('old', 'king', 'lear')]

  Source: Levine et al., "PMI-Masking: Principled Masking of Correlated Spans", ICLR 2021, section
  3, and the notes of its published vocabulary.
  """
  if size < 0 or least < 1:
    raise BadInput(f"collocations want a size from 0 and a least count from 1, got {size}, {least}")
  if not size:
    return {}
  counts = {n: Counter[Gram]() for n in range(1, LONGEST + 1)}
  for text in texts:
    for _, run in runs(text):
      for n, counter in counts.items():
        counter.update(zip(*(run[i:] for i in range(n)), strict=False))
  log_p: dict[Gram, float] = {}
  for counter in counts.values():
    total = math.log(max(counter.total(), 1))
    log_p.update({gram: math.log(count) - total for gram, count in counter.items()})
  known: dict[Gram, float] = {}
  for n, share in SHARES.items():
    scored = [(-pmi(g, log_p, power=power), g) for g, count in counts[n].items() if count >= least]
    known.update({gram: -score for score, gram in sorted(scored)[: round(share * size)]})
  return known


def pmi(gram: Gram, log_p: Mapping[Gram, float], *, power: float = 1.0) -> float:
  r"""How much more often words come together than the likeliest of their segmentations says.

  $\min_{\sigma} \log p(w_1 \ldots w_n)^a / \prod_{s \in \sigma} p(s)$ over all cuts $\sigma$ of the
  n-gram into two or more parts, in nats. With a `power` a of 1 it is pointwise mutual information
  for n = 2; 2 prefers what is frequent, as the published vocabulary does.

  >>> log_p = {("a",): math.log(0.5), ("b",): math.log(0.25), ("a", "b"): math.log(0.25)}
  >>> round(math.exp(pmi(("a", "b"), log_p)), 6)
  2.0

  Source: Levine et al. 2021, equation 3.
  """

  def apart(gram: Gram) -> float:
    return max(likeliest(gram[:k]) + likeliest(gram[k:]) for k in range(1, len(gram)))

  def likeliest(gram: Gram) -> float:
    return max(log_p[gram], apart(gram)) if len(gram) > 1 else log_p[gram]

  return power * log_p[gram] - apart(gram)


def runs(text: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
  """The runs of words with nothing but a space between them: where each begins, and its words.

  A text comes cut by `tokens.words`. Words are compared in lower case, signs and line ends are none
  and lie in no run.

  >>> list(runs(words("First Citizen:\\nSpeak, speak.")))
  [(0, ['first', 'citizen']), (4, ['speak']), (6, ['speak'])]
  """
  begin, run = 0, list[str]()
  for i, piece in enumerate(text):
    word = bool(_LETTER.search(piece))
    if run and not (word and piece.startswith(" ")):
      yield begin, run
      run = []
    if word:
      begin = begin if run else i
      run.append(piece.strip().lower())
  if run:
    yield begin, run


def starts(
  text: Sequence[str], known: Collection[Gram], random: np.random.Generator
) -> Bool[np.ndarray, "n"]:
  """Which pieces of a text begin a unit, a known collocation or a piece by itself.

  What lies in a larger collocation is none of its own. Of those that overlap one is drawn, and the
  words that it leaves over are units by themselves.

  >>> known = {("by", "the", "way"): 1.0, ("by", "the"): 1.0}
  >>> starts(words("By the way, by the by"), known, np.random.default_rng(0)).astype(int).tolist()
  [1, 0, 0, 1, 1, 0, 1]

  Source: Levine et al. 2021, section 3.
  """
  begins = np.ones(len(text), bool)
  for begin, run in runs(text):
    for first, stop in _chosen(run, known, random):
      begins[begin + first + 1 : begin + stop] = False
  return begins


def units(
  texts: Mapping[str, Sequence[str]],
  encode: Callable[[str], np.ndarray],
  after: int,
  *,
  size: int = 0,
  least: int = 11,
  power: float = 1.0,
  known: Collection[Gram] = (),
) -> tuple[dict[str, Bool[np.ndarray, "n"]], list[Gram]]:
  """Which tokens of each split begin a unit: a collocation of its "train" texts, a word, a sign.

  The collocations come with it.

  Args:
    texts: those of each split.
    encode: what makes tokens of a text, see `tokens.encoder`.
    after: how many tokens follow each text, a unit each.
    size: number of collocations; 0 leaves whole words.
    least: how often a collocation occurs at least.
    power: see `pmi`.
    known: collocations of a run's first launch; () learns them.
  """
  cut = {name: [words(text) for text in part] for name, part in texts.items()}
  grams = set(known or learn(cut["train"], size=size, least=least, power=power))
  lengths = {p: len(encode(p)) for p in set(itertools.chain(*itertools.chain(*cut.values())))}
  # Drawn once for every place where collocations overlap: the same units in every epoch.
  random = np.random.default_rng(0)

  def begins(text: Sequence[str]) -> np.ndarray:
    first = starts(text, grams, random)
    sizes = np.array([lengths[piece] for piece in text], int)
    flags = np.zeros(sizes.sum() + after, bool)
    flags[(np.cumsum(sizes) - sizes)[first]] = True
    flags[sizes.sum() :] = True
    return flags

  flags = {name: np.concatenate([begins(text) for text in part]) for name, part in cut.items()}
  return flags, sorted(grams)


def _chosen(
  run: Sequence[str], known: Collection[Gram], random: np.random.Generator
) -> list[tuple[int, int]]:
  """Disjoint collocations of a run, as first word and the one after the last."""
  found: list[tuple[int, int]] = []
  for n in sorted(SHARES, reverse=True):
    for first in range(len(run) - n + 1):
      inside = any(a <= first and first + n <= b for a, b in found)
      if tuple(run[first : first + n]) in known and not inside:
        found.append((first, first + n))
  taken: list[tuple[int, int]] = []
  for i in random.permutation(len(found)) if len(found) > 1 else range(len(found)):
    first, stop = found[i]
    if all(stop <= a or b <= first for a, b in taken):
      taken.append((first, stop))
  return taken
