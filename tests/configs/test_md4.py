"""MD4 (Shi et al. 2024), table 4: at time t a token is hidden with probability 1 - alpha(t)."""

import jax
import numpy as np
import pytest

from maskjax.keys import stream
from maskjax.sections import bound


@pytest.fixture(scope="module")
def found(built):
  """By preset: the times of three steps, what is hidden by then, and the loss of a flat guess."""
  return {preset: run(built("md4", preset)) for preset in ("", "small")}


def run(made):
  # All logits are zero where all weights are.
  blank = jax.tree.map(lambda x: jax.device_put(np.zeros(x.shape, x.dtype)), made.shapes)
  key = jax.random.key(made.seed)

  def at(variables, batch, step):
    terms, said = made.terms(variables, batch, key, step)
    return jax.random.uniform(stream(key, "time", step)), said["hidden"], terms["bound"]

  of_all = lambda *given: jax.lax.map(lambda step: at(*given, step), made.steps)
  first, hidden, bound = jax.device_get(jax.jit(of_all)(blank, made.batch))
  return (first[:, None] + np.arange(8) / made.config["batch_size"]) % 1, hidden, bound


def off(made, times, hidden, chance):
  """Chi-square of how many tokens are hidden at each time, were `chance` what each is hidden by."""
  p = np.clip(chance(times), 1e-4, 1 - 1e-4)
  n = np.asarray(made.batch["valid"]).sum(-1)
  return float(((hidden.sum(-1) - n * p) ** 2 / (n * p * (1 - p))).sum())


@pytest.mark.parametrize(("preset", "power"), [("", 1), ("small", 2)], ids=["default", "small"])
def test_as_many_tokens_are_hidden_as_the_schedule_says_at_each_time(built, found, preset, power):
  made, (times, hidden, _) = built("md4", preset), found[preset]
  assert off(made, times, hidden, lambda t: t**power) < 60  # of 24 degrees of freedom
  assert off(made, times, hidden, lambda t: t ** (3 - power)) > 300
  assert off(made, times, hidden, lambda t: np.sin(np.pi / 2 * t)) > 300


@pytest.mark.parametrize(("preset", "power"), [("", 1), ("small", 2)], ids=["default", "small"])
def test_what_is_hidden_weighs_as_much_as_the_time_makes_rare(built, found, preset, power):
  """Equation 5: by -alpha' / (1 - alpha), counted over all tokens; a flat guess costs log V."""
  made, (times, hidden, bound) = built("md4", preset), found[preset]
  eps = 1e-4
  weight = (1 - 2 * eps) * power * times ** (power - 1) / (eps + (1 - 2 * eps) * times**power)
  nats = np.log(len(made.record.vocabulary))
  np.testing.assert_allclose(bound.sum, (weight * hidden.sum(-1)).sum(-1) * nats, rtol=1e-3)
  assert (bound.count == np.asarray(made.batch["valid"]).sum()).all()


@pytest.mark.parametrize("preset", ["", "small"])
def test_samples_are_made_at_the_times_of_the_public_code(built, preset):
  """Its `get_sampling_grid`: t = cos(pi / 2 · s / S) after s of S steps, 1 - alpha(t) is hidden."""
  config = built("md4", preset).config
  section, curve = config["answers"]["generate"]["schedule"], config["let"]["curve"]
  times = np.cos(np.pi / 2 * np.linspace(0, 1, 9))
  left = bound(section)(start=1.0, end=0.0)(np.linspace(0, 1, 9))
  np.testing.assert_allclose(left, 1 - np.asarray(bound(curve)()(times)), atol=1e-6)


def test_which_tokens_are_hidden_is_random(found, looks):
  seen = looks(found[""][1][:, :7], (256,))  # the eighth text ends early
  assert abs(seen.uneven) < 4
  assert abs(seen.alike[0]) < 0.08


def test_scales_of_norms_decay_as_in_the_public_code(built):
  assert all(jax.tree.leaves(built("md4").optimizer.decays))
