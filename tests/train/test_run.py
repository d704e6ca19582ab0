"""Jobs, identity, bad losses; and `tiny`, a run that takes no time, for the tests beside."""

import contextlib
import copy
import json
import os
import pathlib
import shutil
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest
from PIL import Image

from maskjax.data import pipeline
from maskjax.errors import BadInput
from maskjax.train import loop, run
from maskjax.train.checkpoints.checkpoint import Checkpoints
from maskjax.train.setup import build
from maskjax.train.setup.build import make_parts

HERE = str(pathlib.Path(__file__).parent)
SIZES = {"train": 40, "test": 10}
TINY: dict[str, Any] = {
  "job": "train",
  "seed": 0,
  "seeds": 1,
  "batch_size": 16,
  "eval_batch_size": 16,
  "accumulate": 1,
  "total_steps": 6,
  "ema": 0.0,
  "task": {"fn": "task.masked"},
  "over": {"fn": "over.patches", "patch": (2, 2)},
  "model": {
    "encoder": {"fn": "model.vit", "width": 8, "depth": 1, "heads": 2},
    "decoder": {"fn": "model.masked_decoder", "width": 8, "depth": 1, "heads": 2},
  },
  "score": {"fn": "score.uniform"},
  "select": {"fn": "select.top", "ratio": 0.75},
  "hide": {"fn": "hide.drop"},
  "target": {"fn": "recover.pixels", "normalise": False},
  "losses": {"recover": {"fn": "recover.squared_error"}},
  "data": {"name": "npz", "augment": {"crop": (0.5, 1.0), "flip": True}},
  "loader": {"workers": 0, "threads": 4, "prefetch": 4},
  "optimizer": {
    "fn": "adamw",
    "learning_rate": 0.1,
    "schedule": "cosine",
    "warmup_steps": 1,
    "clip": 1.0,
  },
  "evals": {},
  "checkpoint": {"every": 2, "keep": 2},
  "log": {"every": 1},
}


# What the least network takes, which hides by itself.
TOY: dict[str, Any] = {
  "model": {"fn": "toy_network:small", "width": 8},
  "hide": (),
  "let": {"prediction": {"fn": "network.predict", "of": {"patches": "values"}}},
  "answers": {
    "features": {"fn": "network.encode", "of": {"patches": "values"}, "takes": ("batch",)}
  },
}


# What a config says of a run, not of what it is made of.
AROUND = (
  "job", "seed", "seeds", "loader", "evals", "eval_batch_size", "checkpoint", "log", "profile",
  "resume", "init_from", "init_except", "init_missing", "stages", "until", "sample", "explain",
)  # fmt: skip


@contextlib.contextmanager
def remembered():
  """Runs share the compiled parts of configs that differ in `AROUND` alone; they hold no state."""
  made: dict[str, Any] = {}

  def parts(config, known=None):
    made_of = {name: section for name, section in config.items() if name not in AROUND}
    key = json.dumps(made_of, sort_keys=True)
    if key not in made:
      made[key] = make_parts(config)
    data = pipeline.load(**{**config["data"], "known": known}) if known else made[key].data
    return made[key]._replace(config=config, data=data)

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(run, "make_parts", parts)
    yield


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
  """A copy of nested dicts with other values at dotted keys."""
  base = copy.deepcopy(base)
  for name, value in changes.items():
    *path, last = name.split(".")
    section = base
    for key in path:
      section = section.setdefault(key, {})
    section[last] = value
  return base


def write_images(path: pathlib.Path, labels: bool = True) -> pathlib.Path:
  """Grey 8 by 8 pictures of four classes: a bright quarter each, in noise."""
  rng, arrays = np.random.default_rng(0), {}
  for split, size in SIZES.items():
    label = np.arange(size) % 4
    images = rng.integers(0, 100, (size, 8, 8, 1), np.uint8)
    for image, quarter in zip(images, label, strict=True):
      image[4 * (quarter // 2) :, 4 * (quarter % 2) :][:4, :4] += 100
    arrays[f"{split}_images"] = images
    arrays |= {f"{split}_labels": label} if labels else {}
  np.savez(path, **arrays)
  return path


def rows(workdir: pathlib.Path) -> list[dict[str, Any]]:
  """The rows of a run's metrics.jsonl without what depends on the machine's speed."""
  read = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
  return [{k: v for k, v in row.items() if not k.startswith("perf/")} for row in read]


def final(workdir: pathlib.Path, step: int | None = None) -> dict[str, bytes]:
  """The newest checkpoint, or that of `step`: every leaf by name, as bytes."""
  found = Checkpoints(workdir).read(step=step)
  assert found is not None, f"{workdir} has no checkpoint"
  return {"step": bytes([found[0]]), **{k: v.tobytes() for k, v in found[1].items()}}


def files(folder: pathlib.Path) -> dict[str, tuple[int, bytes]]:
  """All files below a folder, with time of change and content."""
  found = [path for path in sorted(folder.rglob("*")) if path.is_file()]
  return {str(p.relative_to(folder)): (p.stat().st_mtime_ns, p.read_bytes()) for p in found}


def offered(base: dict[str, Any], data: pathlib.Path) -> SimpleNamespace:
  """What a test has of runs of a config."""
  return SimpleNamespace(
    config=lambda changes=(), **more: merged(base, {**dict(changes), **more}),
    data=data,
    write_images=write_images,
    rows=rows,
    final=final,
    files=files,
  )


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
  """`tiny.config(**changes)` makes configs; `tiny.rows` and `tiny.final` read what a run left.

  Its runs share their compiled parts, see `remembered`.
  """
  data = write_images(tmp_path_factory.mktemp("data") / "images.npz")
  with remembered():
    yield offered(merged(TINY, {"data.path": str(data)}), data)


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
  """As `tiny`, with a network of three layers: for tests of the loop, whatever it trains."""
  data = write_images(tmp_path_factory.mktemp("data") / "images.npz")
  with remembered(), pytest.MonkeyPatch.context() as patch:
    patch.syspath_prepend(HERE)  # and in the processes that tests start
    patch.setenv("PYTHONPATH", os.pathsep.join([HERE, os.environ.get("PYTHONPATH", "")]))
    yield offered({**TINY, **TOY, "data": {**TINY["data"], "path": str(data)}}, data)


def test_viewing_draws_masks_and_leaves_nothing_else(toy, tmp_path):
  said = run.run(toy.config(job="view"), tmp_path)
  picture = tmp_path / "views" / "00000000_masks.png"
  assert str(picture) in said
  with Image.open(picture) as image:
    assert np.ptp(np.asarray(image)) > 0
  assert not (tmp_path / "checkpoints").exists()
  assert not (tmp_path / "metrics.jsonl").exists()


def test_a_view_of_a_run_is_of_its_newest_checkpoint(toy, finished):
  said = run.run(toy.config(job="view"), finished)
  newest = max(int(path.name) for path in (finished / "checkpoints").glob("[0-9]*"))
  assert said == f"masks: {finished / 'views' / f'{newest:08d}_masks.png'}"


@pytest.fixture(scope="module")
def finished(toy, tmp_path_factory):
  """The workdir of a finished run."""
  workdir = tmp_path_factory.mktemp("finished")
  run.run(toy.config(), workdir)
  return workdir


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_good_state(
  toy, finished, tmp_path, monkeypatch
):
  true = loop.pipeline.batches

  def spoilt(*args, **kwargs):
    for i, batch in enumerate(true(*args, **kwargs), start=1):
      image = batch["image"] * np.float32(np.nan if i == 4 else 1)
      yield {**batch, "image": image}

  with monkeypatch.context() as patch:
    patch.setattr(loop.pipeline, "batches", spoilt)
    with pytest.raises(
      BadInput, match=r"step 4: .*term 'loss' is nan, .*term 'terms/recover' is nan"
    ):
      run.run(toy.config(), tmp_path)
  assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["2"]
  assert all(np.isfinite(row["train/loss"]) for row in rows(tmp_path))
  run.run(toy.config(), tmp_path)  # the cause is gone
  assert toy.final(tmp_path) == toy.final(finished)


def test_the_step_is_traced_and_compiled_once_for_all_seeds(toy, tmp_path, monkeypatch, caplog):
  traced = []
  true = build.make_step

  def make_step(*args, **kwargs):
    step = true(*args, **kwargs)

    def train_step(state, batch):
      traced.append(1)
      return step(state, batch)

    return train_step

  monkeypatch.setattr(build, "make_step", make_step)
  caplog.set_level("WARNING", "jax")
  with jax.log_compiles(), caplog.at_level("INFO", "maskjax"):
    run.run(toy.config(seeds=2, total_steps=3), tmp_path)
    # What is the same for all seeds is said once.
    for said in ("total  ", "peak of a device: ", "'test' has 10 examples: figures measured"):
      assert sum(message.startswith(said) for message in caplog.messages) == 1
    run.run(toy.config(seeds=2, total_steps=3), tmp_path)
  compiled = [r for r in caplog.records if "Compiling jit(train_step)" in r.getMessage()]
  assert (len(traced), len(compiled)) == (1, 1)


@pytest.mark.parametrize(
  ("changes", "says"),
  [
    ({"checkpoint.every": -1}, "checkpoint.every is 0, for the end only, or more, got -1"),
    ({"checkpoint.best": "eval/kn/top1"}, "unknown metric for checkpoint.best 'eval/kn/top1'"),
  ],
)
def test_checkpoints_that_would_silently_not_be_kept(toy, tmp_path, changes, says):
  knn = {"fn": "train.evaluators.knn", "k": 3, "every": 4}
  with pytest.raises(BadInput) as error:
    run.run(toy.config({"evals.knn": knn, **changes}), tmp_path / "run")
  assert says in str(error.value)
  assert not (tmp_path / "run").exists()


FREE = {
  "accumulate": 2,
  "seeds": 2,
  "loader.threads": 1,
  "evals": {"recovery": {"fn": "train.evaluators.masked_reconstruction", "batch_size": 16}},
  "eval_batch_size": 8,
  "checkpoint.every": 1,
  "log.every": 2,
}
IDENTITY = {
  "seed": 1,
  "batch_size": 8,
  "ema": 0.5,
  "total_steps": 4,
  "model.width": 16,
  "select.ratio": 0.5,
  "target.normalise": True,
  "optimizer.learning_rate": 0.2,
  "data.augment.flip": False,
}


@pytest.mark.parametrize("field", IDENTITY)
def test_another_identity_is_refused_shown_and_changes_nothing(toy, finished, field):
  before = files(finished)
  with pytest.raises(BadInput, match=rf"{field} was .*, is now {json.dumps(IDENTITY[field])}"):
    run.run(toy.config({field: IDENTITY[field]}), finished)
  after = files(finished)
  assert {k: v for k, v in after.items() if k != ".lock"} == {
    k: v for k, v in before.items() if k != ".lock"
  }


@pytest.mark.parametrize("field", [*FREE, "data.path"])
def test_a_free_field_may_change(toy, finished, tmp_path, field):
  workdir = shutil.copytree(finished, tmp_path / "run")
  value = str(shutil.copy(toy.data, tmp_path)) if field == "data.path" else FREE[field]
  run.run(toy.config({field: value}), workdir)
  assert toy.final(workdir) == toy.final(finished)


def test_a_field_of_data_that_is_left_out_at_relaunch_is_a_difference(toy, finished):
  config = toy.config()
  del config["data"]["augment"]
  with pytest.raises(BadInput, match=r"data\.augment.* is now absent"):
    run.run(config, finished)


def rewritten(toy, folder, **arrays):
  """The data of a run, with other arrays in place of some."""
  path = folder / "other.npz"
  np.savez(path, **{**np.load(toy.data), **arrays})
  return str(path)


CLASSES = np.array(["a", "b", "c", "d"])


@pytest.mark.parametrize(
  ("arrays", "says"),
  [
    ({"class_names": CLASSES}, r"not those that the run was made for: class_names\[0\] was '0'"),
    ({"train_images": np.zeros((39, 8, 8, 1), np.uint8), "train_labels": np.arange(39) % 4},
     r"have changed: sizes\.train was 40, is now 39; data\.changed='accept' goes on.* init_from="),
    ({"train_labels": np.arange(40) % 4 ^ 1}, r"have changed: labels\.train was '\w+', is now"),
    ({"train_images": np.zeros((40, 8, 8, 1), np.uint16)}, r"have changed: peak was 255"),
    ({"train_images": np.zeros((40, 8, 8, 1), np.uint8)}, r"have changed: examples\.train was"),
  ],
)  # fmt: skip
def test_a_run_does_not_go_on_with_other_data(toy, finished, tmp_path, arrays, says):
  before = (finished / "record.json").read_bytes()
  with pytest.raises(BadInput, match=says):
    run.run(toy.config({"data.path": rewritten(toy, tmp_path, **arrays)}), finished)
  assert (finished / "record.json").read_bytes() == before


def test_a_run_goes_on_with_changed_data_that_are_accepted(toy, finished, tmp_path, caplog):
  workdir = shutil.copytree(finished, tmp_path / "run")
  shutil.rmtree(workdir / "checkpoints" / "6")  # it goes on from step 4
  before = (workdir / "record.json").read_bytes()
  arrays = dict(train_images=np.zeros((24, 8, 8, 1), np.uint8), train_labels=np.arange(24) % 3)
  path = rewritten(toy, tmp_path, **arrays)
  with pytest.raises(BadInput, match=r"data\.changed='accept' goes on"):
    run.run(toy.config({"data.path": path}), workdir)
  with pytest.raises(BadInput, match=r"unknown data\.changed 'acept'; did you mean 'accept'"):
    run.run(toy.config({"data.path": path, "data.changed": "acept"}), workdir)
  run.run(toy.config({"data.path": path, "data.changed": "accept"}), workdir)
  told = [said for said in caplog.messages if "goes on with other data" in said]
  assert len(told) == 1
  assert "sizes.train was 40, is now 24; labels.train was" in told[0]
  assert (workdir / "record.json").read_bytes() == before  # statistics, and the length of an epoch
  assert rows(workdir)[-1]["step"] == 6
  assert toy.final(workdir) != toy.final(finished)
  strange = rewritten(toy, tmp_path, train_labels=np.arange(40) % 5)
  with pytest.raises(BadInput, match=r"class_names\[4\] was absent, is now '4'"):
    run.run(toy.config({"data.path": strange, "data.changed": "accept"}), workdir)


@pytest.mark.parametrize("job", ["evaluate", "generate", "explain", "view"])
def test_every_job_tells_once_that_the_data_changed_and_not_that_they_moved(
  toy, finished, tmp_path, monkeypatch, caplog, job
):
  known = json.loads((finished / "record.json").read_text())
  seen = []
  parts = SimpleNamespace(task=None, total_steps=6, state=None)
  found = lambda config, known: pipeline.load(**{**config["data"], "known": known})

  def made(config, known):
    seen.append(known)
    data = found(config, known)
    return SimpleNamespace(**vars(parts), config=config, data=data)

  monkeypatch.setattr(run, "make_parts", made)
  for name in ("writer", "require", "answer", "snapshot"):
    monkeypatch.setattr(run, name, lambda *args: abs)
  monkeypatch.setattr(Checkpoints, "restore", lambda *args: 1 / 0)
  moved = str(shutil.copy(toy.data, tmp_path))
  fewer = rewritten(toy, tmp_path, train_images=np.zeros((20, 8, 8, 1), np.uint8),
                    train_labels=np.arange(20) % 4)  # fmt: skip
  for path, times in ((moved, 0), (fewer, 1)):
    caplog.clear()
    with pytest.raises(ZeroDivisionError):
      run.run(toy.config({"data.path": path, "job": job}), finished)
    told = [said for said in caplog.messages if "sizes.train was 40, is now 20" in said]
    assert len(told) == times
    assert ("the data are not those" in caplog.text) == bool(times)
    assert list(seen[-1].mean) == known["mean"]
  names = rewritten(toy, tmp_path, class_names=CLASSES)
  with pytest.raises(BadInput, match=r"class_names\[0\] was '0', is now 'a'"):
    run.run(toy.config({"data.path": names, "job": job}), finished)


@pytest.mark.parametrize("job", ["train", "evaluate", "view"])
def test_a_trained_run_without_its_record_is_refused(toy, finished, tmp_path, job):
  """Its statistics would be measured anew."""
  workdir = shutil.copytree(finished, tmp_path / "run")
  (workdir / "record.json").unlink()
  with pytest.raises(BadInput, match=r"record\.json cannot be read: .*No such file"):
    run.run(toy.config(job=job), workdir)
  assert not (workdir / "record.json").exists()


def test_other_jobs_keep_the_statistics_of_the_first_launch_and_tell_what_changed(
  toy, finished, tmp_path, monkeypatch, caplog
):
  before, seen = (finished / "record.json").read_bytes(), []
  monkeypatch.setattr(run, "make_context", lambda parts, *rest: seen.append(parts.data) or 1 / 0)
  dark = rewritten(toy, tmp_path, train_images=np.zeros((20, 8, 8, 1), np.uint8),
                   train_labels=np.arange(20) % 4)  # fmt: skip
  with pytest.raises(ZeroDivisionError):
    run.run(toy.config({"data.path": dark, "job": "evaluate"}), finished)
  stored = json.loads(before)
  assert list(seen[0].record.mean) == stored["mean"] != [0.0]
  batch = next(pipeline.examples(seen[0], "train", batch_size=2))
  np.testing.assert_allclose(batch["image"], -stored["mean"][0] / stored["std"][0], rtol=1e-5)
  assert any("sizes.train was 40, is now 20" in said for said in caplog.messages)
  assert (finished / "record.json").read_bytes() == before
