"""Hidden, corrupted and asked tokens agree with Hugging Face's collator, given its draws."""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maskjax import hide, score, select

STORED = json.loads(pathlib.Path(__file__).with_name("mask15.json").read_text())
NAMES = ["{} {}".format("words" if row["unit"] else "tokens", row["rates"]) for row in STORED]
GRAIN, MASK, VOCABULARY, SPECIAL = 1024, 3, 30, 5


@pytest.mark.parametrize("row", STORED, ids=NAMES)
def test_what_is_asked_and_what_is_seen(row, monkeypatch):
  rate, masked, replaced = row["rates"]
  ids, labels = jnp.array(row["ids"]), np.array(row["labels"])
  chosen, fate, other = (np.array(row["coins"]) + 0.5) / GRAIN
  scores = -jnp.asarray(chosen, jnp.float32)
  if row["unit"]:
    # The coin of a word is that of its first token.
    unit, first = np.array(row["unit"]), np.full(ids.shape, np.nan, np.float32)
    for i in range(ids.shape[1] - 1, -1, -1):
      at = np.where(unit[:, i] < 0, 0, unit[:, i])
      first[np.arange(len(ids)), at] = np.where(
        unit[:, i] < 0, first[np.arange(len(ids)), at], scores[:, i]
      )
    scores = score.inherit(jnp.asarray(first), jnp.asarray(unit))
  hidden = select.threshold(scores, above=-rate, allowed=ids >= SPECIAL)
  np.testing.assert_array_equal(hidden, labels != -100)
  np.testing.assert_array_equal(np.where(hidden, ids, -100), labels)
  assert 0 < hidden.sum() < (ids >= SPECIAL).sum()
  # Theirs are two coins, one after the other; ours is one with three sides.
  one = np.where(fate < masked, fate, masked + (1 - masked) * other).astype(np.float32)
  for i in range(len(ids)):
    monkeypatch.setattr(jax.random, "uniform", lambda key, shape, i=i: jnp.asarray(one[i]))
    words = jnp.asarray(row["words"][i])
    monkeypatch.setattr(jax.random, "randint", lambda key, shape, low, high, w=words: w)
    shares = (masked, replaced, 1 - masked - replaced)
    seen = hide.corrupt(
      ids[i], hidden[i], jax.random.key(0), vocabulary=VOCABULARY, mask_id=MASK, shares=shares
    )
    np.testing.assert_array_equal(seen, row["input_ids"][i])
    monkeypatch.undo()
