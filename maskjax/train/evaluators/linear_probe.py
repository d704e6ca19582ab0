"""Linear classification of frozen features, from all labels or from a few of each class."""

import functools
import logging
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from maskjax.errors import BadInput
from maskjax.keys import keys
from maskjax.task.answers import needs
from maskjax.train.evaluators.classifier import Fit, axes, fit, predict, scaling
from maskjax.train.evaluators.context import Context, features, labelled

_HELD = 10  # one example in so many chooses l2


@needs("features", labels=True)
def linear_probe(
  context: Context,
  *,
  train: str = "train",
  test: str = "test",
  pooling: str = "mean",
  standardize: bool = True,
  l2: float | Sequence[float] = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5),
  steps: int = 500,
  tolerance: float = 1e-3,
) -> dict[str, float]:
  """Accuracy on `test` of logistic regression on the frozen features of `train`.

  Minimises mean cross-entropy + l2/2 · ‖W‖² over W and a bias that is not penalised.

  Protocol: features of unmasked, not augmented images, seen once, so every fit sees the same
  numbers; the mean of the patch tokens or the class token, after the encoder's last norm. Each
  feature is standardised by its mean and deviation over `train` (what the affine-free BatchNorm
  does in MAE's probe; a constant feature becomes 0). Full-batch L-BFGS from zero to the optimum
  (`classifier.fit`): no learning rate, no batch size, no augmentation, no randomness. With several
  `l2`, each is fitted to nine tenths of `train`, at ten times the tolerance; the most accurate on
  the held-out tenth, taken evenly from each class (ties: the strongest), is refitted to all of it.
  `test` chooses nothing. Differs from MAE's own probe (LARS, 90 epochs, batch 16,384, augmented)
  in being an optimum, hence the same for everyone.

  Args:
    context: what the training loop hands over.
    train: split that is fitted.
    test: split that is classified.
    pooling: "mean" of the patch tokens or "class" token.
    standardize: whether features get deviation 1; they are centred in any case.
    l2: weight of the penalty, or those to choose from.
    steps: L-BFGS steps at most; a fit that needs more is logged.
    tolerance: gradient norm at which a fit has converged.

  Returns:
    {"accuracy": share of test examples classified right, "l2": the penalty's weight}.

  Raises:
    BadInput: no labels, no or a negative l2, fewer than 10 examples to choose l2 by.

  Source: He et al., 2022, "Masked autoencoders are scalable vision learners", appendix A.1; choice
  of l2 on held-out images as in Kornblith et al., 2019, "Do better ImageNet models transfer
  better?".
  """
  classes = labelled(context, "linear_probe")
  choices = _penalties(l2)
  x, y = features(context, train, pooling)
  queries, labels = features(context, test, pooling)
  scale = scaling(x, standardize=standardize)
  x, queries = scale(x), scale(queries)
  turned = axes(x)
  x, queries = turned.turn(x), turned.turn(queries)
  fit_one = functools.partial(fit, power=turned.power, classes=classes, steps=steps)
  best = choices[0]
  if len(choices) > 1:
    best = _choose(functools.partial(fit_one, tolerance=10 * tolerance), x, y, choices)
  fitted = fit_one(x, y, l2=best, tolerance=tolerance)
  _check(fitted, "linear_probe", tolerance)
  return {"accuracy": _accuracy(fitted, queries, labels), "l2": best}


@needs("features", labels=True)
def kshot_probe(
  context: Context,
  *,
  labels: int = 10,
  draws: int = 20,
  train: str = "train",
  test: str = "test",
  pooling: str = "mean",
  standardize: bool = True,
  l2: float = 3e-2,
  steps: int = 500,
  tolerance: float = 1e-3,
) -> dict[str, float]:
  """Mean accuracy on `test` of logistic regression on `labels` examples of each class.

  Protocol: as `linear`, but fitted to `labels` examples of each class of `train`, drawn without
  replacement, `draws` times over; each draw classifies all of `test`. The draws depend on the
  context's key and the order of `train` alone, so every step of a run is judged by the same ones.
  Features are standardised over all of `train`: labels are scarce here, images are not. One fixed
  `l2`, as ten labels a class leave none to choose it by and choosing by `test` would be cheating;
  on digits, random features of digits, and random features of CIFAR-10, accuracy is flat (within a
  point) from 0.01 to 0.1, whose middle this is.

  Args:
    context: what the training loop hands over.
    labels: examples of each class.
    draws: how often they are drawn.
    train: split that is drawn from.
    test: split that is classified.
    pooling: "mean" of the patch tokens or "class" token.
    standardize: whether features get deviation 1; they are centred in any case.
    l2: weight of the penalty.
    steps: L-BFGS steps at most; a fit that needs more is logged.
    tolerance: gradient norm at which a fit has converged.

  Returns:
    {"accuracy": mean over draws, "std": its deviation over draws, 0 for one draw}.

  Raises:
    BadInput: no labels, or a class with fewer than `labels` examples.
  """
  classes = labelled(context, "kshot_probe")
  _penalties(l2)
  if labels < 1 or draws < 1:
    raise BadInput(f"kshot_probe: labels is {labels} and draws is {draws}, both must be at least 1")
  x, y = features(context, train, pooling)
  queries, truth = features(context, test, pooling)
  index = _draw(context, y, classes=classes, labels=labels, draws=draws)
  scale = scaling(x, standardize=standardize)
  queries = scale(queries)
  drawn = scale(x[index.ravel()]).reshape(*index.shape, -1)
  power = np.square(drawn).mean(1)
  fit_all = jax.vmap(
    functools.partial(fit, classes=classes, l2=l2, steps=steps, tolerance=tolerance)
  )
  fitted = fit_all(drawn, y[index], power)
  _check(fitted, "kshot_probe", tolerance)
  scores = [_accuracy(Fit(*one), queries, truth) for one in zip(*fitted, strict=True)]
  return {"accuracy": float(np.mean(scores)), "std": float(np.std(scores, ddof=min(1, draws - 1)))}


def _penalties(l2: float | Sequence[float]) -> list[float]:
  choices = sorted(map(float, l2 if isinstance(l2, Sequence) else [l2]), reverse=True)
  if not choices or choices[-1] < 0:
    raise BadInput(f"l2 is {l2}, it must be one or several numbers not below 0")
  return choices


def _choose(fit_one: Callable[..., Fit], x, y, choices: list[float]) -> float:
  held = np.arange(len(x)) % _HELD == _HELD - 1
  if not held.any():
    raise BadInput(f"linear_probe: {len(x)} examples are too few to choose l2 by; give one l2")
  fits = (fit_one(x[~held], y[~held], l2=l2) for l2 in choices)
  return choices[int(np.argmax([_accuracy(fitted, x[held], y[held]) for fitted in fits]))]


def _draw(
  context: Context, y: Int[np.ndarray, "n"], *, classes: int, labels: int, draws: int
) -> Int[np.ndarray, "draws examples"]:
  counts = np.bincount(y, minlength=classes)
  if counts.min() < labels:
    scarce = context.record.class_names[int(counts.argmin())]
    raise BadInput(
      f"kshot_probe: class {scarce!r} has {counts.min()} examples, fewer than labels={labels}"
    )
  noise = lambda key: jax.random.uniform(key, y.shape)
  rank = np.argsort(jax.vmap(noise)(keys(context.key, draws)), axis=-1, kind="stable")
  # Sorted by class and still in random order within each.
  rank = np.take_along_axis(rank, np.argsort(y[rank], axis=-1, kind="stable"), axis=-1)
  first = np.cumsum(counts) - counts
  return rank[:, (first[:, None] + np.arange(labels)).ravel()]


def _accuracy(fitted: Fit, x: Float[np.ndarray, "n d"], y: Int[np.ndarray, "n"]) -> float:
  return float((np.asarray(predict(fitted, x)) == y).mean())


def _check(fitted: Fit, evaluator: str, tolerance: float) -> None:
  if (worst := float(jnp.max(fitted.gradient))) > tolerance:
    logging.getLogger("maskjax").warning(
      "%s: a fit stopped after %d steps at gradient %.1e, above tolerance %.1e",
      *(evaluator, int(jnp.max(fitted.steps)), worst, tolerance),
    )
