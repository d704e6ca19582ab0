"""MAE (He et al. 2022), section 3: patches are hidden at random, 75 %, without replacement."""

from maskjax.select import count_of


def test_three_quarters_are_hidden_whatever_the_grid(built, ignores_the_grid):
  assert ignores_the_grid(built("mae").masks["hidden"], (14, 14)) == [147]


def test_other_shares_are_rounded_as_in_the_public_code(built):
  select = dict(built("mae").config["select"], ratio=0.9)
  assert count_of(196, **{k: v for k, v in select.items() if k != "fn"}) == 196 - 19


def test_tokens_decay_as_in_the_public_code(built, undecayed):
  assert undecayed(built("mae")) == []
