"""What is hidden reaches nothing, what is seen of one modality tells of the others."""

import functools
import pathlib
import runpy
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

from maskjax import recover, score, select
from maskjax.errors import BadInput
from maskjax.model import multimodal_autoencoder
from maskjax.record import Record
from maskjax.task import reconstruct_modalities
from maskjax.task.base import total

RECORD = Record("image", (8, 8, 3), {"train": 64}, mean=(0.5,) * 3, std=(0.2,) * 3)
SIZES = dict(width=16, depth=1, heads=2, decoder_width=16, decoder_depth=1, decoder_heads=2)
MODALITIES = dict(edges=dict(fn="edges"), segments=dict(fn="palette", colors=4, stride=2))
ASKS = dict(image={}, edges=dict(recover="absolute_error"), segments={})
KEY, N = jax.random.key(0), 16
begun = runpy.run_path(str(pathlib.Path(__file__).with_name("toy_weights.py")))["begun"]


def make(**words):
  model = partial(multimodal_autoencoder, patch=(2, 2), label_width=4, **SIZES)
  given = dict(score=partial(score.split), select=partial(select.top, ratio=5 / 6))
  given |= dict(target=partial(recover.pixels, normalise=False))
  given |= dict(recover=partial(recover.squared_error), modalities=MODALITIES, asks=ASKS)
  return reconstruct_modalities(record=RECORD, model=model, **{**given, **words})


def images(n=8):
  """Pictures with something smooth in them, and their positions."""
  rng = np.random.default_rng(0)
  slopes = rng.uniform(-1, 1, (n, 3, 1, 1))
  row, column = np.mgrid[-1:1:8j, -1:1:8j]
  values = slopes[:, :1] * row + slopes[:, 1:2] * column + slopes[:, 2:]
  x = np.repeat(values[:, 0, ..., None], 3, axis=-1) + 0.3 * rng.normal(size=(n, 8, 8, 3))
  return {"image": x.astype(np.float32), "position": np.arange(n, dtype=np.int32)}


def cut(shown, name):
  """One flag a patch, of flags for every pixel."""
  hidden = shown[name]["hidden"]
  side = shown[name]["input"].shape[1] // 4
  return hidden[:, ::side, ::side].reshape(len(hidden), -1)


STEPS = 100


@functools.cache
def ready():
  """The task, and its variables once prepared."""
  task = make()
  shapes = jax.eval_shape(task.init, KEY, images())
  prepared = task.prepare(begun(shapes), iter([images()]))
  kinds = lambda tree: jax.tree.map(lambda x: (x.shape, x.dtype), tree)
  assert kinds(shapes) == kinds(prepared)
  return task, prepared


@functools.cache
def found():
  """Views, features and losses of a batch, and what training comes to, in one program."""
  (task, variables), batch, tx = ready(), jax.device_put(images()), optax.adam(1e-2)

  one = make(asks=dict(edges={}))  # of which little has to be compiled

  @jax.jit
  def run(variables, batch):
    params = dict(variables["params"])
    few = {name: params[name] for name in jax.eval_shape(one.init, KEY, batch)["params"]}
    # As one vector: leaf after leaf the optimiser would be most of the program.
    begin, apart = ravel_pytree(few)

    def step(carry, i):
      flat, state = carry
      loss = lambda flat: one.loss({**variables, "params": apart(flat)}, batch, KEY, i)[0]
      moves, state = tx.update(jax.grad(lambda flat: total(loss(flat), {}))(flat), state)
      return (flat + moves, state), None

    (flat, _), _ = jax.lax.scan(step, (begin, tx.init(begin)), jnp.arange(STEPS))
    trained = apart(flat)
    own = task.answers["views"](variables, batch, KEY)
    hidden = jnp.concatenate([cut(own["modalities"], name) for name in ASKS], axis=1)
    pair = lambda *x: jnp.stack(x)
    image = jnp.zeros((8, N), bool)
    by = lambda x: one.answers["views"](
      {**variables, "params": x[0]}, batch, KEY, hidden=x[1], keep=N
    )
    rest = jnp.broadcast_to(jnp.arange(3 * N) >= N, hidden.shape)
    ways = jax.tree.map(pair, (few, hidden), (trained, rest))
    alone = one.answers["views"]({**variables, "params": few}, batch, KEY, hidden=image)
    away = jax.tree.map(lambda x: x + 3, variables["modalities"])
    features = lambda fitted: task.answers["features"]({**variables, "modalities": fitted}, batch)
    first = jnp.broadcast_to(jnp.arange(N) % 4 == 0, (8, N))
    broken = batch["image"].at[:, :, :2].set(jnp.nan)  # the first of four columns of patches
    part = lambda x: task.answers["features"](variables, {**batch, "image": x[0]}, x[1])["mean"]
    odd = jnp.broadcast_to(jnp.arange(N) % 2 == 0, (8, N))
    return {
      "terms": task.loss(variables, batch, KEY, 0)[0],
      "own": own,
      "given": jax.lax.map(by, ways)["modalities"]["edges"],
      "alone": (alone["seen"], alone["modalities"]["edges"]["hidden"]),
      "features": jax.lax.map(features, jax.tree.map(pair, variables["modalities"], away)),
      "parts": jax.lax.map(part, (pair(broken, batch["image"]), pair(first, odd))),
    }

  return jax.tree.map(np.asarray, run(variables, batch))


def test_prepare_fits_what_modalities_know():
  seen = found()["own"]["modalities"]
  np.testing.assert_allclose(seen["edges"]["input"].std(), 1, atol=1e-3)
  assert set(np.unique(seen["segments"]["input"])) == {0, 1, 2, 3}


def test_terms_are_means_of_each_examples_own_mean():
  terms = found()["terms"]
  assert set(terms) == set(ASKS)
  # At step 0 views draw the same masks from the same key; put through the same rule by numpy.
  seen = found()["own"]["modalities"]
  hidden = np.concatenate([cut(seen, name) for name in ASKS], axis=1)
  assert (~hidden).sum(1).tolist() == [8] * 8
  assert len(np.unique(hidden, axis=0)) == 8
  gap = lambda name: seen[name]["prediction"] - seen[name]["input"]
  logits = seen["segments"]["prediction"].astype(np.float64)
  logs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
  labels = seen["segments"]["input"][..., None]
  errors = {
    "image": np.square(gap("image")).mean(-1),
    "edges": np.abs(gap("edges")).mean(-1),
    "segments": -np.take_along_axis(logs, labels, -1)[..., 0],
  }
  for name, error in errors.items():
    rows = zip(error, seen[name]["hidden"], strict=True)
    own = [e[asked].mean() for e, asked in rows if asked.any()]
    got = terms[name].sum / terms[name].count
    np.testing.assert_allclose(got, np.mean(own), rtol=1e-4, err_msg=name)
    assert int(terms[name].count) == len(own)


def test_what_is_hidden_changes_nothing():
  task = make(asks=dict(image={}))
  params = begun(jax.eval_shape(task.init, KEY, images()))["params"]
  network = task.network
  patches = {
    "image": np.ones((2, N, 12), np.float32),
    "edges": np.ones((2, N, 4), np.float32),
    "segments": np.ones((2, N, 1), np.int32),
  }
  hidden = np.arange(3 * N)[None] % 5 != np.array([[0], [3]])
  parts = zip(patches.items(), np.split(hidden, 3, axis=1), strict=True)
  broken = {
    name: np.where(h[..., None], np.nan if x.dtype == np.float32 else -7, x).astype(x.dtype)
    for (name, x), h in parts
  }
  # What is seen of one modality does change what is predicted of another.
  other = {**patches, "edges": 2 * patches["edges"]}
  cases = jax.device_put(jax.tree.map(lambda *x: np.stack(x), patches, broken, other))

  @jax.jit
  def run(params, cases):
    def squares(params, patches):
      out = network.apply({"params": params}, patches, jnp.asarray(hidden), keep=N)
      return sum(jnp.sum(x**2) for x in out.values()), out

    return jax.lax.map(lambda patches: jax.grad(squares, has_aux=True)(params, patches), cases)

  slopes, out = jax.tree.map(np.asarray, run(params, cases))
  for leaf in jax.tree.leaves((slopes, out)):
    np.testing.assert_array_equal(leaf[0], leaf[1])
    assert np.isfinite(leaf).all()
  assert all(np.abs(x[2] - x[0]).max() > 1e-6 for x in out.values())


def test_padding_outside_attention_is_as_if_it_were_not_there():
  own, given = found()["own"]["modalities"]["edges"], found()["given"]
  np.testing.assert_allclose(given["prediction"][0], own["prediction"], atol=2e-5)
  np.testing.assert_array_equal(given["hidden"][0], own["hidden"])
  # A mask of the image alone hides all else.
  seen, hidden = found()["alone"]
  assert not np.isnan(seen).any()
  assert hidden.all()
  np.testing.assert_array_equal(given["hidden"][1], hidden)


def test_features_see_the_image_alone():
  features = found()["features"]
  assert {k: v.shape[1:] for k, v in features.items()} == {
    "mean": (8, 16), "tokens": (8, N, 16), "class": (8, 16),
  }  # fmt: skip
  mean, shifted = features["mean"]
  np.testing.assert_array_equal(mean, shifted)
  broken, odd = found()["parts"]
  assert np.isfinite(broken).all()
  assert np.abs(odd - mean).max() > 1e-4


def test_one_modality_is_learned_from_another():
  guess, true = (found()["given"][name][1] for name in ("prediction", "input"))
  # Edges have deviation 1. From the image alone more is known of them than their mean, and of those
  # of this image more than of any other's.
  own = ((guess - true) ** 2).mean()
  others = np.mean([((guess - np.roll(true, i, axis=0)) ** 2).mean() for i in range(1, 8)])
  assert own < 0.95
  assert own < 0.85 * others


def test_a_modality_may_be_asked_for_twice():
  asks = {**ASKS, "norm_image": dict(of="image", target=dict(normalise=True))}
  task = make(asks=asks)
  variables = jax.eval_shape(task.init, KEY, images())
  terms, _ = jax.eval_shape(task.loss, variables, images(), KEY, 0)
  assert set(terms) == set(asks)
  views = jax.eval_shape(task.answers["views"], variables, images(), KEY)["modalities"]
  assert set(views) == set(ASKS)


@pytest.mark.parametrize(
  ("words", "says"),
  [
    (dict(modalities=dict(edges=dict(fn="edge"))), "edges"),
    (dict(modalities=dict(image=dict(fn="edges"))), "call them otherwise"),
    (dict(asks=dict(depth={})), "depth"),
    (dict(asks=dict(edges=dict(loss="x"))), "loss"),
    (dict(asks={}), "nothing would be asked"),
    (dict(features=("depth",)), "depth"),
    (dict(select=partial(select.top, ratio=1.0)), "0 of 48"),
    (dict(score=partial(score.hard_first, select=select.top)), "needs loss"),
    (dict(modalities=dict(a=dict(fn="palette", colors=2, stride=4))), "not cut"),
  ],
)
def test_what_cannot_work_is_refused(words, says):
  given = {"asks": None, **words} if "modalities" in words else words
  with pytest.raises(BadInput, match=says):
    make(**given)


def test_other_data_are_refused():
  record = Record("text", (8,), {"train": 1}, vocabulary=("a",))
  with pytest.raises(BadInput, match="takes images"):
    reconstruct_modalities(
      record=record, model=None, score=None, select=None, target=None, recover=None
    )
