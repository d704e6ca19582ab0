"""ReMasker: what is missing is never seen nor asked; losses and imputation of the authors' code."""

import functools
import pathlib
import runpy

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree
from safetensors.numpy import load_file

from maskjax import lab, score, select
from maskjax.keys import keys, stream
from maskjax.model import published
from maskjax.record import Record
from maskjax.task.base import total
from maskjax.train.run import plain
from maskjax.train.setup.build import make_task

KEY = jax.random.key(0)
HERE = pathlib.Path(__file__).parent
GOLDEN = HERE.parent / "golden" / "remasker.safetensors"
CONFIG = lab.load(HERE.parents[1] / "configs" / "graph_3d_tabular_series_mim" / "remasker.py")
begun = runpy.run_path(str(HERE / "toy_weights.py"))["begun"]


def build(columns=8, ratio=0.5, keep=None, seen=1.0, depth=1):
  """The task of the config, tiny, for rows of so many columns."""
  c = CONFIG.get_config()
  c.model.encoder.update(width=16, depth=depth, heads=2)
  c.model.decoder.update(width=16, depth=1, heads=2)
  c.losses.seen.scale, c.hide.keep = seen, keep
  c = plain(c)
  c["select"]["ratio"] = ratio  # which may be traced
  return make_task(c, Record("table", (columns, 1), {"train": 6}, mean=(0.0,), std=(1.0,)))


def values(task, variables, batch, *names, **given):
  """Values of a step's loss."""
  run, _ = task.loss.__self__.run(variables, batch, KEY, 0, train=True, given=given)
  return run.all(names)


def table():
  """A batch in which row i lacks i cells, the sixth all but three."""
  rng = np.random.default_rng(1)
  rank = rng.permuted(np.tile(np.arange(8), (6, 1)), axis=1)
  valid = (rank >= np.arange(6)[:, None])[..., None]
  cells = np.where(valid, rng.uniform(size=valid.shape), 0).astype(np.float32)
  return jax.device_put({"table": cells, "valid": valid, "position": np.arange(6)})


@functools.cache
def golden():
  """The authors' draws and answers, see make_remasker.py, and what their weights in ours give."""
  stored = load_file(GOLDEN)
  given = {name[7:]: value for name, value in stored.items() if name.startswith("golden.")}
  task = build(depth=2)
  there = given["there"][..., None] > 0
  batch = {"table": given["table"][..., None], "valid": there, "position": np.arange(6)}
  batch = jax.device_put(batch)
  variables = jax.eval_shape(task.init, KEY, batch)
  variables, report = published.load(GOLDEN, variables, patch=(1,), grid=(8,))
  assert report.missing == ()
  assert all(name.startswith("golden.") for name in report.unused)

  @jax.jit
  def run(variables, batch):
    names = "pictures", "losses.recover", "losses.seen"
    drawn = jnp.asarray(given["noise"])
    views, *terms = values(task, variables, batch, *names, scores=drawn)
    terms = dict(zip(("recover", "seen"), terms, strict=True))
    return views, terms, total(terms, task.weights), task.answers["impute"](variables, batch)

  return given, jax.tree.map(np.asarray, run(variables, batch))


def test_losses_masks_and_predictions_are_those_of_the_authors_code():
  given, (views, terms, loss, _) = golden()
  seen = ~np.isnan(views["seen"])[..., 0]
  there = given["there"] > 0
  np.testing.assert_array_equal(seen, given["seen"] > 0)
  np.testing.assert_array_equal(there & ~seen, given["hidden"] > 0)
  np.testing.assert_allclose(views["prediction"][..., 0], given["prediction"], atol=2e-6)
  assert int(terms["recover"].count) == given["hidden"].sum()
  assert int(terms["seen"].count) == given["seen"].sum()
  np.testing.assert_allclose(loss, given["loss"], rtol=1e-5)


def test_imputed_cells_are_those_of_the_authors_code():
  given, (*_, filled) = golden()
  there = given["there"] > 0
  np.testing.assert_array_equal(filled[there, 0], given["table"][there])
  np.testing.assert_allclose(filled[~there, 0], given["imputed"][~there], atol=2e-6)
  assert (~there).sum() > 5


@functools.cache
def found():
  """All that a batch reaches, whatever its cells hold where they are missing or re-masked."""
  task, batch = build(), table()

  @jax.jit
  def run(variables, batch):
    there = batch["valid"][..., 0]
    drawn = lambda step: score.uniform(keys(stream(KEY, "mask", step), batch["position"]), (8,))
    hidden = select.top_up(drawn(0), ratio=0.5, allowed=there)
    spoilt = lambda content: jnp.where(batch["valid"], batch["table"], content)
    changed = jnp.where(hidden[..., None], 0.123, batch["table"])

    def reached(cells):
      given = {**batch, "table": cells}

      def loss(params):
        terms, _ = task.loss({**variables, "params": params}, given, KEY, 0)
        return total(terms, task.weights), terms

      views = task.answers["views"](variables, given, KEY)
      shown = {name: jnp.nan_to_num(view, nan=-1.0) for name, view in views.items()}
      grads = jax.value_and_grad(loss, has_aux=True)(variables["params"])
      return (
        grads,
        shown,
        task.answers["features"](variables, given),
        task.answers["impute"](variables, given),
      )

    nan = {**batch, "table": spoilt(jnp.nan)}
    # A mask that was not told of missing cells.
    blind = select.top(drawn(3), ratio=0.5)
    names = "losses.recover", "losses.seen"
    return {
      "cells": jax.lax.map(
        reached, jnp.stack([batch["table"], spoilt(jnp.nan), spoilt(1e30), changed])
      ),
      "remasked": hidden,
      "blind": dict(
        zip(("recover", "seen"), values(task, variables, nan, *names, hidden=blind), strict=True)
      ),
      "plain": blind,
    }

  variables = begun(jax.eval_shape(task.init, KEY, batch))
  return jax.tree.map(np.asarray, (batch, run(variables, batch)))


def test_the_two_terms_are_numpys_over_remasked_and_seen_cells():
  batch, got = found()
  hidden, there = got["remasked"], batch["valid"][..., 0]
  ((_, terms), _), shown, *_ = got["cells"]
  assert hidden.sum(-1).tolist() == [4, 3, 2, 1, 0, 0]
  assert build(seen=0.25).weights["seen"] == 0.25
  error = (shown["prediction"][0] - batch["table"])[..., 0] ** 2
  for name, asked in (("recover", hidden), ("seen", there & ~hidden)):
    np.testing.assert_allclose(terms[name].sum[0], error[asked].sum(), rtol=1e-5)
    assert int(terms[name].count[0]) == int(asked.sum())


@pytest.mark.parametrize("content", [np.nan, 1e30])
def test_missing_cells_reach_nothing(content):
  place = 1 if np.isnan(content) else 2
  for leaf in jax.tree.leaves(found()[1]["cells"]):
    assert np.isfinite(leaf[place]).all()
    np.testing.assert_array_equal(leaf[0], leaf[place])


def test_a_remasked_cell_is_asked_and_not_seen():
  batch, got = found()
  ((_, terms), _), shown, *_ = got["cells"]
  hidden = (shown["seen"][0] == -1) & batch["valid"]
  np.testing.assert_array_equal(hidden[..., 0], got["remasked"])
  np.testing.assert_array_equal(shown["input"][0] != -1, batch["valid"])
  assert hidden.sum() == 10
  before, _, _, after = shown["prediction"]
  np.testing.assert_array_equal(after, before)
  assert terms["recover"].sum[0] != terms["recover"].sum[3]
  assert terms["seen"].sum[0] == terms["seen"].sum[3]


def test_tokens_of_features_stand_at_their_positions_zero_where_cells_are_missing():
  batch, got = found()
  _, _, features, _ = got["cells"]
  tokens, there = features["tokens"][0], batch["valid"]
  assert tokens.shape[:2] == there.shape[:2]
  np.testing.assert_array_equal((tokens != 0).any(-1, keepdims=True), there)
  mean = tokens.sum(1) / there.sum(1)
  np.testing.assert_allclose(features["mean"][0], mean, rtol=1e-5, atol=1e-6)


def test_a_mask_that_is_not_told_of_missing_cells_never_has_them_asked():
  batch, got = found()
  terms, plain, there = got["blind"], got["plain"], batch["valid"][..., 0]
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
  make = functools.partial(build, columns=6, keep=6)
  tiny, tx = make(), optax.adam(6e-3)
  variables = begun(jax.eval_shape(tiny.init, KEY, jax.eval_shape(related, KEY)))

  @jax.jit
  def run(variables):
    test = related(jax.random.key(9), 128)
    # As one vector: leaf after leaf the optimiser would be most of the program.
    begin, apart = ravel_pytree(variables["params"])

    def trained(ratio):
      task = make(ratio=ratio)

      def step(carry, i):
        params, state = carry
        batch = related(jax.random.fold_in(KEY, i))
        cost = lambda p: task.loss({**variables, "params": apart(p)}, batch, KEY, i)[0]
        slope = jax.grad(lambda p: total(cost(p), task.weights))(params)
        updates, state = tx.update(slope, state)
        return (optax.apply_updates(params, updates), state), None

      (params, _), _ = jax.lax.scan(step, (begin, tx.init(begin)), jnp.arange(200))
      return task.answers["impute"]({**variables, "params": apart(params)}, test)

    return test, jax.lax.map(trained, jnp.array([0.5, 0.0]))

  test, filled = jax.tree.map(np.asarray, run(variables))
  truth, missing = test["table"], ~test["valid"]
  with_, without = (float(np.sqrt(((x - truth)[missing] ** 2).mean())) for x in filled)
  assert with_ < 0.4 * float(truth.std())
  assert without > 2 * with_
