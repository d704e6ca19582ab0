"""Windows of a grid in a decoder: the public code's, shifted ones, and what they reach."""

import functools
import pathlib

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

from maskjax import hide, units
from maskjax.errors import BadInput
from maskjax.hide.pairs import dense
from maskjax.model.attention import attention
from maskjax.model.masked_autoencoder import Decoder, masked_autoencoder
from maskjax.model.transformer import transformer

GOLDEN = load_file(pathlib.Path(__file__).parents[1] / "golden" / "audio_mae.safetensors")
GRID, WINDOW, SHIFT = (8, 4), (4, 2), (2, 0)
N = 32


@pytest.mark.parametrize("shift", [0, 2])
def test_positions_see_what_they_see_in_the_public_code(shift):
  """There the grid is rolled, cut, and what the roll brought together told apart again."""
  unit = units.blocks((16, 8), (4, 4), shift=(shift, 0))
  np.testing.assert_array_equal(~dense(hide.within(unit), 128), GOLDEN[f"seen/{shift}"])


@pytest.mark.parametrize("shift", [(0, 0), (2, 0), (1, 1)])
def test_equals_attention_in_every_window_by_itself(shift):
  rng = np.random.default_rng(0)
  q, k, v = (jnp.asarray(rng.normal(size=(2, 3, N, 4)), jnp.float32) for _ in range(3))
  unit = units.blocks(GRID, WINDOW, shift=shift)
  out = attention(q, k, v, pairs=hide.within(unit))
  for cell in np.unique(unit):
    own = np.flatnonzero(unit == cell)
    alone = attention(*(x[:, :, own] for x in (q, k, v)))
    np.testing.assert_allclose(out[:, :, own], alone, atol=1e-6)


def decoder(depth, **changes):
  sizes = {"width": 16, "depth": depth, "heads": 2, "outputs": 3, "grid": GRID}
  model = Decoder(**{**sizes, "window": WINDOW, "shift": SHIFT, **changes})
  rng = np.random.default_rng(1)
  tokens = jnp.asarray(rng.normal(size=(N + 1, 8)), jnp.float32)
  hidden = jnp.zeros(N, bool)
  shapes = jax.eval_shape(
    functools.partial(model.init, grid=GRID), jax.random.key(0), tokens, hidden
  )
  draw = lambda leaf: jnp.asarray(rng.normal(size=leaf.shape) / 4, jnp.float32)
  variables = jax.tree.map(draw, shapes)
  return jax.jit(lambda tokens: model.apply(variables, tokens, hidden, GRID).prediction), tokens


def reach(depth, **changes):
  """Which tokens each prediction depends on, [n, 1 + n]."""
  apply, tokens = decoder(depth, **changes)
  return np.asarray(jnp.abs(jax.jacobian(apply)(tokens)).sum((1, 3)) > 0)


def test_a_prediction_depends_on_its_window_and_every_second_block_on_a_shifted_one():
  same = lambda shift: ~np.asarray(dense(hide.within(units.blocks(GRID, WINDOW, shift=shift)), N))
  straight, shifted = same((0, 0)), same(SHIFT)
  np.testing.assert_array_equal(reach(1)[:, 1:], straight)
  np.testing.assert_array_equal(reach(2)[:, 1:], shifted @ straight)
  np.testing.assert_array_equal(reach(2, shift=None)[:, 1:], straight)
  assert not reach(2)[:, 0].any(), "the class token stays outside"
  assert reach(1, window=None).all()


def test_turns_are_the_same_in_a_loop_over_blocks():
  plain, tokens = decoder(4)
  scanned, _ = decoder(4, scan=True)
  np.testing.assert_allclose(scanned(tokens), plain(tokens), atol=1e-5)


def test_another_grid_has_windows_of_its_own():
  sizes = {"width": 16, "depth": 2, "heads": 2, "outputs": 3, "grid": GRID}
  model = Decoder(**sizes, window=WINDOW, shift=SHIFT)
  tokens, hidden = jnp.ones((N + 1, 8)), jnp.zeros(N, bool)
  variables = model.init(jax.random.key(0), tokens, hidden, GRID)
  decoded = model.apply(variables, jnp.ones((49, 8)), jnp.zeros(48, bool), (8, 6))
  assert decoded.prediction.shape == (48, 3)


def test_windows_cost_no_parameters():
  make = functools.partial(masked_autoencoder, record_shape=(16, 8, 1), patch=(2, 2), size="mu")
  count = lambda model: jax.tree.map(
    jnp.shape,
    jax.eval_shape(
      functools.partial(model.init, keep=8), jax.random.key(0), jnp.ones((N, 4)), jnp.zeros(N, bool)
    ),
  )
  small = {"decoder_width": 16, "decoder_depth": 2, "decoder_heads": 2}
  local = make(**small, decoder_window=WINDOW, decoder_shift=SHIFT)
  # But for the class token's row of the position table, a buffer, all is alike.
  assert count(local)["params"] == count(make(**small))["params"]
  assert local.grid == (8, 4)


def test_masks_that_cannot_take_turns_are_refused():
  class Three(nn.Module):
    @nn.compact
    def __call__(self, x):
      return transformer(x, depth=4, heads=2, mlp=8, scan=True, pairs=[None, hide.window(1), None])

  with pytest.raises(BadInput, match="3 masks of pairs cannot take turns in 4 blocks"):
    Three().init(jax.random.key(0), jnp.ones((4, 8)))
  with pytest.raises(BadInput, match="shifted by less than a side"):
    units.blocks(GRID, WINDOW, shift=(4, 0))
