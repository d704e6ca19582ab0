"""Conv-TasNet (Luo and Mesgarani 2019), section II: sigmoid gates, of each speaker by itself."""

import numpy as np


def test_each_speaker_gets_a_gate_of_its_own_everywhere(built):
  gates = built("conv_tasnet", "laptop").masks["select"]
  one, two = np.split(gates.reshape(24, -1), 2, axis=1)
  assert 0 < gates.min() < gates.max() < 1
  # They neither are the same nor share the mixture out.
  assert np.abs(one - two).mean() > 1e-3
  assert np.abs(one + two - 1).mean() > 1e-3
