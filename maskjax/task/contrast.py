"""Contrast: of all the others in the batch, which caption, or which other view, is this image's?"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from maskjax import bind
from maskjax.errors import BadInput
from maskjax.hide import fill
from maskjax.keys import keys, stream
from maskjax.record import Record
from maskjax.recover import equal_rows, patchify, unpatchify
from maskjax.reduce import Term
from maskjax.task.answers import offered
from maskjax.task.base import Aux, Batch, Task, Variables, network_of
from maskjax.task.buckets import kept, smallest

OFFERS = ("keys", "grid", "step", "patches")
COMPARED = ("temperature", "positives", "valid")


def contrast(
  *,
  record: Record,
  model: Callable[..., Any],
  score: functools.partial[Float[Array, "b n"]],
  select: functools.partial[Bool[Array, "b n"]],
  recover: functools.partial[Term],
  keep: int | Sequence[int] | None = None,
  equal: bool = False,
) -> Task:
  """Scores and selects patches to hide, and asks which of all captions belongs to what is left.

  A score may name `keys` (one per example), `grid`, `step` and `patches`. The model sees `keep`
  patches: see `kept`; ratios that move have several, so that a run may end with whole images.
  `recover` is called with where the images and their captions lie, and may name `temperature`, as
  the model learns it, `valid`, and `positives`: with `equal` the examples whose captions are equal,
  in the whole batch. (As equal captions lie at one place, the mean over a batch, and its slope, is
  that without; it is the share of each example that differs. It compares all pairs.)
  Data without captions are contrasted with themselves: two views of an image,
  each with a mask of its own.

  Term: "recover", which couples the examples of a batch. Features, of whole images: see the model's
  `encode`; `describe` gives where captions lie. Views: "input", "seen" (NaN where hidden).

  Raises:
    BadInput: no images, a word needs what is not offered, or nothing is left visible.
  """
  if record.kind != "image":
    raise BadInput(f"contrast takes images, the data set holds {record.kind}")
  bind.check(score, OFFERS, "contrast")
  # The first two, what is compared, are handed over by place, not by name.
  bind.check(recover, [*list(bind.needs(recover))[:2], *COMPARED], "contrast")
  network, captioned = network_of(model, record), record.caption > 0
  patch, grid = network.encoder.patch, network.grid
  sizes, exact = kept(keep, select, grid), keep is None

  def cut(batch: Batch) -> Float[Array, "b n p"]:
    return patchify(batch["image"], patch)

  def choose(batch: Batch, key: Key[Array, ""], step: Any, name: str) -> Bool[Array, "b n"]:
    drawn = keys(stream(key, name, step), batch["position"])
    offers = {"keys": drawn, "grid": grid, "step": step, "patches": cut(batch)}
    return bind.call(bind.at(select, step), {"grid": grid}, bind.call(score, offers))

  def look(variables: Variables, batch: Batch, hidden: Bool[Array, "b n"]) -> Float[Array, "b d"]:
    apply = functools.partial(network.apply, variables, cut(batch))
    return smallest(
      sizes, hidden, lambda keep: lambda gone: apply(gone, keep=keep, exact=exact, method="look")
    )

  def describe(variables: Variables, captions: Int[Array, "b m"]) -> Float[Array, "b d"]:
    return network.apply(variables, captions, method="read")

  def init(key: Key[Array, ""], batch: Batch) -> Variables:
    patches, caption = cut(batch), batch.get("caption")
    nothing = jnp.zeros(patches.shape[:-1], jnp.bool_)
    key = stream(key, "init")
    return network.init(key, patches, nothing, caption, keep=sizes[-1], exact=exact)

  def loss(
    variables: Variables, batch: Batch, key: Key[Array, ""], step: Any
  ) -> tuple[Mapping[str, Term], Aux]:
    here = look(variables, batch, choose(batch, key, step, "mask"))
    offers = {"temperature": network.apply(variables, method="sharpness")}
    if captioned:
      there = describe(variables, batch["caption"])
    else:
      there = look(variables, batch, choose(batch, key, step, "other mask"))
    if captioned and equal:
      offers["positives"] = equal_rows(batch["caption"])
    if "valid" in batch:
      offers["valid"] = batch["valid"]
    return {"recover": bind.call(bind.at(recover, step), offers, here, there)}, Aux()

  def features(
    variables: Variables, batch: Batch, hidden: Bool[Array, "b n"] | None = None
  ) -> Mapping[str, Array]:
    left = {} if hidden is None else {"valid": ~hidden}
    return network.apply(variables, cut(batch), **left, method="encode")

  def views(
    variables: Variables, batch: Batch, key: Key[Array, ""], step: Any = 0
  ) -> Mapping[str, Array]:
    hidden = choose(batch, key, step, "mask")
    seen = fill(cut(batch), hidden, jnp.nan)
    shown = unpatchify(seen, patch, grid, record.shape[-1])
    return {"input": batch["image"], "seen": shown}

  def figures(variables: Variables, step: Any) -> Mapping[str, Array]:
    return {"temperature": network.apply(variables, method="sharpness")}

  return Task(
    init=init,
    loss=loss,
    network=network,
    coupled=True,
    figures=figures,
    answers=offered(features=features, views=views, describe=describe if captioned else None),
  )
