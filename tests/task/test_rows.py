"""Several fields in a row, by MultiMAE's laptop preset: what is hidden reaches nothing."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from built import Built

from maskjax import over
from maskjax.errors import BadInput
from maskjax.model import multimodal_autoencoder

KEY, N, NAMES = jax.random.key(0), 64, ("image", "segments")


@functools.cache
def found():
  """Views, features, losses and predictions of a batch, in one program."""
  made = Built("multimae", "laptop")
  task, graph = made.task, made.task.loss.__self__
  features, views = (task.answers[name] for name in ("features", "views"))

  @jax.jit
  def run(variables, batch):
    own = views(variables, batch, KEY)
    values = graph.run(variables, batch, KEY, 0)[0]
    hidden, source = values.take("hidden", "source")
    fields = {name: source[name] for name in NAMES}
    gone = {name: own["modalities"][name]["hidden"][..., None] for name in NAMES}
    broken = {
      "image": jnp.where(gone["image"], jnp.nan, fields["image"]),
      "segments": jnp.where(gone["segments"], -7, fields["segments"]),
    }
    # What is seen of one field does change what is predicted of another.
    other = {**fields, "segments": (fields["segments"] + 1) % 8}

    def squares(params, source):
      told = graph.run({**variables, "params": params}, batch, KEY, 0)[0]
      out = told.ask("predictions", source=source)
      return jnp.sum(out["image"] ** 2), out

    sources = jax.tree.map(lambda *x: jnp.stack(x), fields, broken, other)
    slope = jax.grad(squares, has_aux=True)
    column = jnp.broadcast_to(jnp.arange(N) % 8 == 0, (8, N))  # the first of eight
    torn = {**batch, "image": batch["image"].at[:, :, :4].set(jnp.nan)}
    away = {**variables, "fitted": jax.tree.map(lambda x: x + 3, variables["fitted"])}
    pair = lambda *x: jax.tree.map(lambda *y: jnp.stack(y), *x)
    image = jnp.broadcast_to(jnp.arange(2 * N) >= N, (8, 2 * N))
    by = lambda mask: views(variables, batch, KEY, hidden=mask, keep=N)["modalities"]
    alone = views(variables, batch, KEY, hidden=jnp.zeros((1, N), bool), keep=N)
    part = lambda x: features({**variables, "fitted": x[0]}, x[1], column)
    fitted = variables["fitted"]
    return {
      "terms": task.loss(variables, batch, KEY, 0)[0],
      "own": own,
      "hidden": hidden,
      "cases": jax.lax.map(lambda x: slope(variables["params"], x), sources),
      "given": jax.lax.map(by, jnp.stack([hidden, image])),
      "alone": (alone["seen"], alone["modalities"]["segments"]["hidden"]),
      "features": features(variables, batch),
      "parts": jax.lax.map(part, pair((fitted, batch), (away["fitted"], batch), (fitted, torn))),
    }

  return jax.tree.map(np.asarray, run(made.variables, made.batch))


def test_terms_are_means_of_each_examples_own_mean():
  terms, seen = found()["terms"], found()["own"]["modalities"]
  assert set(terms) == set(NAMES)
  assert (~found()["hidden"]).sum(-1).tolist() == [21] * 8
  square = np.square(seen["image"]["prediction"] - seen["image"]["input"]).mean(-1)
  logits = seen["segments"]["prediction"].astype(np.float64)
  logs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
  labels = seen["segments"]["input"][..., None]
  errors = {"image": square, "segments": -np.take_along_axis(logs, labels, -1)[..., 0]}
  for name, error in errors.items():
    rows = zip(error, seen[name]["hidden"], strict=True)
    own = [e[asked].mean() for e, asked in rows if asked.any()]
    got = terms[name].sum / terms[name].count
    np.testing.assert_allclose(got, np.mean(own), rtol=1e-4, err_msg=name)
    assert int(terms[name].count) == len(own)


def test_what_is_hidden_changes_nothing_and_what_is_seen_tells_of_the_other_field():
  slopes, out = found()["cases"]
  for leaf in jax.tree.leaves((slopes, out)):
    np.testing.assert_array_equal(leaf[0], leaf[1])
    assert np.isfinite(leaf).all()
  assert all(np.abs(x[2] - x[0]).max() > 1e-6 for x in out.values())
  # The image learns from what is seen of the segments.
  assert np.abs(slopes["embed_segments"]["project"]["kernel"][0]).max() > 1e-6


def test_views_take_a_mask_of_the_row_or_of_its_first_field():
  own, given = found()["own"], found()["given"]
  for name in NAMES:
    np.testing.assert_array_equal(given[name]["hidden"][0], own["modalities"][name]["hidden"])
    # Padding is seen by none.
    seen, padded = own["modalities"][name]["prediction"], given[name]["prediction"][0]
    np.testing.assert_allclose(padded, seen, atol=3e-5)
    assert np.abs(given[name]["prediction"][1] - seen).max() > 1e-3
  gone = own["modalities"]["image"]["hidden"]
  np.testing.assert_array_equal(np.isnan(own["seen"]).all(-1), gone)
  pasted = np.where(gone[..., None], own["prediction"], own["input"])
  np.testing.assert_array_equal(own["pasted"], pasted)
  seen, hidden = found()["alone"]
  assert not np.isnan(seen).any()
  np.testing.assert_array_equal(hidden, given["segments"]["hidden"][1])
  assert hidden.all()
  with pytest.raises(BadInput, match="ends within a field"):
    over.rest_hidden(jnp.zeros((1, 3), bool), {"a": slice(0, 2), "b": slice(2, 5)})


def test_labels_are_shown_in_their_colours():
  segments = found()["own"]["modalities"]["segments"]
  assert segments["colors"].shape == (8, 3)
  assert segments["input"].shape == (8, 32, 32)
  assert segments["prediction"].shape == (8, 32, 32, 8)
  assert "colors" not in found()["own"]["modalities"]["image"]


def test_features_see_the_image_alone_and_of_it_what_is_not_hidden():
  features = found()["features"]
  assert {k: v.shape for k, v in features.items()} == {
    "mean": (8, 16), "tokens": (8, N, 16), "class": (8, 16),
  }  # fmt: skip
  part, away, torn = found()["parts"]["mean"]
  np.testing.assert_array_equal(part, away)
  np.testing.assert_array_equal(part, torn)
  assert np.isfinite(part).all()
  assert np.abs(part - features["mean"]).max() > 1e-4
  tokens = found()["parts"]["tokens"][0][:, np.arange(N) % 8 != 0]
  np.testing.assert_allclose(part, tokens.mean(1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
  ("words", "says"),
  [
    (dict(asks=dict(depth="depth")), "depth"),
    (dict(asks={}), "nothing would be asked"),
    (dict(cells=dict(image=(2, 2), segments=(2, 2))), "not cut"),
    (dict(cells=dict(image=(3, 3), segments=(1, 1))), "divisible"),
  ],
)
def test_a_network_that_cannot_be_is_refused(words, says):
  shapes = dict(image=((8, 8, 3), 0), segments=((4, 4, 1), 5))
  given = dict(shapes=shapes, cells=dict(image=(2, 2), segments=(1, 1)), size="mu")
  assert multimodal_autoencoder(**given).grid == (4, 4)
  with pytest.raises(BadInput, match=says):
    multimodal_autoencoder(**{**given, **words})


def test_an_unknown_field_is_named():
  values = {"image": jnp.zeros((1, 2, 1))}
  with pytest.raises(BadInput, match="did you mean 'image'"):
    over.only(values, {"image": slice(0, 2)}, names=("imago",))
