"""Workdirs in an object store: fsspec's file system in memory, as a store that can break."""

import pathlib
import runpy

import fsspec
import jax
import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem

import maskjax as mj
from maskjax.errors import BadInput
from maskjax.train import compare, remote, run

run_tests = runpy.run_path(str(pathlib.Path(__file__).with_name("test_run.py")))
tiny, rows, final = run_tests["toy"], run_tests["rows"], run_tests["final"]

URL = "memory://bucket/runs/one"
# Runs of any length have one step between them.
STEADY = {"optimizer.schedule": "constant"}


@pytest.fixture
def store():
  """An empty store, the only one of its process."""
  MemoryFileSystem.store.clear()
  MemoryFileSystem.pseudo_dirs[:] = [""]
  yield MemoryFileSystem()
  MemoryFileSystem.store.clear()


@pytest.fixture
def names(store):
  """The names of the objects below the URL."""
  return lambda: {path.removeprefix("/bucket/runs/one/") for path in store.find("/bucket/runs/one")}


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
  said = run.run(tiny.config(STEADY, seeds=2), URL)
  there = taken(URL, tmp_path)
  for seed in ("", "seeds/1"):
    assert rows(there / seed) == rows(whole / seed)
    assert final(there / seed) == final(whole / seed)
    assert sorted(p.name for p in (there / seed / "checkpoints").iterdir()) == ["4", "6"]
  kept = lambda folder: {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
  ours, theirs = kept(whole), kept(there)
  parts = lambda names: {n for n in names if "/d/" not in n and not n.endswith(".lock")}
  assert parts(theirs) == parts(ours)
  assert "maskjax-" not in said


def test_pictures_are_named_by_their_url(tiny, store, names):
  said = run.run(tiny.config(STEADY, job="view"), URL)
  assert said == f"masks: {URL}/views/00000000_masks.png"
  assert "views/00000000_masks.png" in names()


class LostError(BaseException):
  """The machine is gone."""


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

  for name in ("put_file", "rm_file"):
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
  put, rm = MemoryFileSystem.put_file, MemoryFileSystem.rm_file
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


@pytest.mark.parametrize(
  ("url", "cure"), [("gs://b/r", "maskjax[gcs]"), ("s3://b/r", "maskjax[s3]")]
)
def test_a_missing_package_is_named(monkeypatch, url, cure):
  def absent(url, **options):
    raise ImportError("no such package")

  monkeypatch.setattr(fsspec.core, "url_to_fs", absent)
  with pytest.raises(BadInput) as caught, remote.mirrored(url):
    pass
  assert cure in str(caught.value)


def test_an_unknown_kind_of_url():
  with (
    pytest.raises(BadInput, match="unknown kind of URL nothing://"),
    remote.mirrored("nothing://x"),
  ):
    pass


def test_one_file_is_a_place_too(store):
  store.pipe_file("/bucket/weights.safetensors", b"12345")
  with remote.mirrored("memory://bucket/weights.safetensors") as place:
    assert pathlib.Path(place).name == "weights.safetensors"
    assert pathlib.Path(place).read_bytes() == b"12345"
  assert not pathlib.Path(place).exists()


def test_folders_of_a_store_that_has_them_are_made(tmp_path):
  url = (tmp_path / "some" / "where").as_uri()
  with remote.mirrored(url, write=True) as place:
    inner = pathlib.Path(place) / "seeds" / "1" / "metrics.jsonl"
    inner.parent.mkdir(parents=True)
    inner.write_text("{}")
  assert (tmp_path / "some" / "where" / "seeds" / "1" / "metrics.jsonl").read_text() == "{}"


def test_what_is_local_stays_where_it_is(tmp_path):
  with remote.mirrored(tmp_path, write=True) as place:
    assert place == tmp_path
    assert remote.told(str(tmp_path)) == str(tmp_path)
  remote.push(tmp_path)
  remote.fetch(tmp_path)


def test_two_launches_of_one_machine(store):
  with (
    remote.mirrored(URL, write=True),
    pytest.raises(BadInput, match="in use by"),
    remote.mirrored(URL, write=True),
  ):
    pass
