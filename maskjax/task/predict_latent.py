"""Latent prediction: from a part of an example, what a teacher makes of other parts."""

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from maskjax import bind
from maskjax.errors import BadInput
from maskjax.hide import fill
from maskjax.keys import keys, stream
from maskjax.model.latent_predictor import Predicted
from maskjax.record import Record
from maskjax.recover import Target, patchify, unpatchify
from maskjax.reduce import Term
from maskjax.reduce import mean as masked_mean
from maskjax.select import Views
from maskjax.task.answers import offered
from maskjax.task.base import Aux, Batch, Task, Variables
from maskjax.task.teacher import taught, taught_by, with_teacher

OFFERS = ("keys", "grid", "step")


def predict_latent(
  *,
  record: Record,
  model: Callable[..., Any],
  score: functools.partial[Float[Array, "b m"]],
  select: functools.partial[Views | Bool[Array, "b n"]],
  target: Callable[[], Target],
  recover: Callable[..., Term],
  hide: functools.partial[Any] | None = None,
  teacher: functools.partial[Any] | None = None,
  keep: int | None = None,
  ask: int | None = None,
) -> Task:
  """Shows a part of an example's patches, and asks for a teacher's tokens of others.

  A score may name `keys` (one per example), `grid` and `step`. The selection gives `Views`: what is
  hidden, and one mask or more of what is asked, each predicted by itself; or one mask, of which all
  that is hidden is asked. The teacher, an average of the parameters that follows them as `teacher`
  says, or where there is none the network itself without gradients, encodes the whole example, and
  `target` makes of its tokens what is asked for.
  The network sees at most `keep` patches, and at most `ask` are asked of a view: all of the grid
  unless said. Of more, the later ones are left out; fewer are padded.
  `hide` changes what the mask tokens are told of where they stand; it may name `keys`, one for each
  view of each example, and an argument of it that is drawn `by="example"` is drawn for each view.
  Features are the teacher's, and so is what training comes to.
  Term: "recover". Views, with what moves as at `step`: "input", "seen" and "target 1", "target 2" …
  (NaN where hidden or not asked); over the grid, "loss", NaN where nothing is asked, meaned over
  the views that ask; and by view, "cost" `[b, v]`, its mean loss, and what was drawn for `hide`.

  Raises:
    BadInput: data of another kind, a word needs what is not offered, or nothing is seen or asked.
  """
  if record.kind != "image":
    raise BadInput(f"predict_latent takes images, the data set holds {record.kind}")
  network = model(record_shape=record.shape)
  patch, grid = network.encoder.patch, network.grid
  n = math.prod(grid)
  keep, ask = n if keep is None else keep, n if ask is None else ask
  if not (0 < keep <= n and 0 < ask <= n):
    raise BadInput(f"of {n} patches some are seen and some asked, got {keep=} and {ask=}")
  bind.check(score, OFFERS, "predict_latent")
  if hide is not None:
    bind.check(hide, ("x", "hidden", "keys"), "predict_latent")
  aim = target()
  # The loss at each position by itself.
  each = jax.vmap(jax.vmap(jax.vmap(lambda p, t, a: recover(p[None], t[None], a[None]).sum)))

  def choose(batch: Batch, key: Key[Array, ""], step: Any) -> tuple[Array, Array]:
    """What is hidden, [b n], and what is asked, [b v n]."""
    offers = {"keys": keys(key, batch["position"]), "grid": grid, "step": step}
    found = bind.call(bind.at(select, step), {"grid": grid}, bind.call(score, offers))
    views = found if isinstance(found, Views) else Views(found, found[None])
    return views.hidden, jnp.moveaxis(views.asked, 0, -2)

  def degrading(batch: Batch, key: Key[Array, ""], step: Any, views: int) -> tuple[Any, Any]:
    """How positions are degraded, `(x, hidden) -> x`, and what was drawn for that, by its name."""
    if hide is None:
      return None, {}
    own = jax.vmap(lambda key: keys(key, views))(keys(key, batch["position"]))
    moved = bind.at(hide, step, own)
    each = [k for k, v in hide.keywords.items() if isinstance(v, bind.Moving) and v.each]
    degrade = lambda x, hidden: bind.call(moved, {"keys": own}, x, hidden)
    return degrade, {name: moved.keywords[name] for name in each}

  def predict(
    variables: Variables, batch: Batch, key: Key[Array, ""], step: Any
  ) -> tuple[Predicted, Array, tuple[Array, Array], Mapping[str, Array]]:
    """What is predicted, the truth there, the masks, and what was drawn."""
    patches = patchify(batch["image"], patch)
    hidden, asked = choose(batch, stream(key, "mask", step), step)
    degrade, drawn = degrading(batch, stream(key, "hide", step), step, asked.shape[-2])
    given = dict(keep=keep, ask=ask, degrade=degrade)
    found = network.apply(variables, patches, hidden, asked, **given)
    tokens = network.apply(taught_by(variables), patches, method="encode")["tokens"]
    at = found.index[..., None]
    truth = jnp.take_along_axis(aim.encode(tokens)[..., None, :, :], at, axis=-2)
    return found, truth, (hidden, asked), drawn

  def init(key: Key[Array, ""], batch: Batch) -> Variables:
    patches = patchify(batch["image"], patch)
    nothing = jnp.zeros(patches.shape[:-1], jnp.bool_)
    return network.init(stream(key, "init"), patches, nothing, ~nothing[:, None], keep=1, ask=1)

  def loss(
    variables: Variables, batch: Batch, key: Key[Array, ""], step: Any
  ) -> tuple[Mapping[str, Term], Aux]:
    found, truth, *_ = predict(variables, batch, key, step)
    return {"recover": recover(found.tokens, truth, found.valid)}, Aux()

  def features(
    variables: Variables, batch: Batch, hidden: Bool[Array, "b n"] | None = None
  ) -> Mapping[str, Array]:
    holes = {} if hidden is None else {"valid": ~hidden}
    patches = patchify(batch["image"], patch)
    return network.apply(taught(variables), patches, **holes, method="encode")

  def views(
    variables: Variables, batch: Batch, key: Key[Array, ""], step: Any = 0
  ) -> Mapping[str, Array]:
    found, truth, (hidden, asked), drawn = predict(variables, batch, key, step)
    costs = each(found.tokens, truth, found.valid)
    whole = jnp.where(asked, _spread(costs, found, n), 0)
    often = asked.sum(axis=-2)
    loss = jnp.where(often > 0, whole.sum(axis=-2) / jnp.maximum(often, 1), jnp.nan)
    patches = patchify(batch["image"], patch)
    show = lambda gone: unpatchify(fill(patches, gone, jnp.nan), patch, grid, record.shape[-1])
    targets = {f"target {i + 1}": show(~asked[:, i]) for i in range(asked.shape[-2])}
    return {
      "input": batch["image"],
      "seen": show(hidden),
      **targets,
      "loss": loss.reshape(-1, *grid),
      "cost": masked_mean(costs, found.valid, axis=-1),
      **drawn,
    }

  made = Task(init, loss, network=network, answers=offered(features=features, views=views))
  return made if teacher is None else with_teacher(made, teacher)._replace(final=taught)


def _spread(costs: Float[Array, "b v k"], found: Predicted, n: int) -> Float[Array, "b v n"]:
  """Numbers at the positions that they are of, zero elsewhere."""
  at = jax.nn.one_hot(found.index, n) * found.valid[..., None]
  return jnp.einsum("bvk,bvkn->bvn", costs, at)
