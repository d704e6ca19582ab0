"""LMD (Ma et al. 2024): from little hidden to most by a cosine, in two thirds of the run."""

import numpy as np


def test_more_and_more_latents_are_hidden_by_a_cosine_that_ends_at_two_thirds(built, looks):
  made = built("lmd")
  masks = made.masks["hidden"]
  done = np.minimum(made.steps / made.total_steps * 1.5, 1)
  wave = lambda u: np.cos(np.pi / 2 * (u + 0.008) / 1.008) ** 2
  expected = 49 * (0.15 + 0.6 * (1 - wave(done) / wave(0)))
  assert (masks.sum(-1) == np.ceil(expected)[:, None]).all()
  assert abs(looks(masks[2], (7, 7)).uneven) < 4
  assert max(map(abs, looks(masks, (7, 7)).alike)) < 0.12


def test_tokens_decay_as_in_the_public_code(built, undecayed):
  assert undecayed(built("lmd")) == []


def test_the_rate_ends_where_the_public_code_ends_it(built):
  made = built("lmd")
  rates = np.array([made.optimizer.rate(i) for i in (1, made.total_steps)])
  warmup = max(made.total_steps // 400, 1)  # an epoch of 400
  np.testing.assert_allclose(rates[1] / (rates[0] * warmup), 1e-8 / 7.5e-5, rtol=1e-3)
