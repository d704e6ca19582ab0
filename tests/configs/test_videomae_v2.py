"""VideoMAE V2 (Wang et al. 2023), section 3.2: tubes for the encoder, running cells decoded."""

import jax
import jax.numpy as jnp
import numpy as np

from maskjax import lab


def test_a_tenth_of_a_frame_is_seen_the_same_at_all_times(built):
  hidden = built("videomae_v2").said["hidden"].reshape(-1, 8, 14, 14)
  assert (hidden == hidden[:, :1]).all()
  assert (hidden[:, 0].sum((1, 2)) == 176).all()
  assert len({x.tobytes() for x in hidden}) == len(hidden)


def test_half_of_each_cell_is_decoded_and_moves_on_by_one_at_each_time(built):
  decoded = built("videomae_v2").said["decoded"].reshape(-1, 8, 7, 2, 7, 2).swapaxes(3, 4)
  cells = decoded.reshape(-1, 8, 49, 4)
  assert (cells == cells[:, :, :1]).all()
  cell = cells[:, :, 0]
  assert (cell.sum(-1) == 2).all()
  assert (cell[:, 1:] == np.roll(cell[:, :-1], -1, -1)).all()
  assert (cell[:, :4].sum(1) == 2).all()  # each as often
  pair = (cell & np.roll(cell, 1, -1)).sum(-1)
  assert (pair == 1).all()  # next to each other, the last and the first too
  begins = {x.tobytes() for x in built("videomae_v2", "laptop").said["decoded"].reshape(-1, 144)}
  assert len(begins) == 4


def test_targets_are_normalised_in_each_color_of_a_cube(built):
  wanted = built("videomae_v2").said["wanted"]
  assert wanted.valid.all()
  colors = wanted.values.reshape(-1, 512, 3)
  np.testing.assert_allclose(colors.mean(1), 0, atol=1e-3)
  np.testing.assert_allclose(colors.std(1), 1, atol=1e-2)


def test_as_many_are_asked_for_as_are_decoded_whatever_the_share():
  config = lab.base("video_mim/videomae_v2").get_config
  for change, count in (("laptop,let.decoded.count=36", 36), ("whole,select.count=100", 100)):
    assert config(change).let.wanted["keep"] == count


def test_the_loss_is_of_what_is_decoded_and_was_hidden(built):
  """By the formulas of the authors' code, whatever is predicted at the other positions."""
  made = built("videomae_v2", "laptop")
  y = np.random.default_rng(0).standard_normal((8, 72, 32), np.float32)

  @jax.jit
  def told(y, batch):
    def loss(y):
      run, _ = made.task.loss.__self__.run(
        made.initial, batch, jax.random.key(0), 0, given={"answered": y}
      )
      term = run.take("losses.recover")
      return term.sum / term.count, run.all(("hidden", "decoded", "wanted.index"))

    return jax.value_and_grad(loss, has_aux=True)(y)

  (loss, (hidden, decoded, index)), slope = jax.device_get(told(jnp.asarray(y), made.batch))
  clip = np.asarray(made.batch["video"])
  cut = clip.reshape(8, 4, 2, 6, 4, 6, 4).transpose(0, 1, 3, 5, 2, 4, 6).reshape(8, 144, 32)
  labels = cut[decoded].reshape(8, 72, 32)
  asked = hidden[decoded].reshape(8, 72)
  error = ((y - labels) ** 2).mean(-1)
  np.testing.assert_allclose(loss, (error * asked).sum() / asked.sum(), rtol=1e-5)
  assert (np.sort(index) == index).all()
  assert (np.take_along_axis(decoded, index, 1)).all()
  assert ((slope != 0).any(-1) == asked).all()
  assert 0 < asked.sum() < asked.size
