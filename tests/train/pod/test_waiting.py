"""A run that stands still where all processes meet says what it waits for."""

import functools
import threading
import time

import jax
import numpy as np
import pytest

from maskjax.train.checkpoints import cuts
from maskjax.train.mesh import gather, mesh
from maskjax.train.pod.waiting import waiting


def until(said, count=1):
  """Stands still until so much was said, as a gather does whose others do not come."""
  deadline = time.monotonic() + 60
  while len(said.messages) < count and time.monotonic() < deadline:
    time.sleep(0.005)


@pytest.fixture
def simulating(monkeypatch):
  """Eight devices, as far as words go."""
  monkeypatch.setattr("maskjax.train.pod.threads.simulated", lambda: 8)


def test_it_is_said_again_and_again_what_is_waited_for_and_how_long(caplog, simulating):
  before = threading.active_count()
  with waiting("all parts of w float32[3]", every=0.01):
    until(caplog, 3)
  assert len(caplog.messages) >= 3
  for line in caplog.messages:
    assert line.startswith("process 0 of 1 waits for all parts of w float32[3], for 0 s now; ")
    assert "PJRT_NPROC" in line
  assert {record.levelname for record in caplog.records} == {"WARNING"}
  assert threading.active_count() == before


def test_no_threads_are_spoken_of_where_no_device_is_simulated(caplog):
  with waiting("w", every=0.01):
    until(caplog)
  assert caplog.messages[0] == "process 0 of 1 waits for w, for 0 s now"


def test_what_ends_in_time_or_fails_says_nothing_more(caplog):
  before = threading.active_count()
  with waiting("w"):
    pass
  with pytest.raises(ZeroDivisionError), waiting("w"):
    raise ZeroDivisionError
  assert caplog.messages == []
  assert threading.active_count() == before


@pytest.fixture
def held_up(monkeypatch, caplog):
  """One process that gathers as several do, and whose others are late."""
  monkeypatch.setattr(gather, "here", lambda leaf: False)
  for module in (gather, mesh):
    monkeypatch.setattr(module, "waiting", functools.partial(waiting, every=0.01))

  def late(leaf, sharding):
    caplog.clear()
    until(caplog)
    return jax.device_put(leaf, sharding, may_alias=False)

  monkeypatch.setattr(cuts, "relaid", late)


def test_arrays_that_are_fetched_or_laid_out_anew_are_named(held_up, caplog, monkeypatch):
  monkeypatch.setattr(jax, "process_count", lambda: 2)
  one = mesh.make_mesh({})
  make = lambda: jax.device_put(np.arange(3, dtype=np.int32), one.everywhere)
  found = mesh.get({"knn": {"features": make()}})
  assert found["knn"]["features"].tolist() == [0, 1, 2]
  assert "waits for all parts of knn/features int32[3], for" in caplog.messages[0]
