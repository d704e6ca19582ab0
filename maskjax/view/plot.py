"""Plots: one figure against another, a line for each series, means and spreads over seeds."""

import io
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import UInt8

# Series differ in print and for the colour-blind too.
MARKERS = "osD^vPX"

Points = Sequence[tuple[float, Sequence[float]]]


def plot(
  series: Mapping[str, Points], *, x: str = "", y: str = "", size: tuple[float, float] = (6.0, 4.0)
) -> UInt8[np.ndarray, "h w 3"]:
  """Draws each series' points (x, values of y over seeds), joined in the order of x.

  A point stands at the mean, its bar is the sample's standard deviation; one seed has no bar.
  `size` is in inches of 150 pixels. x, y and the series are named in the picture.

  >>> plot({"gradual": [(0.5, [0.8]), (0.9, [0.7, 0.72])]}, x="sparsity", y="accuracy").shape
  (600, 900, 3)
  """
  # Loaded here: it takes a second, and most runs draw no plot. Its object interface has no state.
  from matplotlib.figure import Figure

  figure = Figure(figsize=size, dpi=150, layout="constrained")
  axes = figure.subplots()
  for number, (name, points) in enumerate(series.items()):
    places, means, spreads = curve(points)
    marker = MARKERS[number % len(MARKERS)] if len(places) <= 30 else ""
    axes.errorbar(places, means, spreads, label=name, marker=marker, markersize=4, capsize=2)
  axes.set(xlabel=x, ylabel=y)
  axes.grid(alpha=0.3)
  if any(series):
    axes.legend(frameon=False)
  stream = io.BytesIO()
  figure.savefig(stream, format="rgba")
  height, width = (round(inches * 150) for inches in (size[1], size[0]))
  pixels = np.frombuffer(stream.getvalue(), np.uint8).reshape(height, width, 4)
  return np.ascontiguousarray(pixels[..., :3])


def curve(points: Points) -> tuple[list[float], list[float], list[float]]:
  """Places in rising order, means and sample deviations, 0 for a single value.

  >>> curve([(2, [1.0]), (1, [1.0, 3.0])])
  ([1, 2], [2.0, 1.0], [1.4142135623730951, 0.0])
  """
  ordered = sorted(points, key=lambda point: point[0])
  means = [float(np.mean(values)) for _, values in ordered]
  spreads = [float(np.std(values, ddof=1)) if len(values) > 1 else 0.0 for _, values in ordered]
  return [place for place, _ in ordered], means, spreads
