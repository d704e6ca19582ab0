"""Pictures of losses: their order within an image, and what moves as at the step of the weights."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np

from maskjax.record import Record
from maskjax.task.base import Task
from maskjax.view import grid as layout
from maskjax.view.heat import tints
from maskjax.view.reconstruction import draw, ordered, reconstruction

RECORD = Record("image", (8, 8, 1), {"test": 3}, (), (0.5,), (0.2,))


def test_colours_tell_the_order_within_an_image_and_what_is_not_there_is_hatched():
  maps = np.array([[[3.0, 1.0], [2.0, np.nan]], [[30.0, 10.0], [20.0, -5.0]]])
  first, second = ordered(maps, (32, 32))
  assert first.shape == (32, 32, 3)
  cell = lambda picture, i, j: picture[16 * i : 16 * i + 16, 16 * j : 16 * j + 16]
  for (i, j), level in {(0, 1): 0.0, (1, 0): 0.5, (0, 0): 1.0}.items():
    np.testing.assert_array_equal(cell(first, i, j), np.full((16, 16, 3), tints(level)))
  assert set(np.unique(cell(first, 1, 1))) == {layout.GREY, layout.STROKE}
  assert (cell(second, 1, 1) == tints(0.0)).all()
  np.testing.assert_array_equal(ordered(maps[:1] * 9 - 4, (32, 32))[0], first)


def test_maps_come_after_the_input_under_a_scale():
  images = {name: np.zeros((3, 8, 8, 1)) for name in ("seen", "input")}
  plain = draw(images, RECORD)
  rows, columns = np.indices((4, 4))
  maps = {
    name: np.broadcast_to(4.0 * rows + columns, (3, 4, 4)) for name in ("predicted_loss", "loss")
  }
  picture = draw({**images, **maps}, RECORD)
  assert picture.shape[1] > plain.shape[1]
  assert picture.shape[0] > plain.shape[0]
  # What is no known map is not drawn.
  np.testing.assert_array_equal(draw({**images, "hidden": maps["loss"]}, RECORD), plain)


def test_views_that_ask_for_the_step_are_told_it():
  def views(variables, batch, key, step=0):
    image = jnp.zeros((3, 8, 8, 1)) + step
    return {"input": image, "seen": image}

  def shown(step):
    pictures = {}
    task = Task(init=None, loss=None, answers={"views": views})
    batch = {"image": np.zeros((3, 8, 8, 1)), "valid": np.ones(3, bool)}
    mesh = SimpleNamespace(get=jax.device_get)
    fields = dict(task=task, variables={}, key=None, record=RECORD, step=step, mesh=mesh)
    run = SimpleNamespace(**fields, examples=lambda *_: [batch], picture=pictures.__setitem__)
    reconstruction(run)
    return pictures["reconstruction"]

  assert (shown(0) != shown(1)).any()
