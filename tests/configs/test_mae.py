"""MAE (He et al. 2022), section 3: patches are hidden at random, 75 %, without replacement."""


def test_three_quarters_are_hidden_whatever_the_grid(built, ignores_the_grid):
  assert ignores_the_grid(built("mae").masks["hidden"], (14, 14)) == [147]
