"""FLIP (Li et al. 2023), section 3: half of the patches are removed at random."""

import jax
import numpy as np

from maskjax.sections import bound


def test_half_of_the_patches_are_dropped_at_random(built, ignores_the_grid):
  assert ignores_the_grid(built("flip").masks["hidden"], (14, 14)) == [98]


def test_what_is_kept_is_rounded_down_as_in_the_public_code(built):
  select = bound({**built("flip").config["select"], "ratio": 0.65})
  # int(25 · 0.35) = 8 of 25 patches.
  assert int(select(jax.device_put(np.arange(25, dtype=np.float32))).sum()) == 17
