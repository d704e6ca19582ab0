"""Conv-TasNet (Luo and Mesgarani 2019), section II: sigmoid gates, of each speaker by itself."""

import numpy as np


def test_each_speaker_gets_a_gate_of_its_own_everywhere(built):
  gates = built("conv_tasnet", "laptop").masks["hidden"]
  # Of three steps and eight mixtures, for two speakers, at every time and filter.
  assert gates.shape == (3, 8, 2, 126, 16)
  one, two = gates[:, :, 0], gates[:, :, 1]
  assert 0 < gates.min() < gates.max() < 1
  # They neither are the same nor share the mixture out.
  assert np.abs(one - two).mean() > 1e-3
  assert np.abs(one + two - 1).mean() > 1e-3
