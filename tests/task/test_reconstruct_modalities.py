"""What is hidden reaches nothing, what is seen of one modality tells of the others."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from maskjax import recover, score, select
from maskjax.errors import BadInput
from maskjax.model import multimodal_autoencoder
from maskjax.record import Record
from maskjax.task import reconstruct_modalities
from maskjax.task.base import total
from maskjax.task.reconstruct_modalities import per_example

RECORD = Record("image", (8, 8, 3), {"train": 64}, mean=(0.5,) * 3, std=(0.2,) * 3)
SIZES = dict(width=16, depth=1, heads=2, decoder_width=16, decoder_depth=1, decoder_heads=2)
MODALITIES = dict(edges=dict(fn="edges"), segments=dict(fn="palette", colors=4, stride=2))
ASKS = dict(image={}, edges=dict(recover="absolute_error"), segments={})
KEY, N = jax.random.key(0), 16
# What is compiled runs for milliseconds: little is gained by doing it well.
FAST = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
jit = partial(jax.jit, compiler_options=FAST)


def make(**words):
  model = partial(multimodal_autoencoder, patch=(2, 2), label_width=4, **SIZES)
  given = dict(score=partial(score.split), select=partial(select.top, ratio=5 / 6))
  given |= dict(target=partial(recover.pixels, normalise=False))
  given |= dict(recover=partial(recover.squared_error), modalities=MODALITIES, asks=ASKS)
  return reconstruct_modalities(record=RECORD, model=model, **{**given, **words})


def images(n=8):
  """Pictures with something smooth in them, and their positions."""
  rng = np.random.default_rng(0)
  slopes = rng.uniform(-1, 1, (n, 3, 1, 1))
  row, column = np.mgrid[-1:1:8j, -1:1:8j]
  values = slopes[:, :1] * row + slopes[:, 1:2] * column + slopes[:, 2:]
  x = np.repeat(values[:, 0, ..., None], 3, axis=-1) + 0.3 * rng.normal(size=(n, 8, 8, 3))
  return {"image": x.astype(np.float32), "position": np.arange(n, dtype=np.int32)}


@pytest.fixture(scope="module")
def ready():
  """The task, its variables once prepared, and its compiled loss, gradient and views."""
  task, batch = make(), images()
  variables = task.prepare(jit(task.init)(KEY, batch), iter([batch]))

  def value(params, variables, batch, step):
    terms, _ = task.loss({**variables, "params": params}, batch, KEY, step)
    return total(terms, {}), terms

  slope = jit(jax.value_and_grad(value, has_aux=True))
  return task, variables, slope, jit(task.views, static_argnames="keep")


def test_prepare_fits_what_modalities_know(ready):
  task, variables, _, views = ready
  before = jax.eval_shape(task.init, KEY, images())
  shapes = lambda tree: jax.tree.map(lambda x: (x.shape, x.dtype), tree)
  assert shapes(before) == shapes(variables)
  seen = views(variables, images(), KEY)["modalities"]
  np.testing.assert_allclose(seen["edges"]["input"].std(), 1, atol=1e-3)
  assert set(np.unique(seen["segments"]["input"])) == {0, 1, 2, 3}


def test_terms_are_means_of_each_examples_own_mean(ready):
  _, variables, slope, views = ready
  (_, terms), _ = slope(variables["params"], variables, images(), 0)
  assert set(terms) == set(ASKS)
  # Views draw by another key than steps do: their masks, put through the same rule by numpy.
  seen = views(variables, images(), KEY)["modalities"]
  hidden = np.concatenate([_patches(seen[n]["hidden"], seen[n]) for n in ASKS], axis=1)
  assert (~hidden).sum(1).tolist() == [8] * 8
  view = {k: np.asarray(v) for k, v in seen["edges"].items()}
  error, asked = np.abs(view["prediction"] - view["input"]).mean(-1), view["hidden"]
  own = [e[a].mean() for e, a in zip(error, asked, strict=True) if a.any()]
  cut = lambda x: recover.patchify(jnp.asarray(x), (2, 2))
  term = per_example(
    recover.absolute_error,
    cut(view["prediction"]),
    cut(view["input"]),
    jnp.asarray(_patches(asked, seen["edges"])),
  )
  np.testing.assert_allclose(term.sum / term.count, np.mean(own), rtol=1e-5)
  assert int(term.count) == len(own)


def _patches(hidden, view):
  """One flag a patch, of flags for every pixel."""
  side = view["input"].shape[1] // 4
  return np.asarray(hidden)[:, ::side, ::side].reshape(len(hidden), -1)


def test_what_is_hidden_changes_nothing(ready):
  task, variables, _, _ = ready
  network = task.network
  patches = {
    "image": jnp.ones((2, N, 12)),
    "edges": jnp.ones((2, N, 4)),
    "segments": jnp.ones((2, N, 1), jnp.int32),
  }
  hidden = jnp.arange(3 * N)[None] % 5 != jnp.array([[0], [3]])
  broken = {
    name: jnp.where(
      jnp.split(hidden, 3, axis=1)[i][..., None], jnp.nan if x.dtype == jnp.float32 else -7, x
    ).astype(x.dtype)
    for i, (name, x) in enumerate(patches.items())
  }
  params = {"params": variables["params"]}

  def squares(params, patches):
    out = network.apply(params, patches, hidden, keep=N)
    return sum(jnp.sum(x**2) for x in out.values()), out

  @jit
  def run(params, patches):
    slopes, out = jax.grad(squares, has_aux=True)(params, patches)
    return out, slopes

  clean, dirty = run(params, patches), run(params, broken)
  jax.tree.map(np.testing.assert_array_equal, clean, dirty)
  assert all(np.isfinite(x).all() for x in jax.tree.leaves(clean))
  # What is seen of one modality does change what is predicted of another.
  other = {**patches, "edges": 2 * patches["edges"]}
  moved = run(params, other)[0]
  assert all(np.abs(moved[name] - clean[0][name]).max() > 1e-6 for name in moved)


def test_padding_outside_attention_is_as_if_it_were_not_there(ready):
  _, variables, _, views = ready
  own = views(variables, images(), KEY)["modalities"]
  hidden = np.concatenate([_patches(own[name]["hidden"], own[name]) for name in ASKS], axis=1)
  padded = views(variables, images(), KEY, hidden=hidden, keep=N)["modalities"]
  for name in own:
    np.testing.assert_allclose(padded[name]["prediction"], own[name]["prediction"], atol=2e-5)
  # A mask of the image alone hides all else.
  alone = views(variables, images(), KEY, hidden=np.zeros((8, N), bool), keep=N)
  assert not np.isnan(alone["seen"]).any()
  assert all(alone["modalities"][name]["hidden"].all() for name in ("edges", "segments"))


def test_features_see_the_image_alone(ready):
  task, variables, _, _ = ready
  features = jit(task.features)
  found = features(variables, images())
  assert {k: v.shape for k, v in found.items()} == {
    "mean": (8, 16), "tokens": (8, N, 16), "class": (8, 16),
  }  # fmt: skip
  shifted = {**variables, "modalities": jax.tree.map(lambda x: x + 3, variables["modalities"])}
  np.testing.assert_array_equal(found["mean"], features(shifted, images())["mean"])
  hidden = jnp.arange(N)[None] % 2 == jnp.zeros((8, 1), int)
  broken = images()
  broken["image"][:, :, :2] = np.nan  # the first of four columns of patches
  first = jnp.broadcast_to(jnp.arange(N) % 4 == 0, (8, N))
  assert np.isfinite(features(variables, broken, first)["mean"]).all()
  assert np.abs(features(variables, images(), hidden)["mean"] - found["mean"]).max() > 1e-4


def test_one_modality_is_learned_from_another(ready):
  _, variables, slope, views = ready
  tx = optax.adam(1e-2)
  params, state = variables["params"], tx.init(variables["params"])
  update = jit(tx.update)

  for step in range(100):
    _, slopes = slope(params, variables, images(), step)
    moves, state = update(slopes, state, params)
    params = optax.apply_updates(params, moves)
  only = np.zeros((8, N), bool)
  seen = views({**variables, "params": params}, images(), KEY, hidden=only, keep=N)["modalities"]
  guess, true = (np.asarray(seen["edges"][name]) for name in ("prediction", "input"))
  # Edges have deviation 1. From the image alone more is known of them than their mean, and of those
  # of this image more than of any other's.
  own = ((guess - true) ** 2).mean()
  others = np.mean([((guess - np.roll(true, i, axis=0)) ** 2).mean() for i in range(1, 8)])
  assert own < 0.95
  assert own < 0.85 * others


def test_a_modality_may_be_asked_for_twice():
  asks = {**ASKS, "norm_image": dict(of="image", target=dict(normalise=True))}
  task = make(asks=asks)
  variables = jax.eval_shape(task.init, KEY, images())
  terms, _ = jax.eval_shape(task.loss, variables, images(), KEY, 0)
  assert set(terms) == set(asks)
  views = jax.eval_shape(task.views, variables, images(), KEY)["modalities"]
  assert set(views) == set(ASKS)


@pytest.mark.parametrize(
  ("words", "says"),
  [
    (dict(modalities=dict(edges=dict(fn="edge"))), "edges"),
    (dict(modalities=dict(image=dict(fn="edges"))), "call them otherwise"),
    (dict(asks=dict(depth={})), "depth"),
    (dict(asks=dict(edges=dict(loss="x"))), "loss"),
    (dict(asks={}), "nothing would be asked"),
    (dict(features=("depth",)), "depth"),
    (dict(select=partial(select.top, ratio=1.0)), "0 of 48"),
    (dict(score=partial(score.hard_first, select=select.top)), "needs loss"),
    (dict(modalities=dict(a=dict(fn="palette", colors=2, stride=4))), "not cut"),
  ],
)
def test_what_cannot_work_is_refused(words, says):
  given = {"asks": None, **words} if "modalities" in words else words
  with pytest.raises(BadInput, match=says):
    make(**given)


def test_other_data_are_refused():
  record = Record("text", (8,), {"train": 1}, vocabulary=("a",))
  with pytest.raises(BadInput, match="takes images"):
    reconstruct_modalities(
      record=record, model=None, score=None, select=None, target=None, recover=None
    )
