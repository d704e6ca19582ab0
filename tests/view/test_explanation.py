"""Heat maps of explanations, and what ways of hiding leave of images."""

import numpy as np

from maskjax.record import Record
from maskjax.view.explanation import explanations, left_over
from maskjax.view.heat import tints

RECORD = Record("image", (4, 4, 1), {}, mean=(0.5,), std=(0.5,))


def test_maps_go_from_nothing_to_their_own_most():
  image, maps = np.zeros((1, 4, 4, 1), np.float32), np.zeros((1, 4, 4))
  maps[0, 0, 0], maps[0, 0, 1], maps[0, 3] = 4.0, 2.0, -9.0
  picture = explanations(image, {"a": maps, "b": 1e-3 * maps}, RECORD).reshape(-1, 3).tolist()
  for level in (0.0, 0.5, 1.0):
    assert tints(np.array(level)).tolist() in picture
  assert [128, 128, 128] in picture  # the input itself
  plain = explanations(image, {"a": maps}, RECORD)
  assert plain.shape[1] < explanations(image, {"a": maps, "b": maps}, RECORD).shape[1]


def test_what_stands_nowhere_is_hatched():
  image = np.zeros((2, 4, 4, 1), np.float32)
  left = image.copy()
  left[0, :2] = np.nan
  picture = left_over(image, {"a": left}, RECORD)
  assert not np.array_equal(picture, left_over(image, {"a": image}, RECORD))
