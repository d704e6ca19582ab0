"""Deblurring MAE (Kang et al. 2023), section 2: patches seen are blurred, all asked sharp."""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
from built import Built

from maskjax import over, task
from maskjax.model.masked_decoder import Decoded
from maskjax.record import Record

GOLDEN = json.loads((pathlib.Path(__file__).parents[1] / "golden/deblurring_mae.json").read_text())


def patches(image, side):
  """Cut row by row; a patch is its pixels, then channels."""
  b, h, w, c = image.shape
  cut = image.reshape(b, h // side, side, w // side, side, c).swapaxes(2, 3)
  return cut.reshape(b, -1, side * side * c)


def soft(image, sigma):
  """A Gaussian mean of all pixels, whose weights are shared out among those that there are."""
  at = np.arange(32)
  weight = np.exp(-((at[:, None] - at) ** 2) / (2 * sigma**2))
  weight /= weight.sum(1, keepdims=True)
  return np.einsum("ih,jw,bhwc->bijc", weight, weight, image)


def test_the_input_is_blurred_the_target_is_not_and_seen_patches_are_asked(built):
  made = built("deblurring_mae", "laptop")
  run, first = made.task.loss.__self__.run, made.initial
  y = np.random.default_rng(0).standard_normal((8, 64, 48), np.float32)

  @jax.jit
  def told(y, batch):
    loss = lambda y, key: run(first, batch, key, 0, given={"decoded": Decoded(y)})[0]
    term = lambda y: (lambda t: t.sum / t.count)(loss(y, jax.random.key(0)).take("losses.recover"))
    parts = loss(y, jax.random.key(0)).all(("target", "seen.values", "seen.index", "hidden"))
    # As evaluators ask for features: nothing hidden, nothing drawn.
    whole = run(first, batch, None, 0, keep=64)[0]
    features = whole.ask("seen.values", hidden=whole.take("nothing"))
    return *jax.value_and_grad(term)(y), *parts, features

  loss, slope, target, seen, index, hidden, features = told(y, made.batch)
  image = np.asarray(made.batch["image"])
  sharp, blurred = patches(image, 4), patches(soft(image, 0.5), 4)
  np.testing.assert_array_equal(target, sharp)
  kept = np.take_along_axis(blurred, np.asarray(index)[..., None], 1)
  np.testing.assert_allclose(seen, kept, atol=1e-5)
  np.testing.assert_allclose(features, blurred, atol=1e-5)
  assert np.abs(blurred - sharp).mean() > 0.05
  assert (hidden.sum(-1) == 48).all()
  np.testing.assert_allclose(loss, ((y - sharp) ** 2).mean(), rtol=1e-5)
  np.testing.assert_allclose(slope, 2 * (y - sharp) / y.size, rtol=1e-4, atol=1e-8)


def test_blurs_as_opencv_does():
  """0.05 of 255 levels, as its window ends after four pixels: set before the run."""
  image = np.float32(127.5 + 127.5 * np.sin(0.05 * np.arange(16 * 24) ** 1.5))
  record = Record("image", (16, 24, 1), {})
  words = over.patches(record=record, patch=(4, 6))
  x, every = words.read({"image": image.reshape(1, 16, 24, 1)}).values, np.ones((1, 16), bool)
  blur = jax.jit(lambda x, hidden: task.blurred(x, hidden, words, record, sigma=1.1))
  found = words.back(blur(x, every))
  np.testing.assert_allclose(found[0, 4:-4, 4:-4, 0], GOLDEN["blurred"], atol=0.05)


def tiny(c):
  c.over.patch, c.optimizer.warmup_steps = (8, 8), 0
  c.model.encoder.depth, c.optimizer.learning_rate = 2, 0.01 * 256 / c.batch_size


def test_agrees_with_the_authors_code():
  """Masks exactly, the rest 1e-4: set before the run."""
  made = Built("deblurring_mae", "laptop", tiny)
  leaves, form = jax.tree.flatten_with_path(made.shapes["params"])
  wave = lambda i, x: 0.3 * np.sin(0.7 * np.arange(x.size) + i).reshape(x.shape)
  drawn = [wave(i, x) + ("scale" in str(path[-1])) for i, (path, x) in enumerate(leaves)]
  shape, at = (3, 32, 32, 3), np.arange(3 * 32 * 32 * 3)
  blurred, sharp = (np.float32(np.sin(rate * at)).reshape(shape) for rate in (0.9, 1.3))
  given = {
    "score": jnp.float32(np.arange(48) * 0.618034 % 1).reshape(3, 16),
    "hide.0": jnp.float32(patches(blurred, 8)),
  }

  def told(params, batch):
    variables = {**made.initial, "params": params}
    run, _ = made.task.loss.__self__.run(variables, batch, None, 0, given=given)
    loss, *rest = run.all(("losses.recover", "hidden", "prediction"))
    return loss.sum / loss.count, rest

  @jax.jit
  def step(params, batch):
    (loss, rest), slopes = jax.value_and_grad(told, has_aux=True)(params, batch)
    moved = jax.tree.map(jnp.add, params, tx.update(slopes, tx.init(params), params)[0])
    return loss, *rest, *(tree["decoder"]["predict"]["bias"][::4] for tree in (slopes, moved))

  tx, params = made.optimizer.tx, form.unflatten(map(np.float32, drawn))
  batch = {"image": sharp, "position": np.arange(3)}
  made.initial  # noqa: B018  # before the program is traced
  loss, hidden, prediction, slope, moved = step(params, batch)
  np.testing.assert_array_equal(hidden, GOLDEN["hidden"])
  found = dict(loss=loss, prediction=prediction[..., ::16], slope=slope, moved=moved)
  for name, got in found.items():
    np.testing.assert_allclose(got, GOLDEN[name], rtol=1e-4, atol=1e-4, err_msg=name)
