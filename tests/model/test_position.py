import pathlib

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

from maskjax.errors import BadInput
from maskjax.model.position import resize, resize_table, sincos

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "vit_mae.safetensors"


def test_two_axes_give_the_table_of_published_weights():
  golden = load_file(GOLDEN)
  for name, width in (
    ("vit.embeddings.position_embeddings", 24),
    ("decoder.decoder_pos_embed", 16),
  ):
    np.testing.assert_allclose(sincos((4, 4), width), golden[name][0, 1:], atol=1e-6)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=3), st.integers(6, 21))
def test_every_row_is_its_coordinates_waves(grid, width):
  table, half = sincos(grid, width), width // (2 * len(grid))
  assert table.shape == (np.prod(grid), width)
  omega = [10000 ** (-i / half) for i in range(half)]
  for row, cell in zip(table, np.ndindex(*grid), strict=True):
    waves = [f(c * w) for c in reversed(cell) for f in (np.sin, np.cos) for w in omega]
    np.testing.assert_allclose(row, waves + [0] * (width - len(waves)), atol=1e-6)


@pytest.mark.parametrize("grid", [(7, 5), (2, 3)])
def test_resize_is_bicubic_as_torch_does_it(grid):
  golden = load_file(GOLDEN)
  table = jnp.asarray(golden["vit.embeddings.position_embeddings"][0])
  expected = golden[f"golden.resized_{grid[0]}x{grid[1]}"].reshape(-1, 24)
  np.testing.assert_allclose(resize(table[1:], (4, 4), grid), expected, atol=1e-5)
  both = resize_table(table, (4, 4), grid)
  np.testing.assert_array_equal(both[0], table[0])
  np.testing.assert_allclose(both[1:], expected, atol=1e-5)


def test_the_same_grid_keeps_every_bit():
  table = jnp.asarray(np.random.default_rng(0).normal(size=(6, 4)), jnp.float32)
  np.testing.assert_array_equal(resize(table, (2, 3), (2, 3)), table)
  np.testing.assert_array_equal(resize_table(table, (5,), (5,)), table)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 6)), min_size=1, max_size=3))
def test_resizing_keeps_a_constant_and_mirrors_with_its_input(pairs):
  old, new = zip(*pairs, strict=True)
  constant = resize(jnp.full((int(np.prod(old)), 2), 3.0), old, new)
  np.testing.assert_allclose(constant, np.full((np.prod(new), 2), 3.0), rtol=1e-5)
  table = jnp.asarray(np.random.default_rng(0).normal(size=(np.prod(old), 2)), jnp.float32)
  flipped = resize(table[::-1], old, new)[::-1]
  np.testing.assert_allclose(flipped, resize(table, old, new), atol=1e-5)


def test_what_does_not_fit_is_refused():
  with pytest.raises(BadInput, match="5 positions does not fit grid"):
    resize(jnp.zeros((5, 2)), (2, 2), (3, 3))
  with pytest.raises(BadInput, match="other number of axes"):
    resize(jnp.zeros((4, 2)), (2, 2), (4,))
  with pytest.raises(BadInput, match="does not fit grid"):
    resize_table(jnp.zeros((6, 2)), (2, 2), (3, 3))
  with pytest.raises(BadInput, match="width 3 is too small"):
    sincos((2, 2), 3)
