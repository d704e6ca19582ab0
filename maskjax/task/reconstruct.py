"""Reconstruction: hide some of an example's patches, ask for them back."""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from maskjax import bind, reduce
from maskjax.errors import BadInput
from maskjax.hide import fill
from maskjax.keys import keys, stream
from maskjax.record import Record
from maskjax.recover import Target, patchify, unpatchify
from maskjax.reduce import Term
from maskjax.task.base import Aux, Batch, Task, Variables
from maskjax.task.scorer import scorer
from maskjax.task.teacher import taught_by, with_teacher

KINDS = ("image", "table")
OFFERS = ("keys", "grid", "step", "patches")
# With one of these bound, a selection hides the same number whatever the scores.
FIXED = ("count", "ratio", "keep")
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
  teach: functools.partial[Term] | None = None,
  teacher: functools.partial[Any] | None = None,
  keep: int | Sequence[int] | None = None,
  seen: float = 0.0,
) -> Task:
  """Scores and selects patches to hide, and asks a model for the target at the hidden ones.

  A score may name `keys` (one per example), `grid` (patches along each axis), `step` and `patches`;
  it may be a linen module, whose parameters `teach` trains, a term that may name `scores`,
  `log_prob` (log softmax of the scores), `reward` (each position's own loss) and `asked`.
  Of a model with a `loss_depth`, `teach` may also name `predicted`, the loss that the model
  foresees at each position from what it sees, and a score `loss`, what is foreseen of each patch
  while all are shown: by the teacher, an average of the parameters that follows them as `teacher`
  says, or where there is none by the model itself.
  The model sees `keep` patches. `None` means all that are visible, which a fixed `count` or `ratio`
  of `select` tells; where that moves, `keep` is several buckets, compiled once each, and a step
  uses the smallest that holds its visible patches (of more than the largest, the later are left
  out).
  Of data with a `valid` for every value, patches with a value that is missing are never seen, never
  asked, and not `allowed` to be selected; they may hold anything, NaN too.
  Terms: "recover", of the hidden patches; with `seen`, its weight, "seen", the same of those that
  the model sees; and "teach". Views, with what moves as at `step`: "input", "seen" (NaN where
  hidden), "prediction", "pasted"; what is missing is NaN in the first two. Where losses are
  foreseen, a number a patch, over the grid: "foreseen" with all patches shown, and, NaN where
  nothing is hidden, "predicted" and the "loss" itself.

  Raises:
    BadInput: data of another kind, a word needs what is not offered, or nothing is left visible.
  """
  if record.kind not in KINDS:
    raise BadInput(f"reconstruct takes images and tables, the data set holds {record.kind}")
  network = model(record_shape=record.shape)
  foresees = getattr(network, "loss_depth", 0) > 0
  scores_of = scorer(score, OFFERS + FORESEEN * foresees, "reconstruct")
  patch, grid = network.encoder.patch, network.encoder.grid
  buckets = _buckets(keep, select, grid)
  exact = keep is None
  aim = target()
  # The loss at each position by itself.
  each = jax.vmap(jax.vmap(lambda p, t, a: recover(p[None], t[None], a[None]).sum))
  if teach is not None:
    bind.check(teach, TEACHING + GUESSED * foresees, "reconstruct")

  def read(batch: Batch) -> tuple[Float[Array, "b n p"], Bool[Array, "b n"] | None]:
    """The patches, and which are there as a whole; None where nothing can be missing."""
    values, valid = batch[record.kind], batch.get("valid")
    patches = patchify(values, patch)
    # One flag an example is not about values: it tells examples from padding of the batch.
    if valid is None or valid.ndim < values.ndim:
      return patches, None
    there = patchify(valid, patch).all(axis=-1)
    return fill(patches, ~there, 0.0), there

  def foresee(variables: Variables, patches: Array, there: Any) -> Float[Array, "b n"]:
    gone = absent(jnp.zeros(patches.shape[:-1], bool), there)
    told = dict(keep=math.prod(grid), exact=there is None, method="foresee")
    return network.apply(taught_by(variables), patches, gone, **told).loss

  def choose(
    variables: Variables, drawn: Key[Array, "b"], patches: Array, there: Any, step: Any
  ) -> tuple[Float[Array, "b n"], Bool[Array, "b n"]]:
    offers = {"keys": drawn, "grid": grid, "step": step, "patches": patches}
    if "loss" in scores_of.names:
      offers["loss"] = foresee(variables, patches, there)
    scores = scores_of.apply(variables["params"], offers)
    around = {"grid": grid} if there is None else {"grid": grid, "allowed": there}
    hidden = bind.call(bind.at(select, step), around, scores)
    return scores, hidden if there is None else hidden & there

  def predict(
    variables: Variables, patches: Array, hidden: Array, there: Any
  ) -> tuple[Float[Array, "b n p"], Float[Array, "b n"] | None]:
    gone, full = absent(hidden, there), exact and there is None
    apply = functools.partial(network.apply, variables, patches, exact=full)
    if foresees:
      see = lambda keep: lambda gone: tuple(apply(gone, keep=keep, method="foresee"))
    else:
      see = lambda keep: lambda gone: (apply(gone, keep=keep), None)
    if len(buckets) == 1:
      return see(buckets[0])(gone)
    needed = reduce.combine(jax.lax.pmax, jnp.max(jnp.sum(~gone, axis=-1, dtype=jnp.int32)))
    bucket = jnp.sum(jnp.asarray(buckets[:-1]) < needed)
    return jax.lax.switch(bucket, [see(keep) for keep in buckets], gone)

  def init(key: Key[Array, ""], batch: Batch) -> Variables:
    patches, _ = read(batch)
    drawn = keys(stream(key, "mask", 0), batch["position"])
    offers = {"keys": drawn, "grid": grid, "step": 0, "patches": patches}
    offers["loss"] = jnp.zeros(patches.shape[:-1])
    taught = scores_of.init(stream(key, "score"), offers)
    hidden = jnp.arange(math.prod(grid)) >= buckets[-1]
    hidden = jnp.broadcast_to(hidden, patches.shape[:-1])
    made = network.init(stream(key, "init"), patches, hidden, keep=buckets[-1], exact=exact)
    return {**made, "params": {**made["params"], **taught}}

  def loss(
    variables: Variables, batch: Batch, key: Key[Array, ""], step: Any
  ) -> tuple[Mapping[str, Term], Aux]:
    patches, there = read(batch)
    drawn = keys(stream(key, "mask", step), batch["position"])
    scores, hidden = choose(variables, drawn, patches, there, step)
    prediction, guess = predict(variables, patches, hidden, there)
    truth = aim.encode(patches)
    terms = {"recover": recover(prediction, truth, hidden)}
    if seen:
      terms["seen"] = recover(prediction, truth, ~absent(hidden, there))
    if teach is not None:
      offers: dict[str, Any] = {"scores": scores, "log_prob": jax.nn.log_softmax(scores)}
      offers |= {"reward": each(prediction, truth, hidden), "predicted": guess, "asked": hidden}
      terms["teach"] = bind.call(teach, offers)
    return terms, Aux()

  def features(variables: Variables, batch: Batch) -> Mapping[str, Array]:
    patches, there = read(batch)
    holes = {} if there is None else {"valid": there}
    return network.apply(variables, patches, **holes, method="encode")

  def impute(variables: Variables, batch: Batch) -> Array:
    patches, there = read(batch)
    gone = absent(jnp.zeros(patches.shape[:-1], bool), there)
    prediction = network.apply(variables, patches, gone, keep=math.prod(grid))
    filled = jnp.where(gone[..., None], aim.decode(prediction, patches), patches)
    return unpatchify(filled, patch, grid, record.shape[-1])

  def views(
    variables: Variables, batch: Batch, key: Key[Array, ""], step: Any = 0
  ) -> Mapping[str, Array]:
    patches, there = read(batch)
    drawn = keys(stream(key, "mask"), batch["position"])
    _, hidden = choose(variables, drawn, patches, there, step)
    raw, guess = predict(variables, patches, hidden, there)
    prediction = aim.decode(raw, patches)
    gone = absent(hidden, there)
    parts = {
      "input": patches if there is None else fill(patches, ~there, jnp.nan),
      "seen": fill(patches, gone, jnp.nan),
      "prediction": prediction,
      "pasted": jnp.where(gone[..., None], prediction, patches),
    }
    shown = {k: unpatchify(part, patch, grid, record.shape[-1]) for k, part in parts.items()}
    if not foresees:
      return shown
    own = each(raw, aim.encode(patches), hidden)
    at_hidden = lambda x: jnp.where(hidden, x, jnp.nan)
    maps = {"predicted": at_hidden(guess), "loss": at_hidden(own)}
    maps["foreseen"] = foresee(variables, patches, there)
    return {**shown, **{name: x.reshape(-1, *grid) for name, x in maps.items()}}

  made = Task(
    init=init,
    loss=loss,
    weights={"seen": seen} if seen else {},
    features=features,
    views=views,
    network=network,
    impute=impute,
  )
  return made if teacher is None else with_teacher(made, teacher)


def absent(hidden: Bool[Array, "b n"], there: Bool[Array, "b n"] | None) -> Bool[Array, "b n"]:
  """What the model does not see: what is hidden, and what is missing."""
  return hidden if there is None else hidden | ~there


def _buckets(
  keep: int | Sequence[int] | None, select: functools.partial[Any], grid: tuple[int, ...]
) -> tuple[int, ...]:
  """Numbers of patches that the model may see, rising."""
  n = math.prod(grid)
  if keep is None:
    given = [v for k, v in select.keywords.items() if k in FIXED and v is not None]
    if not given or any(isinstance(value, bind.Moving) for value in given):
      raise BadInput(f"{select.func.__name__} hides no fixed number of patches: set task.keep")
    keep = n - int(bind.call(select, {"grid": grid}, jnp.zeros(n)).sum())
  buckets = (keep,) if isinstance(keep, int) else tuple(sorted(set(keep)))
  for size in buckets or (0,):
    if not 0 < size <= n:
      raise BadInput(f"{size} of {n} patches would be left visible; at least one is needed")
  return buckets
