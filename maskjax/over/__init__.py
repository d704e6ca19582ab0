"""Over: what a position is. Each reads values from a batch, and puts them back."""

from maskjax.over.base import Over, Positions
from maskjax.over.fields import cells, edges, tokens
from maskjax.over.frequencies import frequencies
from maskjax.over.patches import frames, patches, pixels
from maskjax.over.row import part, row

__all__ = [
  "Over",
  "Positions",
  "cells",
  "edges",
  "frames",
  "frequencies",
  "part",
  "patches",
  "pixels",
  "row",
  "tokens",
]
