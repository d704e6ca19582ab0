"""Explanations by hiding: segments of an image, what each counts, and what masks give away."""

from maskjax.explain.lime import lime
from maskjax.explain.missingness import class_entropy, rank_agreement, unchanged
from maskjax.explain.segments import covered, slic
from maskjax.explain.shapes import SHAPES, shapes

__all__ = [
  "SHAPES",
  "class_entropy",
  "covered",
  "lime",
  "rank_agreement",
  "shapes",
  "slic",
  "unchanged",
]
