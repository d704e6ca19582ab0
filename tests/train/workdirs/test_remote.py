"""Runs whose workdir lies in an object store, which can break."""

import contextlib
import pathlib
import runpy

import fsspec
import jax
import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from toy_store import URL, HttpError, LostError, failing

import maskjax as mj
from maskjax.errors import BadInput, Restart
from maskjax.train import run
from maskjax.train.log import compare

run_tests = runpy.run_path(str(pathlib.Path(__file__).parents[1] / "test_run.py"))
tiny, rows, final = run_tests["toy"], run_tests["rows"], run_tests["final"]
# Runs of any length have one step between them.
STEADY = {"optimizer.schedule": "constant"}
# Local copies of each test's own.
pytestmark = pytest.mark.usefixtures("scratch")


def taken(url, folder):
  """A store's objects as local files."""
  there, root = fsspec.core.url_to_fs(url)
  for path in there.find(root):
    target = folder / path.removeprefix(root).strip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(there.cat_file(path))
  return folder


@pytest.fixture(scope="module")
def whole(tiny, tmp_path_factory):
  """The workdir of a local run that nothing interrupted."""
  workdir = tmp_path_factory.mktemp("whole")
  run.run(tiny.config(STEADY, seeds=2), workdir)
  return workdir


def test_a_run_leaves_there_what_it_leaves_here(tiny, whole, store, tmp_path):
  said = mj.train(tiny.config(STEADY, seeds=2), URL)
  there = taken(URL, tmp_path / "taken")
  for seed in ("", "seeds/1"):
    assert rows(there / seed) == rows(whole / seed)
    assert final(there / seed) == final(whole / seed)
    assert sorted(p.name for p in (there / seed / "checkpoints").iterdir()) == ["4", "6"]
  kept = lambda folder: {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
  ours, theirs = kept(whole), kept(there)
  parts = lambda names: {n for n in names if "/d/" not in n and not n.endswith(".lock")}
  assert parts(theirs) == parts(ours)
  assert "maskjax-" not in str(said)
  assert (said.workdir, said.step) == (URL, 6)


def test_every_job_takes_a_url(tiny, store, tmp_path, monkeypatch):
  (here := tmp_path / "here").mkdir()
  monkeypatch.chdir(here)
  for name, job in run.JOBS.items():
    assert getattr(run, name) is job
    with contextlib.suppress(BadInput):  # that there is nothing to evaluate, say
      job(tiny.config(STEADY, total_steps=1), f"{URL}/{name}")
    assert not list(here.iterdir())


def test_a_url_that_pathlib_has_spoilt(tiny, tmp_path, monkeypatch):
  (here := tmp_path / "here").mkdir()
  monkeypatch.chdir(here)
  with pytest.raises(BadInput, match="'gs:/b/r' was a URL before pathlib took a slash"):
    mj.train(tiny.config(STEADY), pathlib.Path("gs://b/r"))
  assert not list(here.iterdir())


def test_pictures_are_named_by_their_url(tiny, store, names):
  said = run.run(tiny.config(STEADY, job="view"), URL)
  assert said == f"masks: {URL}/views/00000000_masks.png"
  assert "views/00000000_masks.png" in names()


def test_wherever_the_machine_is_lost_the_relaunch_ends_the_same(
  tiny, whole, store, tmp_path, monkeypatch
):
  left = 0

  def losing(call):
    def called(*args, **kwargs):
      nonlocal left
      left -= 1
      if left < 0:
        raise LostError
      return call(*args, **kwargs)

    return called

  for name in ("put_file", "pipe_file", "rm_file"):
    monkeypatch.setattr(MemoryFileSystem, name, losing(getattr(MemoryFileSystem, name)))
  config = tiny.config(STEADY)
  for operations in range(1, 50, 7):
    MemoryFileSystem.store.clear()
    left = operations
    with pytest.raises(BaseException) as caught:  # noqa: PT011 (whatever the loss came to)
      run.run(config, URL)
    assert lost_by(caught.value)
    left = 10_000
    run.run(config, URL)
    there = taken(URL, tmp_path / str(operations))
    assert final(there) == final(whole)
    assert rows(there) == rows(whole)
    names = [path.name for path in (there / "checkpoints").iterdir()]
    assert sorted(name for name in names if name.isdecimal()) == ["4", "6"]


def lost_by(error):
  """Whether a loss is the cause of an error."""
  while error is not None and not isinstance(error, LostError):
    error = error.__cause__ or error.__context__
  return error is not None


def test_a_seal_is_put_after_what_it_seals_and_its_predecessor_goes_after_it(
  tiny, store, monkeypatch
):
  done = []
  put, rm, pipe = (getattr(MemoryFileSystem, f"{name}_file") for name in ("put", "rm", "pipe"))
  monkeypatch.setattr(
    MemoryFileSystem, "pipe_file", lambda s, a, b: (done.append(("put", a)), pipe(s, a, b))
  )
  monkeypatch.setattr(
    MemoryFileSystem, "put_file", lambda s, a, b, **k: (done.append(("put", b)), put(s, a, b, **k))
  )
  monkeypatch.setattr(MemoryFileSystem, "rm_file", lambda s, a: (done.append(("rm", a)), rm(s, a)))
  run.run(tiny.config(STEADY), URL)
  at = lambda what, part: [i for i, (w, p) in enumerate(done) if w == what and part in p]
  for step in (2, 4, 6):
    values, seal = at("put", f"checkpoints/{step}/state"), at("put", f"checkpoints/{step}/digest")
    assert max(values) < min(seal)
    metrics = [i for i in at("put", "metrics.jsonl") if i < min(seal)]
    assert metrics
  assert at("rm", "checkpoints/2/")
  assert min(at("rm", "checkpoints/2/")) > max(at("put", "checkpoints/6/digest"))
  gone = [path for what, path in done if what == "rm" and "checkpoints/2/" in path]
  assert "digest" in gone[0]


def test_only_the_values_of_the_newest_checkpoint_are_fetched(tiny, store, monkeypatch):
  config = tiny.config(STEADY, **{"checkpoint.keep": 3})
  run.run(config, URL)
  got, get = [], MemoryFileSystem.get_file
  monkeypatch.setattr(
    MemoryFileSystem, "get_file", lambda s, a, b, **k: (got.append(a), get(s, a, b, **k))
  )
  run.run({**config, "job": "evaluate"}, URL)
  values = {path.split("checkpoints/")[1][0] for path in got if "/state/" in path}
  assert values == {"6"}
  assert not [path for path in got if "/tensorboard/" in path or "/views/" in path]


def test_a_run_begins_from_another_one_and_is_read_where_it_lies(
  tiny, whole, store, capsys, tmp_path
):
  run.run(tiny.config(STEADY), URL)
  ours, theirs = (mj.load(place, trust=("toy_network",)) for place in (whole, URL))
  for one, two in zip(*map(leaves, (ours, theirs)), strict=True):
    np.testing.assert_array_equal(one, two)
  run.run(tiny.config(STEADY, seed=3, init_from=URL, total_steps=1), "memory://bucket/runs/two")
  run.run(tiny.config(STEADY, resume=URL, total_steps=8), "memory://bucket/runs/three")
  steps = [row["step"] for row in rows(taken("memory://bucket/runs/three", tmp_path))]
  assert steps == [7, 8]
  assert compare.main([URL, "memory://bucket/runs/two", "--y=train/loss"]) == 0
  said = capsys.readouterr().out
  assert "one" in said
  assert "two" in said


def leaves(loaded):
  return jax.tree.leaves(loaded.variables)


def test_a_store_that_refuses_is_named_and_the_copy_is_not(tiny, store, monkeypatch, tmp_path):
  def refuse(*args, **kwargs):
    raise PermissionError("no rights on this bucket")

  monkeypatch.setattr(MemoryFileSystem, "put_file", refuse)
  with pytest.raises(BadInput, match=f"{URL} cannot be written: PermissionError: no rights"):
    run.run(tiny.config(STEADY), URL)
  monkeypatch.setattr(MemoryFileSystem, "find", refuse)
  with pytest.raises(BadInput, match=f"{URL} cannot be read: PermissionError: no rights"):
    run.run(tiny.config(STEADY), URL)


def test_errors_name_the_url(tiny, store):
  with pytest.raises(BadInput, match=f"{URL} has no checkpoint yet"):
    run.run(tiny.config(STEADY, job="evaluate"), URL)


def test_a_run_goes_through_hiccups_and_is_the_same(
  tiny, whole, store, waits, tmp_path, monkeypatch
):
  for name in ("put_file", "pipe_file", "rm_file", "find"):
    call = getattr(MemoryFileSystem, name)
    errors = [HttpError(503, "backend error")] * 3
    monkeypatch.setattr(MemoryFileSystem, name, failing(errors, call))
  mj.train(tiny.config(STEADY), URL)
  assert len(waits) == 12
  there = taken(URL, tmp_path / "taken")
  assert (final(there), rows(there)) == (final(whole), rows(whole))


@pytest.mark.parametrize("call", ["put_file", "find"])
def test_a_run_whose_store_is_away_ends_with_a_restart_and_goes_on(
  tiny, whole, store, waits, tmp_path, monkeypatch, call
):
  with monkeypatch.context() as away:
    away.setattr(MemoryFileSystem, call, failing([HttpError(503, "backend error")] * 1000))
    with pytest.raises(Restart, match=f"{URL} cannot be (written|read): HttpError: backend error"):
      mj.train(tiny.config(STEADY), URL)
  mj.train(tiny.config(STEADY), URL)
  there = taken(URL, tmp_path / "taken")
  assert (final(there), rows(there)) == (final(whole), rows(whole))
