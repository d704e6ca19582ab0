"""Weights: masks over parameter trees, chosen by the same words as masks over positions."""

from maskjax.weights.fixed import fixed_masks, selected_masks
from maskjax.weights.held import Held, begun, masks, settle, sparsity, zero
from maskjax.weights.hold import hold
from maskjax.weights.patterns import learned_patterns
from maskjax.weights.penalties import l1_penalty, penalized, tanh_penalty
from maskjax.weights.ratios import balanced, erk, pyramidal, uniform
from maskjax.weights.reparametrize import Reparametrization, reparametrized
from maskjax.weights.score import (
  fisher,
  gradient,
  input_scaled_magnitude,
  magnitude,
  random,
  resampled,
)
from maskjax.weights.scores import learned_scores
from maskjax.weights.thresholds import glorot_numbers, thresholded_scores, uniform_numbers
from maskjax.weights.update_only import update_only

__all__ = [
  "Held",
  "Reparametrization",
  "balanced",
  "begun",
  "erk",
  "fisher",
  "fixed_masks",
  "glorot_numbers",
  "gradient",
  "hold",
  "input_scaled_magnitude",
  "l1_penalty",
  "learned_patterns",
  "learned_scores",
  "magnitude",
  "masks",
  "penalized",
  "pyramidal",
  "random",
  "reparametrized",
  "resampled",
  "selected_masks",
  "settle",
  "sparsity",
  "tanh_penalty",
  "thresholded_scores",
  "uniform",
  "uniform_numbers",
  "update_only",
  "zero",
]
