"""What positions are: values and which of them are there, and the way back."""

import functools

import jax.numpy as jnp
import numpy as np
import pytest

from maskjax import over
from maskjax.errors import BadInput
from maskjax.record import Record

RNG = np.random.default_rng(0)
IMAGE = Record("image", (4, 6, 3), {})
X = RNG.normal(size=(2, 4, 6, 3)).astype(np.float32)
WORDS = {
  "patches": functools.partial(over.patches, patch=(2, 3)),
  "pixels": over.pixels,
  "frames": functools.partial(over.frames, length=2),
  "frequencies": over.frequencies,
}


@pytest.mark.parametrize("name", WORDS)
def test_values_lie_on_the_grid_and_go_back(name):
  made = WORDS[name](record=IMAGE)
  read = made.read({"image": jnp.asarray(X)})
  assert read.allowed is None
  assert read.values.shape == (2, np.prod(made.grid), made.width)
  np.testing.assert_allclose(made.back(read.values), X, atol=1e-5)


def test_a_patch_is_there_if_all_of_it_is():
  valid = np.ones(X.shape, bool)
  valid[0, 3, 5, 1] = False
  spoilt = np.where(valid, X, np.nan)
  batch = {"image": jnp.asarray(spoilt), "valid": jnp.asarray(valid)}
  read = WORDS["patches"](record=IMAGE).read(batch)
  assert read.allowed.tolist() == [[True] * 3 + [False], [True] * 4]
  assert not read.values[0, 3].any()
  whole = WORDS["patches"](record=IMAGE).read({"image": jnp.asarray(X)})
  np.testing.assert_array_equal(read.values[1], whole.values[1])


def test_padding_of_a_batch_is_not_about_values():
  batch = {"image": jnp.asarray(X), "valid": jnp.array([True, False])}
  assert WORDS["patches"](record=IMAGE).read(batch).allowed is None


def test_frequencies_are_the_orthonormal_spectrum_about_its_centre():
  values = over.frequencies(record=IMAGE).read({"image": jnp.asarray(X)}).values
  spectrum = np.fft.fftshift(np.fft.fft2(X, axes=(1, 2), norm="ortho"), axes=(1, 2))
  found = np.asarray(values).reshape(2, 4, 6, 6)
  np.testing.assert_allclose(found[..., :3] + 1j * found[..., 3:], spectrum, atol=1e-5)
  # The mean of the image lies at the centre of the grid.
  np.testing.assert_allclose(found[:, 2, 3, :3], X.mean((1, 2)) * np.sqrt(24), atol=1e-5)


def test_captions_end_where_ids_are_negative():
  record = Record("image", (4, 6, 3), {}, caption=4)
  made = over.tokens(record=record, field="caption")
  read = made.read({"caption": jnp.array([[5, 0, -1, -1]])})
  assert made.grid == (4,)
  assert read.allowed.tolist() == [[True, True, False, False]]
  assert read.values.tolist() == [[5, 0, 0, 0]]


def test_a_row_holds_its_fields_one_after_another():
  record = Record("image", (4, 6, 3), {}, caption=3)
  parts = {"words": functools.partial(over.tokens, field="caption"), "image": WORDS["patches"]}
  made = over.row(record=record, parts=parts)
  assert (made.grid, made.parts) == ((7,), {"image": slice(0, 4), "words": slice(4, 7)})
  batch = {"image": jnp.asarray(X), "caption": jnp.array([[1, 2, -1], [3, -1, -1]])}
  read = made.read(batch)
  assert read.allowed.tolist() == [[True] * 6 + [False], [True] * 5 + [False] * 2]
  hidden = jnp.arange(14).reshape(2, 7) % 2 == 0
  words = over.part(hidden, made.parts, name="words")
  np.testing.assert_array_equal(words, hidden[:, 4:])
  np.testing.assert_array_equal(made.back(read.values)["image"], X)


@pytest.mark.parametrize(
  ("make", "says"),
  [
    (lambda: over.row(record=IMAGE, parts={}), "names none"),
    (lambda: over.part(jnp.zeros((1, 2)), {"words": slice(0, 2)}, name="word"), "did you mean"),
    (lambda: over.pixels(record=IMAGE, field="depth").read({"image": X}), "no field 'depth'"),
    (lambda: over.frames(record=Record("series", (5,), {})), "frames are along the first axis"),
    (lambda: over.patches(record=IMAGE, patch=(3, 3)), "not divisible by 3"),
  ],
)
def test_what_cannot_be_is_said(make, says):
  with pytest.raises(BadInput, match=says):
    make()
