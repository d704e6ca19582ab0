import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskjax.errors import BadInput
from maskjax.recover.patches import patch_grid, patchify, unpatchify

axes = st.integers(1, 3).flatmap(
  lambda n: st.tuples(
    st.lists(st.integers(1, 3), min_size=n, max_size=n),
    st.lists(st.integers(1, 3), min_size=n, max_size=n),
  )
)


@settings(max_examples=12, deadline=None)
@given(axes, st.integers(1, 4), st.sampled_from([(), (2,), (2, 3)]))
def test_every_patch_is_the_block_that_slicing_finds(sizes, channels, batch):
  grid, patch = map(tuple, sizes)
  space = tuple(g * p for g, p in zip(grid, patch, strict=True))
  x = np.arange(np.prod((*batch, *space, channels))).reshape(*batch, *space, channels)
  patches = np.asarray(patchify(jnp.asarray(x), patch))
  for n, cell in enumerate(np.ndindex(*grid)):
    block = tuple(slice(c * p, (c + 1) * p) for c, p in zip(cell, patch, strict=True))
    expected = x[(..., *block, slice(None))].reshape(*batch, -1)
    np.testing.assert_array_equal(patches[..., n, :], expected)
  again = unpatchify(jnp.asarray(patches), patch, grid, channels)
  np.testing.assert_array_equal(again, x)


def test_under_jit_and_vmap():
  x = jnp.arange(2 * 4 * 6 * 3.0).reshape(2, 4, 6, 3)
  plain = patchify(x, (2, 3))
  np.testing.assert_array_equal(jax.jit(patchify, static_argnums=1)(x, (2, 3)), plain)
  np.testing.assert_array_equal(jax.vmap(lambda x: patchify(x, (2, 3)))(x), plain)


def test_a_size_that_is_not_divisible_is_named():
  with pytest.raises(BadInput, match=r"size 30 of axis 1 in \(32, 30\) is not divisible by 4"):
    patch_grid((32, 30), (4, 4))
  with pytest.raises(BadInput, match="1 axes"):
    patch_grid((32, 30), (4,))
  with pytest.raises(BadInput, match="needs 2 space axes"):
    patchify(jnp.zeros((4, 3)), (2, 2))


def test_unpatchify_refuses_what_does_not_fit():
  with pytest.raises(BadInput, match="do not fit grid"):
    unpatchify(jnp.zeros((5, 12)), (2, 2), (2, 2), 3)
  with pytest.raises(BadInput, match="differ in their number of axes"):
    unpatchify(jnp.zeros((4, 12)), (2, 2), (4,), 3)
