"""Arrays that go straight to a store: where they are, and whose fault an error is."""

import contextlib
import pathlib
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from toy_store import failing

from maskjax.errors import BadInput, Restart
from maskjax.train.checkpoints import files
from maskjax.train.checkpoints.checkpoint import Checkpoints
from maskjax.train.workdirs import direct, mirror, remote

pytestmark = pytest.mark.usefixtures("scratch")

DENIED = "PERMISSION_DENIED: no rights"
S3 = {"driver": "s3", "bucket": "b", "path": "r/x/"}
AT = {"endpoint": "http://there:9000", "aws_region": "us-east-1"}


@pytest.mark.parametrize(
  ("url", "files", "found"),
  [
    ("gs://b/r/x", {}, {"driver": "gcs", "bucket": "b", "path": "r/x/"}),
    ("gcs://b/r/x", {}, {"driver": "gcs", "bucket": "b", "path": "r/x/"}),
    ("s3://b/r/x", {}, S3),
    ("s3://b/r/x", {"endpoint_url": "http://there:9000"}, {**S3, **AT}),
    ("s3a://b/r/x", {"client_kwargs": {"endpoint_url": "http://there:9000"}}, {**S3, **AT}),
    ("file:///b/r/x", {}, pathlib.Path("b/r/x")),
    ("az://b/r/x", {}, None),
    ("memory://b/r/x", {}, None),
    ("simplecache::s3://b/r/x", {}, None),
  ],
)
def test_where_tensorstore_finds_what_lies_at_a_url(monkeypatch, url, files, found):
  for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_REGION", "AWS_DEFAULT_REGION"):
    monkeypatch.delenv(name, raising=False)
  store = SimpleNamespace(url=url, root="b/r/x", files=SimpleNamespace(**files))
  assert direct.place(store) == found


def test_an_endpoint_and_an_emulator_of_the_environment(monkeypatch):
  monkeypatch.setenv("AWS_ENDPOINT_URL", "http://there:9000")
  monkeypatch.setenv("AWS_REGION", "eu-1")
  monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://here:1")
  monkeypatch.setenv("TENSORSTORE_GCS_HTTP_URL", "")
  monkeypatch.delenv("TENSORSTORE_GCS_HTTP_URL")
  store = lambda url: SimpleNamespace(url=url, root="b/r/x", files=SimpleNamespace())
  assert direct.place(store("s3://b/r/x")) == {**S3, **AT, "aws_region": "eu-1"}
  direct.place(store("gs://b/r/x"))
  assert direct.os.environ["TENSORSTORE_GCS_HTTP_URL"] == "http://here:1"


@pytest.mark.parametrize(
  ("text", "kind"),
  [
    ("PERMISSION_DENIED: Error reading s3://b/x [source='a']", BadInput),
    ("UNAUTHENTICATED: Error writing gs://b/x", BadInput),
    ("PERMISSION_DENIED: The provided token has expired.", Restart),
    ("ABORTED: All 5 retry attempts failed: CURL error Could not connect", Restart),
    ("UNAVAILABLE: 503", Restart),
    ("NOT_FOUND: Metadata at 'a/.zarray' does not exist", ValueError),
    ("DATA_LOSS: CRC-32C checksum verification failed", ValueError),
  ],
)
def test_what_a_store_says_is_not_what_lies_there(text, kind):
  with pytest.raises(kind) as caught, direct.answered("s3://b/r", "read"):
    raise ValueError(text)
  assert type(caught.value) is kind
  assert "[source" not in str(caught.value)
  assert kind is ValueError or "s3://b/r cannot be read: " in str(caught.value)


@pytest.mark.parametrize(("text", "kind"), [("ABORTED: away", Restart), (DENIED, BadInput)])
def test_a_store_that_does_not_let_us_is_no_bad_checkpoint(tmp_path, monkeypatch, text, kind):
  url = (tmp_path / "run").as_uri()
  with saved(url, 1, 2) as (_, checkpoints):
    monkeypatch.setattr(files.ts, "open", failing([ValueError(text)] * 9))
    with pytest.raises(kind, match=f"{url} cannot be read: {text}"):
      checkpoints.restore(tree(0))
    checkpoints.save(3, tree(3))
    with pytest.raises(kind, match=f"{url} cannot be written: {text}"):
      checkpoints.wait()
  assert not (tmp_path / "run" / "checkpoints" / "3").exists()
  assert (tmp_path / "run" / "checkpoints" / "2" / "digest").exists()


@contextlib.contextmanager
def saved(url, *steps):
  """Checkpoints at a URL, and the local copy beside them."""
  with remote.mirrored(url, write=True) as place, Checkpoints(place, keep=2) as checkpoints:
    for step in steps:
      checkpoints.save(step, tree(step))
    checkpoints.wait()
    yield pathlib.Path(place), checkpoints


def tree(step):
  """The values of a step."""
  return {"a": np.arange(64.0) + step, "key": np.int32(step)}


def test_values_lie_in_the_store_alone_and_go_with_their_step(tmp_path):
  there = tmp_path / "run" / "checkpoints"
  (there / "2" / "state" / "ocdbt.process_3").mkdir(parents=True)  # what a lost machine left
  (there / "2" / "state" / "ocdbt.process_3" / "manifest.ocdbt").write_text("half")
  with saved((tmp_path / "run").as_uri(), 1, 2, 3) as (workdir, checkpoints):
    assert not list(workdir.rglob("*ocdbt*"))
    assert sorted(path.name for path in there.iterdir()) == ["2", "3"]
    assert not (there / "2" / "state" / "ocdbt.process_3").exists()
    assert (there / "3" / "state" / "manifest.ocdbt").exists()
    assert (there / "3" / "state" / "_METADATA").exists()
    step, found = checkpoints.restore(tree(0))
  assert step == 3
  np.testing.assert_array_equal(found["a"], tree(3)["a"])


def test_a_save_lists_no_more_for_more_arrays(tmp_path, monkeypatch):
  listed, found = [], mirror.Mirror._found
  monkeypatch.setattr(mirror.Mirror, "_found", lambda *given: listed.append(given) or found(*given))
  counts = []
  for arrays in (1, 9):
    url = (tmp_path / str(arrays)).as_uri()
    with remote.mirrored(url, write=True) as place, Checkpoints(place) as checkpoints:
      listed.clear()
      checkpoints.save(1, {str(i): np.arange(3) for i in range(arrays)})
      checkpoints.wait()
      counts.append(len(listed))
  assert counts[0] == counts[1] <= 3


def test_a_bad_step_is_set_aside_with_its_values(tmp_path):
  there = tmp_path / "run" / "checkpoints"
  with saved((tmp_path / "run").as_uri(), 1, 2):
    pass
  part = max((there / "2" / "state" / "ocdbt.process_0" / "d").iterdir(), key=size)
  data = bytearray(part.read_bytes())
  data[len(data) // 2] ^= 1
  part.write_bytes(data)
  with remote.mirrored((tmp_path / "run").as_uri(), write=True) as place:
    with Checkpoints(place, keep=2) as checkpoints:
      assert checkpoints.restore(tree(0))[0] == 1
      checkpoints.save(2, tree(2))
    assert Checkpoints(place).restore(tree(0))[0] == 2
  aside = there / "2.bad" / part.relative_to(there / "2")
  assert aside.read_bytes() == data
  assert (there / "2.bad" / "digest" / "metadata").exists()


def test_a_step_whose_values_are_lost_is_written_anew(tmp_path):
  there = tmp_path / "run" / "checkpoints"
  with saved((tmp_path / "run").as_uri(), 1, 2):
    pass
  shutil.rmtree(there / "2" / "state")
  with saved((tmp_path / "run").as_uri(), 2) as (_, checkpoints):
    assert checkpoints.restore(tree(0))[0] == 2
  assert [path.name for path in (there / "2.bad").iterdir()] == ["digest"]


def size(path):
  return path.stat().st_size
