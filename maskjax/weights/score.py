"""Scores of weights: how much is it wanted that a weight is zero? Leaf by leaf, high = hide first.

A score names what it needs: `params`, the leaf after the step's update; `gradients`, its gradient,
also where it is hidden; `key`, one for each leaf, the same at every step; `step`, how many updates
there have been; and by its name each tree that was given beside the parameters, a statistic that
was prepared from the data, say.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer, Key


def magnitude(params: Float[Array, "*b"]) -> Float[Array, "*b"]:
  r"""The smallest weights first: $-|w|$, in float32.

  >>> magnitude(jnp.array([-2.0, 0.5])).tolist()
  [-2.0, -0.5]

  Han et al., "Learning both weights and connections", 2015, section 3; Zhu and Gupta, "To prune, or
  not to prune", 2017, section 3.
  """
  return -jnp.abs(params.astype(jnp.float32))


def random(params: Float[Array, "*b"], key: Key[Array, ""]) -> Float[Array, "*b"]:
  """Uniform noise, the same at every step: the control of every other score.

  >>> w = jnp.zeros((2, 3))
  >>> bool(jnp.all(random(w, jax.random.key(0)) == random(w + 1, jax.random.key(0))))
  True
  """
  return jax.random.uniform(key, params.shape)


def resampled(
  params: Float[Array, "*b"], key: Key[Array, ""], step: Integer[Array, ""]
) -> Float[Array, "*b"]:
  """Uniform noise, new at every step: the control of scores that are taken anew.

  Args:
    params: a leaf.
    key: of the leaf.
    step: how many updates there have been.

  Returns:
    Noise of the leaf's shape, in [0, 1).

  >>> w, key = jnp.zeros((2, 3)), jax.random.key(0)
  >>> bool(jnp.any(resampled(w, key, jnp.array(1)) != resampled(w, key, jnp.array(2))))
  True
  """
  return jax.random.uniform(jax.random.fold_in(key, step), params.shape)


def gradient(gradients: Float[Array, "*b"]) -> Float[Array, "*b"]:
  r"""The least gradient first: $-|g|$, in float32; of a hidden weight that of the dense layer.

  >>> gradient(jnp.array([-2.0, 0.5])).tolist()
  [-2.0, -0.5]

  Evci et al., "Rigging the Lottery: Making All Tickets Winners", 2020, section 3 (growth).
  """
  return magnitude(gradients)


def fisher(squared_gradients: Float[Array, "*b"]) -> Float[Array, "*b"]:
  r"""The least informative weights first: $-F$, the diagonal of the Fisher information.

  `squared_gradients` is the mean of the squares of single examples' gradients, as
  `maskjax.task.prepare.squared_gradients` measures it.

  >>> fisher(jnp.array([0.5, 2.0])).tolist()
  [-0.5, -2.0]

  Sung, Nair, Raffel, "Training Neural Networks with Fixed Sparse Masks", 2021, section 3.
  """
  return -squared_gradients


def input_scaled_magnitude(
  params: Float[Array, "*b"], input_norms: Float[Array, "*#b"]
) -> Float[Array, "*b"]:
  r"""The weights that say least to what they meet first: $-|w_{ij}|\,\lVert x_i \rVert_2$.

  `input_norms` are the norms of a layer's inputs, as `maskjax.task.prepare.input_norms` measures
  them. Scores are for comparing the weights of one output.

  >>> input_scaled_magnitude(jnp.array([[1.0], [3.0]]), jnp.array([[6.0], [1.0]])).tolist()
  [[-6.0], [-3.0]]

  Sun et al., "A Simple and Effective Pruning Approach for Large Language Models", 2024, section 3.
  """
  return magnitude(params) * input_norms
