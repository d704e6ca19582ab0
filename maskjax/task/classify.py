"""Classification: images and their labels, nothing hidden; the base that other methods mask."""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from maskjax import bind
from maskjax.errors import BadInput
from maskjax.hide import fill
from maskjax.keys import stream
from maskjax.record import Record
from maskjax.reduce import Term
from maskjax.task.base import Aux, Batch, Task, Variables, network_of


def classify(
  *, record: Record, model: functools.partial[Any], recover: functools.partial[Term]
) -> Task:
  """Asks a model for the label of every image.

  `recover` is called with logits, labels and the examples asked: all, or those that a batch calls
  `valid`. A model with batch normalisation makes the task `coupled`: training uses the statistics
  of the valid examples of the whole batch, all else the running ones, which follow each step.
  Term: "recover". Features: those of the model's `encode`. `predict` gives logits.

  Raises:
    BadInput: the data are no images or have no labels, or the model is no classifier.
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

  def init(key: Key[Array, ""], batch: Batch) -> Variables:
    return network.init(stream(key, "init"), batch["image"])

  def loss(
    variables: Variables, batch: Batch, key: Key[Array, ""], step: Any
  ) -> tuple[Mapping[str, Term], Aux]:
    image, label, hidden = batch["image"], batch["label"], None
    asked = batch.get("valid", jnp.ones(label.shape, bool))
    if "valid" in batch:
      padding = jnp.broadcast_to(~asked[:, None, None], image.shape[:-1])
      image, hidden = fill(image, padding, 0.0), padding if coupled else None
    logits, new = network.apply(variables, image, hidden, train=True, mutable=["batch_stats"])
    term = bind.at(recover, step)(logits, label, asked)
    return {"recover": term}, Aux(variables=new)

  def predict(variables: Variables, batch: Batch) -> Float[Array, "b classes"]:
    return network.apply(variables, batch["image"])

  def features(variables: Variables, batch: Batch) -> Mapping[str, Array]:
    return network.apply(variables, batch["image"], method="encode")

  return Task(
    init=init, loss=loss, features=features, network=network, predict=predict, coupled=coupled
  )
