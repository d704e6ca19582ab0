"""Every preset trains as one device does, and its state lies as the preset says."""

import pathlib
import subprocess
import sys

SCRIPT = str(pathlib.Path(__file__).with_name("check_strategies.py"))


def test_all_presets_train_as_one_device():
  script = f"import runpy; runpy.run_path({SCRIPT!r}, run_name='__main__')"
  command = [sys.executable, "-c", script]
  done = subprocess.run(command, capture_output=True, text=True, check=False)
  print(done.stdout)
  assert done.returncode == 0, done.stderr[-4000:]
  # The compiler says so where it has to move what flows between layers.
  assert "Involuntary full rematerialization" not in done.stderr
