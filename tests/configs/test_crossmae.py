"""CrossMAE (Fu et al. 2025), section 3: what is asked reads the encoder, and nothing else."""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
from built import Built

GOLDEN = json.loads((pathlib.Path(__file__).parents[1] / "golden/crossmae.json").read_text())


def test_the_end_of_the_ranking_is_asked(built, ignores_the_grid):
  said = built("crossmae").said
  assert ignores_the_grid(said["asked"], (14, 14)) == [49]
  rank = said["score"].argsort(axis=-1).argsort(axis=-1)
  assert (said["hidden"] == (rank >= 49)).all()
  assert (said["asked"] == (rank >= 147)).all()


def tiny(c):
  c.over.patch, c.let.asked.count, c.optimizer.warmup_steps = (8, 8), 4, 0
  c.model.encoder.depth = c.model.decoder.depth = 2
  c.optimizer.learning_rate = 0.01 * 256 / c.batch_size


def test_agrees_with_the_authors_code_whatever_else_is_asked():
  made = Built("crossmae", "laptop", tiny)
  leaves, form = jax.tree.flatten_with_path(made.shapes["params"])
  wave = lambda i, x: 0.3 * np.sin(0.7 * np.arange(x.size) + i).reshape(x.shape)
  drawn = [wave(i, x) + ("scale" in str(path[-1])) for i, (path, x) in enumerate(leaves)]
  image = np.float32(np.sin(1.3 * np.arange(3 * 32 * 32 * 3))).reshape(3, 32, 32, 3)
  score = jnp.float32(np.arange(48) * 0.618034 % 1).reshape(3, 16)

  def told(params, batch):
    variables = {**made.initial, "params": params}
    run, _ = made.task.loss.__self__.run(variables, batch, None, 0, given={"score": score})
    loss, *rest = run.all(("losses.recover", "asked", "answered", "wanted.index", "prediction"))
    return loss.sum / loss.count, rest

  @jax.jit
  def step(params, batch):
    (loss, rest), slopes = jax.value_and_grad(told, has_aux=True)(params, batch)
    moved = jax.tree.map(jnp.add, params, tx.update(slopes, tx.init(params), params)[0])
    return loss, *rest, slopes["decoder"]["mix"], moved["decoder"]["mix"]

  tx, params = made.optimizer.tx, form.unflatten(map(np.float32, drawn))
  batch = {"image": image, "position": np.arange(3)}
  loss, asked, answered, index, everywhere, slope, mix = step(params, batch)
  found = dict(asked=asked, prediction=answered[..., ::16], loss=loss, slope=slope, mix=mix)
  for name, got in found.items():
    np.testing.assert_allclose(got, GOLDEN[name], rtol=1e-4, atol=1e-4, err_msg=name)
  alone = np.take_along_axis(everywhere, index[..., None], axis=1)
  np.testing.assert_allclose(answered, alone, rtol=1e-5, atol=1e-5)
