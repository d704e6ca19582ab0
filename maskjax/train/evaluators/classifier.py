"""Multinomial logistic regression, fitted to its optimum."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int


class Scaling(NamedTuple):
  """An affine map of each feature: `(x - mean) * factor`."""

  mean: Float[np.ndarray, "d"]
  factor: Float[np.ndarray, "d"]

  def __call__(self, x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
    """The features, scaled."""
    return (x - self.mean) * self.factor


class Fit(NamedTuple):
  """A linear classifier `x @ weight + bias` and how well its fit converged."""

  weight: Float[Array, "d c"]
  bias: Float[Array, "c"]
  loss: Float[Array, ""]
  gradient: Float[Array, ""]
  steps: Int[Array, ""]


def scaling(x: Float[np.ndarray, "n d"], *, standardize: bool = True) -> Scaling:
  """The map that gives each feature mean 0 and, if `standardize`, deviation 1 over `x`.

  A feature that varies by no more than the rounding of f32 is constant: it is mapped to 0.

  >>> scaling(np.array([[1.0, 7.0], [3.0, 7.0]], np.float32))(np.array([[5.0, 8.0]], np.float32))
  array([[3., 0.]], dtype=float32)
  """
  mean = x.mean(0, dtype=np.float64)
  std = np.sqrt(np.square(x - mean.astype(np.float32)).mean(0, dtype=np.float64))
  varies = std > 1e-6 * np.abs(mean)
  factor = np.where(varies, 1 / np.where(varies, std, 1) if standardize else 1.0, 0.0)
  return Scaling(mean.astype(np.float32), factor.astype(np.float32))


class Axes(NamedTuple):
  """Directions of centred features, and the mean square along each.

  Attributes:
    power: the mean squares.
    directions: of length 1; None: the features themselves.
  """

  power: Float[np.ndarray, "r"]
  directions: Float[np.ndarray, "d r"] | None

  def turn(self, x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n r"]:
    """The features along these directions."""
    return x if self.directions is None else x @ self.directions


def axes(x: Float[np.ndarray, "n d"], most: int = 4096) -> Axes:
  """The principal axes of centred features.

  At most as many as there are examples: the optimum of a penalised classifier lies in their span,
  and of large images the d x d matrix of second moments does not fit in memory.

  Args:
    x: features with mean 0.
    most: of an eigenproblem that is solved; where there are more examples and more features, the
      features stay as they are, and a fit takes more steps to the same optimum.

  >>> power, directions = axes(np.array([[2.0, 0.0, 0.0], [-2.0, 0.0, 0.0]], np.float32))
  >>> power.tolist(), abs(directions).tolist()
  ([4.0], [[1.0], [0.0], [0.0]])
  """
  n, d = x.shape
  if min(n, d) > most:
    return Axes(np.square(x).mean(0), None)
  if d <= n:
    power, directions = np.linalg.eigh((x.T @ x).astype(np.float64) / n)
    return Axes(np.maximum(power, 0).astype(np.float32), directions.astype(np.float32))
  power, mixes = np.linalg.eigh((x @ x.T).astype(np.float64) / n)
  # Centred examples span a direction less than there are examples; what rounding leaves of it goes.
  far = power >= 1e-6 * power.max()
  power, mixes = power[far], mixes[:, far]
  directions = x.T @ (mixes / np.sqrt(np.maximum(n * power, 1e-30)))
  return Axes(power.astype(np.float32), directions.astype(np.float32))


@functools.partial(jax.jit, static_argnames=("classes", "steps"))
def fit(
  x: Float[Array, "n d"],
  y: Int[Array, "n"],
  power: Float[Array, "d"],
  *,
  classes: int,
  l2: float | Float[Array, ""],
  steps: int,
  tolerance: float,
) -> Fit:
  """Minimises mean cross-entropy + l2/2 · ‖weight‖², the bias free, from zero by L-BFGS.

  The optimum is that of scikit-learn's `LogisticRegression(C=1 / (l2 · n))`. `power` is the mean
  square of each feature. L-BFGS (optax, memory 10, zoom line search) runs on v = √curvature ·
  weight, curvature = power / classes + l2: on features turned to their `axes`, which leaves the
  optimum as it was, this is nearly the curvature at zero, and some 30 steps do where 400 did on
  features as they were. It stops when the norm of the gradient in (v, bias) falls to `tolerance`,
  or after `steps`.
  """
  curvature = power / classes + l2
  # The floor, far below any penalty of use, keeps a power of 0 from dividing by 0.
  scale = jax.lax.rsqrt(jnp.maximum(curvature, 1e-6 * curvature.max() + 1e-12))[:, None]

  def loss(parameters):
    weight, bias = scale * parameters[0], parameters[1]
    logits = jnp.matmul(x, weight, precision="highest") + bias
    entropy = optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()
    return entropy + 0.5 * l2 * jnp.sum(weight**2)

  tx = optax.lbfgs(memory_size=10)
  value_and_grad = optax.value_and_grad_from_state(loss)

  def unfinished(carry):
    _, _, step, gradient = carry
    return (step < steps) & (gradient > tolerance)

  def advance(carry):
    parameters, state, step, _ = carry
    value, grad = value_and_grad(parameters, state=state)
    updates, state = tx.update(grad, state, parameters, value=value, grad=grad, value_fn=loss)
    parameters = optax.apply_updates(parameters, updates)
    return parameters, state, step + 1, optax.tree.norm(optax.tree.get(state, "grad"))

  start = (jnp.zeros((x.shape[1], classes)), jnp.zeros(classes))
  first = (start, tx.init(start), jnp.int32(0), jnp.float32(jnp.inf))
  parameters, _, step, gradient = jax.lax.while_loop(unfinished, advance, first)
  return Fit(scale * parameters[0], parameters[1], loss(parameters), gradient, step)


@jax.jit
def predict(fitted: Fit, x: Float[Array, "n d"]) -> Int[Array, "n"]:
  """The likeliest class of each example; ties go to the lower class."""
  logits = jnp.matmul(x, fitted.weight, precision="highest") + fitted.bias
  return jnp.argmax(logits, axis=-1)
