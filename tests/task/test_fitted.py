"""Networks that are fitted to training examples before step 0."""

import functools

import jax.numpy as jnp
import numpy as np
import pytest

from maskjax import modalities
from maskjax.model import image_map
from maskjax.task.fitted import fitted, fitting

MEAN, STD = (0.5,), (0.25,)


@pytest.fixture
def batches():
  """Three batches of four normalised images, the last of which nothing may read."""

  def read():
    rng = np.random.default_rng(0)
    for _ in range(2):
      yield {"image": jnp.asarray(rng.normal(size=(4, 8, 8, 1)).astype(np.float32))}
    raise AssertionError("more was read than is needed")

  return read


def test_statistics_are_those_of_the_first_examples_in_plain_colours(batches):
  made = {
    "edges": image_map(modality=modalities.edges, mean=MEAN, std=STD, examples=6),
    "colors": image_map(
      modality=functools.partial(modalities.palette, colors=2), mean=MEAN, std=STD, examples=4
    ),
  }
  assert fitting({**made, "other": None}) == made
  found = fitted(made, {"params": {}, "fitted": {"edges": 0, "old": 1}}, batches(), "image")
  seen = batches()
  both = np.concatenate([next(seen)["image"] for _ in range(2)])
  plain = lambda n: np.clip(both[:n] * np.float32(0.25) + np.float32(0.5), 0, 1)
  for name, modality, n in (
    ("edges", modalities.edges(), 6),
    ("colors", modalities.palette(colors=2), 4),
  ):
    for k, x in modality.fit(plain(n)).items():
      np.testing.assert_array_equal(found["fitted"][name][k], x)
  assert found["fitted"]["old"] == 1


def test_a_fitted_map_is_that_of_its_statistics(batches):
  made = image_map(modality=modalities.edges, mean=MEAN, std=STD, examples=4)
  image = next(batches())["image"]
  first = made.init({}, image)
  known = {"fitted": made.fit(np.asarray(image))}
  x = made.apply(known, image)
  assert abs(float(x.mean())) < 1e-5
  np.testing.assert_allclose(x.std(), 1, rtol=1e-4)
  scaled = made.apply(first, image)
  np.testing.assert_allclose(
    x, (scaled - known["fitted"]["mean"]) / known["fitted"]["std"], rtol=1e-5, atol=1e-6
  )
