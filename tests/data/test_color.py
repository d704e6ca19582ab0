"""Color augmentations: what each does to a pixel, and to which share of images."""

import colorsys

import numpy as np
import pytest
from PIL import Image

from maskjax.data import augment, color
from maskjax.errors import BadInput

IMAGE = np.random.default_rng(0).integers(256, size=(6, 5, 3)).astype(np.uint8)
MEAN = IMAGE.astype(float) @ (0.299, 0.587, 0.114)


def made(seed=0, **keys):
  return augment.bind(keys, (6, 5))(IMAGE, np.random.default_rng(seed))


def test_gray_is_the_brightness_and_solarized_the_inverse_of_what_is_bright():
  np.testing.assert_allclose(made(gray=1.0), np.repeat(MEAN[..., None], 3, -1), atol=1)
  np.testing.assert_array_equal(made(solarize=1.0), np.where(IMAGE < 128, IMAGE, 255 - IMAGE))


def test_blur_keeps_the_mean_and_lowers_the_spread():
  soft = made(blur=1.0)
  assert abs(soft.mean() - IMAGE.mean()) < 8
  assert soft.std() < IMAGE.std()


@pytest.mark.parametrize("i", range(3))
def test_strength_is_the_reach_of_a_factor(i):
  strengths = tuple(0.5 * (i == j) for j in range(4))
  middle = (0.0, np.round(MEAN.mean()), MEAN[..., None])[i]
  found = []
  for seed in range(40):
    moved = made(seed, jitter=strengths).astype(float)
    far = IMAGE - middle
    inside = (moved > 0) & (moved < 255) & (np.abs(far) > 60)
    found.append(np.median((moved - middle)[inside] / far[inside]))
  assert 0.49 < min(found) < 0.65
  assert 1.35 < max(found) < 1.51


def test_hue_turns_and_brightness_of_the_largest_channel_stays():
  hue = lambda pixel: colorsys.rgb_to_hsv(*pixel / 255)[0]
  turned = np.asarray(color.turn_hue(Image.fromarray(IMAGE), 0.25))
  vivid = np.ptp(IMAGE, axis=-1) > 60
  gap = [(hue(b) - hue(a)) % 1 for a, b in zip(IMAGE[vivid], turned[vivid], strict=True)]
  np.testing.assert_allclose(gap, 0.25, atol=0.03)
  np.testing.assert_allclose(turned.max(-1), IMAGE.max(-1), atol=2)
  back = np.asarray(color.turn_hue(Image.fromarray(IMAGE), -0.75))
  assert np.abs(back.astype(int) - turned).max() <= 12


def test_each_is_of_its_share_of_images_and_one_of_several_of_all():
  kinds = {name: made(**{name: 1.0}).tobytes() for name in ("gray", "solarize")}
  often = [made(seed, gray=0.25).tobytes() == kinds["gray"] for seed in range(400)]
  assert 0.18 < np.mean(often) < 0.32
  drawn = [made(seed, one_of=("gray", "solarize", "blur")) for seed in range(300)]
  for name, one in kinds.items():
    assert 0.25 < np.mean([x.tobytes() == one for x in drawn]) < 0.42, name
  assert not any((x == IMAGE).all() for x in drawn)


def test_other_images_are_refused():
  with pytest.raises(BadInput, match="8-bit images of 3 channels"):
    augment.bind({"gray": 1.0}, (6, 5))(IMAGE[..., :1], np.random.default_rng(0))
