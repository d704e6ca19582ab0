"""Writers: what is on disk after kills and resumes, and that TensorBoard could read it."""

import io
import itertools
import json
import math
import os
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tensorboardX.crc32c import crc32c
from tensorboardX.proto.event_pb2 import Event

from maskjax.errors import BadInput
from maskjax.train.log import events as event_files
from maskjax.train.log.events import TensorBoard
from maskjax.train.log.metrics import JsonLines, Writers, finite


def rows(path):
  def refuse(constant):
    raise ValueError(constant)

  return [json.loads(line, parse_constant=refuse) for line in open(path)]


def run(path, first, last, start_step):
  """Steps `first` to `last` of a run that logs a loss a step and evaluates at every second."""
  writer = JsonLines(path, start_step)
  for step in range(first, last + 1):
    writer.scalars(step, {"train/loss": 1 / (step + 3)})
    if step % 2 == 0:
      writer.scalars(step, {"eval/knn/accuracy": step / 7})
  writer.close()


def test_finite_names_step_and_terms():
  finite(1, {"pixels": np.float32(2), "kl": 0.0})
  with pytest.raises(BadInput) as error:
    finite(120, {"pixels": np.float32("nan"), "kl": 1.0})
  assert str(error.value) == (
    "loss is not finite at step 120: term 'pixels' is nan; last good checkpoint is kept"
  )
  with pytest.raises(BadInput, match="term 'a' is inf, term 'b' is -inf"):
    finite(3, {"a": math.inf, "b": -math.inf})


def test_rows_are_json_with_step_first_and_on_disk_at_once(tmp_path):
  path = tmp_path / "new" / "metrics.jsonl"
  writer = JsonLines(path)
  writer.scalars(0, {"train/loss": np.float32(0.1), "bad": math.nan, "worse": -math.inf})
  assert rows(path) == [
    {"step": 0, "train/loss": float(np.float32(0.1)), "bad": None, "worse": None}
  ]
  assert path.read_text().startswith('{"step": 0, ')
  writer.scalars(0, {"eval/knn/accuracy": 1})
  writer.close()
  assert [row["step"] for row in rows(path)] == [0, 0]


@settings(deadline=None)
@given(
  killed=st.integers(0, 9), start=st.integers(0, 9), cut=st.integers(0, 60), again=st.booleans()
)
def test_a_killed_and_resumed_run_leaves_the_rows_of_an_uninterrupted_one(
  tmp_path_factory, killed, start, cut, again
):
  folder = tmp_path_factory.mktemp("run")
  whole, resumed = folder / "whole.jsonl", folder / "resumed.jsonl"
  run(whole, 0, 9, None)
  run(resumed, 0, killed, None)
  start = min(start, killed)  # the step of the newest checkpoint
  if start < killed:  # the kill tore what came after that checkpoint's rows
    kept = sum(len(json.dumps(row)) + 1 for row in rows(resumed) if row["step"] <= start)
    os.truncate(resumed, max(resumed.stat().st_size - cut, kept))
  run(resumed, start if again else start + 1, 9, start)
  assert rows(resumed) == rows(whole)


def test_what_the_resumed_step_says_anew_is_written(tmp_path):
  path = tmp_path / "metrics.jsonl"
  run(path, 0, 4, None)
  writer = JsonLines(path, 4)
  writer.scalars(4, {"train/loss": 1 / 7, "eval/knn/accuracy": 0.5, "eval/linear/accuracy": 1.0})
  writer.close()
  assert rows(path)[-1] == {"step": 4, "eval/knn/accuracy": 0.5, "eval/linear/accuracy": 1.0}


@pytest.mark.parametrize("torn", [b'{"step": 3, "a"', b"\0" * 40, b"\xff\xfe", b"12\n"])
def test_a_torn_last_line_is_dropped_and_the_rest_kept(tmp_path, torn):
  path = tmp_path / "metrics.jsonl"
  run(path, 0, 2, None)
  before = path.read_bytes()
  path.write_bytes(before + torn)
  JsonLines(path).close()
  assert path.read_bytes() == before
  assert [p.name for p in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_a_line_lost_in_the_middle_is_an_error_and_nothing_is_lost(tmp_path):
  path = tmp_path / "metrics.jsonl"
  path.write_text('{"step": 0}\n{"loss": 1}\n{"step": 2}\n')
  with pytest.raises(BadInput, match=r"metrics\.jsonl, line 2"):
    JsonLines(path, 0)
  assert len(path.read_text().splitlines()) == 3


def test_a_place_that_cannot_be_written_is_named(tmp_path):
  (tmp_path / "file").write_text("")
  with pytest.raises(BadInput, match=r"cannot write .*metrics\.jsonl: "):
    JsonLines(tmp_path / "file" / "metrics.jsonl")
  with pytest.raises(BadInput, match=r"cannot write .*tb: "):
    TensorBoard(tmp_path / "file" / "tb")


def test_a_full_disk_is_named():
  if not os.path.exists("/dev/full"):
    pytest.skip("the system has no /dev/full")
  writer = object.__new__(JsonLines)
  writer._file, writer._path, writer._start_step = open("/dev/full", "w"), "m.jsonl", None  # noqa: SIM115
  with pytest.raises(BadInput, match=r"cannot write m\.jsonl: No space left"):
    writer.scalars(1, {"a": 1.0})
  with pytest.raises(BadInput, match="No space left"):
    writer.close()


def masked_crc(data):
  crc = crc32c(data)
  return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def events(folder):
  """Every event of a folder's files, each record's checksums verified."""
  found = []
  for file in sorted(folder.iterdir()):
    data = io.BytesIO(file.read_bytes())
    while header := data.read(8):
      (length,) = struct.unpack("<Q", header)
      assert struct.unpack("<I", data.read(4))[0] == masked_crc(header)
      record = data.read(length)
      assert struct.unpack("<I", data.read(4))[0] == masked_crc(record)
      found.append(Event.FromString(record))
  return found


def test_tensorboard_events_are_readable_before_closing(tmp_path):
  writer = TensorBoard(tmp_path)
  picture = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
  writer.scalars(3, {"train/loss": 0.25, "perf/mfu": np.float32(0.5)})
  writer.image(4, "views/masks", picture)
  writer.image(4, "views/grey", picture[..., :1])
  values = [(e.step, v) for e in events(tmp_path) for v in e.summary.value]
  scalars = [(s, v.tag, v.simple_value) for s, v in values if not v.HasField("image")]
  assert scalars == [(3, "train/loss", 0.25), (3, "perf/mfu", 0.5)]
  (s, rgb), (_, grey) = [(s, v) for s, v in values if v.HasField("image")]
  assert (s, rgb.tag, rgb.image.height, rgb.image.width) == (4, "views/masks", 5, 7)
  for value, expected in ((rgb, picture), (grey, picture[..., [0, 0, 0]])):
    decoded = Image.open(io.BytesIO(value.image.encoded_image_string))
    np.testing.assert_array_equal(np.asarray(decoded), expected)
  with pytest.raises(BadInput, match="'x' has 2 channels"):
    writer.image(0, "x", picture[..., :2])
  writer.close()


def test_tensorboard_hides_what_came_after_the_resumed_step(tmp_path):
  for start_step in (None, 6):
    writer = TensorBoard(tmp_path, start_step)
    writer.scalars(7, {"train/loss": 0.5})
    writer.close()
  found = [(e.step, e.WhichOneof("what")) for e in events(tmp_path)]
  once = [(0, "file_version"), (7, "summary")]  # neither file replaces the other
  assert found == [*once, once[0], (7, "session_log"), once[1]]


def test_event_files_follow_one_another_and_the_last_alone_grows(tmp_path, monkeypatch):
  monkeypatch.setattr(event_files, "SEGMENT", 300)
  writer, sizes = TensorBoard(tmp_path), []
  for step in range(40):
    writer.scalars(step, {"train/loss": step})
    sizes.append([path.stat().st_size for path in sorted(tmp_path.iterdir())])
  assert [e.step for e in events(tmp_path) if e.HasField("summary")] == list(range(40))
  for before, after in itertools.pairwise(sizes):
    assert after[: len(before) - 1] == before[:-1]
  assert 3 < len(sizes[-1]) < 20
  assert max(sizes[-1]) < 600


class Recorder:
  def __init__(self, fails=False):
    self.calls, self.fails = [], fails

  def scalars(self, step, values):
    self.calls.append(("scalars", step, values))

  def image(self, step, name, pixels):
    self.calls.append(("image", step, name))

  def close(self):
    self.calls.append(("close",))
    if self.fails:
      raise OSError("disk")


def test_writers_fan_out_and_all_are_closed():
  one, two = Recorder(), Recorder(fails=True)
  both = Writers([one, two])
  both.scalars(1, {"a": 1.0})
  both.image(2, "b", np.zeros((1, 1, 1), np.uint8))
  with pytest.raises(OSError, match="disk"):
    both.close()
  assert one.calls == two.calls == [("scalars", 1, {"a": 1.0}), ("image", 2, "b"), ("close",)]
