import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maskjax.errors import BadInput
from maskjax.over.cut import patch_grid, patchify, unpatchify

# Grid, patch, channels, batch: every number of axes, sides of 1, batches of any rank.
CASES = [
  ((3,), (2,), 1, ()),
  ((1,), (3,), 4, (2, 3)),
  ((2, 3), (2, 1), 2, (2,)),
  ((3, 1), (3, 2), 3, ()),
  ((2, 2), (1, 1), 1, (2, 3)),
  ((2, 1, 3), (1, 3, 2), 2, (2,)),
  ((1, 2, 2), (2, 2, 1), 3, (2, 3)),
]


def test_every_patch_is_the_block_that_slicing_finds():
  spaces = [tuple(g * p for g, p in zip(*case[:2], strict=True)) for case in CASES]
  shapes = [(*case[3], *space, case[2]) for case, space in zip(CASES, spaces, strict=True)]
  arrays = [np.arange(np.prod(shape)).reshape(shape) for shape in shapes]

  @jax.jit
  def every(arrays):
    cut = [patchify(x, patch) for x, (_, patch, *_) in zip(arrays, CASES, strict=True)]
    whole = [unpatchify(x, p, g, c) for x, (g, p, c, _) in zip(cut, CASES, strict=True)]
    return list(zip(cut, whole, strict=True))

  for case, x, (patches, again) in zip(CASES, arrays, every(arrays), strict=True):
    grid, patch, _, batch = case
    for n, cell in enumerate(np.ndindex(*grid)):
      block = tuple(slice(c * p, (c + 1) * p) for c, p in zip(cell, patch, strict=True))
      expected = x[(..., *block, slice(None))].reshape(*batch, -1)
      np.testing.assert_array_equal(patches[..., n, :], expected, str(case))
    np.testing.assert_array_equal(again, x, str(case))


def test_under_jit_and_vmap():
  x = jnp.arange(2 * 4 * 6 * 3.0).reshape(2, 4, 6, 3)
  plain = patchify(x, (2, 3))
  cut = lambda x: patchify(x, (2, 3))
  for got in jax.jit(lambda x: (cut(x), jax.vmap(cut)(x)))(x):
    np.testing.assert_array_equal(got, plain)


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
