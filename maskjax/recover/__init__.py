"""Recover: what is asked back for the hidden part, and what a wrong answer costs."""

from maskjax.over.cut import patchify, unpatchify
from maskjax.recover.contrastive import equal_rows, info_nce
from maskjax.recover.likelihood import cross_entropy, elbo, surprise
from maskjax.recover.loss import absolute_error, smooth_l1, squared_error
from maskjax.recover.policy import policy_gradient
from maskjax.recover.ranking import pairwise_ranking
from maskjax.recover.signal import assignment, negative_si_snr, serving, si_snr
from maskjax.recover.target import Target, latents, pixels

__all__ = [
  "Target",
  "absolute_error",
  "assignment",
  "cross_entropy",
  "elbo",
  "equal_rows",
  "info_nce",
  "latents",
  "negative_si_snr",
  "pairwise_ranking",
  "patchify",
  "pixels",
  "policy_gradient",
  "serving",
  "si_snr",
  "smooth_l1",
  "squared_error",
  "surprise",
  "unpatchify",
]
