"""SimMIM (Xie et al. 2022), section 3: blocks of patches are hidden as a whole, by a mask token."""

import pathlib
import runpy

import jax
import jax.numpy as jnp
import numpy as np
from built import Built
from safetensors.numpy import load_file

from maskjax import lab
from maskjax.model import MaskToken

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"
wave, RATE = map(runpy.run_path(str(GOLDEN / "make_simmim.py")).get, ("wave", "RATE"))


def test_blocks_are_hidden_at_random_as_a_whole_their_number_is_rounded_up(built, ignores_the_grid):
  hidden = built("simmim").masks["hidden"].reshape(-1, 7, 2, 7, 2)
  assert (hidden.all((2, 4)) == hidden.any((2, 4))).all()
  assert ignores_the_grid(hidden[:, :, 0, :, 0], (7, 7)) == [30]  # ceil(0.6 · 49)
  token = {"params": {"token": np.ones(1)}}  # of which nothing hidden is left in the sequence
  assert MaskToken().apply(token, np.full((1, 1), np.nan), np.array([True])) == 1


def public(c):
  """The public ViT-B's settings for a smaller one, given permutations, the peak of the rate."""
  paper = lab.base("image_mim/simmim").get_config()
  c.batch_size, c.score = 2, dict(fn=f"{__name__}:given")
  c.model.encoder.update(position=paper.model.encoder.position, layer_scale=0.1)
  c.optimizer = {**paper.optimizer, "schedule": "constant", "warmup_epochs": 0.0}
  c.optimizer.update(learning_rate=RATE, scale_by_batch=0)


def given(keys, grid):
  """Scores that hide blocks in the order of the permutations of the golden values."""
  order = [(np.arange(16) * (5 + 2 * i) + 3 * i) % 16 for i in range(len(keys))]
  first = 16.0 - np.argsort(order, axis=1).reshape(-1, 4, 4)
  return jnp.float32(np.kron(first, np.ones((2, 2))).reshape(-1, 64))


def test_masks_losses_and_two_steps_are_those_of_the_public_code():
  made, golden = Built("simmim", "laptop", public), load_file(GOLDEN / "simmim.safetensors")
  batch = {k: v[:2] for k, v in made.batch.items()}
  batch["image"] = jnp.float32(wave("image", (2, 32, 32, 3)) * 4)
  hidden = jax.jit(made.hide)(made.initial, batch, jax.random.key(0), 0)["hidden"]
  np.testing.assert_array_equal(np.packbits(hidden, axis=1), golden["hidden"])
  losses, moved = made.stepped(wave, batch, 2)
  np.testing.assert_allclose(losses, golden["losses"], rtol=1e-5)
  del moved["encoder/block_00/attention/qkv/bias"]  # the public code has none of keys
  rates = np.concatenate([np.ravel(moved[name]) for name in sorted(moved)])[::2] / RATE
  # Adam moves by a rate too where a slope is but rounding.
  assert (np.abs(rates - golden["moved"]) < 0.01).mean() > 0.998
