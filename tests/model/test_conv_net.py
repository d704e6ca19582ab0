"""Plain convolutional networks: sizes, hidden pixels, first weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maskjax import model
from maskjax.errors import BadInput

# Parameters of the networks of signed supermasks' public code, which have no biases.
COUNTS = {
  (64,): 4_300_992,
  (64, 128): 2_425_024,
  (64, 128, 256): 2_261_184,
  (64, 128, 256, 512): 5_275_840,
}


@pytest.mark.parametrize("widths", COUNTS)
def test_networks_have_the_papers_parameters(widths):
  net = model.conv_net(record_shape=(32, 32, 3), classes=10, widths=widths, use_bias=False)
  shapes = jax.eval_shape(net.init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
  assert sum(x.size for x in jax.tree.leaves(shapes)) == COUNTS[widths]


def test_hidden_pixels_change_nothing_and_images_need_not_be_square():
  signs = lambda *args: model.signed_constant(*args, scale=6.0)
  net = model.conv_net(
    record_shape=(7, 10, 2),
    classes=3,
    widths=(4, 6),
    dense=(8,),
    activation="elu",
    kernel_init=signs,
  )
  rng = np.random.default_rng(0)
  image = rng.normal(size=(2, 7, 10, 2)).astype(np.float32)
  hidden = rng.random((2, 7, 10)) < 0.4
  spoiled = np.where(hidden[..., None], np.nan, image)

  @jax.jit
  def run(*images):
    variables = net.init(jax.random.key(1), images[0])
    see = lambda image, hidden: net.apply(variables, image, hidden)
    slope = jax.grad(lambda image: jnp.sum(see(image, jnp.asarray(hidden)) ** 2))
    return [see(x, jnp.asarray(hidden)) for x in images], slope(images[1]), see(images[0], None)

  (seen, other), slope, whole = jax.device_get(run(image, spoiled))
  np.testing.assert_array_equal(seen, other)
  assert np.isfinite(seen).all()
  assert np.abs(seen - whole).max() > 0.1
  assert (slope[hidden] == 0).all()
  assert (slope[~hidden] != 0).any(-1).all()


def test_what_is_no_image_and_unknown_activations_are_refused():
  with pytest.raises(BadInput, match=r"takes images \(h, w, c\), the data have shape \(9,\)"):
    model.conv_net(record_shape=(9,), classes=2)
  with pytest.raises(BadInput, match="unknown activation 'elus'"):
    model.conv_net(record_shape=(8, 8, 1), classes=2, activation="elus")
