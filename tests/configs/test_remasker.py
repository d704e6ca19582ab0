"""ReMasker (Du et al. 2024), section 3: beside what is missing more is hidden, and asked back."""

import numpy as np


def test_more_is_hidden_until_half_is_hidden_or_missing(built):
  made = built("remasker", "laptop")
  missing = ~np.asarray(made.batch["valid"])[..., 0]
  hidden = made.masks["hidden"]
  assert not (hidden & missing).any()
  gone = np.maximum(missing.sum(-1), 5)
  assert (missing.sum(-1) > 0).any()
  assert (missing.sum(-1) < 5).sum() > 4
  assert ((hidden | missing).sum(-1) == gone).all()
  # Anew at every step.
  few = missing.sum(-1) < 5
  assert (hidden[0] != hidden[1])[few].any()
  assert (hidden[1] != hidden[2])[few].any()
