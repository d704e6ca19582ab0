"""Files in an object store: what it refuses or fails at, mirrors of folders, logs put in parts."""

import errno
import pathlib
import threading

import fsspec
import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_store import URL, HttpError, LostError, failing

from maskjax.data import store as stores
from maskjax.errors import BadInput, Restart
from maskjax.train.checkpoints import checkpoint
from maskjax.train.pod.member import Member
from maskjax.train.workdirs import mirror, remote
from maskjax.train.workdirs.parts import Growing

# Local copies of each test's own.
pytestmark = pytest.mark.usefixtures("scratch")


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


@pytest.mark.parametrize("reads", ["get_file", "cat_file"])
def test_what_a_run_takes_away_while_another_reads_is_listed_anew(store, monkeypatch, reads):
  place, read = "/bucket/runs/one/metrics.jsonl", getattr(MemoryFileSystem, reads)
  part = f"{place}.parts/{0:08x}-{0:012d}"
  store.pipe({part: b"a\n", "/bucket/runs/one/checkpoints/1/digest/metadata": b"{}"})

  def gone(self, path, *given, **more):
    monkeypatch.setattr(MemoryFileSystem, reads, read)
    store.pipe_file(place, b"a\nb\n")
    store.rm("/bucket/runs/one/checkpoints", recursive=True)
    store.rm(part)
    return read(self, path, *given, **more)

  monkeypatch.setattr(MemoryFileSystem, reads, gone)
  with remote.mirrored(URL) as copy:
    assert (pathlib.Path(copy) / "metrics.jsonl").read_bytes() == b"a\nb\n"
    assert not (pathlib.Path(copy) / "checkpoints").exists()


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
  remote.fetch(tmp_path, [""])
  assert not remote.apart(tmp_path)


def test_two_launches_of_one_machine(store):
  with (
    remote.mirrored(URL, write=True),
    pytest.raises(BadInput, match="in use by"),
    remote.mirrored(URL, write=True),
  ):
    pass


def test_each_process_puts_its_part_and_the_first_all_else(store, names, monkeypatch):
  state = "checkpoints/1/state"
  for index in (1, 0):
    monkeypatch.setattr(mirror, "me", lambda index=index: Member(index, 2))
    with remote.mirrored(URL, write=True) as place:
      for name in ("config.json", f"{state}/_METADATA", f"{state}/ocdbt.process_{index}/d/x"):
        path = pathlib.Path(place) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    if index:
      assert names() == {f"{state}/ocdbt.process_1/d/x"}
  assert names() == {"config.json", *(f"{state}/{x}" for x in HELD)}


HELD = ("_METADATA", "ocdbt.process_0/d/x", "ocdbt.process_1/d/x")


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


def test_a_checkpoint_that_cannot_be_fetched_now_is_not_a_bad_one(tmp_path, monkeypatch):
  checkpoints = checkpoint.Checkpoints(tmp_path, keep=2)
  for step in (1, 2):
    checkpoints.save(step, {"a": np.float32(step)})
  checkpoints.wait()
  away = Restart("the store is away")
  monkeypatch.setattr(
    checkpoint.verified.remote, "fetch", failing([away] * 3, lambda path, below: None)
  )
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


def test_a_file_that_is_replaced_twice_and_gets_its_inode_again(store, tmp_path):
  path, growing = tmp_path / "metrics.jsonl", Growing(stores.Store(URL), "metrics.jsonl")
  path.write_bytes(b"one\n")
  assert growing.append(path)
  path.write_bytes(b"two\nthree\n")
  assert not growing.append(path)


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


@settings(deadline=None)
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
