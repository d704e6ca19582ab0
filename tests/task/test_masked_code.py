"""Masked codes: two cuts of one ranking, labels, buckets, and what reaches what."""

import functools
import pathlib
import runpy

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maskjax import bind, recover, schedule, score, select
from maskjax.errors import BadInput
from maskjax.generate import decode
from maskjax.model import code_autoencoder, tokenizer
from maskjax.record import Record
from maskjax.task import masked_code

HERE = pathlib.Path(__file__).parent
toy = runpy.run_path(str(HERE / "toy_codes.py"))
filled = runpy.run_path(str(HERE / "toy_weights.py"))["filled"]
close = runpy.run_path(str(HERE.parent / "closeness.py"))["close"]
RECORD, Shows = toy["RECORD"], toy["Shows"]
KEY, N = jax.random.key(0), 16
BOOK = functools.partial(tokenizer, codes=7, code_width=4, unit=True, patch=(2, 2), widths=(8,))
BOOK = functools.partial(BOOK, blocks=1)
SIZES = dict(size="mu", width=8, heads=2, decoder_depth=1, decoder_heads=2)
NET = functools.partial(code_autoencoder, **SIZES)
DRAWN = bind.Moving(schedule.truncated_normal(0.55, 0.25, 0.5, 1.0), each=True)


def task(**words):
  """A small MAGE; four by four codes, eight of which the encoder sees."""
  options = dict(
    record=RECORD,
    tokenizer=BOOK,
    model=NET,
    score=functools.partial(score.white),
    select=functools.partial(select.top, ratio=DRAWN),
    drop=functools.partial(select.top, ratio=0.5),
    generate=functools.partial(
      decode,
      score=functools.partial(score.confidence),
      select=functools.partial(select.top),
      schedule=functools.partial(schedule.quarter_cosine),
      steps=3,
      binomial=False,
    ),
  )
  return masked_code(**{**options, **words})


def shown(says="all", **words):
  """A task whose loss says what its network was given and what it is asked."""
  model = functools.partial(lambda codes, grid: Shows(says))
  return task(**{"recover": toy["kept"], "tokenizer": toy["tokenizer"], "model": model, **words})


@functools.cache
def drawn():
  """What tasks draw for 64 images, at two steps and in another order; their views and samples."""
  one, moving = shown(unlabelled=0.25), functools.partial(select.top, ratio=DRAWN)
  few = functools.partial(select.top, ratio=0.25)
  buckets = shown(select=few, drop=moving, keep=(4, 8))
  plain, named = shown(drop=None), shown("label")
  variables, whole = toy["VARIABLES"], toy["batch"]()
  own = jax.device_put(np.arange(N) < np.arange(64)[:, None] % N)

  @jax.jit
  def run(whole, key):
    given = lambda task, rows, step=5: task.loss(variables, rows, key, step)[0]["masked"].sum
    alone = jax.tree.map(lambda x: x[:, None], whole)
    several = jax.tree.map(lambda x: jnp.stack([x, x, x[::-1]]), whole)
    return {
      "loss": jax.lax.map(lambda x: given(one, *x), (several, jnp.array([5, 6, 5]))),
      "plain": given(plain, whole),
      "buckets": jax.lax.map(functools.partial(given, buckets), alone),
      "views": one.answers["views"](variables, whole, key),
      "own": one.answers["views"](variables, whole, key, hidden=own),
      "sample": named.answers["sample"](variables, jax.random.split(key, 64), whole),
    }

  whole, own, found = jax.tree.map(np.asarray, (whole, own, run(whole, KEY)))
  at = lambda i: jax.tree.map(lambda x: x[i], found["loss"])
  return whole, own, {**found, "first": at(0), "second": at(1), "turned": at(2)}


def test_what_is_seen_dropped_and_asked_are_cuts_of_one_ranking_of_an_examples_own():
  whole, _, found = drawn()
  given, tokens, asked = found["first"]
  np.testing.assert_array_equal(tokens, whole["image"][:, ::2, ::2, 0].reshape(-1, N))
  np.testing.assert_array_equal(given.codes, np.where(asked, -1, tokens))
  assert (given.dropped.sum(-1) == 8).all()
  assert not (given.dropped.astype(bool) & ~asked).any()
  assert len(np.unique(asked.sum(-1))) > 5
  # The encoder sees half whatever the ratio, always exactly.
  assert (given.keep == 8).all()
  assert given.exact.all()
  assert len(np.unique(given.dropped, axis=0)) > 60
  assert (given.dropped != found["second"][0].dropped).any(-1).mean() > 0.95
  # Where nothing is dropped no fewer are hidden: were the rankings two, fewer would be.
  none, _, hidden = found["plain"]
  np.testing.assert_array_equal(hidden, asked)
  assert not none.dropped.any()
  assert (none.keep == N).all()


def test_microbatches_draw_the_same():
  """What is drawn for an example follows its position, not its place."""
  _, _, found = drawn()
  jax.tree.map(
    lambda turned, first: np.testing.assert_array_equal(turned[::-1], first),
    found["turned"],
    found["first"],
  )


def test_a_share_of_the_examples_is_told_no_label():
  whole, _, found = drawn()
  told = np.stack([found[name][0].label[:, 0] for name in ("first", "second")])
  assert (told[told >= 0] == np.stack([whole["label"]] * 2)[told >= 0]).all()
  assert 0.1 < (told == -1).mean() < 0.4
  assert (told[0] != told[1]).any()


def test_drops_that_move_take_the_smallest_bucket():
  given, _, asked = drawn()[2]["buckets"]
  left = N - given.dropped.sum(-1)
  assert set(np.unique(left)) >= {4, 5}
  np.testing.assert_array_equal(given.keep[..., 0], np.where(left <= 4, 4, 8))
  assert not given.exact.any()
  # Whatever is dropped is hidden, though but a quarter was selected.
  np.testing.assert_array_equal(asked, given.dropped)
  with pytest.raises(BadInput, match=r"task\.keep"):
    task(drop=functools.partial(select.top, ratio=DRAWN))


def test_views_show_what_is_hidden_and_the_likeliest_codes_there():
  whole, own, found = drawn()
  for name in ("views", "own"):
    views = found[name]
    gone = np.isnan(views["seen"])
    np.testing.assert_array_equal(views["input"], whole["image"])
    np.testing.assert_array_equal(views["seen"][~gone], whole["image"][~gone])
    np.testing.assert_array_equal(views["coded"], whole["image"])
    # The largest of what the network says is the fourth, `keep`.
    np.testing.assert_array_equal(views["prediction"], np.where(gone, 3, whole["image"]))
  rows = lambda views: np.isnan(views["seen"])[:, ::2, ::2, 0].reshape(-1, N)
  np.testing.assert_array_equal(rows(found["own"]), own)
  assert (rows(found["views"]).sum(-1) >= 8).all()


def test_a_sample_is_told_its_label():
  whole, _, found = drawn()
  tokens = np.broadcast_to(whole["label"][:, None], (64, N))
  np.testing.assert_array_equal(found["sample"]["tokens"], tokens)
  np.testing.assert_array_equal(
    found["sample"]["image"], np.ones((1, 8, 8, 3)) * tokens[:, :1, None, None]
  )
  bare = Record("image", (8, 8, 3), {"train": 9})
  with pytest.raises(BadInput, match="labels"):
    task(record=bare, model=functools.partial(NET, conditional=True))


@functools.cache
def seen():
  """Logits of the network, and slopes where all is hidden and nothing dropped."""
  one = task(model=functools.partial(NET, conditional=True))
  shapes = jax.eval_shape(one.init, KEY, toy["noise"]())
  assert set(shapes) == {"params", "frozen"}
  assert "tokenizer" not in shapes["params"]
  plain = jax.device_put(np.random.default_rng(0).integers(0, 7, (2, N), np.int32))
  hidden = jax.device_put(np.arange(N) < np.array([[12], [9]]))
  dropped = jax.device_put(np.tile(np.arange(N) < 8, (2, 1)))
  label = jax.device_put(np.zeros(2, np.int32))

  @jax.jit
  def run(params):
    see = lambda params, tokens, hidden, dropped, label, keep: one.network.apply(
      {"params": params}, tokens, hidden, dropped, label, keep=keep
    )
    part = lambda given: see(params, given[0], hidden, dropped, given[1], 8)

    def loss(params):
      rows = jnp.concatenate([plain, 0 * plain]), jnp.concatenate([hidden, hidden | True])
      logits = see(params, *rows, rows[1] & False, jnp.array([0, 0, 1, 1]), N)
      return recover.cross_entropy(logits[2:], rows[0][2:], rows[1][2:]).sum, logits[:2]

    slope, whole = jax.grad(loss, has_aux=True)(params)
    tokens3 = jnp.stack([plain, jnp.where(hidden, 6 - plain, plain), plain])
    half, other, told = jax.lax.map(part, (tokens3, jnp.stack([label, label, label + 1])))
    more = see(params, plain, hidden, dropped, label, 12)
    found = {"half": half, "other": other, "told": told, "more": more, "whole": whole}
    return {**found, "slope": slope["embed"]["embedding"]}

  assert jax.eval_shape(
    lambda p: one.network.apply(p, plain, hidden, dropped, label, keep=8, method="read"),
    {"params": shapes["params"]},
  ).shape == (2, 9, 8)  # the label's token and eight of sixteen
  return jax.tree.map(np.asarray, run(filled(shapes["params"])))


def test_what_is_hidden_changes_nothing_but_the_loss_of_itself():
  found = seen()
  np.testing.assert_array_equal(found["half"], found["other"])
  # Padding of a larger bucket is not seen.
  close(found["half"], found["more"], depth=13, terms=32, axis=None)
  # A mask that is seen is not the same as one that is dropped; a label is not as another.
  for name in ("whole", "told"):
    assert (np.abs(found["half"] - found[name]).max(axis=(1, 2)) > 1e-3).all(), name


def test_a_codes_embedding_learns_nothing_from_being_predicted():
  slope = seen()["slope"]
  assert np.abs(slope[:7]).max() == 0
  # But the mask's does, and that of the label which was told.
  assert np.abs(slope[7]).max() > 0
  assert np.abs(slope[10]).max() > 0
  assert np.abs(slope[8:10]).max() == 0
