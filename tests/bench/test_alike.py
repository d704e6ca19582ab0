"""Both sides of a row do the same work, and that work is what the row says."""

import functools
import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from maskjax.bench import (
  attention,
  data,
  growth,
  harness,
  mae_step,
  mask_share,
  prune_mask,
  random_masks,
  sampling,
  steps,
  worker,
)
from maskjax.hide import drop, restore

PEERS = harness.HERE / "peers"


def smoke(module, **changes):
  return {**module.ROW.sizes["smoke"], **changes}


def test_attention_is_softmax_attention():
  shape = 2, 5, 3, 4
  q, k, v, g = np.random.default_rng(0).normal(size=(4, *shape)).astype(np.float32)

  def plain(q, k, v):
    weights = jax.nn.softmax(jnp.einsum("bnhd,bmhd->bhnm", q, k) / 2, axis=-1)
    return jnp.einsum("bhnm,bmhd->bnhd", weights, v)

  @jax.jit
  def sides():
    out, back = jax.vjp(plain, q, k, v)
    return attention.both(q, k, v, g), (out, back(g))

  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), *sides())


@pytest.mark.parametrize("ties", [False, True])
def test_search_and_argsort_choose_the_same(ties):
  x = np.random.default_rng(1).normal(size=(40, 25)).astype(np.float32)
  x = jnp.asarray(np.round(x) if ties else x)
  searched, argsorted = prune_mask.searched(x), prune_mask.argsorted(x)
  assert searched.sum() == round(prune_mask.RATIO * x.size)
  np.testing.assert_array_equal(searched, argsorted == 1)


def test_both_sides_hide_as_many():
  size = smoke(random_masks, side=14)
  draw = jax.jit(lambda: random_masks.drawn(jax.random.key(0), 0, jnp.arange(8), size))
  hidden = np.asarray(draw())
  kept = worker.resolve(f"{PEERS}/random_masks.py:kept")(196, size["ratio"])
  assert set((~hidden).sum(-1).tolist()) == {kept} == {49}


def test_products_are_those_of_the_step():
  size = smoke(mae_step, batch=3, width=8, heads=2, depth=2)
  dense = sum(2 * m * k * n * count for m, k, n, count in mae_step.products(size))
  mixed = lambda tokens, width, depth: 3 * depth * 2 * 2 * size["batch"] * tokens**2 * width
  seen, every = 1 + 4, 1 + 16
  attended = mixed(seen, size["width"], size["depth"])
  attended += mixed(every, size["decoder_width"], size["decoder_depth"])
  assert steps.parts(size).flops == dense + attended


def test_slices_stand_for_gathers():
  patches = np.random.default_rng(0).normal(size=(2, 8, 3)).astype(np.float32)
  fill = np.arange(3, dtype=np.float32)

  @jax.jit
  def both(patches, fill):
    hidden = mask_share.last(jnp.zeros((2, 8)), ratio=0.75)
    expected, got = drop(patches, hidden, keep=2), mask_share.first(patches, hidden, keep=2)
    put_back = [side(got.values, hidden, fill) for side in (mask_share.behind, restore)]
    return hidden, expected, got, put_back

  hidden, expected, got, put_back = both(patches, fill)
  assert np.asarray(hidden).sum(-1).tolist() == [6, 6]
  jax.tree.map(np.testing.assert_array_equal, got, expected)
  np.testing.assert_array_equal(*put_back)


def test_slices_are_what_the_step_without_masks_uses(monkeypatch):
  used = []

  def spied(inner):
    @functools.wraps(inner)
    def told(*args, **rest):
      used.append(inner.__name__)
      return inner(*args, **rest)

    return told

  for name in ("first", "behind"):
    monkeypatch.setattr(mask_share, name, spied(getattr(mask_share, name)))
  # The first run is where the step is traced; nothing more of it is looked at here.
  shapes = lambda size: jax.eval_shape(lambda: steps.batch(size))
  trace = lambda built, size: lambda: jax.eval_shape(built.step, built.state, shapes(size))
  monkeypatch.setattr(steps, "stepping", trace)
  mask_share.without(smoke(mask_share))
  assert set(used) == {"first", "behind"}
  assert mask_share.network.restore is restore


def test_our_batches_and_theirs_are_alike(tmp_path):
  size = data.prepare(smoke(data), tmp_path)
  image = Image.open(io.BytesIO(data.jpeg(np.random.default_rng(0), 24)))
  assert image.size == (24, 24)
  crop = worker.resolve(f"{PEERS}/data.py:crop")
  for _ in range(50):
    left, top, right, bottom = crop(20, 30)
    assert 0 <= left < right <= 20
    assert 0 <= top < bottom <= 30
  images = worker.resolve(f"{PEERS}/data.py:Images")
  for kind in data.KINDS:
    assert len(images(kind, size[kind], 24).names) == size["images"]


def test_evaluations_are_counted():
  size = smoke(sampling, batch=2)
  facts = sampling.every(size)["facts"]
  assert facts["evaluations"] == 2 * size["steps"]
  assert sampling.ours(smoke(sampling, batch=1, steps=50))["facts"]["evaluations"] <= size["tokens"]


def test_every_step_draws_from_the_network():
  keys = jax.random.split(jax.random.key(0), 512)
  tokens, hidden = jnp.zeros((512, 8), jnp.int32), jnp.ones((512, 8), bool).at[:, 0].set(False)
  logits = jnp.log(jnp.array([0.2, 0.7, 0.1]))
  predict = lambda tokens, hidden: jnp.broadcast_to(logits, (*tokens.shape, 3))
  drawn = sampling.every_step(predict, keys, tokens, hidden, steps=4)["tokens"]
  assert (drawn[:, 0] == 0).all()
  shares = jnp.bincount(drawn[:, 1:].reshape(-1), length=3) / (512 * 7)
  np.testing.assert_allclose(shares, [0.2, 0.7, 0.1], atol=0.03)


def test_one_axis_grows():
  size = smoke(growth)
  assert growth.along(size, "tokens", 4)["image"] == 16
  one = growth.along(size, "depth", 2)
  assert (one["depth"], one["decoder_depth"], one["batch"]) == (2, 2, 2)
  assert growth.slope([1, 2, 4], [1, 4, 16]) == pytest.approx(2)
