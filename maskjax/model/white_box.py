"""White-box transformer blocks: each is a step of an optimisation that codes tokens sparsely."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from maskjax.errors import BadInput
from maskjax.model.attention import attention, weights
from maskjax.model.dense import Dense
from maskjax.model.norm import LayerNorm
from maskjax.model.places import NOWHERE, Places


def ista_step(
  x: Float[Array, "*b d"],
  dictionary: Float[Array, "d d"],
  *,
  step_size: float = 0.1,
  penalty: float = 0.5,
) -> Float[Array, "*b d"]:
  r"""One step of iterative shrinkage-thresholding (ISTA) towards a non-negative sparse code.

  $\mathrm{relu}(x + \eta D^\top (x - D x) - \eta \lambda)$: a step from x itself that lowers
  $\frac12 \|x - D a\|^2 + \lambda \|a\|_1$ over $a \ge 0$.

  Args:
    x: rows that are coded, and where their codes begin.
    dictionary: D, an atom a column.
    step_size: $\eta$.
    penalty: $\lambda$, what a unit of a code costs.

  Returns:
    The codes, zeros among them.

  Source: Yu et al. 2023 (CRATE), section 2.4; Beck, Teboulle 2009 (ISTA).

  >>> ista_step(jnp.array([1.0, -1.0, 0.25]), jnp.eye(3), step_size=0.25, penalty=1.0).tolist()
  [0.75, 0.0, 0.0]
  """
  residual = x - x @ dictionary.T
  return jax.nn.relu(x + step_size * (residual @ dictionary) - step_size * penalty)


class SubspaceAttention(nn.Module):
  r"""Multi-head subspace self-attention (MSSA): one projection is queries, keys and values.

  $\mathrm{out}\,[U_h x\, \mathrm{softmax}((U_h x)^\top U_h x / \sqrt{k})]_h$, where $U_h$ takes a
  token to head h's k numbers; with $\mathrm{out} = U^\top$ it is a gradient step on the coding rate
  of tokens in these subspaces, approximately. Here, as in the public code, it is learned freely,
  with a bias. Places are those of a transformer's attention; the projections, `[*b heads n k]`, are
  told as "projections".

  Source: Yu et al. 2023 (CRATE), section 2.3.
  """

  heads: int
  dtype: str = "float32"

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "*b n d"],
    valid: Bool[Array, "*b n"] | None = None,
    at: Places = NOWHERE,
    position_bias: Float[Array, "*#b #h #n #n"] | None = None,
  ) -> Float[Array, "*b n d"]:
    """Mixes the tokens; those where `valid` is False are seen by none."""
    *batch, n, width = x.shape
    dense = partial(Dense, width, dtype=self.dtype, kernel_init=nn.initializers.xavier_uniform())
    own = dense(use_bias=False, name="projection")(x).reshape(*batch, n, self.heads, -1)
    own = jnp.swapaxes(own, -2, -3)
    self.sow("intermediates", "projections", own)
    if at.taps("attention"):
      at.tap("attention", weights(own, own, valid=valid, bias=position_bias))
    gate = at.gate("attention", (*own.shape[:-1], n))
    mixed = attention(own, own, own, valid=valid, bias=position_bias, gate=gate)
    mixed = at("heads", jnp.swapaxes(mixed, -2, -3))
    return dense(name="out")(mixed.reshape(*batch, n, width))


class SparseCodingBlock(nn.Module):
  r"""An encoder's block that compresses tokens by subspace attention and then codes them sparsely.

  $z = x + \mathrm{MSSA}(\mathrm{norm}_1 x)$, then the `ista_step` of $\mathrm{norm}_2 z$, around
  which nothing leads: what comes out is not negative, and much of it is 0.

  Attributes:
    heads: subspaces.
    dtype: of the computation.
    step_size, penalty: of `ista_step`.
    norm_eps: added to the variance in both normalisations.

  Source: Yu et al. 2023 (CRATE), section 2.5.
  """

  heads: int
  dtype: str = "float32"
  step_size: float = 0.1
  penalty: float = 0.5
  norm_eps: float = 1e-5

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "*b n d"],
    valid: Bool[Array, "*b n"] | None = None,
    segments: Int[Array, "*b n"] | None = None,
    start: int | Int[Array, ""] | None = None,
    position_bias: Float[Array, "*#b #h #n #n"] | None = None,
  ) -> Float[Array, "*b n d"]:
    """Tokens to sparse codes of them; `BadInput` with segments or a cache."""
    _whole(segments, start)
    at = Places(self, x)
    x = at("input", x)
    norm = partial(LayerNorm, epsilon=self.norm_eps, dtype=self.dtype)
    mix = SubspaceAttention(self.heads, self.dtype, name="attention")
    x = norm(name="norm2")(x + mix(norm(name="norm1")(x), valid, at, position_bias))
    coded = ista_step(x, _dictionary(self, x), step_size=self.step_size, penalty=self.penalty)
    return at("output", coded)


class SparseDecodingBlock(nn.Module):
  r"""A decoder's block that leads back from sparse codes: a dictionary, then attention taken away.

  $z = D\,\mathrm{norm}_1 x$, then $z - \mathrm{MSSA}(\mathrm{norm}_2 z)$: roughly what a
  `SparseCodingBlock` did is undone, in the order turned round.

  Attributes:
    heads: subspaces.
    dtype: of the computation.
    norm_eps: added to the variance in both normalisations.

  Source: Pai et al. 2024 (CRATE-MAE), by its public code.
  """

  heads: int
  dtype: str = "float32"
  norm_eps: float = 1e-5

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "*b n d"],
    valid: Bool[Array, "*b n"] | None = None,
    segments: Int[Array, "*b n"] | None = None,
    start: int | Int[Array, ""] | None = None,
    position_bias: Float[Array, "*#b #h #n #n"] | None = None,
  ) -> Float[Array, "*b n d"]:
    """Codes to tokens; `BadInput` with segments or a cache."""
    _whole(segments, start)
    at = Places(self, x)
    norm = partial(LayerNorm, epsilon=self.norm_eps, dtype=self.dtype)
    x = norm(name="norm1")(at("input", x))
    x = x @ _dictionary(self, x).T
    mix = SubspaceAttention(self.heads, self.dtype, name="attention")
    return at("output", x - mix(norm(name="norm2")(x), valid, at, position_bias))


def _dictionary(block: nn.Module, x: Float[Array, "*b d"]) -> Float[Array, "d d"]:
  """The learned dictionary of a block, as many atoms as channels."""
  shape = (x.shape[-1], x.shape[-1])
  init = nn.initializers.he_uniform()
  return block.param("dictionary", init, shape, jnp.float32).astype(x.dtype)


def _whole(segments: Array | None, start: int | Array | None) -> None:
  """Raises `BadInput` for what asks for masks of pairs, which these blocks have not."""
  if segments is not None or start is not None:
    raise BadInput("white-box blocks see all tokens at once: no segments, no cache")
