"""MAS (Katz et al. 2025), section 3: prompts are read both ways in a block, answers causally."""

import jax
import numpy as np

from maskjax.task import blocks_read


def test_prompts_look_ahead_within_their_block_and_answers_never(built):
  made = built("mas_attention", "laptop")
  batch = made.batch
  attend = jax.jit(
    lambda variables: (made.task.answers["attention"](variables, batch), blocks_read(batch))
  )
  looked, block = jax.device_get(attend(made.variables))
  read = np.asarray(batch["valid"])
  looked = (looked > 0).any((1, 2))
  at = np.arange(block.shape[-1])
  asked = np.asarray(batch["asked"])
  told = np.pad(asked[:, :-1], ((0, 0), (1, 0)))  # what is read at a place is the token before
  own = np.pad(np.asarray(batch["blocks"])[:, :-1], ((0, 0), (1, 0)))
  same = (own[:, :, None] == own[:, None, :]) & ~told[:, :, None] & ~told[:, None, :]
  expected = same | (at[None, :] <= at[:, None])
  both = read[:, :, None] & read[:, None, :]
  assert (looked == expected)[both].all()
  assert (same & (at[None, :] > at[:, None]))[both].any()
