"""The scores of one of several candidates."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def best_of(scores: Float[Array, "s *b n"], worth: Float[Array, "s *b"]) -> Float[Array, "*b n"]:
  r"""Of s candidates of each example the scores of the one that is worth most; of equal ones the
  first: $s^{(k)}$ with $k = \arg\max_k w_k$.

  Args:
    scores: of each candidate.
    worth: of each candidate, of the mask that its scores lead to, say.

  Returns:
    The scores of one candidate an example.

  >>> best_of(jnp.array([[0.25, 0.75], [0.5, 0.125]]), jnp.array([1.0, 2.0])).tolist()
  [0.5, 0.125]

  Source: Sadeq, Xu, McAuley, "InforMask", 2022, section 3, where candidates are random masks.
  """
  chosen = jnp.argmax(worth, axis=0)
  return jnp.take_along_axis(scores, chosen[None, ..., None], axis=0)[0]
