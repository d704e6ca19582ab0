"""Layers that carry masks: equal to the plain ones, to an oracle, and blind to what is hidden."""

import functools
import itertools
import pathlib
import runpy

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maskjax import reduce
from maskjax.errors import BadInput
from maskjax.model.partial import MaskedNorm, PartialConv, global_average_pool, max_pool

close = runpy.run_path(str(pathlib.Path(__file__).parents[1] / "closeness.py"))["close"]
KEY = jax.random.key(0)
X = np.random.default_rng(0).normal(size=(2, 5, 6, 3)).astype(np.float32)
HIDDEN = np.random.default_rng(1).random((2, 5, 6)) < 0.6
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


def pair(options):
  """Ours and linen's, with a bias that is not zero."""
  given = {"features": 4, "kernel_size": (3, 3), "bias_init": nn.initializers.normal(1), **options}
  return PartialConv(**given), nn.Conv(**given)


@functools.cache
def convolved():
  """Every convolution of `CONVS`, ours and linen's, all of them in one program."""

  def run(ours, linen, x, nothing):
    variables = linen.init(KEY, x)
    return {
      "drawn": (ours.init(KEY, x), variables),
      "expected": linen.apply(variables, x),
      "plain": ours.apply(variables, x),
      "masked": ours.apply(variables, x, nothing),
    }

  every = {name: pair(options) for name, options in CONVS.items()}
  program = jax.jit(lambda *args: {name: run(*both, *args) for name, both in every.items()})
  return jax.device_get(program(X, np.zeros(X.shape[:-1], bool)))


@pytest.mark.parametrize("name", CONVS)
def test_nothing_hidden_is_the_plain_convolution(name):
  results = convolved()[name]
  jax.tree.map(np.testing.assert_array_equal, *results["drawn"])
  expected, (got, hidden) = results["expected"], results["plain"]
  assert hidden is None
  assert got.dtype == expected.dtype
  np.testing.assert_array_equal(got, expected)
  got, hidden = results["masked"]
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
  rng = np.random.default_rng(2)
  kernel, bias = (rng.normal(size=size).astype(np.float32) for size in ((3, 3, 3, 4), 4))
  hidden = HIDDEN.copy()
  hidden[0] = True
  hidden[0, 0, 0] = False
  expected, out = by_hand(X, hidden, *np.float64([kernel]), np.float64(bias), strides, padding)
  ours, _ = pair(dict(padding=padding, strides=strides))
  got, hidden = jax.jit(ours.apply)({"params": {"kernel": kernel, "bias": bias}}, X, hidden)
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


@functools.cache
def outcome(train):
  """The network's outputs and gradients, compiled: `(x, hidden) -> …`."""
  net = Net(train)
  rng, shapes = np.random.default_rng(3), jax.eval_shape(Net(train).init, KEY, X)
  variables = jax.tree.map(lambda leaf: np.float32(rng.uniform(0.5, 1.5, leaf.shape)), shapes)

  @jax.jit
  def run(x, hidden):
    def loss(params, x):
      out, state = net.apply({**variables, **params}, x, hidden, mutable=["batch_stats"])
      return jnp.sum(out * jnp.arange(4)), (out, state)

    return jax.grad(loss, (0, 1), has_aux=True)({"params": variables["params"]}, x)

  return lambda *args: jax.device_get(run(*args))


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("leak", [np.nan, np.inf, 7.0])
@pytest.mark.parametrize("everything", [True, False])
def test_what_is_hidden_reaches_neither_output_nor_gradient(train, leak, everything):
  hidden = HIDDEN | everything
  hidden[1] = True
  dirtied = np.where(hidden[..., None], leak, X).astype(np.float32)
  clean, dirty = outcome(train)(X, hidden), outcome(train)(dirtied, hidden)
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(dirty))
  jax.tree.map(np.testing.assert_array_equal, clean, dirty)
  np.testing.assert_array_equal(clean[0][1][hidden], 0)
  np.testing.assert_array_equal(clean[1][0][1], 0)
  assert everything or clean[0][1].any()


@pytest.mark.parametrize("space", [(7,), (3, 4), (3, 2, 4)])
def test_any_number_of_axes(space):
  conv, rng = PartialConv(4, (3,) * len(space)), np.random.default_rng(4)
  hidden = rng.random(space) < 0.7
  inputs = [rng.normal(size=(*batch, *space, 2)).astype(np.float32) for batch in ((), (2,), (2, 3))]

  @jax.jit
  def run(variables, inputs):
    each = lambda x: jnp.broadcast_to(hidden, x.shape[:-1])
    return [
      (conv.apply(variables, x, hidden), conv.apply(variables, x, each(x))[0]) for x in inputs
    ]

  shapes = jax.eval_shape(conv.init, KEY, inputs[0])
  variables = jax.tree.map(lambda leaf: np.float32(rng.normal(size=leaf.shape)), shapes)
  for x, ((shared, out), own) in zip(inputs, jax.device_get(run(variables, inputs)), strict=True):
    assert shared.shape == (*x.shape[:-1], 4)
    np.testing.assert_array_equal(shared, own)
    assert out.shape == x.shape[:-1]
    np.testing.assert_array_equal(shared[out], 0)
    assert shared.any()


def test_norm_of_nothing_hidden_is_linens():
  variables = jax.eval_shape(MaskedNorm(use_running_average=True).init, KEY, X)
  rng = np.random.default_rng(5)
  variables = jax.tree.map(lambda leaf: np.float32(rng.uniform(0.5, 2, leaf.shape)), variables)

  def every(variables, x, nothing):
    apply = lambda norm, *args: norm.apply(variables, *args, mutable=["batch_stats"])
    for running in (True, False):
      expected, linens = apply(nn.BatchNorm(), x, running)
      for hidden in (None, nothing):
        (got, _), state = apply(MaskedNorm(), x, hidden, running)
        yield (got, state), (expected, linens)

  run = jax.jit(lambda *args: list(every(*args)))
  for ours, expected in run(variables, X, np.zeros(X.shape[:-1], bool)):
    jax.tree.map(np.testing.assert_array_equal, ours, expected)


def test_norm_takes_the_statistics_of_what_is_visible():
  norm = MaskedNorm(use_running_average=False, momentum=0.0)
  blank = {"batch_stats": {"mean": np.zeros(3), "var": np.ones(3)}}
  variables = {"params": {"scale": np.ones(3), "bias": np.zeros(3)}, **blank}
  variables = jax.tree.map(np.float32, variables)
  run = jax.jit(lambda x, hidden: norm.apply(variables, x, hidden, mutable=["batch_stats"]))
  (y, hidden), state = jax.device_get(run(X, HIDDEN))
  seen = X[~HIDDEN]
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
      jax.eval_shape(MaskedNorm(use_running_average=False, **options).init, KEY, X, HIDDEN)


@pytest.mark.parametrize("strides", [None, (2, 2)])
def test_max_pool_equals_numpy(strides):
  pool = functools.partial(max_pool, window=(2, 2), strides=strides)
  run = lambda x, hidden: (pool(x, hidden, padding=((1, 0), (1, 0))), pool(x)[0])
  (got, out), plain = jax.jit(run)(X, HIDDEN)
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
  whole = np.lib.stride_tricks.sliding_window_view(X, (2, 2), axis=(1, 2))
  np.testing.assert_array_equal(plain, whole[:, :: step[0], :: step[1]].max(axis=(-1, -2)))


def test_global_average_is_over_what_is_visible():
  hidden = HIDDEN.copy()
  hidden[1] = True
  run = lambda x, hidden: (
    global_average_pool(x.astype(jnp.bfloat16), hidden),
    global_average_pool(x),
    jnp.mean(x, axis=(1, 2)),
  )
  got, plain, mean = jax.device_get(jax.jit(run)(X, hidden))
  assert got.dtype == jnp.float32
  np.testing.assert_allclose(got[0], X[0][~hidden[0]].mean(0), rtol=2e-2, atol=1e-2)
  np.testing.assert_array_equal(got[1], 0)
  np.testing.assert_array_equal(plain, mean)


def test_masks_that_are_not_bool_are_refused():
  with pytest.raises(TypeError, match="hidden is a mask of bool"):
    global_average_pool(X, HIDDEN.astype(np.int32))


@pytest.mark.parametrize("masked", [False, True])
def test_norm_over_mapped_parts_is_that_of_the_whole_batch(masked):
  rng = np.random.default_rng(6)
  x, upstream = rng.normal(3, 1, (8, 5, 6)), rng.normal(size=(8, 5, 6))
  hidden = np.arange(5) >= np.arange(8)[:, None] if masked else None  # The first hides all.
  norm = MaskedNorm(use_running_average=False, momentum=0.9)
  shapes = jax.eval_shape(norm.init, KEY, x)
  variables = jax.tree.map(lambda leaf: np.float32(rng.uniform(0.5, 2, leaf.shape)), shapes)

  def loss(variables, x, hidden, upstream):
    (y, _), new = norm.apply(variables, x, hidden, mutable=["batch_stats"])
    return jnp.sum(y * upstream), (y, new)

  grad = jax.grad(loss, argnums=1, has_aux=True)
  parts = lambda x: None if x is None else x.reshape(4, 2, *x.shape[1:])

  @jax.jit
  def both(*given):
    mapped = jax.vmap(reduce.across("parts")(grad), (None, 0, 0, 0), axis_name="parts")
    return grad(variables, *given), mapped(variables, *map(parts, given))

  (slope, (y, new)), (slopes, (ys, news)) = both(np.float32(x), hidden, np.float32(upstream))
  # Sums over the batch for mean and variance, and backward two more; the variance is a difference
  # of squares about ten times as large.
  sums = dict(depth=4, terms=40, axis=None)
  whole = lambda x: x.reshape(8, 5, 6)
  close((whole(ys), whole(slopes)), (y, slope), **sums)
  for part in range(4):
    close(jax.tree.map(lambda leaf, part=part: leaf[part], news), new, **sums)
