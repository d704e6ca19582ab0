"""Weights: masks over parameter trees, chosen by the same words as masks over positions."""

from maskjax.weights.held import Held, masks, settle, sparsity, zero
from maskjax.weights.hold import hold
from maskjax.weights.patterns import learned_patterns
from maskjax.weights.reparametrize import Reparametrization, reparametrized
from maskjax.weights.score import fisher, input_scaled_magnitude, magnitude, random
from maskjax.weights.update_only import update_only

__all__ = [
  "Held",
  "Reparametrization",
  "fisher",
  "hold",
  "input_scaled_magnitude",
  "learned_patterns",
  "magnitude",
  "masks",
  "random",
  "reparametrized",
  "settle",
  "sparsity",
  "update_only",
  "zero",
]
