"""Masks carried by neighbour padding: the authors' network, and torchvision's weights in ours."""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from maskjax.errors import BadInput
from maskjax.model import published, resnet
from maskjax.model.partial import NeighbourConv
from maskjax.model.published_names import entry, in_order

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "layer_masking.safetensors"
TENSORS = load_file(GOLDEN)
STAGES = {"basic": (18, (2, 2, 2, 2)), "bottleneck": (50, (2, 1, 1, 1))}


def network(kind):
  """A narrow network of the fixture's widths, and its variables all zero."""
  depth, stages = STAGES[kind]
  form = dict(depth=depth, width=2, stem="imagenet", carry="neighbours")
  whole = resnet(record_shape=(46, 38, 3), classes=5, **form)
  made = whole.clone(encoder=whole.encoder.clone(stages=stages))
  shapes = jax.eval_shape(made.init, jax.random.key(0), jnp.zeros((1, 46, 38, 3)))
  return made, jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), shapes)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
  """The public networks' weights, a file each, as torchvision names them."""
  folder = tmp_path_factory.mktemp("weights")
  for kind in STAGES:
    named = {k.removeprefix(f"{kind}."): v for k, v in TENSORS.items() if k.startswith(f"{kind}.")}
    save_file(named, folder / f"{kind}.safetensors")
  return folder


@pytest.fixture(scope="module")
def loaded(files):
  """What was read of each file, and its network's `(image, hidden) -> logits`, compiled once."""

  def load(kind):
    made, blank = network(kind)
    variables, report = published.load(files / f"{kind}.safetensors", blank)
    return report, jax.jit(lambda image, hidden: made.apply(variables, image, hidden))

  return {kind: load(kind) for kind in STAGES}


@pytest.fixture
def masked(loaded):
  """The public bottlenecks."""
  return loaded["bottleneck"][1]


@pytest.mark.parametrize("kind", STAGES)
def test_torchvisions_weights_load_and_answer_alike(loaded, kind):
  report, answer = loaded[kind]
  assert report.layout == "torchvision"
  assert not report.missing
  assert all(name.endswith("num_batches_tracked") for name in report.unused)
  plain = answer(TENSORS["golden.images"], None)
  np.testing.assert_allclose(plain, TENSORS[f"golden.{kind}.plain"], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("depth", [18, 50])
def test_every_name_of_torchvision_has_its_place(depth):
  with safe_open(GOLDEN, framework="np") as file:
    shapes = json.loads(file.metadata()[str(depth)])
  made = resnet(record_shape=(224, 224, 3), classes=1000, depth=depth)
  image = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)
  ours = flatten_dict(jax.eval_shape(made.init, jax.random.key(0), image), sep="/")
  theirs = {canonical: shapes[name] for name, canonical in in_order(shapes).items()}
  for path, leaf in ours.items():
    (name,) = entry(path, "torchvision").theirs
    assert np.prod(theirs.pop(name)) == leaf.size, path
  assert all(name.endswith("num_batches_tracked") for name in theirs)


def test_masked_networks_answer_as_the_authors_do(masked):
  logits = masked(TENSORS["golden.images"], TENSORS["golden.hidden"])
  expected = TENSORS["golden.bottleneck.masked"]
  np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)
  assert np.abs(expected - TENSORS["golden.bottleneck.plain"])[1:].max(axis=-1).min() > 0.02


def test_hidden_pixels_change_nothing_and_nothing_hidden_changes_nothing(masked):
  images, hidden = TENSORS["golden.images"], TENSORS["golden.hidden"]
  logits = masked(images, hidden)
  for value in (np.nan, np.inf, 7.0):
    other = np.where(hidden[..., None], value, images).astype(np.float32)
    np.testing.assert_array_equal(masked(other, hidden), logits)
  np.testing.assert_allclose(masked(images, np.zeros_like(hidden)), masked(images, None), atol=1e-5)


def test_a_plain_network_on_filled_pictures_answers_otherwise(masked):
  images, hidden = TENSORS["golden.images"], TENSORS["golden.hidden"]
  expected = TENSORS["golden.bottleneck.masked"]
  filled = masked(np.where(hidden[..., None], 0, images).astype(np.float32), None)
  assert np.abs(filled - expected)[1:].max(axis=-1).min() > 0.02


def test_sums_are_visible_where_both_parts_are():
  image, hidden = jnp.ones((1, 8, 8, 1)), jnp.zeros((1, 8, 8), bool).at[:, 2:7, 2:7].set(True)
  left = {}
  for carry in ("partial", "neighbours"):
    made = resnet(record_shape=(8, 8, 1), classes=2, depth=8, width=2, carry=carry).encoder
    shapes = jax.eval_shape(made.init, jax.random.key(0), image)
    variables = jax.tree.map(lambda leaf: jnp.ones(leaf.shape), shapes)
    left[carry] = jax.jit(made.clone(stages=(1,)).apply)(variables, image, hidden)[1][0]
  rows, _ = np.nonzero(left["neighbours"])
  # The stem takes a ring from the hole and the block none; partial convolutions take one each.
  assert (rows.min(), rows.max(), len(rows)) == (3, 5, 9)
  assert left["partial"].sum() == 0


def test_no_gradient_flows_through_what_is_filled_in():
  """A visible number counts once in each window that holds it, as in the authors' code."""
  layer = NeighbourConv(1, (3,), use_bias=False, kernel_init=jax.nn.initializers.ones)
  hidden = jnp.arange(5) > 1
  x = jnp.array([[1.0], [2.0], [0.0], [0.0], [0.0]])
  sums = lambda x: layer.apply({"params": {"kernel": jnp.ones((3, 1, 1))}}, x, hidden)[0].sum()
  value, slope = jax.value_and_grad(sums)(x)
  # Windows 0 to 2 see something; 2 and 3 are filled with a 2.
  assert value == 3 + 5 + 6
  assert slope[:, 0].tolist() == [2, 3, 0, 0, 0]


def test_unknown_rules_are_named():
  with pytest.raises(BadInput, match="unknown carry 'neighbour'; did you mean 'neighbours'"):
    resnet(record_shape=(32, 32, 3), classes=5, depth=8, carry="neighbour")
