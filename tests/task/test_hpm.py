"""HPM: predictions, losses and masks of the authors' code."""

import functools
import pathlib
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from safetensors.numpy import load_file

from maskjax import lab, recover, score, select
from maskjax.keys import keys
from maskjax.model import published
from maskjax.model.masked_autoencoder import masked_autoencoder
from maskjax.record import Record
from maskjax.task import reconstruct
from maskjax.task.teacher import ema

KEY = jax.random.key(0)
HERE = pathlib.Path(__file__).parent
GOLDEN = HERE.parent / "golden" / "hpm.safetensors"
SIZES = dict(patch=(2, 2), width=16, depth=2, heads=2, loss_depth=1)
SIZES |= dict(decoder_width=8, decoder_depth=1, decoder_heads=2)


@functools.cache
def golden():
  """What the authors' code answered, see make_hpm.py, and what its weights in ours give."""
  stored = load_file(GOLDEN)
  given = {k.removeprefix("golden."): v for k, v in stored.items() if k.startswith("golden.")}
  task = reconstruct(
    record=Record("image", (8, 8, 3), {"train": 3}),
    model=partial(masked_autoencoder, **SIZES),
    score=partial(score.hard_first, select=partial(select.top, ratio=0.375)),
    select=partial(select.top, ratio=0.75),
    target=partial(recover.pixels),
    recover=partial(recover.squared_error),
    teach=partial(recover.pairwise_ranking),
    teacher=partial(ema, momentum=0.5),
  )
  batch = jax.device_put({"image": given["pixels"], "position": np.arange(3)})
  variables, report = published.load(
    GOLDEN, jax.eval_shape(task.init, KEY, batch), patch=(2, 2), grid=(4, 4)
  )
  ours = [path for path in report.missing if not path.startswith("teacher")]
  assert ours == []
  assert all(name.startswith("golden.") for name in report.unused)
  variables["teacher"] = variables["params"]
  draws, hidden = int(given["draws"]), jax.device_put(given["hidden"] == 1)

  @jax.jit
  def run(variables):
    patches = recover.patchify(batch["image"], (2, 2))
    found = task.network.apply(variables, patches, hidden, keep=4, exact=True, method="foresee")
    term = recover.squared_error(found[0], recover.pixels().encode(patches), hidden)
    shown = task.answers["views"](variables, batch, KEY)["foreseen"].reshape(3, 16)
    drawn = keys(jax.random.key(1), draws * 3).reshape(draws, 3)

    def often(hard):
      hardest = partial(select.top, count=hard)
      loss = jnp.broadcast_to(shown, (draws, 3, 16))
      return select.top(score.hard_first(drawn, loss, select=hardest), ratio=0.75).sum(0)

    return tuple(found), term, shown, jax.lax.map(often, hard_of(given["epochs"]))

  return given, jax.tree.map(np.asarray, run(variables))


def hard_of(epochs):
  """How many of 12 hidden patches are the hardest at these epochs of ten."""
  return np.array([int(12 * 0.5 * (epoch + 1) / 10) for epoch in epochs], np.int32)


def test_predictions_and_losses_equal_those_of_the_authors_code():
  given, ((prediction, foreseen), term, *_) = golden()
  there = given["hidden"] == 1
  at_hidden = lambda x: x[there].reshape(given["prediction"].shape[:2] + x.shape[2:])
  np.testing.assert_allclose(at_hidden(prediction), given["prediction"], rtol=2e-4, atol=2e-5)
  np.testing.assert_allclose(at_hidden(foreseen), given["predicted"], rtol=2e-4, atol=2e-5)
  np.testing.assert_allclose(term.sum / term.count, given["loss"], rtol=1e-4)


def test_masks_are_drawn_as_the_authors_code_draws_them():
  given, (*_, shown, drawn) = golden()
  np.testing.assert_allclose(shown, given["shown"], rtol=2e-4, atol=2e-5)
  draws = int(given["draws"])
  for hard, ours, often in zip(hard_of(given["epochs"]), drawn, given["often"], strict=True):
    np.testing.assert_array_equal(ours == draws, often == draws)
    assert ((often == draws).sum(-1) == hard).all()
    # Four deviations of the difference of two shares of so many draws.
    np.testing.assert_allclose(ours / draws, often / draws, atol=4 * np.sqrt(0.5 / draws))


def test_the_papers_model_has_the_authors_parameters():
  file = HERE.parents[1] / "configs" / "image" / "hpm.py"
  count = int(load_file(GOLDEN)["golden.parameters_of_base"])
  assert lab.load(file).NOTE["scale"]["parameters"] == count
