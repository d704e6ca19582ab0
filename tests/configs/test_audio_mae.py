"""Audio-MAE (Huang et al. 2022), section 3: 80 % hidden at random, whatever time and frequency."""


def test_four_fifths_are_hidden_whatever_the_time_and_the_frequency(built, ignores_the_grid):
  assert ignores_the_grid(built("audio_mae").masks["hidden"], (64, 8)) == [410]


def test_tokens_decay_as_in_the_public_code(built, undecayed):
  assert undecayed(built("audio_mae")) == []
