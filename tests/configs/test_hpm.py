"""HPM (Wang et al. 2023), section 3.4: from easy to hard, by the loss that is foreseen."""

import numpy as np
import pytest


@pytest.fixture(scope="module")
def said(built):
  return built("hpm").said


def test_more_and_more_of_what_is_hidden_comes_first_up_to_a_half(said):
  hidden, first = said["hidden"], said["score"] >= 1
  assert (hidden.sum(-1) == 147).all()
  assert (hidden | ~first).all()
  assert (first[0].sum(-1) == 0).all()
  assert (np.abs(first[1].sum(-1) - 147 / 4) <= 1).all()
  # int(147 · 0.5), as in the public code.
  assert (first[2].sum(-1) == 73).all()


def test_what_comes_first_is_what_is_foreseen_to_be_hardest(said):
  first, loss = said["score"] >= 1, said["score.loss"]
  assert (loss.std(-1) > 0).all()
  hardest, rest = (np.where(part, loss, end) for part, end in ((first, np.inf), (~first, -np.inf)))
  assert (hardest.min(-1) >= rest.max(-1)).all()


def test_at_first_patches_are_hidden_at_random(said, ignores_the_grid):
  ignores_the_grid(said["hidden"][0], (14, 14))


def test_tokens_decay_as_in_the_public_code(built, undecayed):
  assert undecayed(built("hpm")) == []
