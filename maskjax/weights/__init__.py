"""Weights: masks over parameter trees, chosen by the same words as masks over positions."""

from maskjax.weights.held import Held, masks, settle, sparsity, zero
from maskjax.weights.hold import hold
from maskjax.weights.patterns import learned_patterns
from maskjax.weights.score import fisher, magnitude, random, wanda
from maskjax.weights.update_only import Selecting, update_only
from maskjax.weights.view import View, viewed

__all__ = [
  "Held",
  "Selecting",
  "View",
  "fisher",
  "hold",
  "learned_patterns",
  "magnitude",
  "masks",
  "random",
  "settle",
  "sparsity",
  "update_only",
  "viewed",
  "wanda",
  "zero",
]
