"""Select: which positions to hide, given scores. Deterministic: all randomness is in the score."""

from maskjax.select.axes import per_axis
from maskjax.select.blocks import Views, block_size, multiblock
from maskjax.select.deal import deal
from maskjax.select.gate import harden, shares, sigmoid, softmax, straight_through
from maskjax.select.groups import n_of_m, per_block, per_section, whole
from maskjax.select.ideal import ideal_binary, ideal_ratio
from maskjax.select.limited import limited
from maskjax.select.regions import rectangles, spread
from maskjax.select.top import count_of, threshold, top, top_up
from maskjax.select.views import again, complement, disjoint, nested, union

__all__ = [
  "Views",
  "again",
  "block_size",
  "complement",
  "count_of",
  "deal",
  "disjoint",
  "harden",
  "ideal_binary",
  "ideal_ratio",
  "limited",
  "multiblock",
  "n_of_m",
  "nested",
  "per_axis",
  "per_block",
  "per_section",
  "rectangles",
  "shares",
  "sigmoid",
  "softmax",
  "spread",
  "straight_through",
  "threshold",
  "top",
  "top_up",
  "union",
  "whole",
]
