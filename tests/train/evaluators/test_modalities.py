"""The evaluator on a stand-in that knows its modalities, and the picture it draws."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maskjax.errors import BadInput
from maskjax.record import Record
from maskjax.train.evaluators import modalities
from maskjax.train.mesh.mesh import make_mesh
from maskjax.view import modalities as pictures

RNG = np.random.default_rng(0)
SIZE, CLASSES = 5, 3
X = RNG.normal(size=(SIZE, 4, 4, 2)).astype(np.float32)
RECORD = Record("image", (4, 4, 2), {"train": SIZE, "test": SIZE}, mean=(0.0,) * 2, std=(1.0,) * 2)


def views(variables, batch, key, step=0, hidden=None, keep=None):
  """The image is recovered but for half its values; labels by even odds."""
  x = batch["image"]
  labels = (x[..., 0] > 0).astype(jnp.int32)
  # The upper half of the image is hidden, of the labels all.
  if hidden is None:
    rows = jnp.arange(4)[:, None] < 2
    gone = jnp.broadcast_to(rows, (len(x), 4, 4)), jnp.ones((len(x), 4, 4), bool)
  else:
    parts = jnp.split(jnp.broadcast_to(hidden, (len(x), 8)), 2, axis=1)
    wide = lambda h: h.reshape(-1, 2, 2).repeat(2, 1).repeat(2, 2)
    gone = tuple(map(wide, parts))
  image = {"input": x, "prediction": x / 2, "hidden": gone[0]}
  logits = jnp.zeros((*labels.shape, CLASSES))
  return {"modalities": {
    "image": image, "labels": {"input": labels, "prediction": logits, "hidden": gone[1]},
  }}  # fmt: skip


def context(views, drawn=None):
  def examples(split, batch_size):
    for start in range(0, SIZE, batch_size):
      part = X[start : start + batch_size]
      short = batch_size - len(part)
      image = np.pad(part, ((0, short), (0, 0), (0, 0), (0, 0)), constant_values=7.0)
      yield {"image": image, "valid": np.arange(batch_size) < len(part)}

  network = types.SimpleNamespace(grid=(2, 2), modalities={"image": None, "labels": None})
  task = types.SimpleNamespace(answers={"views": views}, network=network)
  given = dict(key=jax.random.key(0), mesh=make_mesh(None), examples=examples, record=RECORD)
  picture = lambda name, pixels: drawn.append((name, pixels))
  return types.SimpleNamespace(task=task, variables={}, picture=picture, **given)


def test_ratios_are_those_of_numpy():
  drawn = []
  found = modalities(context(views, drawn), batch_size=4, pictured=2)
  upper, mean = X[:, :2], X.mean(0)[:2]
  ratio = (upper**2 / 4).sum() / ((upper - mean) ** 2).sum()
  assert found["own/image"] == pytest.approx(ratio, rel=1e-5)
  whole = (X**2 / 4).sum() / ((X - X.mean(0)) ** 2).sum()
  assert found["labels/image"] == pytest.approx(whole, rel=1e-5)
  labels = (X[..., 0] > 0).astype(int)
  shares = np.stack([(labels == c).mean(0) for c in range(CLASSES)], -1).clip(1e-4)
  shares /= shares.sum(-1, keepdims=True)
  nats = -np.log(np.take_along_axis(shares[None], labels[..., None], -1)).mean()
  for source in ("own", "image"):
    assert found[f"{source}/labels"] == pytest.approx(np.log(CLASSES) / nats, rel=1e-4)
  assert (found["shown/image"], found["shown/labels"]) == (0.5, 0)
  assert (found["spread/image"], found["spread/labels"]) == (0, 0)
  assert set(found) == {
    "own/image", "own/labels", "image/labels", "labels/image",
    "shown/image", "shown/labels", "spread/image", "spread/labels",
  }  # fmt: skip
  assert [name for name, _ in drawn] == ["modalities"]


def test_the_picture_has_three_columns_a_modality():
  found = jax.tree.map(np.asarray, views({}, {"image": X}, None)["modalities"])
  colors = np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]])
  found["labels"]["colors"] = colors
  given, guessed = pictures.painted(found["labels"], None)
  np.testing.assert_array_equal(given, (255 * colors[found["labels"]["input"]]).astype(np.uint8))
  assert (guessed == [255, 0, 0]).all()
  picture = pictures.rows(found, ("image", "labels"), RECORD)
  assert picture.dtype == np.uint8
  assert picture.shape[1] > 6 * 96
  grey, _ = pictures.painted({**found["image"], "input": X[..., :1]}, None)
  assert (grey.min(), grey.max()) == (0, 255)


def test_refuses_what_it_cannot_compare():
  with pytest.raises(BadInput, match="one modality alone"):
    modalities(context(lambda *_: {"input": jnp.ones(1)}), batch_size=4)
