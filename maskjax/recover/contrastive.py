"""Contrastive losses: of all the others, which one belongs to this?"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Num

from maskjax import bind, masks, reduce


@bind.coupled
def info_nce(
  a: Float[Array, "*g b d"],
  b: Float[Array, "*g b d"],
  *,
  temperature: float | Float[Array, ""] = 0.1,
  positives: Bool[Array, "*#g b _"] | None = None,
  valid: Bool[Array, "*#g b"] | None = None,
  axis_name: Any = None,
) -> reduce.Term:
  r"""Symmetric InfoNCE of the pairs (aᵢ, bᵢ), in float32. Couples the examples of a batch.

  $\frac12 \sum_i \frac{1}{|P_i|} \sum_{p \in P_i} -\log \frac{e^{a_i \cdot b_p / \tau}}{\sum_j
  e^{a_i \cdot b_j / \tau}}$ and the same from b to a, vectors brought to length 1; the count is
  that of the valid pairs. $P_i$ holds i and the columns where row i of `positives` is True, say of
  equal captions. Pairs that are not `valid` neither ask nor stand among the others, NaN or not.

  Over a mapped axis, `axis_name` or else `reduce.axis()`, the others of all devices are gathered,
  and each device returns the term of its own examples; `positives` then holds the device's rows,
  columns of all. Under `jit` with sharded inputs there is no such axis. Leading axes are batches
  that do not see each other.

  Args:
    a: one vector an example, of any length.
    b: their partners, in the same order.
    temperature: $\tau$, above 0.
    positives: further examples of which an example is a partner, rows by columns; None: none.
    valid: examples that take part; None: all.
    axis_name: the mapped axis that cuts the batch; None: that of `reduce.axis()`.

  Returns:
    Nats summed over the valid pairs, and the number of these.

  Raises:
    TypeError: `positives` or `valid` are not bool.

  >>> two = jnp.eye(2)
  >>> t = info_nce(two, two, temperature=1.0)
  >>> round(float(t.sum) / int(t.count), 4)
  0.3133

  Source: van den Oord et al., "Representation Learning with Contrastive Predictive Coding", 2018,
  equation 4; symmetric in Radford et al. 2021 (CLIP), section 2.3; several positives in Khosla et
  al. 2020 (SupCon), equation 2.
  """
  *groups, n, _ = a.shape
  valid = jnp.ones((), jnp.bool_) if valid is None else valid
  masks.check(valid=valid)
  valid = jnp.broadcast_to(valid, (*groups, n))
  a, b = (l2_normalize(jnp.where(valid[..., None], x.astype(jnp.float32), 0)) for x in (a, b))
  axis_name = reduce.axis() if axis_name is None else axis_name
  gather, own = lambda x, axis: x, jnp.arange(n)
  if axis_name is not None:
    gather = lambda x, axis: jax.lax.all_gather(x, axis_name, axis=x.ndim + axis, tiled=True)
    own = own + n * jax.lax.axis_index(axis_name)
  all_a, all_b, present = gather(a, -2), gather(b, -2), gather(valid, -1)
  itself = own[:, None] == jnp.arange(present.shape[-1])
  from_a = from_b = itself
  if positives is not None:
    masks.check(positives=positives)
    columns = jnp.swapaxes(gather(positives, -2), -1, -2)
    from_a = itself | positives
    from_b = itself | (columns if axis_name is None else jnp.take(columns, own, axis=-2))
  losses = _pick(a, all_b, from_a, present, temperature)
  losses = losses + _pick(b, all_a, from_b, present, temperature)
  return reduce.term(losses / 2, valid)


def equal_rows(x: Num[Array, "*g b d"], *, axis_name: Any = None) -> Bool[Array, "*g b _"]:
  """Which examples are the same, say have equal captions: the `positives` of `info_nce`.

  Over a mapped axis, `axis_name` or else `reduce.axis()`, a device's rows against those of all.

  >>> equal_rows(jnp.array([[1, 2], [1, 3], [1, 2]])).astype(int).tolist()
  [[1, 0, 1], [0, 1, 0], [1, 0, 1]]
  """
  axis_name = reduce.axis() if axis_name is None else axis_name
  every = x
  if axis_name is not None:
    every = jax.lax.all_gather(x, axis_name, axis=x.ndim - 2, tiled=True)
  return jnp.all(x[..., :, None, :] == every[..., None, :, :], axis=-1)


def l2_normalize(x: Float[Array, "... d"]) -> Float[Array, "... d"]:
  """`x` at length 1; what is shorter than 1e-12 stays as it is.

  >>> [f"{x:.4f}" for x in l2_normalize(jnp.array([3.0, 4.0]))]
  ['0.6000', '0.8000']
  """
  square = jnp.sum(x * x, axis=-1, keepdims=True)
  return x * jax.lax.rsqrt(jnp.where(square > 1e-24, square, 1))


def _pick(
  query: Float[Array, "*g b d"],
  others: Float[Array, "*g m d"],
  positives: Bool[Array, "*#g b m"],
  present: Bool[Array, "*g m"],
  temperature: float | Float[Array, ""],
) -> Float[Array, "*g b"]:
  """The mean surprise of each query's positives among the others that are present."""
  cosine = jnp.einsum("...bd,...md->...bm", query, others, precision="highest")
  there = present[..., None, :]
  # Not -inf: a batch without any valid pair would give NaN, and its gradient too.
  logits = jnp.where(there, cosine / temperature, jnp.finfo(jnp.float32).min)
  return reduce.mean(-jax.nn.log_softmax(logits, axis=-1), positives & there, axis=-1)
