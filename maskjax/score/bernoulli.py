"""Scores whose sign is a coin: each position is hidden with a probability of its own."""

from jaxtyping import Array, Float, Key

from maskjax.score.noise import uniform


def bernoulli(keys: Key[Array, "*b"], p: Float[Array, "*b n"]) -> Float[Array, "*b n"]:
  r"""Scores above 0 with a probability of each position's own, independent of all others.

  $s_i = p_i - u_i$ with $u_i \sim U[0, 1)$: `select.threshold` with `above=0` hides position i with
  probability $p_i$.

  Args:
    keys: typed, one per example.
    p: probabilities.

  Returns:
    Scores in (-1, 1].

  >>> import jax
  >>> (bernoulli(jax.random.key(0), jax.numpy.array([0.0, 1.0])) > 0).tolist()
  [False, True]
  """
  return p - uniform(keys, p.shape[-1:])
