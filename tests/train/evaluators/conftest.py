"""A stand-in for the training loop's context, tasks of configs, and small data to evaluate."""

import pathlib
import types

import jax
import numpy as np
import pytest
from sklearn.datasets import load_digits

from maskjax import lab
from maskjax.data import pipeline, wav
from maskjax.record import Record
from maskjax.train.evaluators.evaluation import Context, check_evaluators, evaluate
from maskjax.train.mesh.mesh import make_mesh
from maskjax.train.run import plain
from maskjax.train.setup.build import make_task

CONFIGS = pathlib.Path(__file__).parents[3] / "configs"


@pytest.fixture
def make_context():
  """Builds a context from splits {name: (x, y)}."""

  def make(splits, classes, seed=0):
    return types.SimpleNamespace(
      features=lambda split, pooling: splits[split],
      record=Record(
        kind="image",
        shape=(8, 8, 1),
        sizes={name: len(x) for name, (x, _) in splits.items()},
        class_names=tuple(f"class {i}" for i in range(classes)),
      ),
      key=jax.random.key(seed),
      step=0,
    )

  return make


def digits_splits():
  x, y = load_digits(return_X_y=True)
  order = np.random.default_rng(0).permutation(len(x))
  x, y = x[order].astype(np.float32), y[order].astype(np.int32)
  return {"train": (x[:1400], y[:1400]), "test": (x[1400:], y[1400:])}


def blob_splits(noise, classes=3, n=300, d=5, seed=0):
  rng = np.random.default_rng(seed)
  centres = rng.normal(size=(classes, d))

  def draw():
    y = rng.integers(0, classes, n).astype(np.int32)
    return (centres[y] + noise * rng.normal(size=(n, d))).astype(np.float32), y

  return {"train": draw(), "test": draw()}


@pytest.fixture
def digits():
  """scikit-learn's digits, pixels as features; some pixels never vary."""
  return digits_splits()


@pytest.fixture
def blobs():
  """Overlapping Gaussian blobs."""
  return blob_splits(noise=1.0)


def shuffled(splits, seed=1):
  x, y = splits["train"]
  order = np.random.default_rng(seed).permutation(len(x))
  return {**splits, "train": (x[order], y[order])}


@pytest.fixture
def shuffle():
  """Shuffles the rows of the training split."""
  return shuffled


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
  """A data set of each kind, as small as can be."""
  folder = tmp_path_factory.mktemp("data")
  x, y = load_digits(n_class=3, return_X_y=True)
  images = x.reshape(-1, 8, 8, 1).astype(np.uint8) * 15
  cut = {"train": slice(0, 24), "test": slice(24, 36)}
  arrays = {f"{k}_images": images[s] for k, s in cut.items()}
  np.savez(folder / "images.npz", **arrays, **{f"{k}_labels": y[s] for k, s in cut.items()})
  (folder / "text.txt").write_text("ab cab. " * 90)
  rng, node = np.random.default_rng(0), np.arange(24)
  edges = np.stack([np.tile(node, 2), np.concatenate([(node + 1) % 24, (node + 2) % 24])], 1)
  parts = {"train": node[:10], "validation": node[10:16], "test": node[16:]}
  np.savez(
    folder / "graph.npz", features=rng.normal(size=(24, 6)), edges=edges, label=node % 2, **parts
  )
  (folder / "wavs").mkdir()
  for digit, n in np.ndindex(3, 4):
    tone = np.sin(np.arange(1000) * (0.2 + 0.3 * digit + 0.02 * n))
    wav.write(folder / "wavs" / f"{digit}_speaker_{n}.wav", 0.5 * tone, 8000)
  return folder


@pytest.fixture(scope="module")
def measured(paths):
  """`measured(config, name, …)`: what an evaluator says of a smoke, with all that it could use.

  Of weights of zero, or drawn with deviation `noise`; of tiny data, unless `data` names others;
  `change` changes the smoke before.
  """

  def make(place, fn, *, noise=0.0, data=(), options=(), change=lambda config: None):
    smoke = lab.read(f"{CONFIGS / place}.py:smoke")
    change(smoke)
    config = plain(smoke)
    config["data"].update(data)
    opened = pipeline.load(**{k: v for k, v in config["data"].items() if v is not None})
    mesh, pictures = make_mesh(), {}
    task = mesh.reading(make_task(config, opened.record))
    example = next(pipeline.batches(opened, batch_size=1, seed=0, threads=1, prefetch=1))
    rng = np.random.default_rng(0)

    def draw(path, x):
      variance = jax.tree_util.keystr(path[-1:], simple=True) == "var"
      return (variance + noise * rng.normal(size=x.shape) * (not variance)).astype(x.dtype)

    shapes = jax.eval_shape(task.init, jax.random.key(0), example)
    variables = jax.tree_util.tree_map_with_path(draw, shapes)
    context = Context(
      record=opened.record, task=task, variables=variables, opt_state=None,
      key=jax.random.key(0), step=0, data=opened, mesh=mesh, batch_size=8,
      picture=pictures.__setitem__,
      encode=jax.jit(task.answers["features"]) if "features" in task.answers else None,
    )  # fmt: skip
    sections = {"it": {"fn": f"train.evaluators.{fn}", **dict(options)}}
    check_evaluators(sections, opened.record, task)
    found = evaluate(context, sections, ["it"])
    values = {name.removeprefix("eval/it/"): value for name, value in found.items()}
    views = jax.jit(task.answers["views"]) if "views" in task.answers else None
    return types.SimpleNamespace(found=values, pictures=pictures, context=context, views=views)

  return make


@pytest.fixture(scope="module")
def images(paths):
  """The section of data of digits in a file."""
  return {"name": "npz", "path": str(paths / "images.npz")}


@pytest.fixture(scope="module")
def text(paths):
  """What changes in the section of data of a text."""
  return {"name": "text", "path": str(paths / "text.txt"), "length": 8}
