"""MAGE (Li et al. 2023), section 3.2: each image has a ratio of its own; half is dropped."""

import math

import numpy as np
import pytest


@pytest.fixture(scope="module")
def masks(built):
  return {name: mask.reshape(24, 256) for name, mask in built("mage").masks.items()}


def test_how_much_is_hidden_is_drawn_for_each_image_from_a_normal_cut_off(masks, far_from):
  shares = masks["chosen"].mean(-1)
  assert len(np.unique(shares)) > 12
  assert shares.min() >= 0.5
  below = lambda x: math.erf((x - 0.55) / 0.25 / math.sqrt(2))
  share = lambda x: (below(x) - below(0.5)) / (below(1.0) - below(0.5))
  assert far_from(shares, share) < 0.2


def test_half_of_all_is_dropped_from_what_is_hidden(masks, ignores_the_grid):
  assert ignores_the_grid(masks["dropped"], (16, 16)) == [128]
  assert (masks["chosen"] | ~masks["dropped"]).all()


def test_positions_decay_as_in_the_public_code(built, undecayed):
  assert undecayed(built("mage")) == []
