"""FMix (Harris et al. 2020), section 4: low-frequency masks, their share uniform from 0 to 1."""

import jax
import numpy as np
import pytest


@pytest.fixture(scope="module")
def masks(built):
  return built("fmix").masks["hidden"].reshape(-1, 32, 32)


def test_what_is_mixed_in_are_a_few_large_regions(masks, looks):
  assert min(looks(masks, (32, 32)).alike) > 0.8


def test_the_regions_have_any_shape(masks):
  boxes = masks.any(1)[:, None, :] & masks.any(2)[:, :, None]
  filled = masks.sum((1, 2)) / boxes.sum((1, 2))
  # Those that are not so large that they fill any box.
  assert filled[masks.mean((1, 2)) < 0.5].mean() < 0.8


def test_any_share_is_as_likely_as_any_other(masks, far_from):
  shares = masks.mean((1, 2))
  assert len(np.unique(shares)) == 24
  assert far_from(shares, lambda x: x) < 0.35


def test_biases_and_norms_decay_as_in_the_public_code(built):
  assert all(jax.tree.leaves(built("fmix").optimizer.decays))
