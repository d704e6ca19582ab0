"""FLIP (Li et al. 2023), section 3: half of the patches are removed at random."""


def test_half_of_the_patches_are_dropped_at_random(built, ignores_the_grid):
  assert ignores_the_grid(built("flip").masks["hidden"], (14, 14)) == [98]
