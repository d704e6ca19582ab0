"""Layers that carry masks: equal to the plain ones, to an oracle, and blind to what is hidden."""

import itertools
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maskjax import reduce
from maskjax.errors import BadInput
from maskjax.model.partial import MaskedNorm, PartialConv, global_average_pool, max_pool

KEY = jax.random.key(0)
X = jax.random.normal(KEY, (2, 5, 6, 3))
HIDDEN = jax.random.uniform(jax.random.key(1), (2, 5, 6)) < 0.6
CONVS = {
  "same": {},
  "stride": dict(strides=2),
  "valid": dict(padding="VALID", use_bias=False),
  "uneven": dict(kernel_size=(2, 3), strides=(2, 1), padding=[(1, 0), (2, 1)]),
  "dilated": dict(kernel_dilation=2),
  "circular": dict(padding="CIRCULAR"),
  "grouped": dict(feature_group_count=3, features=6),
  "pointwise": dict(kernel_size=(1, 1), strides=(2, 2)),
  "half": dict(dtype="bfloat16"),
}
every_conv = pytest.mark.parametrize("options", CONVS.values(), ids=CONVS)


def pair(options):
  """Ours, linen's, and variables for both, with a bias that is not zero."""
  options = {
    "features": 4,
    "kernel_size": (3, 3),
    "bias_init": nn.initializers.normal(1),
    **options,
  }
  ours, linen = PartialConv(**options), nn.Conv(**options)
  variables = jax.jit(linen.init)(KEY, X)
  return ours, linen, variables


@every_conv
def test_nothing_hidden_is_the_plain_convolution(options):
  ours, linen, variables = pair(options)
  expected = linen.apply(variables, X)
  jax.tree.map(np.testing.assert_array_equal, ours.init(KEY, X), linen.init(KEY, X))
  got, hidden = ours.apply(variables, X)
  assert hidden is None
  assert got.dtype == expected.dtype
  np.testing.assert_array_equal(got, expected)
  got, hidden = ours.apply(variables, X, jnp.zeros(X.shape[:-1], bool))
  assert not hidden.any()
  np.testing.assert_array_equal(got, expected)


def by_hand(x, hidden, kernel, bias, strides, padding):
  """Equation 1 of the paper, window by window."""
  sides = kernel.shape[:2]
  wide = [(0, 0), *padding]
  inside = np.pad(np.ones(hidden.shape), wide)
  kept = np.pad(~hidden, wide)
  x = np.pad(np.where(hidden[..., None], 0, x), [*wide, (0, 0)])
  space = [(n - k) // s + 1 for n, k, s in zip(kept.shape[1:], sides, strides, strict=True)]
  y = np.zeros((len(x), *space, kernel.shape[-1]))
  out = np.ones(y.shape[:-1], bool)
  for b, i, j in itertools.product(range(len(x)), *map(range, space)):
    at = (b, slice(i * strides[0], i * strides[0] + sides[0]))
    at += (slice(j * strides[1], j * strides[1] + sides[1]),)
    if kept[at].any():
      ratio = inside[at].sum() / kept[at].sum()
      y[b, i, j] = ratio * np.einsum("hwc,hwcd->d", x[at], kernel) + bias
      out[b, i, j] = False
  return y, out


@pytest.mark.parametrize("padding", [((0, 0), (0, 0)), ((1, 1), (1, 1)), ((2, 0), (0, 1))])
@pytest.mark.parametrize("strides", [(1, 1), (2, 3)])
def test_equals_the_equation(padding, strides):
  ours, _, variables = pair(dict(padding=padding, strides=strides))
  weights = [np.asarray(variables["params"][name], np.float64) for name in ("kernel", "bias")]
  hidden = HIDDEN.at[0].set(True).at[0, 0, 0].set(False)
  expected, out = by_hand(np.asarray(X), np.asarray(hidden), *weights, strides, padding)
  got, hidden = ours.apply(variables, X, hidden)
  np.testing.assert_array_equal(hidden, out)
  assert 0 < out.sum() < out.size
  np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


class Net(nn.Module):
  """Every layer of the file, one after the other."""

  train: bool = True

  @nn.compact
  def __call__(self, x, hidden=None):
    x, hidden = PartialConv(4, (3, 3), padding="VALID")(x, hidden)
    x, hidden = MaskedNorm(use_running_average=not self.train)(x, hidden)
    x, hidden = max_pool(nn.relu(x), hidden, window=(2, 2))
    return global_average_pool(x, hidden)


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("leak", [np.nan, np.inf, 7.0])
@pytest.mark.parametrize("everything", [True, False])
def test_what_is_hidden_reaches_neither_output_nor_gradient(train, leak, everything):
  net = Net(train)
  hidden = HIDDEN.at[1].set(True) | everything
  variables = net.init(KEY, X)

  @jax.jit
  def outcome(x):
    def loss(params, x):
      out, state = net.apply({**variables, **params}, x, hidden, mutable=["batch_stats"])
      return jnp.sum(out * jnp.arange(4)), (out, state)

    return jax.grad(loss, (0, 1), has_aux=True)({"params": variables["params"]}, x)

  clean, dirty = outcome(X), outcome(jnp.where(hidden[..., None], leak, X))
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(dirty))
  jax.tree.map(np.testing.assert_array_equal, clean, dirty)
  np.testing.assert_array_equal(clean[0][1][hidden], 0)
  np.testing.assert_array_equal(clean[1][0][1], 0)


@pytest.mark.parametrize("space", [(7,), (3, 4), (3, 2, 4)])
@pytest.mark.parametrize("batch", [(), (2,), (2, 3)])
def test_any_number_of_axes(space, batch):
  conv = PartialConv(4, (3,) * len(space))
  x = jax.random.normal(KEY, (*batch, *space, 2))
  hidden = jax.random.uniform(KEY, space) < 0.7
  shared, out = conv.init_with_output(KEY, x, hidden)[0]
  assert shared.shape == (*batch, *space, 4)
  own, _ = conv.init_with_output(KEY, x, jnp.broadcast_to(hidden, x.shape[:-1]))[0]
  np.testing.assert_array_equal(shared, own)
  assert out.shape == (*batch, *space)
  np.testing.assert_array_equal(shared[out], 0)


def test_norm_of_nothing_hidden_is_linens():
  variables = MaskedNorm().init(KEY, X, None, True)
  for hidden in (None, jnp.zeros(X.shape[:-1], bool)):
    for running in (True, False):
      apply = lambda norm, *args: norm.apply(variables, *args, mutable=["batch_stats"])
      (got, _), state = apply(MaskedNorm(), X, hidden, running)
      expected, linens = apply(nn.BatchNorm(), X, running)
      np.testing.assert_array_equal(got, expected)
      jax.tree.map(np.testing.assert_array_equal, state, linens)


def test_norm_takes_the_statistics_of_what_is_visible():
  norm = MaskedNorm(use_running_average=False, momentum=0.0)
  variables = norm.init(KEY, X)
  (y, hidden), state = norm.apply(variables, X, HIDDEN, mutable=["batch_stats"])
  seen = np.asarray(X)[~np.asarray(HIDDEN)]
  np.testing.assert_allclose(state["batch_stats"]["mean"], seen.mean(0), rtol=1e-4, atol=1e-6)
  np.testing.assert_allclose(state["batch_stats"]["var"], seen.var(0), rtol=1e-4)
  np.testing.assert_allclose(
    y[~HIDDEN], (seen - seen.mean(0)) / np.sqrt(seen.var(0) + 1e-5), rtol=1e-3, atol=1e-4
  )
  np.testing.assert_array_equal(y[HIDDEN], 0)
  np.testing.assert_array_equal(hidden, HIDDEN)


def test_norm_refuses_what_it_would_weigh_wrongly():
  for options in (dict(axis_name="data"), dict(axis=1)):
    with pytest.raises(BadInput, match="no axis_name"):
      MaskedNorm(use_running_average=False, **options).init(KEY, X, HIDDEN)


@pytest.mark.parametrize("strides", [None, (2, 2)])
def test_max_pool_equals_numpy(strides):
  got, out = max_pool(X, HIDDEN, window=(2, 2), strides=strides, padding=((1, 0), (1, 0)))
  step = strides or (1, 1)
  x = np.pad(
    np.where(HIDDEN[..., None], -np.inf, X),
    [(0, 0), (1, 0), (1, 0), (0, 0)],
    constant_values=-np.inf,
  )
  windows = np.lib.stride_tricks.sliding_window_view(x, (2, 2), axis=(1, 2))
  expected = windows[:, :: step[0], :: step[1]].max(axis=(-1, -2))
  nothing = np.isinf(expected).all(-1)
  np.testing.assert_array_equal(out, nothing)
  np.testing.assert_array_equal(got, np.where(nothing[..., None], 0, expected))
  np.testing.assert_array_equal(
    max_pool(X, window=(2, 2), strides=strides)[0], nn.max_pool(X, (2, 2), strides)
  )


def test_global_average_is_over_what_is_visible():
  hidden = HIDDEN.at[1].set(True)
  got = global_average_pool(X.astype(jnp.bfloat16), hidden)
  assert got.dtype == jnp.float32
  np.testing.assert_allclose(got[0], X[0][~hidden[0]].mean(0), rtol=2e-2, atol=1e-2)
  np.testing.assert_array_equal(got[1], 0)
  np.testing.assert_array_equal(global_average_pool(X), jnp.mean(X, axis=(1, 2)))


def test_masks_that_are_not_bool_are_refused():
  with pytest.raises(TypeError, match="hidden is a mask of bool"):
    global_average_pool(X, HIDDEN.astype(jnp.int32))


@pytest.mark.parametrize("masked", [False, True])
def test_norm_over_mapped_parts_is_that_of_the_whole_batch(masked):
  x = 3 + jax.random.normal(KEY, (8, 5, 6))
  hidden = jnp.arange(5) >= jnp.arange(8)[:, None] if masked else None  # The first hides all.
  norm = MaskedNorm(use_running_average=False, momentum=0.9)
  variables = norm.init(KEY, x)
  upstream = jax.random.normal(jax.random.key(1), x.shape)

  def loss(variables, x, hidden, upstream):
    (y, _), new = norm.apply(variables, x, hidden, mutable=["batch_stats"])
    return jnp.sum(y * upstream), (y, new)

  grad = jax.grad(loss, argnums=1, has_aux=True)
  slope, (y, new) = grad(variables, x, hidden, upstream)
  parts = lambda x: None if x is None else x.reshape(4, 2, *x.shape[1:])
  mapped = jax.vmap(reduce.across("parts")(grad), (None, 0, 0, 0), axis_name="parts")
  given = variables, parts(x), parts(hidden), parts(upstream)
  slopes, (ys, news) = mapped(*given)
  close = partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-5)
  close(ys.reshape(y.shape), y)
  close(slopes.reshape(slope.shape), slope)
  for part in range(4):
    jax.tree.map(close, jax.tree.map(lambda leaf, part=part: leaf[part], news), new)
