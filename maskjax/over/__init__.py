"""Over: what a position is. Each reads values from a batch, and puts them back."""

from maskjax.over.base import Over, Positions
from maskjax.over.fields import cells, codes, edges, samples, tokens
from maskjax.over.frequencies import frequencies
from maskjax.over.patches import frames, labels, patches, pixels
from maskjax.over.row import apart, only, part, rest_hidden, row, sizes

__all__ = [
  "Over",
  "Positions",
  "apart",
  "cells",
  "codes",
  "edges",
  "frames",
  "frequencies",
  "labels",
  "only",
  "part",
  "patches",
  "pixels",
  "rest_hidden",
  "row",
  "samples",
  "sizes",
  "tokens",
]
