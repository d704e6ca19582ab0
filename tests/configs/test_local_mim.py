"""LocalMIM (Wang et al. 2023), section 3: layers reconstruct, the lower the finer."""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from built import Built

from maskjax import lab, recover
from maskjax.errors import BadInput
from maskjax.over.cut import unpatchify
from maskjax.train.setup.build import make_optimizer

GOLDEN = json.loads((pathlib.Path(__file__).parents[1] / "golden/local_mim.json").read_text())
CONFIG = lab.base("image_mim/local_mim")
GRIDS, RATIOS = ((2, 3), (2, 3), (4, 6)), (2.0, 1.0, 0.5)


def test_hidden_patches_are_random_whatever_the_grid(built, ignores_the_grid):
  assert ignores_the_grid(built("local_mim").masks["hidden"], (14, 14)) == [147]


def histograms(image, cells):
  """Pixel by pixel."""
  (h, w, c), x = image.shape, np.pad(image, [(1, 1), (1, 1), (0, 0)], mode="reflect")
  found = np.zeros((*cells, c, 9))
  sobel = np.float64([[1, 0, -1], [2, 0, -2], [1, 0, -1]])[..., None]
  for i, j in np.ndindex(h, w):
    near = x[i : i + 3, j : j + 3]
    g, f = (near * sobel).sum((0, 1)), (near * sobel.swapaxes(0, 1)).sum((0, 1))
    bins = np.floor(np.arctan2(g, f) % np.pi / np.pi * 9).astype(int) % 9
    found[i * cells[0] // h, j * cells[1] // w, range(c), bins] += np.hypot(g, f)
  found /= np.linalg.norm(found, axis=-1, keepdims=True)
  return found.reshape(*cells, c * 9)


def test_histograms_stand_at_the_patches_of_any_grid():
  image = np.float32(np.random.default_rng(0).standard_normal((8, 24, 2)))
  told = jax.jit(lambda x: [recover.hog(x, g, scale=s) for g, s in zip(GRIDS, RATIOS, strict=True)])
  fine, one, coarse = told(image)
  want = histograms(image, (2, 3))
  np.testing.assert_allclose(unpatchify(fine, (2, 2), (2, 3), 18), histograms(image, (4, 6)), 1e-4)
  np.testing.assert_allclose(one.reshape(2, 3, 18), want, 1e-4)
  np.testing.assert_allclose(coarse.reshape(4, 6, 18), np.kron(want, np.ones((2, 2, 1))), 1e-4)
  assert not np.any(told(np.ones_like(image))[0])
  with pytest.raises(BadInput, match=r"grid \(2, 3\) times 0.5"):
    recover.hog(jnp.asarray(image), (2, 3), scale=0.5)


def test_the_default_takes_the_layers_of_the_authors_vit_b():
  depth, taps = 12, CONFIG.get_config().taps
  layers = {scale: int(place.split("/")[1]) % depth for scale, place in taps.items()}
  assert layers == GOLDEN["layers"]


def tiny(c):
  c.over.patch, c.optimizer.warmup_steps, c.model.encoder.depth = (8, 8), 0, 4
  c.optimizer.learning_rate = 0.01 * 256 / c.batch_size
  c.model.encoder.scan = True  # One block is compiled.
  CONFIG.reconstruct(c, dict(x4=0, x2=1, x1=2, half=3), width=16, heads=2)


@pytest.fixture(scope="module")
def step():
  """A step of a tiny model from the weights of the golden file; gradients of each loss apart."""
  made = Built("local_mim", "laptop", tiny)
  leaves, form = jax.tree.flatten_with_path(made.shapes["params"])
  wave = lambda i, x: 0.3 * np.sin(0.7 * np.arange(x.size) + i).reshape(x.shape)
  drawn = [wave(i, x) + ("scale" in str(path[-1])) for i, (path, x) in enumerate(leaves)]
  image = np.round(32 * np.sin(0.9 * np.arange(2 * 32 * 32 * 3) ** 1.1)) / 32
  image = np.float32(image).reshape(2, 32, 32, 3)
  score = jnp.float32(np.arange(32) * 0.618034 % 1).reshape(2, 16)
  names = [f"{kind}_{s}" for kind in ("hog", "predicted") for s in CONFIG.SCALES]

  def told(some, params, batch):
    variables = {**made.initial, "params": whole(some, params)}
    run, _ = made.task.loss.__self__.run(variables, batch, None, 0, given={"score": score})
    *terms, hidden = run.all((*(f"losses.{s}" for s in CONFIG.SCALES), "hidden"))
    losses = jnp.stack([t.sum / t.count for t in terms])
    return losses, (losses, hidden, dict(zip(names, run.all(names), strict=True)))

  @jax.jit
  def step(params, batch):
    apart, rest = jax.jacrev(told, has_aux=True)(slim(params), params, batch)
    slopes = jax.tree.map(lambda x: x.sum(0), apart)
    own = few(params)
    moved = jax.tree.map(jnp.add, own, tx.update(few(slopes), tx.init(own), own)[0])
    return *rest, apart, slopes, moved

  # Gradients of vectors, which all layers have, and a step of few, those that rules name among
  # them: the program grows with their number.
  is_vector = lambda x: x if x.ndim == 1 else None
  slim = lambda tree: jax.tree.map(is_vector, tree)
  whole = lambda some, tree: jax.tree.map(
    lambda x, y: y if x is None else x, some, tree, is_leaf=lambda x: x is None
  )
  few = lambda tree: {
    "encoder": {"norm": tree["encoder"]["norm"]},
    "decoder_x4": {"finer_0": {"bias": tree["decoder_x4"]["finer_0"]["bias"]}},
  }
  params = form.unflatten(map(np.float32, drawn))
  tx = make_optimizer(made.config, few(params), made.total_steps, **made.lengths).tx
  made.initial  # noqa: B018  # before the program is traced
  return jax.device_get(step(params, {"image": image, "position": np.arange(2)}))


def test_a_layer_learns_from_its_own_scale_and_those_above(step):
  """MAE has one loss, at the top; here each has a gradient in all blocks up to its own layer."""
  *_, apart, _, _ = step
  parts = {**apart["encoder"], **apart}
  del parts["encoder"]
  below = {"embed", "class_token"}
  for i, scale in enumerate(CONFIG.SCALES):
    below |= {f"block_{i:02d}"}
    for name, tree in parts.items():
      reached = any(np.any(x[i]) for x in jax.tree.leaves(tree))
      assert reached == (name in below | {f"decoder_{scale}"}), (name, scale)


def test_agrees_with_the_authors_code(step):
  """Masks exactly, the rest 1e-4: set before the run."""
  losses, hidden, cells, _, slopes, moved = step
  np.testing.assert_array_equal(hidden, GOLDEN["hidden"])
  np.testing.assert_allclose(losses, [*GOLDEN["losses"].values()], rtol=1e-4)
  for name, x in cells.items():
    kind, scale = name.split("_")
    side, skip = (1, 2) if scale == "half" else (int(CONFIG.SCALES[scale]), 1)
    x = np.asarray(unpatchify(x, (side, side), (4, 4), 27))[:, ::skip, ::skip]
    want = GOLDEN[kind][scale]
    np.testing.assert_allclose(x.ravel()[::61][:40], want, rtol=1e-4, atol=1e-4, err_msg=name)
  bias = lambda tree: tree["decoder_x4"]["finer_0"]["bias"]
  below = slopes["encoder"]["block_00"]["norm1"]["bias"]
  for name, got in dict(slope=bias(slopes), moved=bias(moved), below=below).items():
    np.testing.assert_allclose(got, GOLDEN[name], rtol=1e-4, atol=1e-4, err_msg=name)
