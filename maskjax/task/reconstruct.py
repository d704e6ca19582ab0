"""Reconstruction: hide some of an example's patches, ask for them back."""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from maskjax import bind
from maskjax.errors import BadInput
from maskjax.hide import fill
from maskjax.keys import keys, stream
from maskjax.record import Record
from maskjax.recover import Target, patchify, unpatchify
from maskjax.reduce import Term
from maskjax.score import Draw
from maskjax.task.answers import offered
from maskjax.task.base import Aux, Batch, Task, Variables
from maskjax.task.buckets import kept, smallest
from maskjax.task.codec import codec_of
from maskjax.task.scorer import scorer
from maskjax.task.teacher import taught_by, with_teacher

KINDS = ("image", "video", "table")
OFFERS = ("keys", "grid", "step", "patches", "tokens")
TEACHING = ("scores", "log_prob", "reward", "asked")
# Offered besides where the model foresees its own loss: to a score, and to what teaches.
FORESEEN, GUESSED = ("loss",), ("predicted",)


def reconstruct(
  *,
  record: Record,
  model: Callable[..., Any],
  score: functools.partial[Float[Array, "b n"]],
  select: functools.partial[Bool[Array, "b n"]],
  target: Callable[[], Target],
  recover: Callable[..., Term],
  codec: Callable[..., Any] | None = None,
  teach: functools.partial[Term] | None = None,
  teacher: functools.partial[Any] | None = None,
  teaching: float = 1.0,
  keep: int | Sequence[int] | None = None,
  seen: float = 0.0,
) -> Task:
  """Scores and selects patches to hide, and asks a model for the target at the hidden ones.

  A score may name `keys` (one per example), `grid` (patches along each axis), `step`, `patches` and
  `tokens` (as the model embeds them, trained by both); it may be a linen module, whose parameters
  `teach` trains, a term of weight `teaching` that may name `scores`, `log_prob` (that of the score
  where it gives a `Draw`, else log softmax of the scores), `reward` (each position's own loss) and
  `asked`.
  Of a model with a `loss_depth`, `teach` may also name `predicted`, the loss that the model
  foresees at each position from what it sees, and a score `loss`, what is foreseen of each patch
  while all are shown: by the teacher, an average of the parameters that follows them as `teacher`
  says, or where there is none by the model itself.
  The model sees `keep` patches. `None` means all that are visible, which a fixed `count` or `ratio`
  of `select` tells; where that moves, `keep` is several buckets, compiled once each, and a step
  uses the smallest that holds its visible patches (of more than the largest, the later are left
  out).
  With a `codec`, an autoencoder that is given, not trained, patches are those of its latents, and
  so are targets; views are images decoded from them, "prediction" with what is seen in its place.
  Of data with a `valid` for every value, patches with a value that is missing are never seen, never
  asked, and not `allowed` to be selected; they may hold anything, NaN too.
  Terms: "recover", of the hidden patches; with `seen`, its weight, "seen", the same of those that
  the model sees; and "teach". Views, with what moves as at `step`: "input", "seen" (NaN where
  hidden), "prediction", "pasted"; what is missing is NaN in the first two. Of a `Draw` also
  "chance", without channels, each position's share of the largest probability. Where losses are
  foreseen, a number a patch, over the grid: "foreseen" with all patches shown, and, NaN where
  nothing is hidden, "predicted" and the "loss" itself. They take a mask of the caller's own,
  `hidden`.

  Raises:
    BadInput: data of another kind, a word needs what is not offered, nothing is left visible, or
      values may be missing from what a codec encodes.
  """
  if record.kind not in KINDS:
    raise BadInput(f"reconstruct takes images, videos and tables, the data set holds {record.kind}")
  if codec is not None and record.kind == "table":
    raise BadInput("a codec encodes whole examples, and values of a table may be missing")
  lens = codec_of(codec, record)
  network = model(record_shape=lens.shape)
  foresees = getattr(network, "loss_depth", 0) > 0
  scores_of = scorer(score, OFFERS + FORESEEN * foresees, "reconstruct")
  patch, grid = network.encoder.patch, network.encoder.grid
  # What a patch covers of an example.
  cell = tuple(side // n for side, n in zip(record.shape, grid, strict=False))
  buckets = kept(keep, select, grid)
  exact = keep is None
  aim = target()
  # The loss at each position by itself.
  each = jax.vmap(jax.vmap(lambda p, t, a: recover(p[None], t[None], a[None]).sum))
  if teach is not None:
    bind.check(teach, TEACHING + GUESSED * foresees, "reconstruct")

  def read(
    variables: Variables, batch: Batch
  ) -> tuple[Float[Array, "b n p"], Bool[Array, "b n"] | None]:
    """The patches, and which are there as a whole; None where nothing can be missing."""
    values, valid = lens.encode(variables, batch[record.kind]), batch.get("valid")
    patches = patchify(values, patch)
    # One flag an example is not about values: it tells examples from padding of the batch.
    if valid is None or valid.ndim < values.ndim:
      return patches, None
    there = patchify(valid, patch).all(axis=-1)
    return fill(patches, ~there, 0.0), there

  def decoded(variables: Variables, patches: Array) -> Array:
    return lens.decode(variables, unpatchify(patches, patch, grid, lens.shape[-1]))

  def foresee(variables: Variables, patches: Array, there: Any) -> Float[Array, "b n"]:
    gone = absent(jnp.zeros(patches.shape[:-1], bool), there)
    told = dict(keep=math.prod(grid), exact=there is None, method="foresee")
    return network.apply(taught_by(variables), patches, gone, **told).loss

  def offers(
    variables: Variables, drawn: Key[Array, "b"], patches: Array, there: Any, step: Any
  ) -> Mapping[str, Any]:
    given = {"keys": drawn, "grid": grid, "step": step, "patches": patches}
    if "tokens" in scores_of.needs:
      given["tokens"] = network.apply(variables, patches, method="embed")
    if "loss" in scores_of.needs:
      given["loss"] = foresee(variables, patches, there)
    return given

  def choose(
    variables: Variables, drawn: Key[Array, "b"], patches: Array, there: Any, step: Any
  ) -> tuple[Float[Array, "b n"] | Draw, Bool[Array, "b n"]]:
    found = scores_of.apply(variables["params"], offers(variables, drawn, patches, there, step))
    scores = found.scores if isinstance(found, Draw) else found
    around = {"grid": grid} if there is None else {"grid": grid, "allowed": there}
    hidden = bind.call(bind.at(select, step), around, scores)
    return found, hidden if there is None else hidden & there

  def predict(
    variables: Variables, patches: Array, hidden: Array, there: Any, given: bool = False
  ) -> tuple[Float[Array, "b n p"], Float[Array, "b n"] | None]:
    gone, full = absent(hidden, there), exact and there is None and not given
    apply = functools.partial(network.apply, variables, patches, exact=full)
    if foresees:
      see = lambda keep: lambda gone: tuple(apply(gone, keep=keep, method="foresee"))
    else:
      see = lambda keep: lambda gone: (apply(gone, keep=keep), None)
    return smallest(buckets, gone, see)

  def init(key: Key[Array, ""], batch: Batch) -> Variables:
    given = lens.init(key)
    patches, there = read(given, batch)
    nothing = jnp.zeros(patches.shape[:-1], jnp.bool_)
    made = network.init(stream(key, "init"), patches, nothing, keep=buckets[-1], exact=exact)
    made = {**made, **given}
    drawn = keys(stream(key, "mask", 0), batch["position"])
    taught = scores_of.init(stream(key, "score"), offers(made, drawn, patches, there, 0))
    return {**made, "params": {**made["params"], **taught}}

  def loss(
    variables: Variables, batch: Batch, key: Key[Array, ""], step: Any
  ) -> tuple[Mapping[str, Term], Aux]:
    patches, there = read(variables, batch)
    drawn = keys(stream(key, "mask", step), batch["position"])
    found, hidden = choose(variables, drawn, patches, there, step)
    prediction, guess = predict(variables, patches, hidden, there)
    truth = aim.encode(patches)
    terms = {"recover": recover(prediction, truth, hidden)}
    if seen:
      terms["seen"] = recover(prediction, truth, ~absent(hidden, there))
    if teach is not None:
      policy = found if isinstance(found, Draw) else Draw(found, jax.nn.log_softmax(found))
      given = {**policy._asdict(), "asked": hidden, "predicted": guess}
      terms["teach"] = bind.call(teach, {**given, "reward": each(prediction, truth, hidden)})
    return terms, Aux()

  def features(
    variables: Variables, batch: Batch, hidden: Bool[Array, "b n"] | None = None
  ) -> Mapping[str, Array]:
    patches, there = read(variables, batch)
    if hidden is not None:
      there = ~absent(hidden, there)
    holes = {} if there is None else {"valid": there}
    return network.apply(variables, patches, **holes, method="encode")

  def impute(variables: Variables, batch: Batch) -> Array:
    patches, there = read(variables, batch)
    gone = absent(jnp.zeros(patches.shape[:-1], bool), there)
    prediction = network.apply(variables, patches, gone, keep=math.prod(grid))
    filled = jnp.where(gone[..., None], aim.decode(prediction, patches), patches)
    return decoded(variables, filled)

  def views(
    variables: Variables,
    batch: Batch,
    key: Key[Array, ""],
    step: Any = 0,
    hidden: Array | None = None,
  ) -> Mapping[str, Array]:
    patches, there = read(variables, batch)
    found, own = choose(
      variables, keys(stream(key, "mask"), batch["position"]), patches, there, step
    )
    given, hidden = hidden is not None, own if hidden is None else hidden
    raw, guess = predict(variables, patches, hidden, there, given)
    prediction = aim.decode(raw, patches)
    gone = absent(hidden, there)
    cells, whole = patches, prediction
    if codec is not None:
      pasted = jnp.where(gone[..., None], prediction, patches)
      cells, whole = (patchify(x, cell) for x in (batch[record.kind], decoded(variables, pasted)))
    parts = {
      "input": cells if there is None else fill(cells, ~there, jnp.nan),
      "seen": fill(cells, gone, jnp.nan),
      "prediction": whole,
      "pasted": jnp.where(gone[..., None], whole, cells),
    }
    show = lambda part, channels: unpatchify(part, cell, grid, channels)
    shown = {name: show(part, record.shape[-1]) for name, part in parts.items()}
    if isinstance(found, Draw):
      share = jnp.exp(found.log_prob - found.log_prob.max(axis=-1, keepdims=True))
      wide = jnp.broadcast_to(share[..., None], (*share.shape, math.prod(cell)))
      shown["chance"] = show(wide, 1)[..., 0]
    if guess is not None:
      had = each(raw, aim.encode(patches), hidden)
      maps = {
        "predicted": jnp.where(hidden, guess, jnp.nan),
        "loss": jnp.where(hidden, had, jnp.nan),
      }
      maps["foreseen"] = foresee(variables, patches, there)
      shown |= {name: x.reshape(-1, *grid) for name, x in maps.items()}
    return shown

  made = Task(
    init=init,
    loss=loss,
    weights={"seen": seen, "teach": teaching},
    network=network,
    answers=offered(features=features, views=views, impute=impute),
  )
  return made if teacher is None else with_teacher(made, teacher)


def absent(hidden: Bool[Array, "b n"], there: Bool[Array, "b n"] | None) -> Bool[Array, "b n"]:
  """What the model does not see: what is hidden, and what is missing."""
  return hidden if there is None else hidden | ~there
