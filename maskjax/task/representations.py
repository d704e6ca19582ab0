"""How representations lie: how much of them is zero, and how many bits they take."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def zero_share(x: Float[Array, "b *n"]) -> Float[Array, "b"]:
  """The share of exact zeros among the numbers of each example.

  >>> zero_share(jnp.array([[0.0, 1.0], [2.0, 3.0]])).tolist()
  [0.5, 0.0]
  """
  return (x == 0).reshape(len(x), -1).mean(axis=-1, dtype=jnp.float32)


def coding_rate(x: Float[Array, "b *h n d"], *, precision: float = 0.01) -> Float[Array, "b"]:
  r"""The lossy coding rate of each example's tokens, in nats, added up over subspaces.

  $\sum_h \frac12 \log\det(I + \frac{d}{n \epsilon} X_h^\top X_h)$ of n tokens of length 1, in
  float32. It is least where all tokens lie on one line, and $\frac d2 \log(1 + 1 / \epsilon)$ a
  subspace where they spread evenly over it.

  Args:
    x: tokens, in each of h subspaces; their length does not matter.
    precision: $\epsilon$, the squared error that a token may be coded with.

  Returns:
    The rate.

  Source: Yu et al. 2023 (CRATE), section 2.2, normalised as in its public code.

  >>> line, spread = jnp.array([[1.0, 0.0], [3.0, 0.0]]), jnp.eye(2)
  >>> [round(float(rate), 2) for rate in coding_rate(jnp.stack([line, spread]))]
  [2.65, 4.62]
  """
  n, d = x.shape[-2:]
  x = x.astype(jnp.float32)
  x = x / jnp.maximum(jnp.linalg.norm(x, axis=-1, keepdims=True), 1e-12)
  gram = jnp.einsum("...nc,...ne->...ce", x, x) * (d / (n * precision))
  rate = 0.5 * jnp.linalg.slogdet(jnp.eye(d) + gram)[1]
  return rate.reshape(len(x), -1).sum(axis=-1)
