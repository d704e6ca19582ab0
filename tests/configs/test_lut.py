"""LUT: two looks that see other patches, each predicting what a teacher makes of the other."""

import json
import pathlib
import zlib

import jax
import numpy as np
from built import Built

GOLDEN = json.loads((pathlib.Path(__file__).parents[1] / "golden" / "lut.json").read_text())
TOLD = ("predicted", "second.predicted", "whole.projected", "second_whole.projected")


def wave(name, shape, scale=0.5):
  """As in make_lut.py."""
  at, phase = np.arange(np.prod(shape), dtype=float), zlib.crc32(name.encode()) % 1000 / 100
  return (scale * np.sin(phase + 1.7 * at + 0.3 * at**1.5)).reshape(shape).astype(np.float32)


def test_losses_slopes_masks_and_statistics_are_the_authors():
  made = Built("lut", "laptop", lambda c: c.over.update(patch=(8, 8)))
  leaves, form = jax.tree_util.tree_flatten_with_path(made.shapes["params"])
  names = [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in leaves]
  drawn = lambda kind: [
    wave(f"{kind} {n}", x.shape) for n, (_, x) in zip(names, leaves, strict=True)
  ]
  one = [np.float32(name.endswith("scale")) for name in names]
  student, teacher = (form.unflatten(map(np.add, drawn(k), one)) for k in ("student", "teacher"))
  looks = {name: wave(name, (3, 32, 32, 3), 1.0) for name in ("image", "second")}

  def told(params, teacher, batch):
    taught = {"teacher": {**made.initial["teachers"]["teacher"], "params": teacher}}
    variables = {**made.initial, "params": params, "teachers": taught}
    given = {"scores": jax.numpy.asarray(wave("noise", (3, 16)))}
    graph = made.task.loss.__self__
    run, networks = graph.run(variables, batch, None, 0, train=True, given=given)
    terms = {name: run.take(f"losses.{name}") for name in ("recover", "first", "second")}
    means = {name: term.sum / term.count for name, term in terms.items()}
    loss = sum(made.task.weights[name] * mean for name, mean in means.items())
    statistics = networks["projector"].changed["batch_stats"]["norm_0"]["mean"]
    found = run.all(TOLD), run.all(("hidden", "second.hidden"))
    return loss, (list(means.values()), *found, statistics)

  step = jax.jit(jax.grad(told, argnums=(0, 1), has_aux=True))
  run = lambda **looks: jax.device_get(step(student, teacher, {**looks, "position": np.arange(3)}))
  (slopes, still), (losses, vectors, hidden, statistics) = run(**looks)
  masks = [["".join(map(str, row.astype(int))) for row in mask] for mask in hidden]
  assert masks == [GOLDEN["hidden"], GOLDEN["second_hidden"]]
  along = [
    float((a * b).sum()) for a, b in zip(jax.tree.leaves(slopes), drawn("direction"), strict=True)
  ]
  found = dict(losses=losses, student=np.ravel(vectors[:2]), teacher=np.ravel(vectors[2:]))
  for name, got in dict(found, slopes=along, running_mean=statistics).items():
    # Set before the run.
    np.testing.assert_allclose(got, GOLDEN[name], rtol=1e-4, atol=2e-5, err_msg=name)
  assert not any(x.any() for x in jax.tree.leaves(still))
  # Nor does the student read what a look hides, which the teacher does.
  cells = [np.kron(mask.reshape(3, 4, 4), np.ones((8, 8)))[..., None] for mask in hidden]
  spoilt = {
    k: np.where(c, np.nan, looks[k]).astype(np.float32) for k, c in zip(looks, cells, strict=True)
  }
  blind = run(**spoilt)[1][1]
  np.testing.assert_array_equal(blind[:2], vectors[:2])
  assert np.isnan(blind[2:]).all()


def test_each_look_is_told_by_patches_that_the_other_does_not_show(built, ignores_the_grid):
  said = built("lut").said
  one, two = said["hidden"], said["second.hidden"]
  np.testing.assert_array_equal([one.sum(-1), two.sum(-1)], 147)
  assert (one | two).all()
  assert ignores_the_grid(one, (14, 14)) == ignores_the_grid(two, (14, 14)) == [147]
