"""Tokenizing: terms of the paper, and which part each of them teaches."""

import functools
import pathlib
import runpy

import jax
import jax.numpy as jnp
import numpy as np

from maskjax.model import tokenizer
from maskjax.task import tokenize

HERE = pathlib.Path(__file__).parent
toy = runpy.run_path(str(HERE / "toy_codes.py"))
filled = runpy.run_path(str(HERE / "toy_weights.py"))["filled"]
KEY, RECORD = jax.random.key(0), toy["RECORD"]
BOOK = functools.partial(tokenizer, codes=7, code_width=4, unit=True, patch=(2, 2), widths=(8,))
BOOK = functools.partial(BOOK, blocks=1)


def test_a_tokenizer_brings_images_back():
  """Its loss is that of the paper, and its gradient passes the codebook straight through."""
  one, given = tokenize(record=RECORD, model=BOOK), toy["noise"]()
  variables = filled(jax.eval_shape(one.init, KEY, given), 1.0)
  network, params = one.network, {"params": variables["params"]["tokenizer"]}

  @jax.jit
  def run(variables, params):
    made = network.apply(params, given["image"])
    sums = lambda v: {k: t.sum for k, t in one.loss(v, given, KEY, 0)[0].items()}
    terms, pull = jax.vjp(sums, variables)
    slope = lambda name: pull({k: jnp.float32(k == name) for k in terms})[0]["params"]["tokenizer"]
    again = network.apply(params, given["image"], method="encode")
    painted = network.apply(params, made.tokens, method="decode")
    return made, again, painted, terms, {name: slope(name) for name in terms}

  made, again, painted, terms, slopes = jax.tree.map(np.asarray, run(variables, params))
  np.testing.assert_array_equal(made.tokens, again)
  assert len(np.unique(again)) > 3
  np.testing.assert_allclose(painted, made.image, atol=1e-5)
  book = params["params"]["codebook"]
  book = book / np.linalg.norm(book, axis=-1, keepdims=True)
  near = np.linalg.norm(made.latents[:, :, None] - book, axis=-1).argmin(-1)
  np.testing.assert_array_equal(made.tokens, near)
  gap = np.square(made.latents - made.codes).mean(-1).sum()
  for name in ("codes", "latents"):
    np.testing.assert_allclose(terms[name], gap, rtol=1e-5)
  assert one.weights == {"latents": 0.25}
  reached = lambda name: [
    bool(
      np.abs(
        slopes[name][part]["embed"]["kernel"] if part == "encoder" else slopes[name][part]
      ).max()
    )
    for part in ("encoder", "codebook")
  ]
  assert reached("recover") == reached("latents") == [True, False]
  assert reached("codes") == [False, True]
