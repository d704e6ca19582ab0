"""MAE of clips (Feichtenhofer et al. 2022), section 3: masks ignore time as they ignore space."""

import jax
import numpy as np


def test_nine_of_ten_patches_are_hidden_whatever_the_place_and_the_time(built, ignores_the_grid):
  assert ignores_the_grid(built("mae_st").masks["hidden"], (8, 14, 14)) == [1412]
  assert ignores_the_grid(built("mae_st", "laptop").masks["hidden"], (4, 6, 6)) == [130]


def test_agrees_with_the_formulas_of_the_authors_code(built):
  made = built("mae_st", "laptop")
  noise = np.float32(np.arange(8 * 144) * 0.618034 % 1).reshape(8, 144)

  @jax.jit
  def told(variables, batch, noise):
    run, _ = made.task.loss.__self__.run(variables, batch, None, 0, given={"score": noise})
    loss, *rest = run.all(("losses.recover", "hidden", "prediction", "seen.index"))
    return loss.sum / loss.count, *rest

  loss, hidden, prediction, index = told(made.initial, made.batch, noise)
  # random_masking: what has the least noise is kept.
  kept = np.argsort(noise, axis=1)[:, : int(144 * (1 - 0.9))]
  mask = np.ones((8, 144), bool)
  np.put_along_axis(mask, kept, False, axis=1)
  assert (hidden == mask).all()
  assert (np.sort(index) == np.sort(kept)).all()
  # forward_loss: frames at even distances, first and last among them, of each patch one.
  clip = np.asarray(made.batch["video"])[:, np.linspace(0, 7, 4).astype(int)]
  cut = clip.reshape(8, 4, 6, 4, 6, 4).transpose(0, 1, 2, 4, 3, 5).reshape(8, 144, 16)
  deviation = np.sqrt(cut.var(-1, ddof=1, keepdims=True) + 1e-6)
  target = (cut - cut.mean(-1, keepdims=True)) / deviation
  error = ((prediction - target) ** 2).mean(-1)
  np.testing.assert_allclose(loss, (error * mask).sum() / mask.sum(), rtol=1e-5)
