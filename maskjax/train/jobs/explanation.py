"""Explains a classifier by hiding: curves, what segments count, and what masks give away."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from maskjax import bind, score, select
from maskjax.errors import unknown
from maskjax.explain import (
  SHAPES,
  class_entropy,
  covered,
  lime,
  rank_agreement,
  shapes,
  slic,
  unchanged,
)
from maskjax.keys import keys, stream
from maskjax.recover import patchify
from maskjax.sections import bound
from maskjax.task.answers import answer, needs, require
from maskjax.train.evaluators.classifier import axes, fit, predict, scaling
from maskjax.train.evaluators.evaluation import Context
from maskjax.view.explanation import explanations, left_over
from maskjax.view.grid import Picture
from maskjax.view.plot import plot
from maskjax.view.reconstruction import pick, spaced
from maskjax.view.table import results

SHARES = tuple(i / 10 for i in range(11))
# Colours are those of pixels, 0 black and 1 white; the sigma of a blur is in pixels.
HIDES: dict[str, dict[str, Any]] = {
  "carried": {"fn": "carry"},
  "grey": {"fn": "fill", "value": 0.5},
  "black": {"fn": "fill", "value": 0.0},
  "mean": {"fn": "mean"},
  "blur": {"fn": "blur", "sigma": 4.0},
}
Curve = list[tuple[float, float]]


class Explained(NamedTuple):
  """What was found of each way of hiding.

  Attributes:
    scalars: by way of hiding, then by name.
    curves: by metric, then by way of hiding, points (share of segments hidden, value).
    images: the examples to draw, normalised.
    maps: what each of their pixels counts.
    seen: what is left of them with half of the segments hidden; NaN where nothing stands there.
  """

  scalars: dict[str, dict[str, float]]
  curves: dict[str, dict[str, Curve]]
  images: Float[np.ndarray, "b h w c"]
  maps: dict[str, Float[np.ndarray, "b h w"]]
  seen: dict[str, Float[np.ndarray, "b h w c"]]


class Cut(NamedTuple):
  """Examples with their labels, the segment of each pixel, and which segments have pixels."""

  image: Float[np.ndarray, "n h w c"]
  label: Int[np.ndarray, "n"]
  unit: Int[np.ndarray, "n p"]
  there: Bool[np.ndarray, "n k"]

  def pixels(self, hidden: Bool[Array | np.ndarray, "n m k"]) -> Bool[np.ndarray, "n m p"]:
    """Masks of segments as masks of pixels."""
    return np.asarray(covered(jnp.asarray(hidden), jnp.asarray(self.unit)[:, None]))


@needs("predict", "features", kinds=("image",))
def explain(
  context: Context,
  *,
  hides: Mapping[str, Mapping[str, Any]] | None = None,
  split: str = "test",
  examples: int = 256,
  segments: int = 36,
  compactness: float = 0.1,
  shares: Sequence[float] = SHARES,
  explained: int = 32,
  draws: int = 256,
  deleted: float = 0.2,
  judge: str = "grey",
  shape: float = 0.2,
  batch_size: int = 256,
) -> Explained:
  """Compares ways of hiding the `segments` of evenly spaced examples (`explain.slic`).

  Each of `hides` names a function of `maskjax.hide`, which is given pixels in [0, 1] and their
  `grid`; what hands on a mask beside them (`carry`) leaves it to the network. All hide by the same
  masks.

  - Curves over the `shares` of segments hidden in random order: "accuracy", "unchanged" predictions
    and "entropy", in nats, of the predicted classes; as scalars, their means over the shares.
  - LIME of the likeliest class of `explained` of the examples, by `draws` masks each:
    "agreement", its rank correlation with how much the probability falls as each segment is hidden
    alone; "deletion", the share of predictions unchanged once the `deleted` share of segments that
    count most is hidden by the `judge`, one of `hides` and the same for all (lower is better).
  - "leak", how often logistic regression on features, fitted to half of the examples, tells of the
    others which of `explain.SHAPES`, a share `shape` of the pixels, is hidden (chance 0.2).

  Raises:
    BadInput: a task that does not classify images, an unknown split, hider or judge.

  Source: Balasubramanian and Feizi, "Towards Improved Input Masking for Convolutional Neural
  Networks", 2023, sections 4 and 5. Deviation: there, shapes are those of objects.
  """
  task, record, ways = context.task, context.record, dict(hides or HIDES)
  require(explain, "explain", task, record)
  if split not in record.sizes:
    raise unknown("split for explain", split, record.sizes)
  if judge not in ways:
    raise unknown("judge of explain", judge, ways)
  context.mesh.check(batch_size, 1)
  ask = {name: _asker(context, section, batch_size) for name, section in ways.items()}
  batch = pick(context.examples(split, batch_size), spaced(record.sizes[split], examples))
  unit = slic(_pixels(batch["image"], record), segments=segments, compactness=compactness)
  unit = np.asarray(unit).reshape(len(batch["image"]), -1)
  there = np.any(unit[..., None] == np.arange(segments), axis=1)
  all_of = Cut(batch["image"], batch["label"], unit, there)
  few = np.array(spaced(len(unit), explained))
  some = Cut(*(x[few] for x in all_of))

  order, noise = _noise(context, "order", all_of, 1), _noise(context, "lime", some, draws)
  hidden = all_of.pixels(_hide(order, there, [*shares, 0.5]))
  hidden, half = hidden[:, :-1], hidden[few, -1:]
  drawn = ((noise < 0.5) & some.there[:, None]).at[:, 0].set(False)
  h, w, _ = record.shape
  cut = np.broadcast_to(shapes((h, w), share=shape), (len(unit), len(SHAPES), h * w))

  found = Explained({}, {"accuracy": {}, "unchanged": {}, "entropy": {}}, some.image, {}, {})
  for name in ways:
    rows = _curves(ask[name], all_of, hidden, record.classes)
    for metric, values in rows.items():
      found.curves[metric][name] = list(zip(shares, values, strict=True))
    weight, best, agreement = _lime(ask[name], some, drawn)
    most = _hide(jnp.asarray(weight)[:, None], some.there, [deleted])
    after = ask[judge](some.image, some.pixels(most))[0][:, 0]
    found.scalars[name] = {
      **{metric: float(np.mean(values)) for metric, values in rows.items()},
      "agreement": agreement,
      "deletion": unchanged(np.argmax(after, axis=-1), best),
      "leak": _leak(ask[name](all_of.image, cut)[1]),
    }
    painted = np.take_along_axis(weight, some.unit, axis=-1)
    found.maps[name] = painted.reshape(-1, h, w)
    found.seen[name] = ask[name](some.image, half, pictures=True)[2][:, 0]
  return found


def _noise(context: Context, name: str, of: Cut, draws: int) -> Float[Array, "n m k"]:
  given, k = keys(stream(context.key, name), len(of.label)), of.there.shape[-1]
  return score.uniform(given, (draws, k)).reshape(-1, draws, k)


def _hide(
  scores: Float[Array, "n 1 k"], there: Bool[np.ndarray, "n k"], shares: Sequence[float]
) -> Bool[Array, "n m k"]:
  """The segments of the highest scores, so many for each share of those that are there."""
  spread = jnp.broadcast_to(scores, (len(there), len(shares), there.shape[-1]))
  ratio = jnp.broadcast_to(jnp.asarray(shares, jnp.float32), spread.shape[:-1])
  return jax.jit(select.top)(spread, ratio=ratio, allowed=there[:, None])


def _curves(
  ask: Callable[..., Any], of: Cut, hidden: Bool[np.ndarray, "n m p"], classes: int
) -> dict[str, list[float]]:
  """What becomes of the answers, one value for each of the m masks."""
  before = np.argmax(ask(of.image, np.zeros_like(hidden[:, :1]))[0][:, 0], axis=-1)
  answers = np.argmax(ask(of.image, hidden)[0], axis=-1).T
  return {
    "accuracy": [float(np.mean(answer == of.label)) for answer in answers],
    "unchanged": [unchanged(answer, before) for answer in answers],
    "entropy": [class_entropy(answer, classes) for answer in answers],
  }


def _lime(
  ask: Callable[..., Any], of: Cut, drawn: Bool[Array, "n m k"]
) -> tuple[Float[np.ndarray, "n k"], Int[np.ndarray, "n"], float]:
  """LIME's weights, NaN for what is no segment, of which class, and how they agree with drops."""
  alone = np.eye(of.there.shape[-1], dtype=bool) & of.there[:, None]
  logits, m = ask(of.image, of.pixels(np.concatenate([drawn, alone], axis=1)))[0], drawn.shape[1]
  best = np.argmax(logits[:, 0], axis=-1)  # the first mask hides nothing
  chance = np.asarray(jax.nn.softmax(logits))[np.arange(len(best)), :, best]
  weight = np.where(of.there, np.asarray(lime(jnp.asarray(chance[:, :m]), drawn)), np.nan)
  drop = np.where(of.there, chance[:, :1] - chance[:, m:], np.nan)
  return weight, best, rank_agreement(weight, drop)


def _leak(features: Float[np.ndarray, "n s d"]) -> float:
  """Accuracy, on the second half of the examples, of telling shapes by a fit to the first."""
  n, s, d = features.shape
  x, y, half = features.reshape(n * s, d), np.tile(np.arange(s), n), n // 2 * s
  scale = scaling(x[:half])
  power, directions = axes(scale(x[:half]))
  x = scale(x) @ directions
  fitted = fit(x[:half], y[:half], power, classes=s, l2=1e-2, steps=300, tolerance=1e-3)
  return float(np.mean(np.asarray(predict(fitted, x[half:])) == y[half:]))


def _asker(context: Context, section: Mapping[str, Any], batch_size: int) -> Callable[..., Any]:
  """`(image [n …], hidden [n, m, p]) -> logits, features[, pictures]`, each `[n, m, …]`."""
  task, record = context.task, context.record
  predicted, encode = answer(task, "predict", "explain"), answer(task, "features", "explain")
  hide = bound(section)
  bind.check(hide, [*list(bind.needs(hide))[:2], "grid"], "explain")
  grid, mean, std = record.shape[:2], jnp.asarray(record.mean), jnp.asarray(record.std)

  @jax.jit
  def look(variables, image, hidden):
    flat = _pixels(image, record).reshape(len(image), -1, image.shape[-1])
    left = bind.call(hide, {"grid": grid}, flat, hidden)
    left, carried = left if isinstance(left, tuple) else (left, None)
    seen = ((left - mean) / std).reshape(image.shape)
    given = None if carried is None else _onto(carried, grid, task.network.grid)
    logits = predicted(variables, {"image": seen}, given)
    features = encode(variables, {"image": seen}, given)["mean"]
    if carried is not None:
      seen = jnp.where(carried.reshape(*image.shape[:-1], 1), jnp.nan, seen)
    return logits, features, seen

  def ask(image, hidden, pictures=False):
    (n, m), parts = hidden.shape[:2], []
    masks = hidden.reshape(n * m, -1)
    for start in range(0, n * m, batch_size):
      context.pause()
      index = np.minimum(np.arange(start, start + batch_size), n * m - 1)
      placed = context.mesh.put_whole({"image": image[index // m], "hidden": masks[index]})
      with jax.debug_nans(False):  # NaN says that nothing is there
        out = look(context.variables, placed["image"], placed["hidden"])
      parts.append([x[: n * m - start] for x in context.mesh.get(out if pictures else out[:2])])
    return [np.concatenate(x).reshape(n, m, *x[0].shape[1:]) for x in zip(*parts, strict=True)]

  return ask


def _pixels(image: Float[Array | np.ndarray, "b h w c"], record: Any) -> Float[Array, "b h w c"]:
  """Normalised images as pixels in [0, 1]."""
  return jnp.asarray(image) * jnp.asarray(record.std) + jnp.asarray(record.mean)


def _onto(
  hidden: Bool[Array, "b p"], grid: tuple[int, ...], onto: tuple[int, ...]
) -> Bool[Array, "..."]:
  """A mask of pixels as one of the network's positions, hidden where most of their pixels are."""
  if tuple(onto) == tuple(grid):
    return hidden.reshape(-1, *grid)
  patch = tuple(side // n for side, n in zip(grid, onto, strict=True))
  patches = patchify(hidden.reshape(-1, *grid, 1).astype(jnp.float32), patch)
  return patches.mean(axis=-1) > 0.5


def together(found: Sequence[Explained]) -> tuple[str, dict[str, Picture]]:
  """The table of several seeds' scalars, and a plot of each curve."""
  ways = list(found[0].scalars)
  rows = {
    way: {k: [one.scalars[way][k] for one in found] for k in found[0].scalars[way]} for way in ways
  }
  plots = {}
  for metric, lines in found[0].curves.items():
    series = {
      way: [(x, [one.curves[metric][way][i][1] for one in found]) for i, (x, _) in enumerate(line)]
      for way, line in lines.items()
    }
    plots[metric] = plot(series, x="share of segments hidden", y=metric)
  return results(list(rows.items())), plots


def pictures(found: Explained, record: Any, count: int = 8) -> dict[str, Picture]:
  """What segments count by each way of hiding, and what each leaves of an image."""
  few = np.array(spaced(len(found.images), count))
  some = lambda drawn: {way: x[few] for way, x in drawn.items()}
  return {
    "explained": explanations(found.images[few], some(found.maps), record),
    "hidden": left_over(found.images[few], some(found.seen), record),
  }


def numbers(found: Explained) -> dict[str, float]:
  """All scalars and all points of the curves by name, `explain/<way>/<metric>[/<share>]`."""
  named = {f"{way}/{k}": value for way, row in found.scalars.items() for k, value in row.items()}
  for metric, lines in found.curves.items():
    named |= {f"{way}/{metric}/{x:g}": y for way, line in lines.items() for x, y in line}
  return {f"explain/{name}": value for name, value in named.items()}
