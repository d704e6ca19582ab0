"""Windows of a grid in a decoder: the public code's, shifted ones, and what they reach."""

import functools
import pathlib
import runpy

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file
from toy_mae import masked_autoencoder

from maskjax import hide, units
from maskjax.errors import BadInput
from maskjax.hide.pairs import dense
from maskjax.model.attention import attention
from maskjax.model.masked_decoder import Decoder
from maskjax.model.transformer import transformer

close = runpy.run_path(str(pathlib.Path(__file__).parents[1] / "closeness.py"))["close"]
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
  q, k, v = (rng.normal(size=(2, 3, N, 4)).astype(np.float32) for _ in range(3))
  unit = units.blocks(GRID, WINDOW, shift=shift)
  out = jax.jit(functools.partial(attention, pairs=hide.within(unit)))(q, k, v)
  for cell in np.unique(unit):
    own = np.flatnonzero(unit == cell)
    queries, keys, values = (x[:, :, own] for x in (q, k, v))
    weights = np.exp(queries @ np.swapaxes(keys, -1, -2) / 2)
    alone = weights / weights.sum(-1, keepdims=True) @ values
    close(out[:, :, own], alone, depth=3, terms=8)


def decoder(depth, **changes):
  """A decoder, its variables by their shapes, and tokens."""
  sizes = {"width": 16, "depth": depth, "heads": 2, "outputs": 3, "grid": GRID}
  model = Decoder(**{**sizes, "window": WINDOW, "shift": SHIFT, **changes})
  rng = np.random.default_rng(1)
  tokens = rng.normal(size=(N + 1, 8)).astype(np.float32)
  init = functools.partial(model.init, grid=GRID)
  shapes = jax.eval_shape(init, jax.random.key(0), tokens, np.zeros(N, bool))
  draw = lambda leaf: rng.normal(size=leaf.shape).astype(np.float32) / 4
  return model, jax.tree.map(draw, shapes), tokens


@functools.cache
def reaches():
  """Which tokens each prediction depends on, [n, 1 + n], of several decoders in one program."""
  cases = {
    "one": decoder(1),
    "two": decoder(2),
    "two, not shifted": decoder(2, shift=None),
    "no windows": decoder(1, window=None),
  }

  def slopes(model, variables, tokens):
    hidden = jnp.zeros(N, bool)
    predict = lambda tokens: model.apply(variables, tokens, hidden, GRID).prediction
    _, back = jax.vjp(predict, tokens)
    # One at a time, for each prediction's numbers are weighed by others.
    weights = np.random.default_rng(2).uniform(1, 2, 3).astype(np.float32)
    (slope,) = jax.vmap(back)(jnp.eye(N)[..., None] * weights)
    return jnp.abs(slope).sum(-1) > 0

  models = {name: model for name, (model, _, _) in cases.items()}
  given = {name: rest for name, (_, *rest) in cases.items()}
  run = jax.jit(lambda given: {name: slopes(models[name], *rest) for name, rest in given.items()})
  return jax.device_get(run(given))


def test_a_prediction_depends_on_its_window_and_every_second_block_on_a_shifted_one():
  same = lambda shift: ~np.asarray(dense(hide.within(units.blocks(GRID, WINDOW, shift=shift)), N))
  straight, shifted = same((0, 0)), same(SHIFT)
  found = reaches()
  np.testing.assert_array_equal(found["one"][:, 1:], straight)
  np.testing.assert_array_equal(found["two"][:, 1:], shifted @ straight)
  np.testing.assert_array_equal(found["two, not shifted"][:, 1:], straight)
  assert not found["two"][:, 0].any(), "the class token stays outside"
  assert found["no windows"].all()


def test_turns_are_the_same_in_a_loop_over_blocks():
  (plain, variables, tokens), (scanned, _, _) = decoder(4), decoder(4, scan=True)
  predict = lambda model, v: model.apply(v, tokens, jnp.zeros(N, bool), GRID).prediction
  both = jax.jit(lambda v: (predict(scanned, v), predict(plain, v)))
  close(*both(variables), depth=4 * 6 + 2, terms=64)


def test_another_grid_has_windows_of_its_own():
  model, variables, _ = decoder(2)
  decode = lambda v, tokens: model.apply(v, tokens, jnp.zeros(48, bool), (8, 6)).prediction
  assert jax.eval_shape(decode, variables, np.ones((49, 8), np.float32)).shape == (48, 3)


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
    jax.eval_shape(Three().init, jax.random.key(0), jnp.ones((4, 8)))
  with pytest.raises(BadInput, match="shifted by less than a side"):
    units.blocks(GRID, WINDOW, shift=(4, 0))
