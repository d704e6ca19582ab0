"""Both sides of a row do the same work, and that work is what the row says."""

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
  q, k, v, g = (jax.random.normal(key, shape) for key in jax.random.split(jax.random.key(0), 4))

  def plain(q, k, v):
    weights = jax.nn.softmax(jnp.einsum("bnhd,bmhd->bhnm", q, k) / 2, axis=-1)
    return jnp.einsum("bhnm,bmhd->bnhd", weights, v)

  out, back = jax.vjp(plain, q, k, v)
  ours = attention.both(q, k, v, g)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), ours, (out, back(g))
  )


@pytest.mark.parametrize("ties", [False, True])
def test_search_and_argsort_choose_the_same(ties):
  x = jax.random.normal(jax.random.key(1), (40, 25))
  x = jnp.round(x) if ties else x
  searched, argsorted = prune_mask.searched(x), prune_mask.argsorted(x)
  assert searched.sum() == round(prune_mask.RATIO * x.size)
  np.testing.assert_array_equal(searched, argsorted == 1)


def test_both_sides_hide_as_many():
  size = smoke(random_masks, side=14)
  hidden = random_masks.drawn(jax.random.key(0), 0, jnp.arange(8, dtype=jnp.int32), size)
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
  patches = jax.random.normal(jax.random.key(0), (2, 8, 3))
  hidden = mask_share.last(jnp.zeros((2, 8)), ratio=0.75)
  assert hidden.sum(-1).tolist() == [6, 6]
  expected, got = drop(patches, hidden, keep=2), mask_share.first(patches, hidden, keep=2)
  jax.tree.map(np.testing.assert_array_equal, got, expected)
  fill = jnp.arange(3.0)
  np.testing.assert_array_equal(
    mask_share.behind(got.tokens, hidden, fill), restore(got.tokens, hidden, fill)
  )


def test_slices_are_what_the_step_without_masks_uses(monkeypatch):
  used = []
  for name in ("first", "behind"):
    inner = getattr(mask_share, name)
    spy = lambda *args, inner=inner, name=name, **rest: used.append(name) or inner(*args, **rest)
    monkeypatch.setattr(mask_share, name, spy)
  mask_share.without(smoke(mask_share))
  assert set(used) == {"first", "behind"}
  assert mask_share.network.drop is drop
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
