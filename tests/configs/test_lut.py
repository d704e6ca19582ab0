"""LUT: two looks that see other patches, each predicting what a teacher makes of the other."""

import json
import pathlib
import zlib

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

from maskjax import lab
from maskjax.model import published
from maskjax.model.position import sincos
from maskjax.record import Record
from maskjax.train.run import plain
from maskjax.train.setup.build import make_task

HERE = pathlib.Path(__file__).parent
GOLDEN = json.loads((HERE.parent / "golden" / "lut.json").read_text())


def wave(name, shape, scale=0.5):
  """As in make_lut.py."""
  at, phase = np.arange(np.prod(shape), dtype=float), zlib.crc32(name.encode()) % 1000 / 100
  return (scale * np.sin(phase + 1.7 * at + 0.3 * at**1.5)).reshape(shape).astype(np.float32)


def weigh(tree, file, fill):
  """Parameters of the authors' names in ours."""
  made = {name: fill(name, shape) for name, shape in GOLDEN["shapes"].items()}
  save_file({k: v for k, v in made.items() if k.split(".")[0] not in ("head", "predictor")}, file)
  params = published.load(file, tree, patch=(2, 2), grid=(4, 4))[0]["params"]
  for ours, name in (("projector", "head"), ("predictor", "predictor")):
    kernel, scale, bias, out = (
      made[f"{name}.{k}"] for k in ("0.weight", "1.weight", "1.bias", "3.weight")
    )
    norm = {"scale": scale, "bias": bias}
    params[ours] = {"dense_0": {"kernel": kernel.T}, "norm_0": norm, "out": {"kernel": out.T}}
  return params


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  """Values, slopes and statistics of a step from the authors' weights, looks and noise."""
  c = lab.load(HERE.parents[1] / "configs" / "image_mim" / "lut.py").get_config()
  c.over.patch, c.batch_size = (2, 2), 3
  c.model.encoder.update(width=8, depth=1, heads=2, dtype="float32")
  c.model.decoder.update(width=8, depth=1, heads=2)
  c.model.projector.width = c.model.predictor.width = 6
  task = make_task(plain(c), Record("image", (8, 8, 3), {"train": 3}))
  looks = {k: wave(n, (3, 8, 8, 3), 1.0) for k, n in (("image", "first"), ("second", "second"))}
  batch, file = (
    {**looks, "position": np.arange(3)},
    tmp_path_factory.mktemp("lut") / "w.safetensors",
  )
  shapes = jax.eval_shape(task.init, jax.random.key(0), batch)
  one = lambda name, shape: float(name.endswith("weight") and len(shape) == 1)
  student, teacher = (
    weigh(shapes, file, lambda n, s, kind=kind: np.float32(one(n, s)) + wave(f"{kind} {n}", s))
    for kind in ("student", "teacher")
  )
  stats = jax.tree_util.tree_map_with_path(
    lambda path, x: np.full(x.shape, float(path[-1].key == "var"), x.dtype), shapes["batch_stats"]
  )
  table = np.pad(sincos((4, 4), 8), ((1, 0), (0, 0)))
  buffers = jax.tree.map(lambda x: table, shapes["buffers"])
  taught = {"teacher": {"params": teacher, "batch_stats": stats}}
  names = ("losses.recover", "losses.first", "losses.second", "predicted", "second.predicted")
  names += ("whole.projected", "second_whole.projected", "hidden", "second.hidden")

  def step(params, teachers, batch):
    variables = {"params": params, "batch_stats": stats, "teachers": teachers, "buffers": buffers}
    given = {"scores": jax.numpy.asarray(wave("noise", (3, 16)))}
    run, nets = task.loss.__self__.run(variables, batch, None, 0, train=True, given=given)
    found = run.all(names)
    mean = lambda term: term.sum / term.count
    loss = mean(found[0]) + 0.125 * (mean(found[1]) + mean(found[2]))
    return loss, (list(map(mean, found[:3])), found[3:], nets["projector"].changed)

  slope = jax.jit(jax.grad(step, argnums=(0, 1), has_aux=True))
  return lambda **spoilt: (slope(student, taught, {**batch, **spoilt}), shapes, file, looks)


def test_losses_slopes_masks_and_statistics_are_the_authors(run):
  ((slopes, still), (losses, found, changed)), shapes, file, _ = run()
  # Set before the run.
  close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-5)
  masks = [["".join(str(int(x)) for x in row) for row in mask] for mask in found[4:]]
  assert masks == [GOLDEN["hidden"], GOLDEN["second_hidden"]]
  close(losses, GOLDEN["losses"])
  close(np.concatenate(found[:2]).ravel(), GOLDEN["student"])
  close(np.concatenate(found[2:4]).ravel(), GOLDEN["teacher"])
  close(changed["batch_stats"]["norm_0"]["mean"], GOLDEN["running_mean"])
  assert not any(np.any(x) for x in jax.tree.leaves(still["teacher"]["params"]))
  along = weigh(shapes, file, lambda n, s: wave(f"direction {n}", s))
  ours = jax.tree.map(lambda a, b: float((np.asarray(a) * b).sum()), slopes, along)
  close(sorted(jax.tree.leaves(ours)), sorted(GOLDEN["slopes"].values()))


def test_each_look_is_told_by_patches_that_the_other_does_not_show(built, ignores_the_grid):
  said = built("lut").said
  one, two = said["hidden"], said["second.hidden"]
  np.testing.assert_array_equal([one.sum(-1), two.sum(-1)], 147)
  assert (one | two).all()
  assert ignores_the_grid(one, (14, 14)) == ignores_the_grid(two, (14, 14)) == [147]


def test_what_no_look_shows_and_the_other_look_of_a_student_say_nothing(run):
  _, (_, found, _) = run()[0]
  spoilt = lambda image, hidden: np.where(
    hidden.reshape(3, 4, 1, 4, 1, 1).repeat(2, 2).repeat(2, 4).reshape(3, 8, 8, 1), np.nan, image
  )
  looks = run()[3]
  _, (_, one, _) = run(
    image=spoilt(looks["image"], found[4]), second=spoilt(looks["second"], found[5])
  )[0]
  for before, after in zip(found[:2], one[:2], strict=True):
    np.testing.assert_array_equal(before, after)
