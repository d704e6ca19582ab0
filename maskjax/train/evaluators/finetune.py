"""End-to-end fine-tuning of an encoder with a linear head."""

import contextlib
import functools
import itertools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import traverse_util
from jaxtyping import Array, Float

from maskjax import bind
from maskjax.errors import BadInput, unknown
from maskjax.keys import keys, stream
from maskjax.task.answers import answer, needs
from maskjax.task.buckets import kept
from maskjax.train.evaluators.context import Batch, Context, labelled
from maskjax.train.evaluators.few import few
from maskjax.train.optimizers.optimizer import optimizer
from maskjax.train.setup.by_kind import by_kind

Leaves = dict[str, Array]


@needs("features", labels=True)
def finetune(
  context: Context,
  *,
  epochs: float = 50.0,
  steps: int = 0,
  labels: int = 0,
  draws: int = 1,
  scratch: bool = False,
  batch_size: int = 256,
  learning_rate: float = 1e-3,
  warmup: float = 0.1,
  layer_decay: float = 0.75,
  weight_decay: float = 0.05,
  label_smoothing: float = 0.1,
  pooling: str = "mean",
  train: str = "train",
  test: str = "test",
  score: functools.partial[Any] | None = None,
  select: functools.partial[Any] | None = None,
) -> dict[str, float]:
  """Accuracy on `test` after training a copy of the encoder and a linear head on labels.

  Protocol: head x W + b on the pooled features, W and b from zero; cross-entropy with smoothed
  labels; nothing hidden but what `score` and `select` say, in training alone; the run's own
  augmentation, in an order fixed by the context's key; AdamW (b1 0.9, b2 0.999), rate
  `learning_rate` · batch_size / 256, linear warm-up, cosine to zero; rate falling by `layer_decay`
  per block towards the input; no decay of biases, norms, tokens and position tables. Only
  parameters that the features depend on are trained (no decoder); the last step's weights are
  scored, not the best ones. Differs from MAE's recipe in having no mixup, cutmix, RandAugment or
  drop path, and in pooling after the encoder's norm rather than before a new one. With `labels`
  so many examples of each class of `train`, drawn by the context's key, are all that is trained on;
  these are not augmented.

  Args:
    context: what the training loop hands over; its variables are left as they are.
    epochs: passes over the examples that are trained on, rounded to whole steps.
    steps: optimiser steps; overrides `epochs` if positive.
    labels: examples of each class to train on; 0: all.
    draws: how often these are drawn and trained on.
    scratch: whether at step 0 each draw begins from an initialisation of its own: what comes of
      training from scratch is then a mean over these too, which differ by more than the labels do.
      Not for runs that begin from given weights.
    batch_size: examples in a batch, in training and in scoring.
    learning_rate: peak rate for a batch of 256.
    warmup: share of the steps in which the rate rises.
    layer_decay: factor of the rate from one block to the one below; 1 for models without blocks.
    weight_decay: decoupled, times the rate.
    label_smoothing: share of the target spread over all classes.
    pooling: "mean" of the patch tokens or "class" token.
    train: name of the training split, for its size and for the examples of `labels`.
    test: split that is scored.
    score: section of a score of the positions of the network's `grid`, which may name `keys` (one
      per example, new at every step), `grid` and `step`.
    select: section of the selection that says which of them are hidden in training.

  Returns:
    {"accuracy": share of test examples classified right, mean over draws, "loss": of the last
    training batch}; of several draws also "std", the accuracy's standard deviation over them.

  Raises:
    BadInput: no labels, an unknown pooling or split, no step to do, a class of fewer than `labels`
      examples, draws of all labels, a loss that is not finite, a score without a selection, or a
      network without a grid to hide positions of.

  Sources: He et al., 2022, "Masked autoencoders are scalable vision learners", appendix A.1, table
  9; hiding: Huang et al., 2022, "Masked autoencoders that listen", section 3.
  """
  classes = labelled(context, "finetune")
  if labels < 0 or draws < 1 or (draws > 1 and not labels):
    raise BadInput(f"finetune: {labels=}, {draws=}: several draws are of some labels of each class")
  total = steps if steps > 0 else _steps(context, train, epochs, batch_size, labels * classes)
  context.mesh.check(batch_size, 1)
  hide, keep = _hiding(context, score, select)
  start, pooled = _features(context, pooling, keep)

  def logits(params: Leaves, batch: Batch, *hidden: Array) -> Float[Array, "b c"]:
    x = pooled(params, batch, *hidden).astype(jnp.float32)
    return x @ params["head/kernel"] + params["head/bias"]

  def loss(params: Leaves, batch: Batch, step: Any) -> Float[Array, ""]:
    target = optax.smooth_labels(jax.nn.one_hot(batch["label"], classes), label_smoothing)
    return optax.softmax_cross_entropy(logits(params, batch, *hide(batch, step)), target).mean()

  tuning = functools.partial(
    optimizer,
    learning_rate=learning_rate,
    total_steps=total,
    batch_size=batch_size,
    warmup_steps=round(warmup * total),
    weight_decay=weight_decay,
    layer_decay=layer_decay,
  )
  classify, scores, value = jax.jit(logits), [], 0.0
  for i in range(draws):
    key = stream(context.key, "draw", i) if i else context.key
    seed = int(jax.random.randint(key, (), 0, np.iinfo(np.int32).max))
    drawn = few(context, train, labels, batch_size, seed) if labels else None
    batches = context.batches(batch_size, seed, total) if drawn is None else drawn
    batches = map(context.mesh.put_whole, itertools.islice(batches, total))
    first = next(batches)
    if not i:
      begun = start(first, classes)
      tx = tuning(begun).tx
      advance = _advance(loss, tx)
      fresh = scratch and context.step == 0 and _fresh(context, first, begun)
    # A copy, as a step takes the memory of what it is given.
    params = jax.tree.map(jnp.copy, fresh(key) if fresh else begun)
    params, value = _tuned(advance, params, tx.init(params), itertools.chain([first], batches))
    scores.append(_score(context, classify, params, test, batch_size))
  found = {"accuracy": float(np.mean(scores)), "loss": value}
  return found | ({"std": float(np.std(scores, ddof=1))} if draws > 1 else {})


def _advance(
  loss: Callable[..., Float[Array, ""]], tx: optax.GradientTransformation
) -> Callable[..., tuple[Leaves, Any, Array]]:
  """A step of training, which takes the memory of the parameters and moments that it is given."""

  def update(params: Leaves, opt_state: Any, batch: Batch, step: Any):
    value, grads = jax.value_and_grad(loss)(params, batch, step)
    updates, opt_state = tx.update(grads, opt_state, params)
    return optax.apply_updates(params, updates), opt_state, value

  return jax.jit(update, donate_argnums=(0, 1))


def _tuned(
  advance: Callable[..., tuple[Leaves, Any, Array]],
  params: Leaves,
  opt_state: Any,
  batches: Iterable[Batch],
) -> tuple[Leaves, float]:
  """The parameters after a step on each batch, and the last loss."""
  value: Any = 0.0
  for step, batch in enumerate(batches):
    params, opt_state, value = advance(params, opt_state, batch, np.int32(step))
  if not np.isfinite(value):
    raise BadInput("finetune: the loss is not finite; lower evals.finetune.learning_rate")
  return params, float(value)


def _steps(context: Context, train: str, epochs: float, batch_size: int, examples: int) -> int:
  """Steps of so many epochs of some examples, or of all of a split."""
  if train not in context.record.sizes:
    raise unknown("split", train, context.record.sizes)
  total = round(epochs * (examples or context.record.sizes[train]) / batch_size)
  if total < 1:
    raise BadInput(f"finetune: {epochs} epochs of batch_size {batch_size} are no step at all")
  return total


def _hiding(
  context: Context,
  score: functools.partial[Any] | None,
  select: functools.partial[Any] | None,
) -> tuple[Callable[[Batch, Any], tuple[Array, ...]], int | None]:
  """`(batch, step)` to what is hidden, Bool[b, n], or to nothing where there is nothing to hide.

  Also how many positions stay visible, None where the selection does not fix that.
  """
  if not score and not select:
    return lambda batch, step: (), None
  if not score or not select:
    raise BadInput("finetune hides what a score and a selection say: evals.finetune needs both")
  grid = getattr(getattr(context.task, "network", None), "grid", None)
  if grid is None:
    raise BadInput("finetune: the task's network has no grid of positions to hide")
  bind.check(score, ("keys", "grid", "step"), "finetune")

  def hide(batch: Batch, step: Any) -> tuple[Array, ...]:
    drawn = keys(stream(context.key, "mask", step), jnp.asarray(batch["position"]))
    scores = bind.call(score, {"keys": drawn, "grid": grid, "step": step})
    return (bind.call(select, {"grid": grid}, scores),)

  with contextlib.suppress(BadInput):  # no fixed number
    return hide, kept(None, select, grid)[0]
  return hide, None


def _features(
  context: Context, pooling: str, keep: int | None = None
) -> tuple[Callable[[Batch, int], Leaves], Callable[..., Float[Array, "b d"]]]:
  """What training starts from, all that pooled features read and a head; and the features."""
  # A teacher's features are what a teacher's task comes to, and it is these that are trained.
  variables = context.task.final(context.variables)
  encode = answer(context.task, "features", "finetune")
  fewer = {"keep": keep} if keep and "keep" in bind.needs(encode) else {}
  whole = traverse_util.flatten_dict(variables["params"], sep="/")

  def pooled(leaves: Leaves, batch: Batch, *hidden: Array) -> Float[Array, "b d"]:
    params = traverse_util.unflatten_dict({**whole, **leaves}, sep="/")
    features = encode({**variables, "params": params}, batch, *hidden, **(fewer if hidden else {}))
    if pooling not in features:
      raise unknown("pooling", pooling, features)
    return features[pooling]

  def start(batch: Batch, classes: int) -> Leaves:
    read = _read(lambda leaves: pooled(leaves, batch), whole)
    params = {name: leaf for name, leaf in whole.items() if name in read}
    width = jax.eval_shape(pooled, params, batch).shape[-1]
    head = {"head/kernel": jnp.zeros((width, classes)), "head/bias": jnp.zeros(classes)}
    return params | head

  return start, pooled


def _fresh(context: Context, batch: Batch, begun: Leaves) -> Callable[[Any], Leaves]:
  """`key` to the parameters that training starts from, anew; the head, which is zero, stays."""

  def init(key: Any) -> Leaves:
    made = context.task.final(context.task.init(stream(key, "init"), batch))["params"]
    anew = traverse_util.flatten_dict(made, sep="/")
    return {name: anew[name] for name in begun if name in anew}

  lies = jax.tree.map(lambda _: context.mesh.everywhere, jax.eval_shape(init, context.key))
  made = by_kind(init, lies)
  return lambda key: context.mesh.place({**begun, **made(key)}, begun)


def _read(function: Callable[[Leaves], Any], leaves: Mapping[str, Array]) -> set[str]:
  """Names of the leaves that a function's traced program reads."""
  names = sorted(leaves)
  program = jax.make_jaxpr(lambda *values: function(dict(zip(names, values, strict=True))))
  jaxpr = program(*(leaves[name] for name in names)).jaxpr
  read = {id(v) for equation in jaxpr.eqns for v in equation.invars} | set(map(id, jaxpr.outvars))
  return {name for name, v in zip(names, jaxpr.invars, strict=True) if id(v) in read}


def _score(
  context: Context, logits: Callable[..., Array], params: Leaves, test: str, batch_size: int
) -> float:
  right = count = 0
  for batch in context.examples(test, batch_size):
    valid = batch["valid"]
    rest = {name: value for name, value in batch.items() if name != "valid"}
    predicted = context.mesh.get(logits(params, context.mesh.put_whole(rest))).argmax(-1)
    right += int(((predicted == batch["label"]) & valid).sum())
    count += int(valid.sum())
  return right / count
