"""Weights: masks over parameter trees, chosen by the same words as masks over positions."""

from maskjax.weights.held import Held, masks, settle, sparsity, zero
from maskjax.weights.hold import hold
from maskjax.weights.score import fisher, magnitude, random
from maskjax.weights.update_only import Selecting, update_only

__all__ = [
  "Held",
  "Selecting",
  "fisher",
  "hold",
  "magnitude",
  "masks",
  "random",
  "settle",
  "sparsity",
  "update_only",
  "zero",
]
