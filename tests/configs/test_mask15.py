"""Wettig et al. 2023, sections 3 and 6: 40 % of the tokens, one by one, each a mask token."""

import jax
import numpy as np


def test_two_fifths_of_the_tokens_are_hidden_one_by_one(built, ignores_the_grid):
  masks = built("mask15").masks["hidden"][:, 0]
  assert ignores_the_grid(masks[:, :7], (128,)) == [51]
  # The eighth text ends early.
  assert (masks[:, 7, :96].sum(-1) == 38).all()
  assert not masks[:, 7, 96:].any()


def test_all_that_is_hidden_is_seen_as_the_mask_token(built):
  made = built("mask15")
  hidden, seen = made.masks["hidden"][:, 0], made.said["hide.0"][:, 0]
  tokens = np.broadcast_to(np.asarray(made.batch["tokens"]), seen.shape)
  assert (seen == np.where(hidden, 50_265, tokens)).all()


def test_scales_of_norms_decay_as_in_the_public_code(built):
  assert all(jax.tree.leaves(built("mask15").optimizer.decays))
