"""N-JEPA (Qiu et al. 2025): positions of mask tokens fade into noise, each block's by its own."""

import numpy as np


def test_each_target_block_has_a_level_of_noise_of_its_own_from_none_to_all(built, far_from):
  said = built("n_jepa").said
  left = said["where.alpha"]
  assert left.shape == (3, 8, 4)
  assert len(np.unique(left)) == left.size
  # Half a cosine of a level that is drawn uniformly.
  assert far_from(left, lambda x: 1 - np.arccos(2 * x - 1) / np.pi) < 0.2


def test_positions_fade_into_noise_of_their_own_mean_square(built):
  said = built("n_jepa").said
  # Sines and cosines: 1/2, whatever the level; padding is not noisy, and has it too.
  square, left = np.square(said["where"]).mean((-1, -2)), said["where.alpha"]
  for level in (left < 0.2, left > 0.8):
    assert level.sum() > 10
    assert abs(square[level].mean() - 0.5) < 0.03


def test_positions_of_more_noise_are_told_apart_less(built):
  said = built("n_jepa").said
  where, left = said["where"], said["where.alpha"]
  # Positions lie on a sphere and noise around it: the less is left, the more lengths vary.
  spread = np.linalg.norm(where, axis=-1).std(-1)
  assert np.corrcoef(left.ravel(), spread.ravel())[0, 1] < -0.5
