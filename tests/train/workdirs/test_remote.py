"""Workdirs in an object store: fsspec's file system in memory, as a store that can break."""

import contextlib
import errno
import pathlib
import runpy
import tempfile
import threading

import fsspec
import jax
import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import given
from hypothesis import strategies as st

import maskjax as mj
from maskjax.errors import BadInput, Restart
from maskjax.train import run
from maskjax.train.checkpoints import checkpoint
from maskjax.train.log import compare
from maskjax.train.workdirs import remote
from maskjax.train.workdirs import store as stores
from maskjax.train.workdirs.parts import Growing

run_tests = runpy.run_path(str(pathlib.Path(__file__).parents[1] / "test_run.py"))
tiny, rows, final = run_tests["toy"], run_tests["rows"], run_tests["final"]

URL = "memory://bucket/runs/one"
# Runs of any length have one step between them.
STEADY = {"optimizer.schedule": "constant"}


@pytest.fixture(autouse=True)
def scratch(tmp_path, monkeypatch):
  """Local copies of its own: their folders are named by the URL, which others test with too."""
  monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
  (tmp_path / "scratch").mkdir()


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
  assert "maskjax-" not in said


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


class HttpError(Exception):
  """As those of gcsfs: `code`."""

  def __init__(self, code, message):
    super().__init__(message)
    self.code = code


class ClientError(Exception):
  """As those of botocore: `response`."""

  def __init__(self, code, status):
    super().__init__(f"An error occurred ({code}) when calling the PutObject operation")
    self.response = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}


class NoCredentialsError(Exception):
  """As that of botocore."""


class ClientResponseError(Exception):
  """As that of aiohttp: `status`."""

  status = 503


def caused(error, cause):
  error.__cause__ = cause
  return error


REFUSALS = [
  FileNotFoundError("b/expired token"),
  PermissionError("Access Denied"),
  caused(PermissionError("Access Denied"), ClientError("AccessDenied", 403)),
  caused(FileNotFoundError("no"), ClientError("NoSuchBucket", 404)),
  OSError("Forbidden: b/o\nno access to it"),  # gcsfs's 403
  HttpError(401, "Anonymous caller does not have storage.objects.list access, 401"),
  HttpError("404", "no such bucket"),
  NoCredentialsError("Unable to locate credentials"),
  OSError(errno.ENOSPC, "No space left on device"),
]
HICCUPS = [
  HttpError(429, "rate limit, 429"),
  HttpError(503, "backend error, 503"),
  HttpError(401, "Invalid Credentials, 401"),  # Google's word for a token that ran out
  ClientResponseError("bad gateway"),
  caused(PermissionError("The provided token has expired."), ClientError("ExpiredToken", 400)),
  caused(PermissionError("Clock skew"), ClientError("RequestTimeTooSkewed", 403)),
  caused(OSError(errno.EBUSY, "Please reduce your request rate"), ClientError("SlowDown", 503)),
  ClientError("InternalError", 500),
  TimeoutError("timed out"),
  ConnectionResetError("by peer"),
  RuntimeError("Retry failed"),
]


@pytest.fixture
def waits(monkeypatch):
  """Seconds that were waited for a store, without waiting."""
  waited = []
  monkeypatch.setattr(stores.time, "sleep", waited.append)
  return waited


def failing(errors, then=lambda: "answer"):
  """A call that raises one error after the other, then does something."""
  left = list(errors)

  def call(*args, **kwargs):
    if left:
      raise left.pop(0)
    return then(*args, **kwargs)

  return call


@pytest.mark.parametrize("error", REFUSALS, ids=repr)
def test_what_a_store_refuses_is_bad_input_at_once(store, waits, error):
  with pytest.raises(BadInput, match=f"{URL} cannot be written: {type(error).__name__}: "):
    stores.Store(URL).ask("written", failing([error]))
  assert not waits


@pytest.mark.parametrize("error", HICCUPS, ids=repr)
def test_what_a_store_fails_at_is_tried_again_and_then_left_for_a_restart(store, waits, error):
  assert stores.Store(URL).ask("written", failing([error] * 5)) == "answer"
  for i, wait in enumerate(waits):
    assert 2**i / 2 <= wait <= 2**i
  with pytest.raises(Restart, match=f"{URL} cannot be written: .*the same command goes on"):
    stores.Store(URL).ask("written", failing([error] * 6))
  assert len(waits) == 10


def test_our_own_bugs_are_neither(store, waits):
  with pytest.raises(TypeError):
    stores.Store(URL).ask("read", failing([TypeError("no such argument")]))
  assert not waits


def test_what_a_lost_answer_had_removed_is_removed(store, waits, monkeypatch):
  store.pipe_file("/bucket/x", b"1")
  rm = MemoryFileSystem.rm_file
  answers = [HttpError(503, "lost")]

  def removing(self, path):
    rm(self, path)
    if answers:
      raise answers.pop()

  monkeypatch.setattr(MemoryFileSystem, "rm_file", removing)
  stores.Store(URL).remove("/bucket/x")
  assert len(waits) == 1
  assert not store.exists("/bucket/x")


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


def test_a_checkpoint_that_cannot_be_fetched_now_is_not_a_bad_one(tmp_path, monkeypatch):
  checkpoints = checkpoint.Checkpoints(tmp_path, keep=2)
  for step in (1, 2):
    checkpoints.save(step, {"a": np.float32(step)})
  checkpoints.wait()
  away = Restart("the store is away")
  monkeypatch.setattr(checkpoint.verified.remote, "fetch", failing([away] * 3, lambda path: None))
  for call in (checkpoints.read, lambda: checkpoints.restore({"a": np.float32(0)})):
    with pytest.raises(Restart, match="the store is away"):
      call()
  with pytest.raises(Restart, match="the store is away"):
    checkpoints.save(2, {"a": np.float32(2)})
  assert checkpoints.steps() == [1, 2]
  assert checkpoints.read()[0] == 2


def test_a_log_line_puts_what_is_new(store, names, monkeypatch):
  put, pipe = [], MemoryFileSystem.pipe_file
  monkeypatch.setattr(
    MemoryFileSystem, "pipe_file", lambda s, a, b: (put.append((a, len(b))), pipe(s, a, b))
  )
  line = '{"step": 100}\n'
  with remote.mirrored(URL, write=True) as place:
    path = pathlib.Path(place) / "metrics.jsonl"
    for count in range(1, 101):
      with open(path, "a") as file:
        file.write(line)
      remote.push(path.parent, wait=False)
      remote.push(path.parent, wait=False)  # with which nothing is new
      remote._mirrors[-1]._watched.result()
      with remote.mirrored(URL) as read:  # who looks meanwhile
        assert (pathlib.Path(read) / "metrics.jsonl").read_text() == line * count
    assert sum(size for _, size in put) == len(line) * 100
    remote.push(path.parent)
    assert names() == {"metrics.jsonl"}
  assert sum(size for _, size in put) == len(line) * 200


def test_pushes_that_nobody_waits_for_do_not_queue_while_a_store_is_slow(store, monkeypatch):
  begun, go, put, asked = threading.Event(), threading.Event(), [], set()

  def slow(self, path, value):
    put.append(value)
    begun.set()
    assert go.wait(60)

  monkeypatch.setattr(MemoryFileSystem, "pipe_file", slow)
  with remote.mirrored(URL, write=True) as place:
    path = pathlib.Path(place) / "metrics.jsonl"
    for i in range(10):
      with open(path, "a") as file:
        file.write(f"{i}\n")
      remote.push(path.parent, wait=False)
      asked.add(remote._mirrors[-1]._watched)
      assert begun.wait(60)
    go.set()
  assert len(asked) == 2
  assert put == [numbered(range(1)), numbered(range(1, 10)), numbered(range(10))]


def numbered(numbers):
  return b"".join(b"%d\n" % i for i in numbers)


def test_a_file_that_was_written_anew_is_put_whole(store, tmp_path):
  path, growing = tmp_path / "metrics.jsonl", Growing(stores.Store(URL), "metrics.jsonl")
  path.write_bytes(b"one\n")
  assert growing.append(path)
  fresh = tmp_path / "metrics.jsonl.new"
  fresh.write_bytes(b"two\nand more\n")
  fresh.replace(path)  # as a resumed run does that drops what came after its checkpoint
  assert not growing.append(path)
  growing.put(path)
  assert store.cat_file("/bucket/runs/one/metrics.jsonl") == b"two\nand more\n"
  assert growing.parts == []


def test_parts_after_another_whole_count_no_more(store, tmp_path):
  path, there = tmp_path / "metrics.jsonl", stores.Store("memory://bucket/run")
  growing = Growing(there, "metrics.jsonl")
  path.write_bytes(b"one\n")
  growing.put(path)
  path.write_bytes(b"one\ntwo\n")
  assert growing.append(path)
  store.pipe_file("/bucket/run/metrics.jsonl", b"new\n")  # and lost before the part is removed
  path.write_bytes(b"new\n")
  again = Growing(there, "metrics.jsonl")
  again.pull(path, growing.parts)
  assert path.read_bytes() == b"new\n"
  again.put(path)
  assert store.find("/bucket/run") == ["/bucket/run/metrics.jsonl"]


@given(
  st.lists(
    st.tuples(st.sampled_from(["line", "part", "whole", "rewrite", "lose"]), st.integers(0, 3)),
    max_size=12,
  )
)
def test_parts_and_whole_are_the_file_wherever_the_machine_is_lost(tmp_path_factory, acts):
  MemoryFileSystem.store.clear()
  path = tmp_path_factory.mktemp("run") / "metrics.jsonl"
  store = stores.Store("memory://bucket/run")
  files, left, lines = store.files, 0, 0

  class Losing:
    def __getattr__(self, name):
      nonlocal left
      if name in ("pipe_file", "rm_file"):
        left -= 1
        if left < 0:
          raise LostError
      return getattr(files, name)

  def pulled():
    there = [p.removeprefix("/bucket/run/") for p in files.find("/bucket/run")]
    path.unlink(missing_ok=True)
    if "metrics.jsonl" in there:
      path.write_bytes(files.cat_file("/bucket/run/metrics.jsonl"))
    growing = Growing(store, "metrics.jsonl")
    growing.pull(path, [name for name in there if ".parts/" in name])
    return growing

  growing, pushed = pulled(), b""
  for act, number in acts:
    if act == "line" or not path.exists():
      with open(path, "ab") as file:
        file.write(b"%d\n" % (lines := lines + 1))
    elif act == "rewrite":
      fresh = path.with_suffix(".new")
      fresh.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:number]))
      fresh.replace(path)
    else:
      now, left = path.read_bytes(), number if act == "lose" else 1000
      store.files = Losing()
      try:
        if act == "whole" or number == 3 or not growing.append(path):
          growing.put(path)
        pushed = now
      except LostError:
        store.files = files
        growing = pulled()
        assert (path.read_bytes() if path.exists() else b"") in (pushed, now)
        pushed = path.read_bytes() if path.exists() else b""
      store.files = files
  pulled()
  assert (path.read_bytes() if path.exists() else b"") == pushed
