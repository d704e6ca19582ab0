"""Classification of images, whole or with some of their pixels hidden, by another image too."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from maskjax import bind
from maskjax.errors import BadInput
from maskjax.hide import fill
from maskjax.keys import keys, stream
from maskjax.record import Record
from maskjax.reduce import Term
from maskjax.task.answers import offered
from maskjax.task.base import Aux, Batch, Task, Variables, network_of
from maskjax.task.partner import partners

OFFERS = ("keys", "grid", "step")


def classify(
  *,
  record: Record,
  model: functools.partial[Any],
  recover: functools.partial[Term],
  score: functools.partial[Float[Array, "b n"]] | None = None,
  select: functools.partial[Array] | None = None,
  hide: functools.partial[Array] | None = None,
) -> Task:
  """Asks a model for the label of every image, in training also of images with something hidden.

  `recover` is called with logits, labels and the examples asked: all, or those that a batch calls
  `valid`. A model with batch normalisation makes the task `coupled`: training uses the statistics
  of the valid examples of the whole batch, all else the running ones, which follow each step.

  With `hide`, pixels are scored, selected and hidden at every step, in training alone. A score may
  name `keys` (one per example), `grid` and `step`; the selection is a mask or a gate; arguments of
  it may be drawn for each example. A hider that names `other` is handed the pixels of a partner
  (see `partners`), and the label is asked for as shares of two: the partner's is the share of
  pixels, or of the gate, that is hidden. Without `hide` nothing is, whatever the score.

  Term: "recover". Features: those of the model's `encode`. `predict` gives logits. Views, with
  `hide`: "input", "other" (the partner), "seen" (what the model sees), "hidden" or the gate, and
  "target".

  Raises:
    BadInput: the data are no images or have no labels, the model is no classifier, or a word needs
      what is not offered.
  """
  if record.kind != "image":
    raise BadInput(f"classify takes images, the data set holds {record.kind}")
  if not record.classes:
    raise BadInput("classify needs labels, and this data set has none")
  if "classes" not in bind.needs(model):
    raise BadInput(f"classify needs a model of classes, {model.func.__name__} takes none")
  bind.check(model, ("record_shape", "classes"), "classify")
  network = network_of(model, record)
  blank = jax.ShapeDtypeStruct((1, *record.shape), jnp.float32)
  coupled = "batch_stats" in jax.eval_shape(network.init, jax.random.key(0), blank)
  show = _hiding(record, score, select, hide) if hide is not None else None
  mixes = hide is not None and "other" in bind.needs(hide)

  def init(key: Key[Array, ""], batch: Batch) -> Variables:
    return network.init(stream(key, "init"), batch["image"])

  def pair(batch: Batch, key: Key[Array, ""], step: Any) -> Batch:
    return partners(batch, stream(key, "partner", step)) if mixes else batch

  def loss(
    variables: Variables, batch: Batch, key: Key[Array, ""], step: Any
  ) -> tuple[Mapping[str, Term], Aux]:
    image, target, hidden = batch["image"], batch["label"], None
    asked = batch.get("valid", jnp.ones(target.shape, bool))
    if show is not None:
      image, target, _ = show(batch, key, step)
    if "valid" in batch:
      padding = jnp.broadcast_to(~asked[:, None, None], image.shape[:-1])
      image, hidden = fill(image, padding, 0.0), padding if coupled else None
    logits, new = network.apply(variables, image, hidden, train=True, mutable=["batch_stats"])
    term = bind.at(recover, step)(logits, target, asked)
    return {"recover": term}, Aux(variables=new)

  def predict(variables: Variables, batch: Batch, hidden: Any = None) -> Float[Array, "b classes"]:
    return network.apply(variables, batch["image"], hidden)

  def features(variables: Variables, batch: Batch, hidden: Any = None) -> Mapping[str, Array]:
    return network.apply(variables, batch["image"], hidden, method="encode")

  def views(variables: Variables, batch: Batch, key: Key[Array, ""]) -> Mapping[str, Array]:
    met = pair(batch, key, 0)
    seen, target, hidden = show(met, key, 0)  # type: ignore[misc]
    shown = {"input": batch["image"], "seen": seen, "hidden": hidden, "target": target}
    return {**shown, "other": met["other"]["image"]} if mixes else shown

  return Task(
    init=init,
    pair=pair,
    loss=loss,
    network=network,
    coupled=coupled,
    answers=offered(features=features, predict=predict, views=views if show is not None else None),
  )


class Shown(NamedTuple):
  """What a model is shown and asked: images, labels or shares of them, and what is hidden."""

  image: Float[Array, "b h w c"]
  target: Array
  hidden: Array


def _hiding(
  record: Record,
  score: functools.partial[Any] | None,
  select: functools.partial[Any] | None,
  hide: functools.partial[Any],
) -> Callable[[Batch, Key[Array, ""], Any], Shown]:
  """Hides pixels of a batch that has met its partners."""
  if score is None or select is None:
    raise BadInput("classify hides what a score and a selection say: the config needs both")
  bind.check(score, OFFERS, "classify")
  # The first two, pixels and what is hidden of them, are handed over by place, not by name.
  bind.check(hide, [*list(bind.needs(hide))[:2], "other", "grid"], "classify")
  grid, channels = record.shape[:-1], record.shape[-1]
  flat = lambda image: image.reshape(len(image), -1, channels)
  classes = lambda label: jax.nn.one_hot(label, record.classes)

  def show(batch: Batch, key: Key[Array, ""], step: Any) -> Shown:
    drawn = lambda name: keys(stream(key, name, step), batch["position"])
    scores = bind.call(score, {"keys": drawn("mask"), "grid": grid, "step": step})
    hidden = bind.call(bind.at(select, step, drawn("amount")), {"grid": grid}, scores)
    image, target, other = batch["image"], classes(batch["label"]), batch.get("other")
    offers = {"grid": grid} | ({} if other is None else {"other": flat(other["image"])})
    seen = bind.call(bind.at(hide, step), offers, flat(image), hidden)
    if isinstance(seen, tuple):
      raise BadInput("classify hides by what stands in place of pixels, not by a mask beside them")
    if other is not None:
      share = hidden if hidden.dtype == bool else 1 - hidden
      share = jnp.mean(share.astype(jnp.float32), axis=-1)[:, None]
      target = (1 - share) * target + share * classes(other["label"])
    return Shown(seen.reshape(image.shape), target, hidden.reshape(image.shape[:-1]))

  return show
