"""The reconstruction evaluator, on a stand-in task that learns patch-normalised pixels."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maskjax.errors import BadInput
from maskjax.record import Record
from maskjax.task.base import Task
from maskjax.view import grid as layout
from maskjax.view.reconstruction import TITLES, draw, pick, reconstruction, spaced

SIZE, P = 21, 4
RECORD = Record(
  "image", (8, 8, 3), {"train": 5, "test": SIZE}, (), (0.4, 0.5, 0.6), (0.3, 0.2, 0.1)
)


def patches(x):
  return x.reshape(x.shape[0], 2, P, 2, P, 3).swapaxes(2, 3).reshape(x.shape[0], 4, -1)


def images(p):
  return p.reshape(p.shape[0], 2, 2, P, P, 3).swapaxes(2, 3).reshape(p.shape[0], 8, 8, 3)


def views(variables, batch, key, decode=True):
  """A perfect model of normalised targets; `decode=False` forgets to bring them back."""
  p = patches(batch["image"])
  mean, std = p.mean(-1, keepdims=True), p.std(-1, keepdims=True) + variables["eps"]
  prediction = (p - mean) / std
  prediction = prediction * std + mean if decode else prediction
  hidden = (jnp.arange(4) + batch["position"][:, None] + jax.random.randint(key, (), 0, 4)) % 4 > 0
  hidden = hidden[..., None]
  parts = {
    "input": p,
    "seen": jnp.where(hidden, jnp.nan, p),
    "prediction": prediction,
    "pasted": jnp.where(hidden, prediction, p),
  }
  return {name: images(part) for name, part in parts.items()}


def pixels():
  """Smooth pictures that differ in level, as stored in [0, 1]."""
  ramp = np.linspace(0, 0.2, 8)
  level = np.linspace(0.1, 0.7, SIZE)[:, None, None, None]
  return np.broadcast_to(level + ramp[:, None, None] + ramp[None, :, None] / 4, (SIZE, 8, 8, 3))


def batches(split, batch_size):
  x = ((pixels() - RECORD.mean) / RECORD.std).astype(np.float32)
  for start in range(0, RECORD.sizes[split], batch_size):
    image = x[start : start + batch_size]
    padding = batch_size - len(image)
    image = np.pad(image, ((0, padding), (0, 0), (0, 0), (0, 0)))
    yield {"image": image, "valid": np.arange(batch_size) < batch_size - padding}


def context(**changes):
  pictures = {}
  task = Task(init=lambda *_: {}, loss=lambda *_: ({}, None), answers={"views": views})
  fields = {
    "examples": batches,
    "task": task,
    "variables": {"eps": jnp.float32(1e-6)},
    "key": jax.random.key(0),
    "step": 7,
    "record": RECORD,
    "mesh": SimpleNamespace(get=jax.device_get),
    "picture": pictures.__setitem__,
  }
  return SimpleNamespace(**(fields | changes)), pictures


def columns(picture, count):
  """The image areas of a picture of four columns, as `[column, row, 96, 96, 3]`."""
  step = 96 + layout.GUTTER
  top = picture.shape[0] - layout.MARGIN - count * step + layout.GUTTER
  font = layout.ImageFont.load_default(layout.FONT_SIZE)
  left, found = layout.MARGIN, []
  for title in TITLES.values():
    width = max(96, int(np.ceil(font.getlength(title))))
    x = left + (width - 96) // 2
    found.append([picture[top + i * step :, x : x + 96][:96] for i in range(count)])
    left += width + layout.GUTTER
  return np.array(found).astype(int)


def test_prediction_looks_like_the_input_not_like_its_normalised_target():
  run, pictures = context()
  assert reconstruction(run, examples=5, batch_size=4) == {}
  shown, seen, prediction, pasted = columns(pictures["reconstruction"], 5)
  stored = np.rint(255 * pixels()[spaced(SIZE, 5)]).astype(int).repeat(12, 1).repeat(12, 2)
  assert abs(shown - stored).max() <= 1
  assert abs(prediction - stored).max() <= 1
  assert abs(pasted - stored).max() <= 1
  hatched = (abs(seen - stored) > 1).any(-1)
  assert set(np.unique(seen[hatched])) == {layout.GREY, layout.STROKE}
  assert hatched.mean() > 0.7

  raw = lambda *args: views(*args, decode=False)
  run, pictures = context(task=Task(init=run.task.init, loss=run.task.loss, answers={"views": raw}))
  reconstruction(run, examples=5)
  assert abs(columns(pictures["reconstruction"], 5)[2] - stored).mean() > 20


def test_what_flatters_a_prediction_stands_above_it():
  (run, plain), (other, flattered) = context(), context()
  reconstruction(run, examples=5)
  other.task = other.task._replace(told="each patch's true mean")
  reconstruction(other, examples=5)
  plain, flattered = plain["reconstruction"], flattered["reconstruction"]
  above = len(flattered) - len(plain)
  assert above > 0
  np.testing.assert_array_equal(flattered[above:, : plain.shape[1]], plain)
  assert len(np.unique(flattered[:above])) > 2


@pytest.mark.parametrize("batch_size", [1, 4, 21, 64])
def test_picture_does_not_depend_on_the_batch_size(batch_size):
  (run, pictures), (other, expected) = context(), context()
  reconstruction(run, batch_size=batch_size)
  reconstruction(other)
  np.testing.assert_array_equal(pictures["reconstruction"], expected["reconstruction"])


def test_smaller_split_shows_all_of_it():
  (run, pictures), (other, expected) = context(), context()
  reconstruction(run, split="train", examples=99)
  reconstruction(other, split="train", examples=5)
  np.testing.assert_array_equal(pictures["reconstruction"], expected["reconstruction"])


def test_works_where_nans_are_looked_for():
  run, pictures = context()
  with jax.debug_nans(True):
    reconstruction(run)
  assert "reconstruction" in pictures


def test_known_views_come_first_in_their_order():
  x = np.zeros((1, 8, 8, 3), np.float32)
  names = ["attention", "pasted", "prediction", "seen", "input"]
  shuffled = {name: x + i for i, name in enumerate(names)}
  ordered = {name: shuffled[name] for name in [*TITLES, "attention"]}
  np.testing.assert_array_equal(draw(shuffled, RECORD), draw(ordered, RECORD))


def test_pick_takes_the_wanted_valid_rows_and_stops_early():
  def endless():
    for start in range(0, 99, 3):
      if start > 6:
        raise AssertionError("read on after the last wanted example")
      yield {"label": np.arange(start, start + 3), "valid": np.array([True, True, False])}

  picked = pick(endless(), [0, 3, 4])
  assert picked["label"].tolist() == [0, 4, 6]
  assert picked["position"].tolist() == [0, 1, 2]
  assert set(picked) == {"label", "position"}


@pytest.mark.parametrize(
  ("kwargs", "message"),
  [({"split": "tset"}, "did you mean 'test'"), ({"examples": 0}, "at least 1")],
)
def test_bad_arguments(kwargs, message):
  with pytest.raises(BadInput, match=message):
    reconstruction(context()[0], **kwargs)


def test_task_without_views():
  run, _ = context(task=Task(init=lambda *_: {}, loss=lambda *_: ({}, None)))
  with pytest.raises(BadInput, match="reconstruction needs views"):
    reconstruction(run)
