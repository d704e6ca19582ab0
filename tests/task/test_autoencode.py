"""Autoencoding as a task: its terms, its draws, its views."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maskjax import recover
from maskjax.errors import BadInput
from maskjax.model import autoencoder
from maskjax.record import Record
from maskjax.task import autoencode
from maskjax.task.base import total

RECORD = Record("image", (4, 4, 1), {"train": 8})
SIZES = dict(latent=2, widths=(4,), depth=1, patch=(2, 2), middle=False, groups=2)
KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def made():
  """A tiny task, a batch, variables and the compiled loss."""
  task = autoencode(
    record=RECORD,
    model=partial(autoencoder, **SIZES),
    recover=partial(recover.squared_error),
    divergence=0.5,
  )
  batch = {"image": jax.random.normal(KEY, (8, 4, 4, 1)), "position": jnp.arange(8)}
  variables = jax.jit(task.init)(KEY, batch)
  return task, batch, variables, jax.jit(lambda *given: task.loss(*given)[0])


def test_terms_are_all_pixels_and_the_divergence_of_every_latent(made):
  task, batch, variables, loss = made
  terms = loss(variables, batch, KEY, 0)
  assert (int(terms["recover"].count), int(terms["divergence"].count)) == (8 * 16, 8 * 2 * 2 * 2)
  posterior = task.network.apply(variables, batch["image"], method="encode")
  np.testing.assert_allclose(terms["divergence"].sum, posterior.divergence().sum(), rtol=1e-4)
  both = {name: term.sum / term.count for name, term in terms.items()}
  expected = both["recover"] + 0.5 * both["divergence"]
  np.testing.assert_allclose(total(terms, task.weights), expected, rtol=1e-5)


def test_each_example_has_its_own_draw_whatever_batch_it_is_in(made):
  _, batch, variables, loss = made
  at = lambda rows, step=0: loss(variables, jax.tree.map(lambda x: x[rows], batch), KEY, step)
  whole = at(slice(None))["recover"].sum
  halves = [at(slice(i, i + 4))["recover"].sum for i in (0, 4)]
  np.testing.assert_allclose(whole, sum(halves), rtol=1e-5)
  assert whole != at(slice(None), 1)["recover"].sum


def test_the_prediction_is_that_of_the_means(made):
  task, batch, variables, _ = made
  views = task.views(variables, batch, KEY)
  assert views["prediction"].shape == batch["image"].shape
  np.testing.assert_array_equal(
    views["prediction"], task.views(variables, batch, jax.random.key(1))["prediction"]
  )


def test_text_is_refused():
  with pytest.raises(BadInput, match="text"):
    autoencode(
      record=Record("text", (8,), {"train": 1}), model=partial(autoencoder), recover=partial(dict)
    )
