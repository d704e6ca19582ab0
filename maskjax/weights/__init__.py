"""Weights: masks over parameter trees, chosen by the same words as masks over positions."""

from maskjax.weights.held import Held, masks, sparsity, zero
from maskjax.weights.hold import hold
from maskjax.weights.score import magnitude, random

__all__ = ["Held", "hold", "magnitude", "masks", "random", "sparsity", "zero"]
