"""The variational autoencoder: its shapes, its Gaussians, and the layers of Stable Diffusion's."""

import pathlib
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from maskjax.errors import BadInput
from maskjax.model import autoencoder
from maskjax.model import published_autoencoder as published
from maskjax.model.autoencoder import Posterior
from maskjax.train.state import parameter_count

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "lmd.safetensors"
TINY = partial(autoencoder, latent=4, widths=(4, 8), depth=1, groups=2)


def shapes(network, *space):
  """The shapes of the variables."""
  images = jax.ShapeDtypeStruct((1, *space), jnp.float32)
  return jax.eval_shape(network.init, jax.random.key(0), images)


@pytest.fixture(scope="module")
def given():
  """What the golden script wrote for the autoencoder."""
  found = load_file(GOLDEN)
  vae = {k.removeprefix("vae."): v for k, v in found.items() if k.startswith("vae.")}
  return vae, {k.removeprefix("golden."): v for k, v in found.items() if k.startswith("golden.")}


def test_published_weights_encode_and_decode_as_the_layers_they_are_for(given, tmp_path):
  vae, golden = given
  network = TINY(record_shape=(8, 8, 3))
  save_file(vae, tmp_path / "vae.safetensors")
  params = published.load(tmp_path / "vae.safetensors", shapes(network, 8, 8, 3)["params"])
  both = jax.jit(
    lambda params, x: (
      network.apply({"params": params}, x, method="encode"),
      network.apply({"params": params}, x),
    )
  )
  posterior, decoded = both(params, golden["images"])
  close = partial(np.testing.assert_allclose, rtol=1e-4, atol=2e-4)
  close(posterior.mean, golden["mean"])
  close(posterior.log_variance, golden["log_variance"])
  close(decoded, golden["decoded"])


def test_older_names_are_known_and_what_does_not_fit_is_named(given, tmp_path):
  vae, _ = given
  params = shapes(TINY(record_shape=(8, 8, 3)), 8, 8, 3)["params"]
  older = {}
  for name, value in vae.items():
    for new, old in published.OLDER:
      if new in name:
        name = name.replace(new, old)
        value = value[..., None, None] if name.endswith("weight") else value
    older[name] = np.ascontiguousarray(value)
  path = tmp_path / "vae.safetensors"
  for tensors in (vae, older):
    save_file(tensors, path)
    found = published.load(path, params)
    np.testing.assert_array_equal(
      found["encoder"]["middle"]["q"]["kernel"].T,
      vae["encoder.mid_block.attentions.0.to_q.weight"],
    )
  save_file({k: v for k, v in vae.items() if "quant_conv" not in k}, path)
  with pytest.raises(BadInput, match="quant_conv"):
    published.load(path, params)
  save_file({**vae, "encoder.conv_in.bias": np.zeros(3, np.float32)}, path)
  with pytest.raises(BadInput, match="shape"):
    published.load(path, params)
  path.write_bytes(b"no weights")
  with pytest.raises(BadInput, match="safetensors"):
    published.load(path, params)


def test_the_default_has_the_parameters_of_stable_diffusions(given):
  made = shapes(autoencoder(record_shape=(64, 64, 3)), 64, 64, 3)
  assert parameter_count(made) == int(given[1]["parameters_of_autoencoder"]) == 83_653_863


@pytest.mark.parametrize(
  ("space", "patch", "widths"), [((16,), 1, (4, 8)), ((8, 12), 2, (4,)), ((2, 8, 8), 2, (4,))]
)
def test_any_number_of_axes_and_what_comes_back_has_the_shape_that_went_in(space, patch, widths):
  network = TINY(record_shape=(*space, 3), patch=(patch,) * len(space), widths=widths, middle=False)
  x = jax.ShapeDtypeStruct((2, *space, 3), jnp.float32)
  both = lambda network, x: (network(x), network.encode(x).mean)
  run = lambda key, x: network.init_with_output(key, x, method=both)[0]
  back, mean = jax.eval_shape(run, jax.random.key(0), x)
  assert back.shape == x.shape
  assert mean.shape[1:] == network.latent_shape == (*(side // 2 for side in space), 4)


def test_draws_have_the_gaussians_moments_and_divergence():
  posterior = Posterior(jnp.full((4000, 2), 1.5), jnp.full((4000, 2), jnp.log(0.25)))
  drawn = np.asarray(jax.jit(posterior.sample)(jax.random.split(jax.random.key(0), 4000)))
  np.testing.assert_allclose(drawn.mean(0), 1.5, atol=0.05)
  np.testing.assert_allclose(drawn.std(0), 0.5, atol=0.03)
  # The mean of log q - log p over draws from q.
  log_q = -0.5 * ((drawn - 1.5) / 0.5) ** 2 - np.log(0.5)
  np.testing.assert_allclose(posterior.divergence()[0], (log_q + 0.5 * drawn**2).mean(0), atol=0.15)


@pytest.mark.parametrize(
  ("sizes", "says"),
  [
    (dict(record_shape=(9, 8, 3)), "divisible"),
    (dict(record_shape=(8, 8, 3), widths=(3,)), "groups"),
    (dict(record_shape=(8, 8, 3), patch=(3, 3)), "divisible"),
  ],
)
def test_what_cannot_work_is_named(sizes, says):
  with pytest.raises(BadInput, match=says):
    TINY(**sizes)
