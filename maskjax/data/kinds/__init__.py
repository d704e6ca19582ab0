"""Kinds of data, one object each: an example's arrays, tiny ones, how they are read and drawn."""

from maskjax.data.kinds.base import Kind, Ready, Scale, Shapes, array, expect, find, linked
from maskjax.data.kinds.columns import series, table
from maskjax.data.kinds.graphs import graph
from maskjax.data.kinds.pictures import image, video
from maskjax.data.kinds.sounds import audio, mixture
from maskjax.data.kinds.texts import text

__all__ = [
  "Kind",
  "Ready",
  "Scale",
  "Shapes",
  "array",
  "audio",
  "expect",
  "find",
  "graph",
  "image",
  "linked",
  "mixture",
  "series",
  "table",
  "text",
  "video",
]
