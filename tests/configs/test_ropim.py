"""ROPIM (Haghighat et al. 2024), section 3: a random projection hides, its complement is asked."""

import pathlib
import runpy

import jax
import jax.numpy as jnp
import numpy as np
from built import Built
from safetensors.numpy import load_file

from maskjax import hide, lab
from maskjax.model.masked_decoder import Decoded

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"
wave, RATE = map(runpy.run_path(str(GOLDEN / "make_simmim.py")).get, ("wave", "RATE"))
MADE = runpy.run_path(str(GOLDEN / "make_ropim.py"))


def test_units_are_of_one_size_and_make_a_projection(built):
  said = built("ropim").said
  unit, negative = (said[name].reshape(-1, 196) for name in ("unit", "negative"))
  counts = unit.max(-1) + 1
  assert set(counts.tolist()) == {28, 49}
  assert 4 <= (counts == 28).sum() <= 20  # of 24
  for row, m in zip(unit, counts, strict=True):
    assert (np.bincount(row) == 196 // m).all()
    assert (np.sort(row.reshape(-1, m)) == np.arange(m)).all()  # round after round, as cards
  assert len(np.unique(unit, axis=0)) == 24
  assert (negative.sum(-1) == 98).all()
  assert said["hidden"].all()
  eye = np.broadcast_to(np.eye(196, dtype=np.float32), (24, 196, 196))
  p = np.asarray(jax.jit(hide.project)(eye, said["hidden"].reshape(24, 196), unit, negative))
  np.testing.assert_allclose(p[:3] @ p[:3], p[:3], atol=1e-6)
  np.testing.assert_array_equal(p, p.mT)
  # E P = ratio · I: the diagonal is the ratio, signs cancel in the rest (were all alike, 0.83).
  np.testing.assert_allclose(p.diagonal(axis1=1, axis2=2), (counts / 196)[:, None].repeat(196, 1))
  assert abs((p.sum((1, 2)) - counts).mean() / 196) < 0.05


def test_the_loss_is_blind_to_the_subspace_that_is_left(built):
  made = built("ropim", "laptop")
  run, first = made.task.loss.__self__.run, made.initial
  y, more = np.random.default_rng(0).standard_normal((2, 8, 64, 48), np.float32)

  @jax.jit
  def losses(y, more):
    decoded = lambda y: {"decoded": Decoded(y)}
    given = lambda y: run(first, made.batch, jax.random.key(0), 0, given=decoded(y))[0]
    same = hide.project(more, *given(y).all(("hidden", "unit", "negative")))
    terms = jax.vmap(lambda gap: given(y + gap).take("losses.recover"))
    term = terms(jnp.stack([0 * more, same, more]))
    return term.sum / term.count

  plain, same, other = losses(y, more)
  np.testing.assert_allclose(same, plain, rtol=1e-5)
  assert other > 1.1 * plain


def test_the_cosine_is_counted_from_the_first_step_as_in_the_public_code(built, shares_of_the_peak):
  made = built("ropim")
  at = made.total_steps * np.array([0.02, 0.1, 0.5, 0.9]) // 1
  found = shares_of_the_peak(made, at.astype(np.int32))
  want = 1 / 30 + 29 / 30 * (1 + np.cos(np.pi * at / made.total_steps)) / 2
  np.testing.assert_allclose(found, want, rtol=1e-3)


def public(c):
  """The public ViT-B's settings for a smaller one, given permutations and signs."""
  paper = lab.base("image_mim/ropim").get_config()
  c.batch_size, c.score, c.let.coins = 2, "batch.score", "batch.coins"
  c.let.unit = dict(fn="select.deal", of=dict(count="batch.units"))
  c.model.encoder.update(position=paper.model.encoder.position, layer_scale=0.1)
  c.optimizer = {**paper.optimizer, "schedule": "constant", "warmup_epochs": 0.0, "end": 0.0}
  c.optimizer.update(learning_rate=RATE, scale_by_batch=0)


def test_losses_and_two_steps_are_those_of_the_public_code():
  """Losses 1e-5 of their size, moves of the two steps 1 % of a rate: set before the run."""
  made, golden = Built("ropim", "laptop", public), load_file(GOLDEN / "ropim.safetensors")
  turns = lambda i, m: np.concatenate([MADE["dealt"](i, m, turn) for turn in range(64 // m)])
  made.batch = {k: v[:2] for k, v in made.batch.items()} | {
    "image": jnp.float32(wave("image", (2, 32, 32, 3)) * 4),
    "score": -jnp.float32([turns(i, m) for i, m in enumerate(MADE["UNITS"])]),
    "units": jnp.int32(MADE["UNITS"]),
    "coins": jnp.float32([MADE["negative"](i) for i in range(2)]),
  }
  losses, moved = made.stepped(wave, made.batch, 2)
  np.testing.assert_allclose(losses, golden["losses"], rtol=1e-5)
  del moved["encoder/block_00/attention/qkv/bias"]  # the public code has none of keys
  rates = np.concatenate([np.ravel(moved[name]) for name in sorted(moved)])[::2] / RATE
  # Adam moves by a rate too where a slope is but rounding.
  assert (np.abs(rates - golden["moved"]) < 0.01).mean() > 0.998
