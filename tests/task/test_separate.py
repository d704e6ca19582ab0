"""Separation learns who is who by permutation-invariant training, and gates are what does it."""

import functools
import pathlib
import runpy

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

from maskjax import recover
from maskjax.errors import BadInput
from maskjax.record import Record
from maskjax.task.base import total

N, BATCH = 96, 8
HERE = pathlib.Path(__file__).parent
begun = runpy.run_path(str(HERE / "toy_weights.py"))["begun"]
task_of = runpy.run_path(str(HERE / "toy_configs.py"))["task_of"]
RECORD = Record("mixture", (2, N), {"train": 1}, rate=8000)


def task(preset="conv_tasnet", record=RECORD, change=lambda c: None):
  """The task of a preset with a tiny network."""

  def changed(c):
    c.model.update(filters=16, size=16, width=8, hidden=16, skip=8, depth=2, repeats=1)
    change(c)

  return task_of(preset, record, changed)


def in_both_ways(c):
  """Sources asked for in the best order, and in the order that is given."""
  fixed = c.losses.sources.copy_and_resolve_references()
  c.losses = dict(free=c.losses.sources, fixed=dict(fixed, permute=False))


def masked(c):
  """A mask in the place of gates: of each time three of four filters are closed."""
  c.select = dict(fn="select.top", ratio=0.75)
  c.let.gate = dict(fn="task.open_gate")
  c.hide.of.gate = c.let.served_gate.of.x = "gate"


def batch(key):
  """A low and a high tone, in any order: nothing tells which is the first."""
  a, b, c = jax.random.split(key, 3)
  pitch = jax.random.uniform(
    a, (BATCH, 2), minval=jnp.array([0.3, 1.6]), maxval=jnp.array([0.6, 2.4])
  )
  phase = jax.random.uniform(b, (BATCH, 2, 1), maxval=2 * jnp.pi)
  sources = jnp.sin(pitch[..., None] * jnp.arange(N) + phase)
  swapped = jax.random.bernoulli(c, 0.5, (BATCH, 1, 1))
  sources = jnp.where(swapped, sources[:, ::-1], sources)
  position = jnp.arange(BATCH, dtype=jnp.int32)
  return {"mixture": sources.sum(1), "sources": sources, "position": position}


STEPS = 80


def start():
  """Weights that training begins with."""
  key = jax.random.key(0)
  return begun(jax.eval_shape(task().init, key, jax.eval_shape(batch, key)))


@jax.jit
def trained(variables):
  """The ratio in dB, of served sources, of a network after some steps, asked freely or not."""
  tx, held, made = optax.adam(1e-2), batch(jax.random.key(3)), task(change=in_both_ways)
  # As one vector: leaf after leaf the optimiser would be most of the program.
  begin, apart = ravel_pytree(variables)

  def run(free):
    """With the same network one loss or the other."""
    weights = {"free": free, "fixed": 1 - free}

    def step(carry, key):
      variables, state = carry
      loss = lambda v: total(made.loss(apart(v), batch(key), key, 0)[0], weights)
      change, state = tx.update(jax.grad(loss)(variables), state)
      return (optax.apply_updates(variables, change), state), None

    keys = jax.random.split(jax.random.key(2), STEPS)
    (end, _), _ = jax.lax.scan(step, (begin, tx.init(begin)), keys)
    estimates = made.answers["views"](apart(end), held, jax.random.key(0))["estimates"]
    return recover.si_snr(estimates, held["sources"]).mean()

  return jax.lax.map(run, jnp.array([1.0, 0.0]))


def test_it_learns_by_permutation_invariant_training_alone():
  free, fixed = trained(start())
  assert free > 6
  # Asked for the first source first, it can do no better than the mixture, at 0 dB.
  assert fixed < 3


@functools.cache
def found():
  """Losses and slopes of a batch in two orders and with a silent source; views by every word."""
  plain, shared, hard = task(), task("conv_tasnet:shares"), task(change=masked)

  @jax.jit
  def run(variables):
    key, given = jax.random.key(0), batch(jax.random.key(1))

    def cost(variables, sources):
      terms, _ = plain.loss(variables, {**given, "sources": sources}, key, 0)
      return total(terms, {}), terms["sources"]

    sources = given["sources"]
    orders = jnp.stack([sources, sources[:, ::-1], sources.at[0, 1].set(0)])
    views = plain.answers["views"](variables, given, key)
    gate = lambda one: one.answers["views"](variables, given, key)["gate"]
    return {
      "costs": jax.lax.map(lambda x: jax.value_and_grad(cost, has_aux=True)(variables, x), orders),
      "views": views,
      "given": given,
      "permutation": recover.best_permutation(views["estimates"], sources),
      "si_snr": recover.si_snr(views["estimates"], sources).mean(),
      "shares": gate(shared),
      "mask": gate(hard),
    }

  return jax.tree.map(np.asarray, run(start()))


def test_the_order_of_the_sources_changes_neither_loss_nor_slope():
  (costs, _), slopes = found()["costs"]
  np.testing.assert_allclose(costs[0], costs[1], rtol=2e-3, atol=1e-4)
  for leaf in jax.tree.leaves(slopes):
    np.testing.assert_allclose(leaf[0], leaf[1], rtol=2e-3, atol=1e-4)
  assert max(np.abs(leaf[0]).max() for leaf in jax.tree.leaves(slopes)) > 1e-2


def test_silent_sources_are_not_asked():
  (_, term), slopes = found()["costs"]
  assert term.count.tolist() == [2 * BATCH, 2 * BATCH, 2 * BATCH - 1]
  assert np.isfinite(term.sum).all()
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(slopes))


def test_views_serve_the_sources():
  views, given = found()["views"], found()["given"]
  assert set(views) == {"mixture", "sources", "estimates", "gate", "peaks"}
  assert (found()["permutation"] == np.arange(2)).all()
  # Gates that know nothing yet separate nothing.
  assert found()["si_snr"] < 1
  assert views["gate"].shape == (BATCH, 2, 13, 16)
  assert views["peaks"].shape == (16,)
  for name in ("mixture", "sources"):
    np.testing.assert_array_equal(views[name], given[name])


def test_sources_share_the_mixture_where_the_selection_divides_it():
  shares = found()["shares"]
  assert shares.shape == (BATCH, 2, 13, 16)
  np.testing.assert_allclose(shares.sum(1), 1, atol=1e-5)


def test_a_mask_is_a_gate_too():
  gate = found()["mask"]
  assert set(np.unique(gate)) == {0, 1}
  assert gate.reshape(BATCH, -1).mean(-1) == pytest.approx(0.25)


def test_other_data_are_refused():
  with pytest.raises(BadInput, match="separator takes mixtures"):
    task(record=Record("image", (8, 8, 3), {"train": 1}))
