"""Recover: what is asked back for the hidden part, and what a wrong answer costs."""

from maskjax.over.cut import patchify, unpatchify
from maskjax.recover.contrastive import equal_rows, info_nce
from maskjax.recover.cosine import cosine_distance
from maskjax.recover.diffusion import NoiseLevel, clipped_nats, noise_level
from maskjax.recover.examples import patch_cross_entropy, per_example
from maskjax.recover.frame import frame_pixels
from maskjax.recover.hog import at_grid, hog, hog_colors
from maskjax.recover.likelihood import cross_entropy, elbo, kl_divergence, mixed_labels, nll
from maskjax.recover.loss import absolute_error, smooth_l1, squared_error
from maskjax.recover.policy import policy_gradient
from maskjax.recover.ranking import pairwise_ranking
from maskjax.recover.signal import assignment, best_permutation, negative_si_snr, not_silent, si_snr
from maskjax.recover.spectral import complex_distance
from maskjax.recover.target import Target, latents, pixels

__all__ = [
  "NoiseLevel",
  "Target",
  "absolute_error",
  "assignment",
  "at_grid",
  "best_permutation",
  "clipped_nats",
  "complex_distance",
  "cosine_distance",
  "cross_entropy",
  "elbo",
  "equal_rows",
  "frame_pixels",
  "hog",
  "hog_colors",
  "info_nce",
  "kl_divergence",
  "latents",
  "mixed_labels",
  "negative_si_snr",
  "nll",
  "noise_level",
  "not_silent",
  "pairwise_ranking",
  "patch_cross_entropy",
  "patchify",
  "per_example",
  "pixels",
  "policy_gradient",
  "si_snr",
  "smooth_l1",
  "squared_error",
  "unpatchify",
]
