"""Pictures of graphs: how wide their edges are, and neighbourhoods drawn with them."""

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Array, Float, Int

from maskjax.errors import BadInput, unknown
from maskjax.record import Record
from maskjax.view import grid as layout

DPI = 110
SHOWN = 4  # neighbourhoods
DEGREES = 3, 9  # edges of those that are shown
WIDTH = 12.0  # points of a line of bandwidth 1
INK, WALL = "#2a6f97", "#c2c5c9"


def masks_graph(views: Mapping[str, Any], record: Record) -> layout.Picture:
  """Draws the gates of the first graph of some views, no trained weights needed.

  Above, how many edges have which gate, and how it compares with 1 / k at a node that k edges lead
  to; below, some nodes and the edges that lead to them, as wide as their gate, dotted where nothing
  comes through.

  Args:
    views: "edges", Int[b m 2] (from, to), "size", Int[b], and "gate", Float[b k m], of which the
      first layer is drawn.
    record: of graphs.

  Raises:
    BadInput: one of these is not among the views, or there are no edges.
  """
  for name in ("edges", "size", "gate"):
    if name not in views:
      raise unknown("view", name, views)
  edges, gate = np.asarray(views["edges"])[0], np.asarray(views["gate"])[0, 0]
  there = (edges[:, 1] < record.shape[0]) & (np.asarray(views["size"])[0] > 0)
  return bandwidths(edges[there], gate[there])


def bandwidths(
  edges: Int[np.ndarray | Array, "m 2"], gate: Float[np.ndarray | Array, "m"]
) -> layout.Picture:
  """Draws gates of the edges (from, to) of a graph; see `masks_graph`.

  Raises:
    BadInput: without edges.

  >>> bandwidths(np.array([[1, 0], [2, 0], [3, 0]]), np.array([0.5, 0.5, 0.0])).shape[-1]
  3
  """
  if not len(edges):
    raise BadInput("a picture of a graph needs edges")
  # Loaded here: it takes a second, and most runs draw no graph. Its object interface has no state.
  from matplotlib.figure import Figure

  edges, gate = np.asarray(edges), np.asarray(gate, np.float64)
  degree = np.bincount(edges[:, 1])
  figure = Figure(figsize=(9, 6), dpi=DPI, layout="constrained")
  axes = figure.subplot_mosaic("aabb;cdef")
  axes["a"].hist(gate, np.linspace(0, 1, 41).tolist(), color=INK)
  axes["a"].set(xlabel="gate", ylabel="edges")
  even = gate * degree[edges[:, 1]]
  axes["b"].hist(np.minimum(even, 4), np.linspace(0, 4, 41).tolist(), color=INK)
  axes["b"].axvline(1, color="black", linewidth=0.8)
  axes["b"].set(xlabel="gate · edges of the node", ylabel="edges")
  for spot, node in zip("cdef", _typical(degree), strict=False):
    _neighbourhood(axes[spot], edges[edges[:, 1] == node, 0], gate[edges[:, 1] == node], node)
  for spot in "cdef"[len(_typical(degree)) :]:
    axes[spot].set_axis_off()
  stream = io.BytesIO()
  figure.savefig(stream, format="rgba")
  pixels = np.frombuffer(stream.getvalue(), np.uint8)
  return np.ascontiguousarray(pixels.reshape(6 * DPI, 9 * DPI, 4)[..., :3])


def _typical(degree: Int[np.ndarray, "n"]) -> Int[np.ndarray, "some"]:
  """Some nodes, of few edges to many, evenly spaced among those that can be drawn."""
  fits = np.flatnonzero((degree >= DEGREES[0]) & (degree <= DEGREES[1]))
  fits = fits[np.argsort(degree[fits], kind="stable")]
  return fits[np.linspace(0, len(fits) - 1, min(SHOWN, len(fits))).astype(int)]


def _neighbourhood(
  axes: Any, origins: Int[np.ndarray, "k"], gate: Float[np.ndarray, "k"], node: int
) -> None:
  angles = 2 * np.pi * np.arange(len(origins)) / len(origins) + np.pi / 2
  for angle, g, origin in zip(angles, gate, origins, strict=True):
    x, y = np.cos(angle), np.sin(angle)
    axes.plot(
      *([0, x], [0, y], "-" if g else ":"),
      color=INK if g else WALL,
      linewidth=max(WIDTH * g, 0.8),
      solid_capstyle="butt",
      zorder=1,
    )
    paper = dict(boxstyle="square,pad=0.1", facecolor="white", edgecolor="none")
    middle = dict(ha="center", va="center")
    axes.annotate(f"{g:.2f}", (0.62 * x, 0.62 * y), fontsize=7, bbox=paper, **middle)
    axes.scatter([x], [y], 90, color="white", edgecolors="black", zorder=2)
    axes.annotate(str(origin), (1.3 * x, 1.3 * y), fontsize=6, **middle)
  axes.scatter([0], [0], 110, color="black", zorder=2)
  axes.set(xlim=(-1.5, 1.5), ylim=(-1.5, 1.5), aspect="equal", title=f"node {node}")
  axes.set_axis_off()
