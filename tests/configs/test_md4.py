"""MD4 (Shi et al. 2024), table 4: at time t a token is hidden with probability 1 - alpha(t)."""

import jax
import numpy as np
import pytest

from maskjax.keys import stream


def off(made, chance):
  """Chi-square of how many tokens are hidden at each time, were `chance` what each is hidden by."""
  key = jax.random.key(made.seed)
  first = jax.jit(jax.vmap(lambda step: jax.random.uniform(stream(key, "time", step))))
  times = np.asarray(first(made.steps))[:, None] + np.arange(8) / made.config["batch_size"]
  p = np.clip(chance(times % 1), 1e-4, 1 - 1e-4)
  n = np.asarray(made.batch["valid"]).sum(-1)
  hidden = made.masks["select"].sum(-1)
  return float(((hidden - n * p) ** 2 / (n * p * (1 - p))).sum())


@pytest.mark.parametrize(("preset", "power"), [("", 1), ("small", 2)], ids=["default", "small"])
def test_as_many_tokens_are_hidden_as_the_schedule_says_at_each_time(built, preset, power):
  made = built("md4", preset)
  assert off(made, lambda t: t**power) < 60  # of 24 degrees of freedom
  assert off(made, lambda t: t ** (3 - power)) > 300
  assert off(made, lambda t: np.sin(np.pi / 2 * t)) > 300


def test_which_tokens_are_hidden_is_random(built, looks):
  masks = built("md4").masks["select"][:, :7]  # the eighth text ends early
  found = looks(masks, (256,))
  assert abs(found.uneven) < 4
  assert abs(found.alike[0]) < 0.08
