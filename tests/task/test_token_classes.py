"""Classes of ids by contexts: k-means of directions, over kinds that are told apart."""

import jax.numpy as jnp
import numpy as np

from maskjax.record import Record
from maskjax.task.prepare import measure
from maskjax.task.token_classes import context_classes, spherical_k_means

rng = np.random.default_rng(0)


def test_words_of_alike_contexts_are_of_one_class():
  """Three kinds of contexts, with noise, of ids of any frequency; the most frequent begin."""
  kind = np.repeat(np.arange(3), 10)
  x = np.abs(rng.normal(size=(30, 12))) * 0.1
  x[np.arange(30), 4 * kind] += rng.uniform(1, 5, 30)
  often = rng.random(30)
  often[[3, 14, 25]] = 2
  found = spherical_k_means(jnp.float32(np.r_[x, np.zeros((1, 12))]), jnp.r_[often, 0.0], 3, 5)
  assert len({*found[:30].tolist()}) == 3
  assert all(len({*np.asarray(found)[:30][kind == k].tolist()}) == 1 for k in range(3))
  assert found[30] == 2


def test_ids_with_the_same_neighbours_are_of_one_class():
  """Ids 0 to 3 stand before 8, 4 to 7 before 9; id 10 does not occur, 11 is beyond the table."""
  record = Record("text", (40,), {"train": 8}, vocabulary=tuple("abcdefghijkl"))
  word = rng.integers(0, 8, (8, 20))
  ids = np.stack([word, 8 + word // 4], -1).reshape(8, 40).astype(np.int32)
  batch = {"tokens": ids, "valid": np.ones((8, 40), bool), "position": np.arange(8)}
  made = context_classes(record=record, examples=8, classes=4, ids=11)
  found = np.asarray(measure(made, {}, [batch]))
  assert found.shape == (12,)
  assert len({*found[:4].tolist()}) == len({*found[4:8].tolist()}) == 1
  assert found[0] != found[4]
  assert (found[10:] == 3).all()
