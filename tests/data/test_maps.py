"""Maps that come with images: right values, no label that was not there, moved as the image is."""

import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from maskjax.data import pipeline
from maskjax.data.maps import standardised
from maskjax.errors import BadInput

H, W, N = 6, 8, 5
LABELS = np.array([0, 3, 9])


def made(i):
  """Image, depth of 16 bits and labels of an example, all functions of one plane."""
  y, x = np.mgrid[:H, :W]
  depth = (1000 * i + 4000 * y + 256 * x).astype(np.uint16)
  image = np.stack([depth >> 8, np.full((H, W), 10 * i), 255 - (depth >> 8)], -1).astype(np.uint8)
  return image, depth, LABELS[(x + y + i) % 3].astype(np.uint8)


def encoded(pixels, palette=False):
  file, image = io.BytesIO(), Image.fromarray(pixels)
  if palette:
    image = Image.fromarray(pixels, "P")
    image.putpalette(list(range(255, -1, -1)) * 3)
  image.save(file, "PNG")
  return file.getvalue()


@pytest.fixture(params=["folder", "zip"])
def written(request, tmp_path):
  """`(name, files) -> path` of a folder or a zip."""

  def write(name, files):
    path = tmp_path / (name + ".zip" * (request.param == "zip"))
    if request.param == "zip":
      with zipfile.ZipFile(path, "w") as archive:
        for place, data in files.items():
          archive.writestr(place, data)
    else:
      for place, data in files.items():
        (path / place).parent.mkdir(parents=True, exist_ok=True)
        (path / place).write_bytes(data)
    return str(path)

  return write


@pytest.fixture
def load(written):
  """Data of `N` examples of two classes, all in train, with what is said of their maps."""
  each = {f"train/{'ab'[i % 2]}/{i}": made(i) for i in range(N)}
  rgb = written("rgb", {f"{name}.png": encoded(x) for name, (x, _, _) in each.items()})
  deep = written("depth", {f"{name}.png": encoded(x) for name, (_, x, _) in each.items()})
  seg = written(
    "seg", {f"{n}.png": encoded(x, i % 2) for i, (n, (_, _, x)) in enumerate(each.items())}
  )
  given = dict(depth=dict(path=deep), semseg=dict(path=seg, classes=10))

  def load(maps=given, **more):
    kind = "zip" if rgb.endswith("zip") else "folder"
    return pipeline.load(name=kind, path=rgb, test="", maps=maps, **more)

  load.given, load.written = given, written
  return load


def order():
  """Examples lie in order of name: class by class."""
  return [0, 2, 4, 1, 3]


def test_values_are_those_of_the_files(load):
  data = load()
  for index, i in enumerate(order()):
    image, depth, labels = made(i)
    example = data.splits["train"][index]
    np.testing.assert_array_equal(example["image"], image)
    np.testing.assert_array_equal(example["depth"], depth[..., None])
    np.testing.assert_array_equal(example["semseg"], labels[..., None])
    assert example["depth"].dtype == np.uint16
    assert example["label"] == i % 2


def test_a_batch_has_depths_by_their_own_statistics_and_labels_as_they_are(load):
  (batch,) = pipeline.examples(load(), "train", batch_size=N)
  assert batch["semseg"].dtype == np.int32
  assert batch["depth"].dtype == np.float32
  for row, i in enumerate(order()):
    _, depth, labels = made(i)
    np.testing.assert_array_equal(batch["semseg"][row, ..., 0], labels)
    inner = np.sort(depth.ravel().astype(float))[int(0.1 * H * W) : int(0.9 * H * W)]
    expected = (depth - inner.mean()) / inner.std(ddof=1)
    np.testing.assert_allclose(batch["depth"][row, ..., 0], expected, atol=1e-4)


@pytest.mark.parametrize(
  "augment", [dict(pad=2, flip=True), dict(simple=2, flip=True)], ids=["pad", "simple"]
)
def test_maps_are_cut_and_flipped_as_the_image_is(load, augment):
  """Red is the depth's upper byte; flips and cuts keep that, wherever the cut lies."""
  data = load(augment=augment)
  source, seen = data.splits["train"], set()
  for index in range(N):
    for draw in range(8):
      moved = data.augment(source[index], np.random.default_rng(draw))
      np.testing.assert_array_equal(moved["image"][..., 0], moved["depth"][..., 0] >> 8)
      seen.add(moved["depth"].tobytes())
  assert len(seen) > 2 * N


def test_colours_change_no_map(load):
  plain, colourful = (
    load(augment=dict(flip=True, **more)) for more in ({}, {"jitter": (0.9, 0.9, 0.9, 0.5)})
  )
  for draw in range(4):
    a, b = (
      data.augment(data.splits["train"][0], np.random.default_rng(draw))
      for data in (plain, colourful)
    )
    np.testing.assert_array_equal(a["depth"], b["depth"])
    np.testing.assert_array_equal(a["semseg"], b["semseg"])


def test_no_label_comes_up_that_was_not_there(load):
  data = load(size=(9, 13), augment=dict(crop=(0.2, 1.0), flip=True))
  batches = pipeline.batches(data, batch_size=N, seed=0)
  for batch in (next(batches), next(batches), *pipeline.examples(data, "train", batch_size=N)):
    assert batch["semseg"].shape == batch["depth"].shape == (N, 9, 13, 1)
    assert {*np.unique(batch["semseg"])} == {*LABELS}
    # What is resized: red and depth are one plane, up to the rounding of a byte.
    for image, depth in zip(batch["image"], batch["depth"], strict=True):
      red, deep = image[..., 0].ravel(), depth.ravel()
      assert np.corrcoef(red, deep)[0, 1] > 0.99


def test_a_changed_map_is_a_change_of_the_data(load):
  was = load().record.examples
  path = load.written(
    "other", {f"train/{'ab'[i % 2]}/{i}.png": encoded(made(i)[1] + 1) for i in range(N)}
  )
  assert load({**load.given, "depth": dict(path=path)}).record.examples != was


def test_what_does_not_fit_is_refused_by_name(load):
  def refused(match, **own):
    name = own.pop("name", "depth")
    with pytest.raises(BadInput, match=match):
      load({name: own}).splits["train"][0]

  one = lambda pixels, name="train/a/0": {f"{name}.png": encoded(pixels)}
  depth = made(0)[1]
  every = {f"train/{'ab'[i % 2]}/{i}.png": encoded(depth) for i in range(N)}
  refused("4 of 5 images of 'train' have no map 'depth' .* it has the same name",
          path=load.written("few", one(depth)))  # fmt: skip
  refused("2 files of .* are the map 'depth' of train/a/0",
          path=load.written("two", {**every, "train/a/0.tif": encoded(depth)}))  # fmt: skip
  refused(
    "a/0.png.* is 6x7, its image 6x8", path=load.written("odd", {**every, **one(depth[:, 1:])})
  )
  refused("has colours", path=load.written("rgb2", {**every, **one(made(0)[0])}))
  refused("has colours: labels", classes=9, path=load.written("rgb3", {**every, **one(made(0)[0])}))
  refused("label 9, data.maps.depth.classes=9", path=load.given["semseg"]["path"], classes=9)
  refused("unknown key of data.maps.depth 'clases'", clases=3)
  refused("data.maps.depth.path says where", classes=3)
  refused("a field 'image' already", name="image", path=load.given["depth"]["path"])


def test_far_points_move_no_other():
  x = np.random.default_rng(0).normal(size=(2, 10, 10, 1))
  far = np.where(np.arange(100).reshape(10, 10, 1) == 7, 1e6, x)
  assert abs(standardised(far) - standardised(x))[far == x].max() < 0.1
  np.testing.assert_allclose(standardised(5 * x + 3), standardised(x), atol=1e-4)
