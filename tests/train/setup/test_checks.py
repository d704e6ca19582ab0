"""What a relaunch may differ in: sections, places of files, data that were accepted."""

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest

from maskjax.errors import BadInput
from maskjax.record import Record
from maskjax.train.checkpoints.load import load
from maskjax.train.setup import build, checks
from maskjax.train.workdirs.continued import continued
from maskjax.train.workdirs.workdir import known_record, read_record, write_config, write_record

CONFIG = {name: {"fn": name} for name in build.IDENTITY if name != "total"}
CONFIG |= {"optimizer": {"fn": "adamw", "schedule": "cosine"}, "total_steps": 4}
CONFIG |= {"data": {"name": "folder", "path": "a", "class_names": "a.txt"}}
RECORD = Record("image", (2, 2, 1), {"train": 4}, ("a", "b"), mean=(0.5,), std=(0.25,))


@pytest.fixture
def begun(tmp_path):
  """A workdir as the first launch of a run leaves it."""
  write_config(tmp_path, CONFIG)
  write_record(tmp_path, RECORD)
  return tmp_path


@pytest.mark.parametrize("section", sorted({*CONFIG} - {"optimizer"}))
def test_a_section_left_out_or_added_is_a_difference(begun, section):
  less = {name: value for name, value in CONFIG.items() if name != section}
  with pytest.raises(BadInput, match=rf"{section}[.\w]* was .*, is now absent"):
    checks.check_identity(begun, less)
  write_config(begun, less)
  with pytest.raises(BadInput, match=rf"{section}[.\w]* was absent, is now "):
    checks.check_identity(begun, CONFIG)


@pytest.mark.parametrize("field", ["path", "class_names", "test", "changed"])
def test_where_the_data_lie_is_free(begun, field):
  checks.check_identity(begun, {**CONFIG, "data": {**CONFIG["data"], field: "elsewhere"}})


@pytest.mark.parametrize("number", [1, 2, 4, "x"])
def test_a_run_of_another_format_is_refused_by_whatever_opens_it(begun, number):
  (begun / "config.json").write_text(json.dumps({**CONFIG, "format": number}))
  for opened in (load, continued, lambda place: checks.check_identity(place, CONFIG)):
    with pytest.raises(BadInput, match=r"is of format .*, this maskjax reads format 3: ") as told:
      opened(begun)
    assert "\n" not in str(told.value)


def test_a_record_of_before_has_defaults_and_one_of_later_is_refused(begun):
  path = begun / "record.json"
  stored = json.loads(path.read_text())
  path.write_text(json.dumps({k: v for k, v in stored.items() if k not in ("examples", "peak")}))
  assert read_record(begun) == RECORD
  path.write_text(json.dumps({**stored, "later": 1}))
  for opened in (load, known_record):
    with pytest.raises(BadInput, match=r"record\.json cannot be read: .*later") as told:
      opened(begun)
    assert "\n" not in str(told.value)


FEWER = dict(sizes={"train": 2})


@pytest.mark.parametrize(
  ("change", "says"),
  [
    (FEWER, "sizes.train was 4, is now 2"),
    (dict(mean=(0.4,)), r"mean\[0\] was 0.5, is now 0.4"),
    (dict(std=(0.2,)), r"std\[0\] was 0.25, is now 0.2"),
    (dict(low=(0.1,)), r"low\[0\] was absent, is now 0.1"),
    (dict(high=(0.9,)), r"high\[0\] was absent, is now 0.9"),
    (dict(peak=1.0), "peak was 255.0, is now 1.0"),
  ],
)
def test_what_is_measured_now_is_told_and_what_is_stored_stays(begun, caplog, change, says):
  before = (begun / "record.json").read_bytes()
  parts = lambda **data: SimpleNamespace(
    config={"data": data}, data=SimpleNamespace(found=dataclasses.replace(RECORD, **change))
  )
  with pytest.raises(BadInput, match=f"have changed: {says}"):
    checks.check_data(begun, parts())
  checks.check_data(begun, parts(changed="accept"))
  assert "goes on with other data" in caplog.text
  write_record(begun, parts().data.found)
  assert (begun / "record.json").read_bytes() == before


def test_accepted_data_leave_steps_and_rates_as_they_were(tmp_path, monkeypatch):
  """They follow from the number of examples at the first launch."""
  seen = []
  monkeypatch.setattr(build, "build", lambda config, record, *rest: seen.append(record) or 1 / 0)
  x = np.zeros((6, 2, 2, 1), np.uint8)
  np.savez(tmp_path / "x.npz", train_images=x)
  data = {"name": "npz", "path": str(tmp_path / "x.npz"), "test": "", "changed": "accept"}
  config = {"data": data, "batch_size": 2, "total_epochs": 3}
  known = Record("image", (2, 2, 1), {"train": 40}, mean=(0.5,), std=(0.25,))
  for first in (None, known):
    with pytest.raises(ZeroDivisionError):
      build.make_parts(config, known=first)
  assert [build.run_lengths(config, record).total_steps for record in seen] == [9, 60]
  assert (seen[1].mean, seen[1].std) == (known.mean, known.std)
