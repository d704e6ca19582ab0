"""A mask is bool."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maskjax import masks


def test_bool_arrays_pass_traced_or_not():
  masks.check(hidden=jnp.array([True]), asked=np.array([False]))
  jax.jit(lambda m: masks.check(hidden=m))(jnp.array([True]))


@pytest.mark.parametrize(
  ("mask", "came"),
  [
    (jnp.array([0, 1]), "an array of int32"),
    (np.array([0.0]), "an array of float64"),
    ([True], "list"),
    (None, "NoneType"),
  ],
)
def test_others_are_named(mask, came):
  with pytest.raises(TypeError, match=f"^hidden is a mask of bool, got {came}$"):
    masks.check(hidden=mask)


def test_conventions_convert_and_refuse_other_types():
  hidden = jnp.array([[True, False, False]])
  np.testing.assert_array_equal(masks.from_keep(masks.to_keep(hidden)), hidden)
  for convert in (masks.to_keep, masks.from_keep, lambda m: masks.to_attend(m, queries=2)):
    with pytest.raises(TypeError, match="is a mask of bool"):
      convert(jnp.array([[1, 0, 0]]))


def test_attention_of_jax_sees_what_is_not_hidden():

  @jax.jit
  def both(q, k, v, hidden):
    attend = masks.to_attend(hidden, queries=3)
    ours = jax.nn.dot_product_attention(q, k, v, mask=attend)
    return ours, jax.nn.dot_product_attention(q, k[:, ::2], v[:, ::2])

  given = np.random.default_rng(0).standard_normal((3, 1, 3, 1, 4), np.float32)
  np.testing.assert_allclose(*both(*given, np.array([[False, True, False]])), rtol=1e-5)
