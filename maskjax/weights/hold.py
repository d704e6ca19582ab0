"""Pruning: an optimiser wrapped so that the weights which a selection hides stay exactly zero."""

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from maskjax import bind
from maskjax.errors import BadInput
from maskjax.extras import needs
from maskjax.weights.choose import OFFERS, choice, choose, nothing, outer
from maskjax.weights.held import Held, PyTree, forgotten, masks, zero
from maskjax.weights.score import magnitude

if TYPE_CHECKING:
  import optax


def hold(
  tx: "optax.GradientTransformation",
  *,
  select: Callable[..., Any],
  score: Callable[..., Any] = magnitude,
  where: PyTree | Callable[[PyTree], PyTree] | None = None,
  scope: str = "layer",
  every: int = 1,
  units: Any = None,
  regrow: bool = False,
  within: Callable[..., Any] | None = None,
  drop: Any = 0.0,
  grow: Callable[..., Any] | None = None,
  seed: int = 0,
) -> "optax.GradientTransformationExtraArgs":
  """Wraps an optimiser: after every update the hidden weights are exactly zero, whatever it does.

  It is told no gradient of hidden weights, so that clipping and moments know only the living ones,
  and its updates of them are replaced by minus the weight. Whatever scales or averages updates
  belongs inside: clipping, weight decay, momentum, `optax.MultiSteps`, frozen parameters.

  Masks are chosen anew after every `every`-th update, from the updated weights, with moving
  arguments of `score` and `select` at the number of updates made: a schedule's end holds after the
  last update of a run whose length `every` divides. Between, and before the first, nothing is spent
  on it. A weight that is not finite cannot be brought to zero by adding to it.

  Args:
    tx: the optimiser.
    select: a bound selection, such as `partial(select.top, ratio=0.9)` or `partial(select.n_of_m,
      keep=2, of=4, axis=-2)`, along the input axis of linen kernels. Where its `axis` may be None
      and is not bound, all weights of a leaf compete.
    score: see `maskjax.weights.score`.
    where: a tree of bools shaped as the parameters, or what gives it for them: which leaves have
      masks. None means those with two axes or more.
    scope: "layer" selects in each leaf by itself, "global" once for all of them together.
    every: updates from one choice of masks to the next.
    units: hides units instead of single weights: (axis, size) is a run of `size` indices along
      `axis`, whole along all other axes. (-1, 1) are the output neurons of a linen kernel, (0, d)
      the heads of width d in the kernel of an attention's output. Or a tree shaped as the
      parameters, or what gives it for them, of such pairs and None. A unit's score is the mean of
      its weights', and what the selection counts are units.
    regrow: whether a hidden weight may come back for one with a higher score. Otherwise it stays
      hidden unless the selection hides fewer than before.
    within: `{name: leaf} -> {name: hidden}`, masks of the chosen leaves by their names, such as
      `partial(weights.fixed_masks, density=0.2)`. What they hide is hidden from before the first
      step on, see `begun`, and for good; what `select` hides counts it, and comes beside it.
    drop: the share of the living weights of each leaf that is exchanged at each choice, rounded up,
      after `select` has hidden its own: those of the highest score. May move.
    grow: their exchange, as many hidden weights, the ones just dropped among them: those of the
      lowest score, such as `weights.gradient`. Its key is another at each step. A weight that comes
      back begins at zero, and with it all that the optimiser keeps of it.
    seed: of the keys that random scores draw from.

  Raises:
    BadInput: an argument that cannot work; on `init`, a tree that does not fit the parameters, or
      no weight to hide; on `update`, no parameters.

  >>> import optax
  >>> from functools import partial
  >>> from maskjax.select import top
  >>> tx = hold(optax.sgd(0.1), select=partial(top, ratio=0.5))
  >>> params = {"kernel": jnp.array([[3.0, -1.0], [0.5, 2.0]]), "bias": jnp.ones(2)}
  >>> updates, state = tx.update(jax.tree.map(jnp.zeros_like, params), tx.init(params), params)
  >>> optax.apply_updates(params, updates)["kernel"].tolist()
  [[3.0, 0.0], [0.0, 2.0]]
  >>> masks(state)["kernel"].tolist()
  [[False, True], [True, False]]

  Zhu and Gupta, "To prune, or not to prune", 2017; Mishra et al., "Accelerating sparse deep neural
  networks", 2021 (2:4); Michel et al., "Are sixteen heads really better than one?", 2019.
  """
  with needs("train", "weights.hold"):
    import optax

  if not isinstance(every, int) or every < 1:
    raise BadInput(f"every must be a positive number of updates, got {every!r}")
  how = choice(
    score=score, select=select, where=where, scope=scope, units=units, regrow=regrow, seed=seed,
    within=within, drop=drop, grow=None if grow is None else functools.partial(grow),
  )  # fmt: skip
  for named in filter(None, (how.score, how.grow)):
    bind.check(named, (*OFFERS, "gradients"), "hold")
  tx = optax.with_extra_args_support(tx)

  def init(params: PyTree) -> Held:
    ever, none = outer(how, params), nothing(how, params)
    return Held(jnp.zeros((), jnp.int32), none if ever is None else ever, tx.init(params), ever)

  def update(
    gradients: PyTree, state: Held, params: PyTree | None = None, **extra: Any
  ) -> tuple[PyTree, Held]:
    if params is None:
      raise BadInput("hold needs the parameters: update(gradients, state, params)")
    step = optax.safe_increment(state.step)
    updates, inner = tx.update(zero(gradients, state), state.inner, params, **extra)

    def chosen() -> PyTree:
      updated = zero(optax.apply_updates(params, updates), state)
      return choose(how, updated, state.hidden, step, {"gradients": gradients}, state.outer)

    if every == 1:
      hidden = chosen()
    else:
      hidden = jax.lax.cond(step % every == 0, chosen, lambda: state.hidden)
    gone, held = masks(Held(step, hidden, inner)), masks(state)
    if regrow or grow is not None:
      back = lambda was, now: None if was is None else was & ~now
      grown = jax.tree.map(back, held, gone, is_leaf=lambda x: x is None)
      inner = forgotten(inner, params, grown)
    # p + (-p) is exactly zero in every float: the caller adds in the wider of the two types. A
    # weight that comes back is zero too, whatever the optimiser made of it while it was hidden.
    erase = lambda p, u, was, now: u if now is None else jnp.where(was | now, -p, u)
    return jax.tree.map(erase, params, updates, held, gone), Held(step, hidden, inner, state.outer)

  return optax.GradientTransformationExtraArgs(init, update)
