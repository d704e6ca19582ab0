"""Sparse fine-tuning: an optimiser wrapped so that only selected parameters are ever changed."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from maskjax import bind
from maskjax.errors import BadInput
from maskjax.extras import needs
from maskjax.weights.choose import OFFERS, choice, choose, nothing
from maskjax.weights.held import Held, Passing, PyTree, masks, zero

if TYPE_CHECKING:
  import optax


def update_only(
  tx: "optax.GradientTransformation",
  *,
  select: Callable[..., Any],
  score: Callable[..., Any],
  where: PyTree | Callable[[PyTree], PyTree] | None = None,
  scope: str = "global",
  units: Any = None,
  every: int = 0,
  frozen: bool = True,
  seed: int = 0,
) -> "optax.GradientTransformationExtraArgs":
  """Wraps an optimiser: the parameters that a selection hides stay what they are, bit for bit.

  Masks are of updates, not of weights: hidden = frozen. It is told no gradient of them, so that
  clipping and moments know only the others, and whatever it does to them, weight decay and momentum
  included, is left out. Whatever scales or averages updates belongs inside.

  The masks are chosen once, by `init(params, **given)`: the score may name `params`, `key` and each
  tree in `given`, such as a statistic from `maskjax.task.prepare`. Or, by `every`, they are chosen
  anew before updates, and the score may name `params`, `gradients`, `key` and `step`.

  Args:
    tx: the optimiser.
    select: a bound selection; `partial(select.top, ratio=0.995)` leaves 0.5 % to be updated.
    score: see `maskjax.weights.score`; high = freeze first.
    where: a tree of bools shaped as the parameters, or what gives it for them: which leaves have
      masks. The others are trained whole, a new head, say. None means that all have.
    scope: "global" selects among all leaves together, "layer" in each by itself.
    units: which parameters are selected together, see `hold`.
    every: how many updates the masks last; 0 is for good.
    frozen: whether hidden parameters stay what they are. Otherwise they are only told no gradient:
      momentum goes on, and what was told when they were selected moves them still.
    seed: of the keys that a random score draws from.

  Raises:
    BadInput: an argument that cannot work; on `init`, a tree that does not fit the parameters, a
      score that needs what is not given, or nothing to freeze; on `update`, no parameters.

  >>> import optax
  >>> from functools import partial
  >>> from maskjax.select import top
  >>> from maskjax.weights.score import fisher
  >>> params = {"kernel": jnp.array([3.0, -1.0]), "bias": jnp.ones(2)}
  >>> found = {"kernel": jnp.array([0.1, 0.4]), "bias": jnp.array([0.3, 0.2])}
  >>> tx = update_only(optax.adamw(1.0), score=fisher, select=partial(top, ratio=0.75))
  >>> state = tx.init(params, squared_gradients=found)
  >>> jax.tree.map(lambda x: x.tolist(), masks(state))
  {'bias': [True, True], 'kernel': [True, False]}
  >>> updates, state = tx.update(params, state, params)
  >>> optax.apply_updates(params, updates)["bias"].tolist()
  [1.0, 1.0]

  Sung, Nair, Raffel, "Training Neural Networks with Fixed Sparse Masks", 2021, section 3; Li and
  others, "Gradient-Mask Tuning Elevates the Upper Limits of LLM Performance", 2024 (`every`).
  """
  with needs("train", "weights.update_only"):
    import optax

  if not isinstance(every, int) or every < 0:
    raise BadInput(f"every must be a number of updates, got {every!r}")
  everywhere = lambda params: jax.tree.map(lambda _: True, params)
  how = choice(
    score=score,
    select=select,
    where=everywhere if where is None else where,
    scope=scope,
    units=units,
    regrow=True,
    seed=seed,
  )
  if every:
    bind.check(how.score, (*OFFERS, "gradients"), "update_only")
  tx = optax.with_extra_args_support(tx)

  kind = Held if frozen and not every else Passing

  def init(params: PyTree, **given: PyTree) -> Held:
    step, hidden = jnp.zeros((), jnp.int32), nothing(how, params)
    if not every:
      bind.check(how.score, (*OFFERS, *given), "update_only")
      hidden = choose(how, params, hidden, step, given)
    return kind(step, hidden, tx.init(params))

  def update(
    gradients: PyTree, state: Held, params: PyTree | None = None, **extra: Any
  ) -> tuple[PyTree, Held]:
    if params is None:
      raise BadInput("update_only needs the parameters: update(gradients, state, params)")
    if every:
      given = {"gradients": gradients}
      chosen = lambda: choose(how, params, state.hidden, state.step, given)
      due = state.step % every == 0
      hidden = chosen() if every == 1 else jax.lax.cond(due, chosen, lambda: state.hidden)
      state = state._replace(hidden=hidden)
    updates, inner = tx.update(zero(gradients, state), state.inner, params, **extra)
    after = state._replace(step=optax.safe_increment(state.step), inner=inner)
    if not frozen:
      return updates, after
    # Minus zero is the one number whose addition leaves every float as it is, minus zero included.
    still = lambda u, mask: u if mask is None else jnp.where(mask, jnp.full_like(u, -0.0), u)
    return jax.tree.map(still, updates, masks(state)), after

  return optax.GradientTransformationExtraArgs(init, update)
