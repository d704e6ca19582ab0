"""Pictures of mixtures: what was heard, who said it, what was made of it, and the gates."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from maskjax.errors import unknown
from maskjax.record import Record
from maskjax.spectrogram import stft
from maskjax.view import grid as layout
from maskjax.view import heat
from maskjax.view.legend import bar, under_legend

SIZE, HOP = 0.032, 0.004  # of spectrograms, in seconds
RANGE = 60.0  # dB below the loudest that are black
WIDTH, HEIGHT = 190, 128  # at least so many pixels


def masks_mixture(views: Mapping[str, Any], record: Record) -> layout.Picture:
  """Draws mixtures, their sources, the estimates and the gates that made these, one row a mixture.

  Signals are spectrograms, in dB below the loudest of each mixture; gates are from 0 to 1, their
  filters in the order of `peaks`. Time goes to the right, low frequencies lie below.

  Args:
    views: "mixture" `[b n]`, "sources" and "estimates" `[b k n]`, "gate" `[b k t f]` and "peaks"
      `[f]`.
    record: of mixtures.

  Raises:
    BadInput: one of these is not among the views.
  """
  for name in ("mixture", "sources", "estimates", "gate", "peaks"):
    if name not in views:
      raise unknown("view", name, views)
  mixture, sources, estimates, gate = (
    np.asarray(views[name]) for name in ("mixture", "sources", "estimates", "gate")
  )
  order, many = np.argsort(np.asarray(views["peaks"]), kind="stable"), sources.shape[1]
  estimates = scaled(estimates, sources)
  rows: list[Sequence[layout.Picture]] = []
  for i in range(len(mixture)):
    signals = [mixture[i], *sources[i], *estimates[i]]
    gates = [heat.tints(turned(gate[i, k][:, order])) for k in range(many)]
    rows.append([*map(fitted, [*spectrograms(signals, record.rate), *gates])])
  each = lambda name: [f"{name} {k + 1}" for k in range(many)]
  page = layout.sheet(rows, ["mixture", *each("source"), *each("estimate"), *each("gate")])
  return under_legend(page, [["gate 0", bar(), "1"]])


def scaled(
  estimates: Float[np.ndarray, "*b n"], sources: Float[np.ndarray, "*b n"]
) -> Float[np.ndarray, "*b n"]:
  """Estimates, which have any scale and sign, as loud as they explain their sources best.

  >>> scaled(np.array([2.0, -2.0]), np.array([-1.0, 1.0])).tolist()
  [-1.0, 1.0]
  """
  fit = (estimates * sources).sum(-1) / np.maximum((estimates**2).sum(-1), 1e-9)
  return estimates * fit[..., None]


def recordings(views: Mapping[str, Any]) -> dict[str, Float[np.ndarray, "n"]]:
  """The signals of some views under the names of files: "0_mixture", "0_source_1", and so on."""
  names = ("mixture", "sources", "estimates")
  mixture, sources, estimates = (np.asarray(views[name]) for name in names)
  found: dict[str, np.ndarray] = {}
  for i, whole in enumerate(mixture):
    found[f"{i}_mixture"] = whole
    found |= {f"{i}_source_{k + 1}": x for k, x in enumerate(sources[i])}
    made = scaled(estimates[i], sources[i])
    found |= {f"{i}_estimate_{k + 1}": x for k, x in enumerate(made)}
  return found


def spectrograms(signals: Sequence[np.ndarray], rate: int) -> list[layout.Picture]:
  """Pictures of signals, in dB below the loudest moment of the first."""
  size, hop = int(rate * SIZE), max(int(rate * HOP), 1)
  found = [
    np.abs(stft(signal, size=size, hop=hop, fft=size, centre=False, emphasis=0.0))
    for signal in signals
  ]
  loudest = max(found[0].max(), 1e-9)
  level = lambda x: 1 + 20 * np.log10(np.maximum(x / loudest, 1e-9)) / RANGE
  return [grey(turned(level(x))) for x in found]


def turned(x: Float[np.ndarray, "t f"]) -> Float[np.ndarray, "f t"]:
  """Time to the right, low frequencies below.

  >>> turned(np.array([[1, 2], [3, 4]])).tolist()
  [[2, 4], [1, 3]]
  """
  return x.T[::-1]


def grey(x: Float[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w 3"]:
  """Values from 0, black, to 1, white."""
  return np.repeat(layout.pixels(x)[..., None], 3, axis=-1)


def fitted(picture: layout.Picture) -> layout.Picture:
  """A picture of WIDTH by HEIGHT, its nearest pixels repeated or left out."""
  rows, columns = (
    np.arange(to) * size // to for to, size in zip((HEIGHT, WIDTH), picture.shape, strict=False)
  )
  return picture[rows][:, columns]
