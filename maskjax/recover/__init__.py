"""Recover: what is asked back for the hidden part, and what a wrong answer costs."""

from maskjax.recover.contrastive import equal_rows, info_nce
from maskjax.recover.likelihood import cross_entropy, elbo, surprise
from maskjax.recover.loss import absolute_error, squared_error
from maskjax.recover.patches import patchify, unpatchify
from maskjax.recover.policy import policy_gradient
from maskjax.recover.ranking import pairwise_ranking
from maskjax.recover.target import Target, pixels

__all__ = [
  "Target",
  "absolute_error",
  "cross_entropy",
  "elbo",
  "equal_rows",
  "info_nce",
  "pairwise_ranking",
  "patchify",
  "pixels",
  "policy_gradient",
  "squared_error",
  "surprise",
  "unpatchify",
]
