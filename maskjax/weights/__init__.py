"""Weights: masks over parameter trees, chosen by the same words as masks over positions."""

from maskjax.weights.fixed import fixed_masks
from maskjax.weights.held import Held, begun, masks, settle, sparsity, zero
from maskjax.weights.hold import hold
from maskjax.weights.patterns import learned_patterns
from maskjax.weights.ratios import balanced, erk, pyramidal, uniform
from maskjax.weights.reparametrize import Reparametrization, reparametrized
from maskjax.weights.score import fisher, gradient, input_scaled_magnitude, magnitude, random
from maskjax.weights.scores import learned_scores
from maskjax.weights.update_only import update_only

__all__ = [
  "Held",
  "Reparametrization",
  "balanced",
  "begun",
  "erk",
  "fisher",
  "fixed_masks",
  "gradient",
  "hold",
  "input_scaled_magnitude",
  "learned_patterns",
  "learned_scores",
  "magnitude",
  "masks",
  "pyramidal",
  "random",
  "reparametrized",
  "settle",
  "sparsity",
  "uniform",
  "update_only",
  "zero",
]
