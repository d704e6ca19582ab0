"""Where runs begin: their checkpoint, another run, given weights, scratch, in this order."""

import itertools
import pathlib
import runpy
import sys
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

from maskjax.data import pipeline
from maskjax.errors import BadInput
from maskjax.task import masked, token_counts
from maskjax.task.base import Task
from maskjax.task.prepare import prepared as with_statistics
from maskjax.train import run
from maskjax.train.checkpoints.checkpoint import Checkpoints
from maskjax.train.checkpoints.export import export
from maskjax.train.checkpoints.load import stored
from maskjax.train.setup.initial import examples, first_state

tiny = runpy.run_path(str(pathlib.Path(__file__).parents[1] / "test_run.py"))["toy"]
# Runs of any length have one step between them.
STEADY = {"optimizer.schedule": "constant"}
GOLDEN = pathlib.Path(__file__).parents[2] / "golden" / "vit_mae.safetensors"
LIKE_GOLDEN = {
  "over.patch": (6, 6),
  "model": {
    "encoder": {"fn": "model.vit", "width": 24, "depth": 2, "heads": 3},
    "decoder": {"fn": "model.masked_decoder", "width": 16, "depth": 2, "heads": 2},
  },
  **dict.fromkeys(("hide", "let", "answers")),
  "hide": {"fn": "hide.drop"},
}


def begin(config, workdir):
  """The state and position that a run of the config would begin from."""
  return first_state(run.make_parts(config), Checkpoints(workdir), config["seed"], workdir)


def equal(a, b):
  """Asserts bitwise equality of two sets of variables."""
  jax.tree.map(np.testing.assert_array_equal, dict(a), dict(b))


@pytest.fixture(scope="module")
def runs(tiny, tmp_path_factory):
  """Workdirs of two finished runs, of seeds 1 and 2."""
  folder = tmp_path_factory.mktemp("runs")
  for seed in (1, 2):
    run.run(tiny.config(STEADY, seed=seed, total_steps=seed), folder / str(seed))
  return folder / "1", folder / "2"


def test_the_order_is_workdir_resume_init_from_scratch(tiny, runs, tmp_path):
  one, two = map(str, runs)
  scratch, position = begin(tiny.config(STEADY), tmp_path)
  assert (int(scratch.step), position) == (0, 0)

  given, position = begin(tiny.config(STEADY, init_from=one), tmp_path)
  assert (int(given.step), position) == (0, 0)
  equal(given.variables, stored(runs[0]))

  resumed, position = begin(tiny.config(STEADY, init_from=one, resume=two), tmp_path)
  assert (int(resumed.step), position) == (2, 32)
  equal(resumed.variables, stored(runs[1]))

  own, position = begin(tiny.config(STEADY, init_from=two, resume=two), runs[0])
  assert (int(own.step), position) == (1, 16)
  equal(own.variables, stored(runs[0]))


def test_resuming_from_another_workdir_continues_that_run(tiny, runs, tmp_path):
  run.run(tiny.config(STEADY, seed=1, resume=str(runs[0])), tmp_path / "a")
  assert tiny.final(tmp_path / "a")["step"] == bytes([6])
  assert [row["step"] for row in tiny.rows(tmp_path / "a")] == [2, 3, 4, 5, 6]


def test_nothing_to_resume_from_is_said(tiny, tmp_path):
  with pytest.raises(BadInput, match="has no checkpoint"):
    begin(tiny.config(STEADY, resume=str(tmp_path / "none")), tmp_path)


def test_an_export_gives_its_weights_and_begins_the_average(tiny, runs, tmp_path):
  variables = stored(runs[0])
  export(tmp_path / "weights.safetensors", variables)
  config = tiny.config(STEADY, init_from=str(tmp_path / "weights.safetensors"), ema=0.9)
  state, _ = begin(config, tmp_path)
  equal(state.variables, variables)
  equal(state.ema, {"params": variables["params"]})


def test_an_encoder_alone_leaves_the_decoder_from_scratch(tiny, runs, tmp_path):
  encoder = {"params": {name: stored(runs[0])["params"][name] for name in ("embed", "mix")}}
  export(tmp_path / "encoder.safetensors", encoder)
  state, _ = begin(tiny.config(STEADY, init_from=str(tmp_path / "encoder.safetensors")), tmp_path)
  scratch, _ = begin(tiny.config(STEADY), tmp_path)
  for name in ("embed", "mix"):
    equal(state.variables["params"][name], encoder["params"][name])
    kernel = scratch.variables["params"][name]["kernel"]
    assert (state.variables["params"][name]["kernel"] != kernel).any()
  equal(state.variables["params"]["out"], scratch.variables["params"]["out"])


def test_published_weights_are_read(tiny, tmp_path):
  images = np.random.default_rng(0).integers(0, 256, (8, 24, 24, 3), np.uint8)
  np.savez(tmp_path / "rgb.npz", train_images=images, test_images=images)
  config = tiny.config({**STEADY, **LIKE_GOLDEN}, **{"data.path": str(tmp_path / "rgb.npz")})
  state, _ = begin({**config, "init_from": str(GOLDEN)}, tmp_path)
  params, theirs = state.variables["params"], load_file(GOLDEN)
  for ours, name in [
    (params["encoder"]["embed"]["bias"], "vit.embeddings.patch_embeddings.projection.bias"),
    (params["encoder"]["class_token"], "vit.embeddings.cls_token"),
    (params["decoder"]["mask_token"], "decoder.mask_token"),
  ]:
    np.testing.assert_array_equal(ours, theirs[name].ravel())


def test_a_wrong_shape_is_named_with_both_shapes(tiny, runs, tmp_path):
  with pytest.raises(BadInput, match=r"embed/bias has shape \(8,\), the model's \(16,\)"):
    begin(tiny.config({**STEADY, "model.width": 16}, init_from=str(runs[0])), tmp_path)


def test_weights_of_which_nothing_fits_are_refused(tiny, tmp_path):
  export(tmp_path / "other.safetensors", {"params": {"strange": np.zeros(3, np.float32)}})
  with pytest.raises(BadInput, match="nothing in it has a place"):
    begin(tiny.config(STEADY, init_from=str(tmp_path / "other.safetensors")), tmp_path)


def test_a_missing_origin_is_said(tiny, tmp_path):
  for name in ("none", "none.safetensors"):
    with pytest.raises(BadInput, match="none"):
      begin(tiny.config(STEADY, init_from=str(tmp_path / name)), tmp_path)


def prepared(*, config, record, lengths):
  """The task of `tiny`, which first stores the mean of its first two batches."""
  task = masked(config=config, record=record, lengths=lengths)

  def init(key, batch):
    return {**task.init(key, batch), "prepared": {"mean": jnp.zeros(())}}

  def prepare(variables, batches):
    means = [batch["image"].mean() for batch in itertools.islice(batches, 2)]
    return {**variables, "prepared": {"mean": jnp.stack(means).mean()}}

  def loss(variables, batch, key, step):
    terms, aux = task.loss(variables, batch, key, step)
    return terms, aux._replace(variables={"prepared": variables["prepared"]})

  return task._replace(init=init, prepare=prepare, loss=loss)


def test_preparation_sees_the_data_once_and_lasts(tiny, tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, "preparing", sys.modules[__name__])
  config = tiny.config({**STEADY, "task.fn": "preparing:prepared"}, total_steps=3)
  parts = run.make_parts(config)
  batches = pipeline.batches(parts.data, batch_size=16, seed=0)
  expected = np.mean([next(batches)["image"].mean() for _ in range(2)])
  run.run(config, tmp_path)
  np.testing.assert_allclose(stored(tmp_path)["prepared"]["mean"], expected, rtol=1e-5)


def test_statistics_see_other_data_by_the_vocabulary_of_the_runs(tmp_path):
  """Texts of other classes, of the run's words; "by" is none of the run's, nor of its classes."""
  path = tmp_path / "a.csv"
  path.write_text("text,label\na b b,new\na a b a,old\nb by b b,old\n")
  section = dict(name="labelled_text", path=str(path), split=(1.0, 0.0, 0.0), length=4, test="")
  section |= dict(classes=("new",), changed=None)
  parts = SimpleNamespace(
    config={"batch_size": 2, "data": section, "loader": {"threads": 1, "prefetch": 1}},
    data=pipeline.load(**{k: v for k, v in section.items() if v is not None}),
    mesh=SimpleNamespace(put_everywhere=lambda batch: batch),
  )
  seen = examples(parts, 0)
  ids = {word: i for i, word in enumerate(parts.data.record.vocabulary)}
  of = lambda source, size: token_counts(record=parts.data.record, examples=size, **source)
  prepare = with_statistics(
    Task(init=None, loss=None),
    here=of({}, 1),
    there=of({"data": {"classes": ("old",)}}, 2),
  ).prepare
  found = prepare({"prepared": {}}, seen)["prepared"]
  told = lambda counts: {word: int(counts.tokens[i]) for word, i in ids.items()}
  assert told(found["here"])[" b"] == 2
  assert told(found["there"])[" a"] + told(found["there"])["a"] == 3
  assert told(found["there"])[" b"] + told(found["there"])["b"] == 4
  with pytest.raises(BadInput, match="there looks at other data than the run's"):
    prepare({"prepared": {}}, iter(seen))
