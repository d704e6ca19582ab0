"""Sparse fine-tuning: an optimiser wrapped so that only selected parameters are ever changed."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from maskjax import bind
from maskjax.errors import BadInput
from maskjax.extras import needs
from maskjax.weights.choose import OFFERS, choice, choose, nothing
from maskjax.weights.held import Held, PyTree, masks, zero

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
  seed: int = 0,
) -> "optax.GradientTransformationExtraArgs":
  """Wraps an optimiser: the parameters that a selection hides stay what they are, bit for bit.

  Masks are of updates, not of weights: hidden = frozen. It is told no gradient of them, so that
  clipping and moments know only the others, and whatever it does to them, weight decay and momentum
  included, is left out. Whatever scales or averages updates belongs inside.

  The masks are chosen once, by `init(params, **given)`: the score may name `params`, `key` and each
  tree in `given`, such as a statistic from `maskjax.task.prepare`. They never change.

  Args:
    tx: the optimiser.
    select: a bound selection; `partial(select.top, ratio=0.995)` leaves 0.5 % to be updated.
    score: see `maskjax.weights.score`; high = freeze first.
    where: a tree of bools shaped as the parameters, or what gives it for them: which leaves have
      masks. The others are trained whole, a new head, say. None means that all have.
    scope: "global" selects among all leaves together, "layer" in each by itself.
    units: which parameters are selected together, see `hold`.
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

  Sung, Nair, Raffel, "Training Neural Networks with Fixed Sparse Masks", 2021, section 3.
  """
  with needs("train", "weights.update_only"):
    import optax

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
  tx = optax.with_extra_args_support(tx)

  def init(params: PyTree, **given: PyTree) -> Held:
    bind.check(how.score, (*OFFERS, *given), "update_only")
    step = jnp.zeros((), jnp.int32)
    hidden = choose(how, params, nothing(how, params), step, given)
    return Held(step, hidden, tx.init(params))

  def update(
    gradients: PyTree, state: Held, params: PyTree | None = None, **extra: Any
  ) -> tuple[PyTree, Held]:
    if params is None:
      raise BadInput("update_only needs the parameters: update(gradients, state, params)")
    updates, inner = tx.update(zero(gradients, state), state.inner, params, **extra)
    # Minus zero is the one number whose addition leaves every float as it is, minus zero included.
    still = lambda u, mask: u if mask is None else jnp.where(mask, jnp.full_like(u, -0.0), u)
    after = Held(optax.safe_increment(state.step), state.hidden, inner)
    return jax.tree.map(still, updates, masks(state)), after

  return optax.GradientTransformationExtraArgs(init, update)
