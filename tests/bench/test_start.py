"""Launches are timed to their first step, and one that never gets there says why."""

import os
import sys

import pytest

from maskjax.bench import start, worker


def test_a_launch_reaches_its_first_step():
  work = start.launch({"preset": "smoke", "evaluators": False})
  assert worker.measure(work) > 0
  assert any(os.scandir(work["facts"]["cache"]))


def test_import_takes_time():
  assert 0 < start.imported({})["run"]() < 60


def test_a_launch_ends_at_its_first_step():
  script = "import sys, time; print('step 1/2', file=sys.stderr, flush=True); time.sleep(600)"
  start.first_step([sys.executable, "-c", script], os.environ)


def test_a_launch_without_a_first_step_is_told():
  script = "import sys; sys.exit('no data')"
  with pytest.raises(RuntimeError, match="no data"):
    start.first_step([sys.executable, "-c", script], os.environ)
