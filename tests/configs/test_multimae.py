"""MultiMAE (Bachmann et al. 2022), section 3.3: a Dirichlet draw shares out what is seen."""

import numpy as np


def test_a_sixth_is_seen_unevenly_of_three_modalities(built, looks):
  hidden = built("multimae").masks["hidden"].reshape(24, 3, 196)
  seen = (~hidden).sum(-1)
  assert (seen.sum(-1) == 98).all()
  shares = seen / 98
  # Uniform on the simplex: of each a mean of a third, a deviation of 0.236.
  assert np.abs(shares.mean(0) - 1 / 3).max() < 0.17
  assert (np.abs(shares.std(0) - 0.236) < 0.1).all()


def test_within_a_modality_the_grid_is_ignored(built, looks):
  hidden = built("multimae").masks["hidden"].reshape(72, 14, 14)
  assert max(map(abs, looks(hidden, (14, 14)).alike)) < 0.08
