"""Reconstruction of tables: what is missing is never seen nor asked, what is re-masked is asked."""

import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from safetensors.numpy import load_file

from maskjax import recover, score, select
from maskjax.keys import keys, stream
from maskjax.model import published
from maskjax.model.masked_autoencoder import masked_autoencoder
from maskjax.record import Record
from maskjax.task import reconstruct
from maskjax.task.base import total

KEY = jax.random.key(0)
GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "remasker.safetensors"
TINY = {"width": 16, "depth": 1, "heads": 2, "decoder_width": 16, "decoder_depth": 1}


def build(columns=8, chosen=None, seen=1.0, white=score.white, **model):
  """A tiny task of rows of so many columns."""
  sizes = {**TINY, "decoder_heads": 2, "norm_eps": 1e-8, "bounds": (0, 1), **model}
  return reconstruct(
    record=Record("table", (columns, 1), {"train": 6}, mean=(0.0,), std=(1.0,)),
    model=functools.partial(masked_autoencoder, patch=(1,), **sizes),
    score=functools.partial(white),
    select=chosen or functools.partial(select.top_up, ratio=0.5),
    target=functools.partial(recover.pixels, normalise=False),
    recover=functools.partial(recover.squared_error),
    seen=seen,
  )


def table(rows=6, columns=8, seed=1):
  """A batch in which row i lacks i cells, the sixth all but three."""
  values, order = jax.random.split(jax.random.key(seed))
  rank = jnp.argsort(jax.random.uniform(order, (rows, columns)), axis=1)
  valid = (rank >= jnp.arange(rows)[:, None])[..., None]
  cells = jax.random.uniform(values, (rows, columns, 1))
  return {"table": jnp.where(valid, cells, 0), "valid": valid, "position": jnp.arange(rows)}


def spoilt(batch, content):
  return {**batch, "table": jnp.where(batch["valid"], batch["table"], content)}


@functools.cache
def golden():
  """The authors' weights, draws and answers; see make_remasker.py."""
  stored = load_file(GOLDEN)
  given = {name[7:]: value for name, value in stored.items() if name.startswith("golden.")}
  noise = jnp.asarray(given["noise"])

  def drawn(patches):
    return noise[: len(patches)]

  task = build(white=drawn, depth=2)
  batch = {
    "table": jnp.asarray(given["table"])[..., None],
    "valid": jnp.asarray(given["there"])[..., None] > 0,
    "position": jnp.arange(6),
  }
  variables = jax.jit(task.init)(KEY, batch)
  variables, report = published.load(GOLDEN, variables, patch=(1,), grid=(8,))
  assert report.missing == ()
  assert all(name.startswith("golden.") for name in report.unused)
  return task, batch, variables, given


@functools.cache
def made():
  """A tiny task, a batch and variables, with its functions compiled once for all tests."""
  task, batch = build(), table()
  compiled = {name: jax.jit(getattr(task, name)) for name in ("loss", "views", "impute")}
  return task._replace(**compiled), batch, jax.jit(task.init)(KEY, batch)


def test_losses_masks_and_predictions_are_those_of_the_authors_code():
  task, batch, variables, given = golden()
  views = jax.jit(task.views)(variables, batch, KEY)
  seen = ~np.isnan(np.asarray(views["seen"]))[..., 0]
  there = given["there"] > 0
  np.testing.assert_array_equal(seen, given["seen"] > 0)
  np.testing.assert_array_equal(there & ~seen, given["hidden"] > 0)
  np.testing.assert_allclose(views["prediction"][..., 0], given["prediction"], atol=2e-6)
  terms, _ = jax.jit(task.loss)(variables, batch, KEY, 0)
  assert int(terms["recover"].count) == given["hidden"].sum()
  assert int(terms["seen"].count) == given["seen"].sum()
  np.testing.assert_allclose(total(terms, task.weights), given["loss"], rtol=1e-5)


def test_imputed_cells_are_those_of_the_authors_code():
  task, batch, variables, given = golden()
  filled = np.asarray(jax.jit(task.impute)(variables, batch))[..., 0]
  there = given["there"] > 0
  np.testing.assert_array_equal(filled[there], given["table"][there])
  np.testing.assert_allclose(filled[~there], given["imputed"][~there], atol=2e-6)
  assert (~there).sum() > 5


def test_the_two_terms_are_numpys_over_remasked_and_seen_cells():
  task, batch, variables = made()
  patches, there = batch["table"], batch["valid"][..., 0]
  drawn = score.white(keys(stream(KEY, "mask", 3), batch["position"]), (8,))
  hidden = select.top_up(drawn, ratio=0.5, allowed=there)
  assert hidden.sum(-1).tolist() == [4, 3, 2, 1, 0, 0]
  gone = hidden | ~there
  predict = jax.jit(functools.partial(task.network.apply, keep=4))
  error = (np.asarray(predict(variables, patches, gone)) - np.asarray(patches))[..., 0] ** 2
  terms, _ = task.loss(variables, batch, KEY, 3)
  for name, asked in (("recover", hidden), ("seen", ~gone)):
    np.testing.assert_allclose(terms[name].sum, error[np.asarray(asked)].sum(), rtol=1e-5)
    assert int(terms[name].count) == int(asked.sum())


@functools.cache
def everything():
  """All that a batch reaches: losses, slopes, pictures, features, imputed cells."""
  task, _, variables = made()

  def run(batch):
    def loss(params):
      terms, _ = task.loss({**variables, "params": params}, batch, KEY, 0)
      return total(terms, task.weights), terms

    views = task.views(variables, batch, KEY)
    shown = {name: jnp.nan_to_num(view, nan=-1.0) for name, view in views.items()}
    grads = jax.value_and_grad(loss, has_aux=True)(variables["params"])
    return grads, shown, task.features(variables, batch), task.impute(variables, batch)

  return jax.jit(run)


@pytest.mark.parametrize("content", [np.nan, 1e30])
def test_missing_cells_reach_nothing(content):
  _, batch, _ = made()
  clean, other = everything()(batch), everything()(spoilt(batch, content))
  for a, b in zip(jax.tree.leaves(clean), jax.tree.leaves(other), strict=True):
    assert np.isfinite(a).all()
    np.testing.assert_array_equal(a, b)


def test_a_remasked_cell_is_asked_and_not_seen():
  task, batch, variables = made()
  before = task.views(variables, batch, KEY)
  hidden = np.isnan(before["seen"]) & np.asarray(batch["valid"])
  assert hidden.sum() == 10
  changed = {**batch, "table": jnp.where(hidden, 0.123, batch["table"])}
  after = task.views(variables, changed, KEY)
  np.testing.assert_array_equal(after["prediction"], before["prediction"])
  one, other = (task.loss(variables, b, KEY, 0)[0] for b in (batch, changed))
  assert one["recover"].sum != other["recover"].sum
  assert one["seen"].sum == other["seen"].sum


def blind(scores, ratio):
  return select.top(scores, ratio=ratio)


def test_a_selection_that_is_not_told_of_missing_cells_never_has_them_asked():
  _, batch, variables = made()
  task = build(chosen=functools.partial(blind, ratio=0.5))
  terms, _ = jax.jit(task.loss)(variables, spoilt(batch, np.nan), KEY, 0)
  plain = blind(score.white(keys(stream(KEY, "mask", 0), batch["position"]), (8,)), 0.5)
  there = batch["valid"][..., 0]
  assert int(terms["recover"].count) == int((plain & there).sum()) < int(plain.sum())
  assert int(terms["seen"].count) == int((~plain & there).sum())
  assert np.isfinite(terms["recover"].sum + terms["seen"].sum)


def related(key, rows=32):
  """Rows of six columns that all follow one number, 30 % of their cells missing."""
  number, noise, gone = jax.random.split(key, 3)
  cells = jax.random.uniform(number, (rows, 1, 1)) + 0.02 * jax.random.normal(noise, (rows, 6, 1))
  valid = jax.random.uniform(gone, cells.shape) > 0.3
  return {"table": cells, "valid": valid, "position": jnp.arange(rows)}


def test_remasking_is_what_teaches_to_impute():
  """Asked for what it sees alone, the autoencoder need not look at other columns, and does not."""
  test = related(jax.random.key(9), 128)
  truth, missing = np.asarray(test["table"]), ~np.asarray(test["valid"])
  errors = {}
  for ratio in (0.5, 0.0):
    task = build(columns=6, chosen=functools.partial(select.top_up, ratio=ratio))
    tx = optax.adam(3e-3)
    variables = jax.jit(task.init)(KEY, test)

    def step(carry, i, task=task, tx=tx, variables=variables):
      params, state = carry
      batch = related(jax.random.fold_in(KEY, i))
      loss = lambda p: total(task.loss({**variables, "params": p}, batch, KEY, i)[0], task.weights)
      updates, state = tx.update(jax.grad(loss)(params), state)
      return (optax.apply_updates(params, updates), state), None

    start = variables["params"], tx.init(variables["params"])
    (params, _), _ = jax.jit(lambda c, s=step: jax.lax.scan(s, c, jnp.arange(400)))(start)
    filled = np.asarray(jax.jit(task.impute)({**variables, "params": params}, test))
    errors[ratio] = float(np.sqrt(((filled - truth)[missing] ** 2).mean()))
  spread = float(truth.std())
  assert errors[0.5] < 0.4 * spread
  assert errors[0.0] > 2 * errors[0.5]
