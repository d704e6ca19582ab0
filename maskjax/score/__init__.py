"""Score: how much hiding is wanted at each position; high means hide first."""

from maskjax.score.accepted import accepted
from maskjax.score.band import band
from maskjax.score.bernoulli import bernoulli
from maskjax.score.best_of import best_of
from maskjax.score.box import box
from maskjax.score.draw import Draw, draw_kept
from maskjax.score.filtered import color_noise, filtered
from maskjax.score.fourier import fourier_noise
from maskjax.score.hard_first import hard_first
from maskjax.score.inherit import inherit
from maskjax.score.log_prob import log_prob
from maskjax.score.missing import logistic, self_masked
from maskjax.score.ngrams import ngrams
from maskjax.score.noise import blocks, gumbel, normal, spans, uniform, words
from maskjax.score.running_cell import running_cell
from maskjax.score.split import split
from maskjax.score.times import antithetic
from maskjax.score.uncertainty import confidence, entropy, margin, noisy_confidence

__all__ = [
  "Draw",
  "accepted",
  "antithetic",
  "band",
  "bernoulli",
  "best_of",
  "blocks",
  "box",
  "color_noise",
  "confidence",
  "draw_kept",
  "entropy",
  "filtered",
  "fourier_noise",
  "gumbel",
  "hard_first",
  "inherit",
  "log_prob",
  "logistic",
  "margin",
  "ngrams",
  "noisy_confidence",
  "normal",
  "running_cell",
  "self_masked",
  "spans",
  "split",
  "uniform",
  "words",
]
