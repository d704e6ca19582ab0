"""CRATE-MAE (Pai et al. 2024): blocks in closed form, mask tokens in the encoder, MAE's mask."""

import pathlib
import runpy

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from built import Built
from sparse_steps import coded, normed, uncoded

from maskjax import lab

close = runpy.run_path(str(pathlib.Path(__file__).parents[1] / "closeness.py"))["close"]
# Three blocks of eight products, what embeds and what predicts; sums over a patch's pixels or 16.
SUMS = dict(depth=26, terms=48)


def test_the_mask_is_maes(built, ignores_the_grid):
  assert ignores_the_grid(built("crate_mae").masks["hidden"], (14, 14)) == [147]


@pytest.fixture(scope="module")
def run():
  """A config on patches that are not square, from parameters away from where they begin.

  What it says of them, and again with NaN where it hides.
  """

  def change(c):
    c.over.patch = (4, 2)
    c.total_steps, c.optimizer.warmup_steps = 10, 0

  made, rng = Built("crate_mae", "laptop", change), np.random.default_rng(2)
  initial = made.initial
  draw = lambda leaf: (rng.normal(size=leaf.shape) / 3).astype(np.float32)
  params = jax.tree.map(draw, made.shapes["params"])
  names = ("hidden", "positions", "values", "prediction", "losses.recover", "out.tokens")
  names += ("zeros_0", "zeros_1", "rate_0", "rate_1")

  @jax.jit
  def both(params, batch):
    variables, key = {**initial, "params": params}, jax.random.key(0)
    values = lambda given: made.task.loss.__self__.run(variables, batch, key, 0, given=given)[0]
    first = dict(zip(names, values({}).all(names), strict=True))
    shown = jnp.where(first["hidden"][..., None], jnp.nan, first["values"])
    shown = first.pop("positions")._replace(values=shown)
    return first, values({"positions": shown}).all(("prediction",))[0]

  return made.config, {**initial, "params": params}, *jax.device_get(both(params, made.batch))


def test_encoder_and_decoder_are_the_steps_in_closed_form(run):
  config, variables, said, _ = run
  exact = jax.tree.map(np.float64, variables)
  own, table = exact["params"], exact["buffers"]["encoder"]["position"]
  encoder, decoder, heads = own["encoder"], own["decoder"], config["model"]["encoder"]["heads"]
  hidden, x = said["hidden"], said["values"] @ encoder["embed"]["kernel"]
  x = np.where(hidden[..., None], own["hide.embedded.0"]["token"], x + encoder["embed"]["bias"])
  first = np.broadcast_to(encoder["class_token"], (len(x), 1, x.shape[-1]))
  x, everything = np.concatenate([first, x], 1) + table, np.ones((1, 1 + x.shape[1]), bool)
  for i in range(2):
    x = coded(encoder[f"block_{i:02d}"], x, everything, heads, 0.1, 0.5)
    np.testing.assert_allclose(said[f"zeros_{i}"], (x == 0).mean((1, 2)), atol=2 / x[0].size)
    assert (said[f"rate_{i}"] > 0).all()
  x = normed(encoder["norm"], x, 1e-6)
  close(said["out.tokens"], x[:, 1:], **SUMS)
  x = normed(decoder["norm"], uncoded(decoder["block_00"], x, everything, heads), 1e-6)
  expected = (x @ decoder["predict"]["kernel"] + decoder["predict"]["bias"])[:, 1:]
  close(said["prediction"], expected, **SUMS)
  loss = ((expected - said["values"]) ** 2).mean(-1)[hidden].mean()
  total = said["losses.recover"]
  np.testing.assert_allclose(total.sum / total.count, loss, rtol=1e-5)


def test_nothing_hidden_is_seen(run):
  *_, said, without = run
  np.testing.assert_array_equal(said["prediction"], without)


def test_blocks_have_a_quarter_of_a_transformers_parameters_and_arms_as_many_or_four_times():
  # The public code's MAE of this size, with a decoder of the encoder's width: 12 + 8 blocks, what
  # embeds, predicts and leads to the decoder, two norms and two tokens.
  w = 768
  theirs = 20 * (12 * w**2 + 13 * w) + 3 * (w**2 + w) + 6 * w
  assert 0.3 < lab.note("crate_mae")["scale"]["parameters"] / theirs < 0.31

  def size(preset):
    full = lambda c: setattr(c, "model", lab.read(f"crate_mae:{preset}").model)
    shapes = Built("crate_mae", preset, full).shapes["params"]
    parts = {**shapes["encoder"], **{f"decoder_{k}": v for k, v in shapes["decoder"].items()}}
    blocks = [part for name, part in parts.items() if "block" in name]
    return len(blocks), sum(x.size for x in jax.tree.leaves(blocks))

  (four, own), (same, wide), (again, narrow) = map(size, ("laptop", "transformer", "narrow"))
  assert (four, same, again) == (4, 4, 4)
  assert own == four * (3 * 64**2 + 5 * 64)
  assert wide == four * (12 * 64**2 + 13 * 64)
  assert abs(narrow / own - 1) < 0.02
