"""Reconstruction: hide some of an image's patches, ask for them back."""

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from maskjax import bind
from maskjax.errors import BadInput
from maskjax.hide import fill
from maskjax.keys import keys, stream
from maskjax.record import Record
from maskjax.recover import Target, patchify, unpatchify
from maskjax.reduce import Term
from maskjax.select import count_of
from maskjax.task.base import Aux, Batch, Task, Variables

OFFERS = ("keys", "grid", "step")


def reconstruct(
  *,
  record: Record,
  model: Callable[..., Any],
  score: functools.partial[Float[Array, "b n"]],
  select: functools.partial[Bool[Array, "b n"]],
  target: Callable[[], Target],
  recover: Callable[..., Term],
  keep: int | None = None,
) -> Task:
  """Scores and selects patches to hide, and asks a model for the target at the hidden ones.

  A score may name `keys` (one per example), `grid` (patches along each axis) and `step`. The model
  sees `keep` patches; `None` means all that are visible, which a `count` or `ratio` of `select`
  tells.
  Terms: "recover". Views: "input", "seen" (NaN where hidden), "prediction", "pasted".

  Raises:
    BadInput: the data are no images, a score needs what is not offered, or nothing is left visible.
  """
  if record.kind != "image":
    raise BadInput(f"reconstruct takes images, the data set holds {record.kind}")
  bind.check(score, OFFERS, "reconstruct")
  network = model(record_shape=record.shape)
  patch, grid = network.encoder.patch, network.encoder.grid
  n, exact = math.prod(grid), keep is None
  if keep is None:
    given = {k: v for k, v in select.keywords.items() if k in ("count", "ratio") and v is not None}
    if not given:
      raise BadInput(f"{select.func.__name__} hides no fixed number of patches: set task.keep")
    keep = n - count_of(n, **given)
  if not 0 < keep <= n:
    raise BadInput(f"{keep} of {n} patches would be left visible; at least one is needed")
  aim = target()

  def choose(key: Key[Array, ""], batch: Batch, step: Any) -> Bool[Array, "b n"]:
    drawn = keys(stream(key, "mask", step), batch["position"])
    return select(bind.call(score, {"keys": drawn, "grid": grid, "step": step}))

  def predict(variables: Variables, patches: Array, hidden: Array) -> Float[Array, "b n p"]:
    return network.apply(variables, patches, hidden, keep=keep, exact=exact)

  def init(key: Key[Array, ""], batch: Batch) -> Variables:
    patches = patchify(batch["image"], patch)
    hidden = choose(key, batch, 0)
    return network.init(stream(key, "init"), patches, hidden, keep=keep, exact=exact)

  def loss(
    variables: Variables, batch: Batch, key: Key[Array, ""], step: Any
  ) -> tuple[Mapping[str, Term], Aux]:
    patches = patchify(batch["image"], patch)
    hidden = choose(key, batch, step)
    prediction = predict(variables, patches, hidden)
    return {"recover": recover(prediction, aim.encode(patches), hidden)}, Aux()

  def features(variables: Variables, batch: Batch) -> Mapping[str, Array]:
    return network.apply(variables, patchify(batch["image"], patch), method="encode")

  def views(variables: Variables, batch: Batch, key: Key[Array, ""]) -> Mapping[str, Array]:
    patches = patchify(batch["image"], patch)
    hidden = choose(key, batch, 0)
    prediction = aim.decode(predict(variables, patches, hidden), patches)
    parts = {
      "input": patches,
      "seen": fill(patches, hidden, jnp.nan),
      "prediction": prediction,
      "pasted": jnp.where(hidden[..., None], prediction, patches),
    }
    return {name: unpatchify(part, patch, grid, record.shape[-1]) for name, part in parts.items()}

  return Task(init=init, loss=loss, features=features, views=views, network=network)
