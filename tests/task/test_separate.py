"""Separation learns who is who by permutation-invariant training, and gates are what does it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from maskjax import recover, select
from maskjax.errors import BadInput
from maskjax.model import separator
from maskjax.record import Record
from maskjax.task import separate
from maskjax.task.base import total

N, BATCH = 96, 8
RECORD = Record("mixture", (2, N), {"train": 1}, rate=8000)
MODEL = functools.partial(separator, filters=16, size=16, width=8, hidden=16, depth=2, repeats=1)


def task(record=RECORD, chosen=select.sigmoid, **options):
  made = functools.partial(recover.negative_si_snr, **options)
  return separate(record=record, model=MODEL, select=functools.partial(chosen), recover=made)


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


def trained(made, steps=80):
  """The ratio in dB, of served sources, of a network after some steps."""
  tx = optax.adam(1e-2)
  variables = jax.jit(made.init)(jax.random.key(0), batch(jax.random.key(1)))

  def step(carry, key):
    variables, state = carry
    given = batch(key)
    loss = lambda v: total(made.loss(v, given, key, 0)[0], {})
    slope = jax.grad(loss)(variables)
    change, state = tx.update(slope, state)
    return (optax.apply_updates(variables, change), state), None

  @jax.jit
  def run(variables):
    keys = jax.random.split(jax.random.key(2), steps)
    (variables, _), _ = jax.lax.scan(step, (variables, tx.init(variables)), keys)
    held = batch(jax.random.key(3))
    views = made.views(variables, held, jax.random.key(0))
    return variables, recover.si_snr(views["estimates"], held["sources"]).mean()

  return run(variables)


def test_it_learns_by_permutation_invariant_training_alone():
  _, free = trained(task())
  _, fixed = trained(task(permute=False))
  assert free > 6
  # Asked for the first source first, it can do no better than the mixture, at 0 dB.
  assert fixed < 3


@pytest.fixture(scope="module")
def plain():
  """The task, its weights and a batch."""
  made, given = task(), batch(jax.random.key(1))
  return made, jax.jit(made.init)(jax.random.key(0), given), given


def seen(made, variables, given):
  """The views of a batch, compiled."""
  return jax.jit(made.views)(variables, given, jax.random.key(0))


def test_the_order_of_the_sources_changes_neither_loss_nor_slope(plain):
  made, variables, given = plain
  loss = jax.jit(
    jax.value_and_grad(lambda v, b: total(made.loss(v, b, jax.random.key(0), 0)[0], {}))
  )
  one = loss(variables, given)
  other = loss(variables, {**given, "sources": given["sources"][:, ::-1]})
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-3, atol=1e-4), one, other)


def test_silent_sources_are_not_asked(plain):
  made, variables, given = plain
  silent = {**given, "sources": given["sources"].at[0, 1].set(0)}
  [term] = jax.jit(made.loss)(variables, silent, jax.random.key(0), 0)[0].values()
  assert term.count == 2 * BATCH - 1
  assert jnp.isfinite(term.sum)


def test_views_serve_the_sources(plain):
  made, variables, given = plain
  views = seen(made, variables, given)
  assert (recover.serving(views["estimates"], given["sources"]) == jnp.arange(2)).all()
  # Gates that know nothing yet separate nothing.
  assert recover.si_snr(views["estimates"], given["sources"]).mean() < 1
  assert views["gate"].shape == (BATCH, 2, 13, 16)
  assert views["peaks"].shape == (16,)


def test_sources_share_the_mixture_where_the_selection_divides_it(plain):
  _, variables, given = plain
  made = task(chosen=select.shares)
  np.testing.assert_allclose(seen(made, variables, given)["gate"].sum(1), 1, atol=1e-5)


def test_a_mask_is_a_gate_too(plain):
  _, variables, given = plain
  made = task(chosen=functools.partial(select.top, ratio=0.75))
  gate = seen(made, variables, given)["gate"]
  assert set(np.unique(gate)) == {0, 1}
  assert gate.reshape(BATCH, -1).mean(-1) == pytest.approx(0.25)


def test_other_data_are_refused():
  with pytest.raises(BadInput, match="separate takes mixtures, the data set holds image"):
    task(record=Record("image", (8, 8, 3), {"train": 1}))
