"""MAGE-C: what is contrasted of an image is what the encoder makes of it behind two masks."""

import functools
import pathlib
import runpy

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maskjax import bind, recover, schedule, score, select
from maskjax.errors import BadInput
from maskjax.model import code_autoencoder
from maskjax.reduce import Term
from maskjax.task import masked_code

HERE = pathlib.Path(__file__).parent
toy = runpy.run_path(str(HERE / "toy_codes.py"))
filled = runpy.run_path(str(HERE / "toy_weights.py"))["filled"]
KEY, N = jax.random.key(0), toy["N"]
DRAWN = bind.Moving(schedule.truncated_normal(0.55, 0.25, 0.5, 1.0), each=True)
NET = functools.partial(code_autoencoder, size="mu", width=8, heads=2, decoder_depth=1)
NET = functools.partial(NET, decoder_heads=2)
HALF = functools.partial(select.top, ratio=0.5)


def pair(one, two):
  """In place of a contrastive loss, what it would compare."""
  return Term((one, two), jnp.int32(1))


def task(model, **words):
  """A small MAGE-C that reads the codes off its images."""
  options = dict(
    record=toy["RECORD"],
    tokenizer=toy["tokenizer"],
    model=model,
    score=functools.partial(score.white),
    select=functools.partial(select.top, ratio=DRAWN),
    drop=HALF,
    contrast=functools.partial(pair),
  )
  return masked_code(**{**options, **words})


@functools.cache
def shown():
  """The two views of each of 64 images, also in another order, what is asked, and their slopes."""
  model = functools.partial(lambda codes, grid: toy["Shows"]())
  one, whole = task(model, recover=toy["kept"], unlabelled=0.5), toy["batch"]()
  assert one.coupled
  assert one.weights == {"contrast": 0.1}

  @jax.jit
  def run(whole, variables):
    def loss(variables, rows):
      terms = one.loss(variables, rows, KEY, 3)[0]
      return jnp.stack(terms["contrast"].sum), terms["masked"].sum

    moved = jax.tree.map(jnp.ones_like, variables)
    change = lambda rows: jax.jvp(
      lambda variables: loss(variables, rows), (variables,), (moved,), has_aux=True
    )
    return jax.lax.map(change, jax.tree.map(lambda x: jnp.stack([x, x[::-1]]), whole))

  vectors, slopes, masked = jax.tree.map(np.asarray, run(whole, toy["VARIABLES"]))
  views = [toy["Given"](*np.moveaxis(x, -1, 0)) for x in vectors[0]]
  return views, jax.tree.map(lambda x: x[0], masked), vectors, slopes[0]


def codes():
  """Of the images, read by numpy."""
  return np.asarray(toy["batch"]()["image"])[:, ::2, ::2, 0].reshape(-1, N)


def test_both_views_are_of_the_same_image_with_masks_that_are_independent():
  (one, two), *_ = shown()
  for view in (one, two):
    hidden = view.codes < 0
    np.testing.assert_array_equal(view.codes, np.where(hidden, -1, codes()))
    assert (view.dropped.sum(-1) == 8).all()
    assert not (view.dropped.astype(bool) & ~hidden).any()
    assert len(np.unique(hidden.sum(-1))) > 3
    assert (view.keep == 8).all()
  # Of eight places that one view drops, another of its own drops four, give or take 1.03.
  both = (one.dropped * two.dropped).sum(-1)
  assert abs(both.mean() - 4) < 4 * 1.03 / 8
  assert (both < 8).mean() > 0.95
  # Nor is the share of the one that of the other.
  counts = [(view.codes < 0).sum(-1) for view in (one, two)]
  assert abs(np.corrcoef(*counts)[0, 1]) < 0.5
  np.testing.assert_array_equal(one.label, two.label)


def test_masks_of_both_views_follow_an_examples_position_not_its_place():
  whole, turned = shown()[2]
  np.testing.assert_array_equal(whole, turned[:, ::-1])


def test_codes_are_asked_of_the_first_view():
  (one, _), (given, tokens, asked), *_ = shown()
  jax.tree.map(np.testing.assert_array_equal, given, one)
  np.testing.assert_array_equal(asked, one.codes < 0)
  np.testing.assert_array_equal(tokens, codes())


def test_both_views_teach():
  """What a weight multiplies moves as it does, in the one view as in the other."""
  *_, vectors, slopes = shown()
  np.testing.assert_array_equal(slopes, vectors[0])


def test_what_is_compared_are_two_layers_on_the_mean_of_the_codes_that_are_seen():
  network = NET(codes=7, grid=(4, 4), project=6)
  rng = np.random.default_rng(0)
  tokens = jax.device_put(rng.integers(0, 7, (4, N), np.int32))
  hidden, dropped = (jax.device_put(np.tile(np.arange(N) % 4 < k, (4, 1))) for k in (3, 2))
  given = tokens, hidden, dropped
  variables = filled(jax.eval_shape(functools.partial(network.init, keep=N), KEY, *given))
  on = lambda path, x: np.full(x.shape, path[1].key == "encoder", x.dtype)
  moved = jax.tree_util.tree_map_with_path(on, variables)

  @jax.jit
  def run(variables):
    both = lambda variables, keep: network.apply(
      variables, *given, keep=keep, exact=keep == 8, method="both",
      capture_intermediates=lambda module, _: module.name == "encoder",
    )  # fmt: skip
    found, change = jax.jvp(lambda v: both(v, 8), (variables,), (moved,))
    return found, change[0][1], both(variables, 12)[0][1]

  ((_, vector), state), change, padded = jax.tree.map(np.asarray, run(variables))
  [encoded] = state["intermediates"]["encoder"]["__call__"]
  assert encoded.shape == (4, 9, 8)
  weights = variables["params"]
  dense = lambda x, name: x @ weights[name]["kernel"] + weights[name]["bias"]
  mean = encoded[:, 1:].mean(axis=1)  # without the label's token
  expected = dense(np.maximum(dense(mean, "project_in"), 0), "project_out")
  np.testing.assert_allclose(vector, expected, rtol=1e-4, atol=1e-5)
  # Padding of a larger bucket is not compared, and the encoder learns from what is.
  np.testing.assert_allclose(padded, expected, rtol=1e-4, atol=1e-5)
  assert (np.abs(change).max(axis=1) > 1e-4).all()


def test_contrast_wants_layers_of_its_own():
  words = dict(contrast=functools.partial(recover.info_nce, temperature=0.2))
  with pytest.raises(BadInput, match="project"):
    task(NET, **words)
