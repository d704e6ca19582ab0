"""MultiMAE (Bachmann et al. 2022), section 3.3: a Dirichlet draw shares out what is seen."""

import jax
import numpy as np
from PIL import Image

from maskjax import lab
from maskjax.data import pipeline
from maskjax.over.cut import patchify
from maskjax.train.run import plain
from maskjax.train.setup.build import make_task
from maskjax.train.setup.sections import checked


def test_a_sixth_is_seen_unevenly_of_three_modalities(built, looks):
  hidden = built("multimae").masks["hidden"].reshape(24, 3, 196)
  seen = (~hidden).sum(-1)
  assert (seen.sum(-1) == 98).all()
  shares = seen / 98
  # Uniform on the simplex: of each a mean of a third, a deviation of 0.236.
  assert np.abs(shares.mean(0) - 1 / 3).max() < 0.17
  assert (np.abs(shares.std(0) - 0.236) < 0.1).all()


def test_within_a_modality_the_grid_is_ignored(built, looks):
  hidden = built("multimae").masks["hidden"].reshape(72, 14, 14)
  assert max(map(abs, looks(hidden, (14, 14)).alike)) < 0.08


def test_maps_that_come_with_the_data_are_modalities(tmp_path):
  """Depth and labels of files are what is hidden and asked for, patch by patch."""
  rng = np.random.default_rng(0)
  for i in range(2):
    image = rng.integers(0, 256, (32, 32, 3)).astype(np.uint8)
    depth = rng.integers(0, 65536, (32, 32)).astype(np.uint16)
    labels = rng.integers(0, 5, (32, 32)).astype(np.uint8)
    for name, pixels in dict(rgb=image, depth=depth, semseg=labels).items():
      (tmp_path / name / "train").mkdir(parents=True, exist_ok=True)
      Image.fromarray(pixels).save(tmp_path / name / "train" / f"{i}.png")
  config = lab.read("multimae:given,data.maps.semseg.classes=5,model.network.depth=1")
  config.data.path, config.data.limit, config.data.test = f"{tmp_path}/rgb", 2, ""
  for name, own in config.data.maps.items():
    own.path = f"{tmp_path}/{name}"
  config = checked(plain(config))
  data = pipeline.load(**{k: v for k, v in config["data"].items() if v is not None})
  task = make_task(config, data.record)
  (batch,) = pipeline.examples(data, "train", batch_size=2)
  batch = {**batch, "position": np.arange(2)}
  run, _ = task.loss.__self__.run(None, batch, jax.random.key(0), 0)
  values = run.take("values")
  for name, dtype in (("image", np.float32), ("depth", np.float32), ("semseg", np.int32)):
    assert batch[name].dtype == dtype
    np.testing.assert_array_equal(values[name], patchify(batch[name], (4, 4)))
  assert {*np.unique(values["semseg"])} == {*range(5)}
  assert (~run.take("hidden")).sum(-1).tolist() == [32, 32]  # a sixth of 3 x 64
  assert {loss.name for loss in task.loss.__self__.parts.losses} == {"image", "depth", "semseg"}
