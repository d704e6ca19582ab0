"""Masked codes: images become tokens, some are hidden and asked back; decoding makes new images."""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from maskjax import bind
from maskjax.errors import BadInput
from maskjax.hide import fill
from maskjax.keys import keys, stream
from maskjax.record import Record
from maskjax.recover import cross_entropy, patchify, unpatchify
from maskjax.reduce import Term
from maskjax.task.answers import offered
from maskjax.task.base import FROZEN, Aux, Batch, Task, Variables, network_of
from maskjax.task.buckets import kept, smallest
from maskjax.task.tokenize import NAME

OFFERS = ("keys", "grid", "step", "tokens")


def masked_code(
  *,
  record: Record,
  tokenizer: Callable[..., Any],
  model: Callable[..., Any],
  score: functools.partial[Float[Array, "b n"]],
  select: functools.partial[Bool[Array, "b n"]],
  drop: functools.partial[Bool[Array, "b n"]] | None = None,
  recover: Callable[..., Term] = cross_entropy,
  contrast: functools.partial[Term] | None = None,
  contrasting: float = 0.1,
  generate: functools.partial[Any] | None = None,
  keep: int | Sequence[int] | None = None,
  unlabelled: float = 0.1,
) -> Task:
  r"""Hides codes of images and asks for them: $-\sum_{i\,\mathrm{hidden}} \log p(x_i | \tilde x)$.

  The tokenizer is frozen, in the collection "frozen", which begins as a run of `tokenize` says
  (`config.init_from`). One score ranks the codes: `select` says which are hidden, `drop` which of
  the same ranking the encoder does not even see as masks; whatever is dropped is hidden. The
  encoder sees `keep` positions: None means what `drop` leaves, several are buckets, compiled once
  each, of which a step takes the smallest that does. Without `drop` it sees all.
  A model that is told labels is told none for a share `unlabelled` of the examples.
  With `contrast`, a term of weight `contrasting`, the model's `project` layers see each image
  behind two masks, whose vectors are to find each other.

  A score may name `keys` (one per example), `grid`, `step` and `tokens`. Numbers of `select` may be
  drawn for each example. Terms: "masked" and "contrast". Features: of the encoder, nothing hidden.
  Views: "input", "seen" (NaN where hidden), "coded" (the image through the codebook) and
  "prediction", the likeliest codes where hidden. `sample` decodes from nothing by `generate`, and
  is told a batch's labels if the model is.

  Raises:
    BadInput: the data are no images, a word needs what is not offered, nothing is left to see, or
      `contrast` without `project`.
  """
  if record.kind != "image":
    raise BadInput(f"masked_code takes images, the data set holds {record.kind}")
  bind.check(score, OFFERS, "masked_code")
  book = network_of(tokenizer, record)
  grid, n = book.grid, math.prod(book.grid)
  network = bind.call(model, {"codes": book.codes, "grid": grid, "classes": record.classes})
  exact = keep is None
  buckets = kept(keep, drop, grid) if drop is not None else (n,)
  if contrast is not None and not network.project:
    raise BadInput("to contrast, the model needs layers for it: set model.project")
  side = [size // g for size, g in zip(record.shape[:2], grid, strict=True)]

  def read(variables: Variables, batch: Batch) -> Int[Array, "b n"]:
    return book.apply({"params": variables[FROZEN][NAME]}, batch["image"], method="encode")

  def paint(variables: Variables, tokens: Int[Array, "b n"]) -> Float[Array, "b h w c"]:
    return book.apply({"params": variables[FROZEN][NAME]}, tokens, method="decode")

  def choose(
    key: Key[Array, ""], batch: Batch, tokens: Array, step: Any
  ) -> tuple[Bool[Array, "b n"], Bool[Array, "b n"]]:
    """Which codes are hidden, and which of them are dropped: two cuts of one ranking."""
    drawn = keys(stream(key, "mask", step), batch["position"])
    scores = bind.call(score, {"keys": drawn, "grid": grid, "step": step, "tokens": tokens})
    cut = lambda select: bind.call(bind.at(select, step, drawn), {"grid": grid}, scores)
    hidden = cut(select)
    dropped = jnp.zeros_like(hidden) if drop is None else cut(drop)
    return hidden | dropped, dropped

  def labels(key: Key[Array, ""], batch: Batch, step: Any) -> Int[Array, "b"] | None:
    if not network.classes:
      return None
    drawn = keys(stream(key, "label", step), batch["position"])
    told = jax.vmap(jax.random.uniform)(drawn) >= unlabelled
    return jnp.where(told, batch["label"], -1)

  def predict(
    variables: Variables, tokens: Array, hidden: Array, dropped: Array, label: Any, method: str
  ) -> Any:
    see = lambda keep: (
      lambda gone: network.apply(
        {"params": variables["params"]},
        *(tokens, hidden, gone, label),
        keep=keep,
        exact=exact,
        method=method,
      )
    )
    return smallest(buckets, dropped, see)

  def init(key: Key[Array, ""], batch: Batch) -> Variables:
    frozen = book.init(stream(key, "tokenizer"), batch["image"])["params"]
    tokens = jnp.zeros((len(batch["image"]), n), jnp.int32)
    nothing = jnp.zeros(tokens.shape, jnp.bool_)
    label = jnp.zeros(len(tokens), jnp.int32)
    made = network.init(stream(key, "init"), tokens, nothing, nothing, label, keep=n)
    return {"params": made["params"], FROZEN: {NAME: frozen}}

  def loss(
    variables: Variables, batch: Batch, key: Key[Array, ""], step: Any
  ) -> tuple[Mapping[str, Term], Aux]:
    tokens = read(variables, batch)
    hidden, dropped = choose(key, batch, tokens, step)
    label = labels(key, batch, step)
    if contrast is None:
      logits = predict(variables, tokens, hidden, dropped, label, "__call__")
      return {"masked": recover(logits, tokens, hidden)}, Aux()
    others = choose(stream(key, "other"), batch, tokens, step)
    logits, one = predict(variables, tokens, hidden, dropped, label, "both")
    _, two = predict(variables, tokens, *others, label, "both")
    return {"masked": recover(logits, tokens, hidden), "contrast": contrast(one, two)}, Aux()

  def features(
    variables: Variables, batch: Batch, hidden: Bool[Array, "b n"] | None = None
  ) -> Mapping[str, Array]:
    tokens = read(variables, batch)
    return network.apply({"params": variables["params"]}, tokens, hidden, method="encode")

  def whole(variables: Variables, tokens: Array, hidden: Array, label: Any) -> Array:
    """Logits where nothing is dropped."""
    params, nothing = {"params": variables["params"]}, jnp.zeros_like(hidden)
    return network.apply(params, tokens, hidden, nothing, label, keep=n, exact=True)

  def views(
    variables: Variables,
    batch: Batch,
    key: Key[Array, ""],
    step: Any = 0,
    hidden: Array | None = None,
  ) -> Mapping[str, Array]:
    tokens = read(variables, batch)
    chosen, dropped = choose(key, batch, tokens, step)
    if hidden is None:
      hidden = chosen
      logits = predict(variables, tokens, hidden, dropped, None, "__call__")
    else:
      logits = whole(variables, tokens, hidden, None)
    best = jnp.where(hidden, jnp.argmax(logits, axis=-1).astype(tokens.dtype), tokens)
    patches = fill(patchify(batch["image"], side), hidden, jnp.nan)
    return {
      "input": batch["image"],
      "seen": unpatchify(patches, side, grid, record.shape[-1]),
      "coded": paint(variables, tokens),
      "prediction": paint(variables, best),
    }

  def sample(variables: Variables, keys: Key[Array, "b"], batch: Batch) -> Mapping[str, Array]:
    hidden = jnp.ones((*keys.shape, n), jnp.bool_)
    told = lambda label: lambda tokens, hidden: whole(variables, tokens, hidden, label)
    label = batch["label"] if network.classes else None
    words = {"unguided": told(None)} if network.classes else {}
    blank = jnp.zeros(hidden.shape, jnp.int32)
    made = bind.call(generate, words, told(label), keys, blank, hidden)  # type: ignore[arg-type]
    return {**made, "image": paint(variables, made["tokens"])}

  return Task(
    init=init,
    loss=loss,
    weights={"contrast": contrasting},
    network=network,
    coupled=contrast is not None,
    answers=offered(
      features=features, views=views, sample=sample if generate is not None else None
    ),
  )
