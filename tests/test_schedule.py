"""Schedules against their equations in float64, and the promises that all of them make."""

import math
import subprocess
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from maskjax import schedule
from maskjax.errors import BadInput
from maskjax.score import inherit
from maskjax.select import top

GRID = np.linspace(0, 1, 4001, dtype=np.float32)
MONOTONE = {
  "linear": schedule.linear,
  "cosine": schedule.cosine,
  "cosine with an offset": partial(schedule.cosine, offset=0.25),
  "polynomial": schedule.polynomial,
  "exponential": schedule.exponential,
  "power": schedule.power,
  "quarter_cosine": schedule.quarter_cosine,
  "quarter_sine": schedule.quarter_sine,
}
EQUATIONS = {
  "linear": lambda s, e, u: s + (e - s) * u,
  "cosine": lambda s, e, u: s + (e - s) * (1 - np.cos(np.pi * u)) / 2,
  "cosine with an offset": lambda s, e, u: (
    e + (s - e) * (np.cos(np.pi / 2 * (u + 0.25) / 1.25) / np.cos(np.pi / 2 * 0.25 / 1.25)) ** 2
  ),
  "polynomial": lambda s, e, u: e + (s - e) * (1 - u) ** 3,
  "exponential": lambda s, e, u: s * (e / s) ** u,
  "power": lambda s, e, u: s + (e - s) * u**2,
  "quarter_cosine": lambda s, e, u: e + (s - e) * np.cos(np.pi / 2 * u),
  "quarter_sine": lambda s, e, u: s + (e - s) * np.sin(np.pi / 2 * u),
}
COMPOSED = {
  "warmup": schedule.warmup(schedule.cosine(0.7, 0.1), 0.3),
  "piecewise": schedule.piecewise([schedule.linear(0.3, 0.1), schedule.cosine(0.1, 0.9)], [0.4]),
  "lines": schedule.piecewise_linear([0.3, 0.1, 0.1, 0.9], [0.2, 0.4]),
  "step": schedule.step([0.3, 0.2, 0.1], [1 / 3, 2 / 3]),
  "constant": schedule.constant(0.3),
  "cosine_tail": schedule.cosine_tail(0.7, 0.1, 0.3),
  "during": schedule.during(schedule.linear(0.1, 0.9), 0.2, 0.7),
}
numbers = st.floats(2**-10, 2**10, width=32)
kinds = st.sampled_from(sorted(MONOTONE))


@given(kinds, numbers, numbers)
@settings(deadline=None, max_examples=60)
def test_meets_its_equation_within_its_ends(kind, start, end):
  values = np.asarray(MONOTONE[kind](start, end)(GRID))
  scale = max(start, end)
  assert values.dtype == np.float32
  assert values[0] == np.float32(start)
  assert values[-1] == np.float32(end)
  exact = EQUATIONS[kind](start, end, GRID.astype(np.float64))
  np.testing.assert_allclose(values, exact, rtol=3e-6, atol=1e-6 * scale)
  slack = 1e-6 * scale
  assert min(start, end) - slack <= values.min()
  assert values.max() <= max(start, end) + slack
  assert (np.diff(values) * np.sign(end - start) >= -slack).all()


@given(kinds, numbers)
@settings(deadline=None, max_examples=30)
def test_equal_ends_give_that_value_throughout(kind, value):
  assert (np.asarray(MONOTONE[kind](value, value)(GRID)) == np.float32(value)).all()


@given(kinds, numbers, numbers, st.floats(-5, 5, width=32))
@settings(deadline=None, max_examples=60)
def test_clamps(kind, start, end, u):
  f = MONOTONE[kind](start, end)
  assert f(u) == f(min(max(u, 0.0), 1.0))
  assert f(math.inf) == np.float32(end)
  assert f(-math.inf) == np.float32(start)
  assert np.isnan(f(math.nan))


@pytest.mark.parametrize("kind", MONOTONE)
def test_derivative_is_that_of_the_equation_at_the_ends_too(kind):
  u, h = np.linspace(0, 1, 11), 1e-6
  slope = jax.jit(jax.vmap(jax.grad(MONOTONE[kind](0.9, 0.2))))(u.astype(np.float32))
  equation = EQUATIONS[kind]
  exact = (equation(0.9, 0.2, u + h) - equation(0.9, 0.2, u - h)) / (2 * h)
  np.testing.assert_allclose(slope, exact, atol=1e-5)


@pytest.mark.parametrize("kind", COMPOSED)
def test_derivatives_of_composites_are_finite(kind):
  assert np.isfinite(jax.jit(jax.vmap(jax.grad(COMPOSED[kind])))(GRID)).all()


@pytest.mark.parametrize(("a", "b"), [(1.0, 1.0), (0.2, 0.2), (0.5, 3.0), (2.0, 1.0), (5.0, 4.0)])
def test_beta_gives_the_quantiles_and_their_slopes(a, b):
  f, u = schedule.beta(a, b), GRID[50:-50:50]
  inner = np.linspace(0.05, 0.9, 10)

  @jax.jit
  def ways(u, inner):
    return f(u), f(np.float32([0, 1, -1, 2])), f(GRID), jax.vmap(jax.grad(f))(inner)

  found, ends, whole, slope = ways(u, inner.astype(np.float32))
  quantiles = stats.beta.ppf(u.astype(np.float64), a, b)
  np.testing.assert_allclose(found, quantiles, rtol=2e-5, atol=2e-6)
  assert ends.tolist() == [0, 1, 0, 1]
  assert (np.diff(whole) >= -1e-6).all()
  expected = 1 / stats.beta.pdf(stats.beta.ppf(inner, a, b), a, b)
  np.testing.assert_allclose(slope, expected, rtol=2e-3)


def test_an_infinite_slope_stays_in_its_own_piece():
  root = schedule.polynomial(0.0, 1.0, power=0.5)
  f = schedule.piecewise([root, schedule.linear(1.0, 0.0)], [0.5])
  np.testing.assert_allclose(jax.jit(jax.grad(f))(0.75), -2.0, rtol=1e-6)


@pytest.mark.parametrize("kind", COMPOSED)
def test_jit_and_vmap_equal_eager(kind):
  f = COMPOSED[kind]
  np.testing.assert_allclose(jax.jit(f)(GRID), f(GRID), rtol=1e-6, atol=1e-7)
  np.testing.assert_array_equal(jax.vmap(f)(GRID), f(GRID))
  assert f(GRID.reshape(1, -1, 1)).shape == (1, GRID.size, 1)
  assert np.isnan(f(math.nan)) or kind == "constant"


def test_warmup_rises_from_zero_and_hands_over():
  f = schedule.warmup(schedule.linear(2.0, 1.0), 0.25)
  np.testing.assert_allclose(f(jnp.array([0, 0.125, 0.25, 0.625, 1])), [0, 1, 2, 1.5, 1])
  g = schedule.linear(2.0, 1.0)
  assert schedule.warmup(g, 0.0) is g


@given(st.lists(st.integers(1, 99), min_size=0, max_size=6, unique=True))
@settings(deadline=None, max_examples=30)
def test_step_takes_the_new_value_at_its_boundary(percents):
  boundaries = [p / 100 for p in sorted(percents)]
  values = np.arange(len(boundaries) + 1, dtype=np.float32)
  f = schedule.step(values.tolist(), boundaries)
  exact = np.searchsorted(np.array(boundaries, np.float32), GRID, side="right")
  np.testing.assert_array_equal(f(GRID), values[exact])
  # Of one length, for which it is compiled.
  at = np.asarray(f(np.array([*boundaries, *[0] * (6 - len(boundaries))], np.float32)))
  np.testing.assert_array_equal(at[: len(boundaries)], values[1:])


@given(st.lists(st.integers(1, 99), min_size=1, max_size=4, unique=True), numbers, numbers)
@settings(deadline=None, max_examples=30)
def test_piecewise_ends_exactly_where_its_last_piece_does(percents, start, end):
  boundaries = [p / 100 for p in sorted(percents)]
  f = schedule.piecewise([schedule.linear(start, end)] * (len(boundaries) + 1), boundaries)
  assert f(0.0) == np.float32(start)
  values = np.asarray(f(np.array([0, 1, *boundaries, *[0] * (4 - len(boundaries))], np.float32)))
  assert f(1.0) == values[1] == np.float32(end)
  assert (np.delete(values, 1) == np.float32(start)).all()


@given(st.integers(1, 2**31 - 1), st.lists(st.integers(0, 2**31 - 1), min_size=5, max_size=5))
@settings(deadline=None, max_examples=50)
def test_at_step_is_exact_at_any_step(total, steps):
  identity = schedule.at_step(schedule.linear(0.0, 1.0), total)
  exact = np.minimum(steps, total) / total
  step = steps[0]
  assert abs(float(identity(step)) - exact[0]) <= 2**-22 * exact[0]
  assert identity(jnp.int32(step)) == identity(step) == identity(np.int64(step))
  # As vectors too: there XLA divides by multiplying with a reciprocal.
  found = np.asarray(identity(np.array([*steps, -3, 0, total, 2**40])))
  np.testing.assert_allclose(found[:5], exact, rtol=2**-22)
  np.testing.assert_array_equal(found[5:], [0, 0, 1, 1])
  assert identity(0) == identity(-3) == 0
  assert identity(total) == identity(2**40) == 1


def test_at_step_separates_neighbours_and_follows_jit():
  total = 2**24
  f = schedule.at_step(schedule.linear(0.0, 1.0), total)
  steps = jnp.arange(total - 1000, total + 1)
  assert (np.diff(f(steps)) > 0).all()
  np.testing.assert_array_equal(jax.jit(f)(steps), f(steps))


@given(st.integers(1, 50), st.integers(1, 50))
@settings(deadline=None, max_examples=30)
def test_at_epoch_moves_once_an_epoch(epochs, steps_per_epoch):
  f = schedule.at_epoch(schedule.linear(0.0, 1.0), epochs, steps_per_epoch)
  steps = np.arange(51 * 50)
  values = np.asarray(f(steps))
  epoch = np.minimum(steps // steps_per_epoch, epochs)
  np.testing.assert_allclose(values, epoch / epochs, rtol=2**-22)
  np.testing.assert_array_equal(np.diff(values) > 0, np.diff(epoch) > 0)
  assert values[-1] == (1 if steps[-1] >= epochs * steps_per_epoch else values.max())


@pytest.mark.parametrize(
  ("build", "message"),
  [
    (lambda: schedule.polynomial(0.0, 1.0, power=0.0), "power must be positive, got 0.0"),
    (lambda: schedule.exponential(1.0, 0.0), "must be positive, got 1.0 and 0.0"),
    (lambda: schedule.beta(0.0, 1.0), "a and b must be positive, got 0.0 and 1.0"),
    (lambda: schedule.warmup(schedule.constant(1.0), 1.0), r"in \[0, 1\), got 1.0"),
    (lambda: schedule.warmup(schedule.constant(1.0), math.nan), "got nan"),
    (lambda: schedule.step([1.0, 2.0], []), "2 pieces needs one boundary fewer, got 0"),
    (lambda: schedule.step([], []), "0 pieces"),
    (lambda: schedule.step([1.0, 2.0, 3.0], [0.5, 0.5]), r"increase strictly.*\[0.5, 0.5\]"),
    (lambda: schedule.step([1.0, 2.0], [1.0]), "increase strictly"),
    (lambda: schedule.at_step(schedule.constant(1.0), 0), "total_steps must lie in 1"),
    (lambda: schedule.at_step(schedule.constant(1.0), 2**31), "got 2147483648"),
    (lambda: schedule.at_epoch(schedule.constant(1.0), 3, 0), "steps_per_epoch"),
  ],
)
def test_bad_input(build, message):
  with pytest.raises(BadInput, match=message):
    build()


def test_imports_nothing_that_trains():
  code = "import sys, maskjax.schedule as s; print(*sys.modules)"
  found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
  heavy = {"flax", "optax", "orbax", "grain", "tensorflow", "tensorflow_datasets"}
  assert not heavy & set(found.stdout.split())


def test_pieces_and_units_make_no_nan_at_which_a_debugged_run_stops():
  stepping = schedule.piecewise([schedule.constant(1.0), schedule.constant(2.0)], [0.5])
  with jax.debug_nans(True), jax.disable_jit():
    assert stepping(jnp.array([0.0, 0.5, 1.0])).tolist() == [1.0, 2.0, 2.0]
    scores = inherit(jnp.array([0.5, 0.25]), jnp.array([1, 1, 0, -1]))
    assert top(scores, count=3).tolist() == [True, True, True, False]
