import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from maskjax.data import augment
from maskjax.errors import BadInput


def random_image(shape, dtype=np.uint8, seed=0):
  rng = np.random.default_rng(seed)
  if np.issubdtype(dtype, np.integer):
    return rng.integers(np.iinfo(dtype).max + 1, size=shape).astype(dtype)
  return rng.random(shape).astype(dtype)


def rng(seed=0):
  return np.random.default_rng(seed)


def test_crop_of_everything_is_the_image():
  image = random_image((7, 9, 3))
  out = augment.random_resized_crop(image, rng(), size=(7, 9), area=(1, 1), aspect=(9 / 7, 9 / 7))
  np.testing.assert_array_equal(out, image)


def test_flip_twice_is_the_image():
  image = random_image((5, 4, 13))
  assert (augment.flip(image) != image).any()
  np.testing.assert_array_equal(augment.flip(augment.flip(image)), image)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float32])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_flip_reverses_rows_of_pixels(dtype, channels):
  image = random_image((5, 6, channels), dtype)
  for one in (image, image[1:4, ::2], np.swapaxes(image, 0, 1)):
    np.testing.assert_array_equal(augment.flip(one), one[:, ::-1])


def test_flip_happens_about_half_the_time():
  image = random_image((2, 3, 1))
  flips = [(augment.random_flip(image, rng(i)) != image).any() for i in range(400)]
  assert 140 < sum(flips) < 260


@settings(deadline=None)
@given(st.integers(0, 4), st.integers(0, 10**6))
def test_padded_crop_is_a_window_of_the_padded_image(pad, seed):
  image = random_image((5, 4, 2), seed=seed)
  padded = np.pad(image, ((pad, pad), (pad, pad), (0, 0)))
  windows = np.lib.stride_tricks.sliding_window_view(padded, (5, 4), axis=(0, 1))
  out = augment.padded_crop(image, rng(seed), pad=pad)
  assert (windows.transpose(0, 1, 3, 4, 2) == out).all((2, 3, 4)).any()


def test_padded_crop_reaches_every_offset():
  image = np.arange(1, 10, dtype=np.uint8).reshape(3, 3, 1)
  seen = {augment.padded_crop(image, rng(i), pad=1).tobytes() for i in range(300)}
  assert len(seen) == 9


def test_simple_crop_is_a_window_of_the_whole_image_reflected_at_its_edges():
  image = np.arange(5 * 8, dtype=np.uint8).reshape(5, 8, 1)
  padded = np.pad(image, ((1, 1), (1, 1), (0, 0)), mode="reflect")
  windows = np.lib.stride_tricks.sliding_window_view(padded, (5, 5), axis=(0, 1))
  crop = augment.bind({"simple": 1}, (5, 5))
  seen = {crop(image, rng(i)).tobytes() for i in range(300)}
  assert seen == {w.transpose(1, 2, 0).tobytes() for row in windows for w in row}


def test_random_crop_reaches_every_edge():
  image = np.arange(36, dtype=np.uint8).reshape(6, 6, 1)
  boxes = []
  for i in range(300):
    out = augment.random_resized_crop(image, rng(i), size=(3, 3), area=(0.25, 0.25), aspect=(1, 1))
    boxes.append(out[..., 0])
  assert {int(box[0, 0]) for box in boxes} == {6 * y + x for y in range(4) for x in range(4)}
  assert set(np.stack(boxes).ravel().tolist()) == set(range(36))


@settings(deadline=None)
@given(
  st.tuples(st.integers(1, 40), st.integers(1, 40)),
  st.tuples(st.integers(1, 12), st.integers(1, 12)),
  st.sampled_from([1, 2, 3, 4, 13]),
  st.integers(0, 99),
)
def test_any_crop_has_the_wanted_shape(shape, size, channels, seed):
  image = random_image((*shape, channels), seed=seed)
  for config in ({"crop": (0.01, 1.0), "flip": True}, {"pad": 2}, {}):
    out = augment.bind(config, size)(image, rng(seed))
    assert out.shape == (*size, channels)
    assert out.dtype == np.uint8
  assert augment.fit(image, size).shape == (*size, channels)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 13])
def test_resize_works_on_each_channel_alone(dtype, channels):
  image = random_image((9, 7, channels), dtype)
  out = augment.resize(image, (5, 6))
  assert out.dtype == dtype
  for c in range(channels):
    plane = image[..., c] if dtype == np.uint8 else image[..., c].astype(np.float32)
    alone = np.asarray(Image.fromarray(plane).resize((6, 5), Image.Resampling.BICUBIC))
    if dtype == np.uint16:
      alone = np.clip(np.rint(alone), 0, 65535)
    np.testing.assert_array_equal(out[..., c], alone)


def test_fit_keeps_the_aspect_and_the_centre():
  image = np.zeros((10, 30, 1), np.uint8)
  image[:, 10:20] = 255
  assert (augment.fit(image, (10, 10)) == 255).all()
  assert augment.fit(image, (5, 15)).shape == (5, 15, 1)


@pytest.mark.parametrize(("dtype", "peak"), [(np.uint8, 255), (np.uint16, 65535), (np.float32, 1)])
def test_normalise_is_the_formula(dtype, peak):
  images = random_image((3, 4, 5, 2), dtype)
  mean, std = (0.4, 0.6), (0.2, 0.3)
  out = augment.normalise(images, mean, std)
  assert out.dtype == np.float32
  wanted = (images.astype(np.float64) / peak - mean) / std
  np.testing.assert_allclose(out, wanted, atol=1e-5)


@pytest.mark.parametrize("shape", [(3, 70, 90, 3), (2, 2, 5, 6, 1), (9, 8, 3), (0, 4, 4, 3)])
def test_normalise_by_rows_is_bit_for_bit_that_by_pixels(shape, monkeypatch):
  images, deviation = random_image(shape), np.linspace(0.2, 0.3, shape[-1])
  mean = np.linspace(0.4, 0.6, shape[-1])
  scale, shift = (x.astype(np.float32) for x in (1 / (255 * deviation), mean / deviation))
  wanted = images * scale - shift
  for numbers in (1, 1000, 1 << 16):  # a row at a time, several, all
    monkeypatch.setattr(augment, "_CACHED", numbers)
    np.testing.assert_array_equal(augment.normalise(images, mean, deviation), wanted)


@pytest.mark.parametrize(
  ("config", "message"),
  [
    ({"corp": (0.2, 1.0)}, "did you mean 'crop'"),
    ({"crop": 0.2}, "is not (low, high)"),
    ({"crop": (0.0, 1.0)}, "is not (low, high)"),
    ({"crop": (0.5, 1.5)}, "is not (low, high)"),
    ({"crop": (0.2, 1.0), "pad": 4}, "both crop and pad"),
    ({"aspect": (1, 1)}, "belongs to crop"),
    ({"pad": -1}, "whole number"),
    ({"simple": 1.5}, "simple=1.5 is not a whole number"),
    ({"simple": 4, "pad": 4}, "both pad and simple"),
    ({"gray": 2.0}, "not a share of images"),
    ({"jitter": (0.4, 0.4, 0.2, 0.6)}, "hue 0.5 at most"),
    ({"jitter_share": 0.8}, "belongs to jitter"),
    ({"one_of": ("grey",)}, "did you mean 'gray'"),
    ({"flip": 1}, "neither True nor False"),
  ],
)
def test_bad_configurations_are_named(config, message):
  with pytest.raises(BadInput) as error:
    augment.bind(config, (4, 4))
  assert message in str(error.value)
