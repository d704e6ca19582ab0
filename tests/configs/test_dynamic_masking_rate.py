"""Ankner et al. 2024: the hidden share falls in a line, one program for all steps.

The public code needs a whole trainer; its rate is $r_0 (1 + (r_1 / r_0 - 1) t / T)$ after t of T
steps, a factor on the first rate, and stands here in numpy.
"""

import numpy as np

from maskjax import bind, sections
from maskjax.sections import Lengths


def test_counts_follow_the_public_codes_rate_from_the_first_step_to_the_last(
  built, ignores_the_grid
):
  made = built("dynamic_masking_rate")
  masks, total = made.masks["hidden"][:, 0], made.total_steps
  assert total == 70_000
  for step, mask in zip(made.steps, masks, strict=True):
    rate = 0.3 * (1 + (0.15 / 0.3 - 1) * step / total)
    assert ignores_the_grid(mask[None, :7], (128,)) == [round(rate * 128)]
    assert mask[7].sum() == round(rate * 96)
  assert [mask[0].sum() for mask in masks] == [38, 29, 19]
  share = sections.moving(made.config["select"]["select"]["ratio"], Lengths(total, 1.0))
  np.testing.assert_allclose(bind.now(share, total // 4), 0.2625, rtol=1e-6)  # no cosine


def test_rates_and_decay_are_those_of_the_public_code(built, shares_of_the_peak):
  """Composer multiplies a parameter by 1 - 1e-5 · rate / peak at each step."""
  made = built("dynamic_masking_rate")
  at = np.array([2100, 4200, 37_100, 69_999])
  want = np.where(at < 4200, at / 4200, 1 - 0.98 * (at - 4200) / (70_000 - 4200))
  np.testing.assert_allclose(shares_of_the_peak(made, at), want, rtol=1e-4)
  settings = made.config["optimizer"]
  np.testing.assert_allclose(settings["learning_rate"] * settings["weight_decay"], 1e-5)


def test_hidden_tokens_are_asked_whatever_is_seen_in_their_place(built):
  made = built("dynamic_masking_rate")
  hidden, seen = made.masks["hidden"][:, 0], made.said["hide.0"][:, 0]
  tokens = np.broadcast_to(np.asarray(made.batch["tokens"]), seen.shape)
  np.testing.assert_array_equal(made.masks["asked"][:, 0], hidden)
  shares = [(seen[hidden] == 50_265).mean(), (seen[hidden] == tokens[hidden]).mean()]
  np.testing.assert_allclose(shares, [0.8, 0.1], atol=0.08)
  np.testing.assert_array_equal(seen[~hidden], tokens[~hidden])
