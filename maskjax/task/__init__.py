"""Tasks: compositions that hold the grammar's words together; few of them serve all methods."""

from maskjax.task.classify import classify
from maskjax.task.contrast import contrast
from maskjax.task.diffuse import diffuse
from maskjax.task.masked_token import masked_token
from maskjax.task.next_token import next_token
from maskjax.task.reconstruct import reconstruct
from maskjax.task.reconstruct_edges import reconstruct_edges

__all__ = [
  "classify",
  "contrast",
  "diffuse",
  "masked_token",
  "next_token",
  "reconstruct",
  "reconstruct_edges",
]
