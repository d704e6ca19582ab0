"""Runs two processes on a bucket and interrupts them: python tests/train/workdirs/tried.py URL.

Not in CI: servers are too heavy, s3fs and gcsfs (`maskjax[s3]`, `maskjax[gcs]`) are no part of the
tests. On loopback:

  pip install 'moto[server]' && moto_server -p 5555
  AWS_ENDPOINT_URL=http://127.0.0.1:5555 AWS_ACCESS_KEY_ID=a AWS_SECRET_ACCESS_KEY=b \
    AWS_REGION=us-east-1 python tests/train/workdirs/tried.py s3://bucket/runs

  pip install gcp-storage-emulator && python tests/train/workdirs/gcs_server.py 5556
  STORAGE_EMULATOR_HOST=http://127.0.0.1:5556 GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT=false \
    python tests/train/workdirs/tried.py gs://bucket/runs

Data and workdir lie in the bucket. SIGTERM to one process, SIGKILL to one, then the end: weights
are compared, bit by bit, with those of a run on this disk that nothing interrupted.
"""

import contextlib
import json
import os
import pathlib
import signal
import sys
import tempfile
import time

import fsspec

from maskjax.bench.soak import Soak, result
from maskjax.train.workdirs import remote

STEPS = 36
WIDTH = 64  # so that there are arrays of which each process writes a part


def made(url):
  """The file system of a URL, and its root there, in a bucket that is there."""
  files, root = fsspec.core.url_to_fs(url)
  with contextlib.suppress(Exception):  # it may be there
    files.mkdir(root.partition("/")[0])
  return files, root


def step(url):
  """The last step in the figures of a run."""
  with remote.mirrored(url) as place:
    rows = pathlib.Path(place) / "metrics.jsonl"
    lines = rows.read_text().splitlines() if rows.exists() else []
  return max((json.loads(line)["step"] for line in lines), default=0)


def ended(processes, what):
  """Waits for all, and says how they left."""
  start = time.monotonic()
  statuses = [process.wait(300) for process in processes]
  print(f"{what}: {statuses} after {time.monotonic() - start:.1f} s", flush=True)
  return statuses


def until(url, goal, processes):
  """Waits until a run has come to a step; no array lies on this machine meanwhile."""
  while (now := step(url)) < goal and processes[0].poll() is None:
    assert not list(pathlib.Path(tempfile.gettempdir()).rglob("ocdbt.process_*"))
    time.sleep(0.5)
  return now


def main():
  """Runs, interrupts, compares; 1 where anything differs."""
  url = sys.argv[1].rstrip("/")
  soak = Soak(pathlib.Path(tempfile.mkdtemp(prefix="tried-")), 2, STEPS, 0)
  print(soak.folder, flush=True)
  json_file = soak.folder / "config.json"
  config = json.loads(json_file.read_text())
  config["model"]["encoder"]["width"] = WIDTH
  json_file.write_text(json.dumps(config))
  soak.whole()
  print("on this disk: done", flush=True)
  os.environ["TMPDIR"] = tempfile.tempdir = str(soak.folder / "scratch")
  pathlib.Path(tempfile.tempdir).mkdir()
  files, root = made(url)
  files.put_file(str(soak.folder / "images.npz"), f"{root}/images.npz")
  run = f"{url}/killed"
  words = (f"--workdir={run}", f"--config.data.path={url}/images.npz")
  for number, goal in ((signal.SIGTERM, STEPS // 4), (signal.SIGKILL, STEPS // 2)):
    processes = soak.launch("killed", *words)
    print("at step", until(run, goal, processes), flush=True)
    processes[1].send_signal(number)
    ended(processes, number.name)
  if ended(soak.launch("killed", *words), "the rest") != [0, 0]:
    return 1
  there = [name.removeprefix(f"{root}/killed/") for name in files.find(f"{root}/killed")]
  print(*sorted(there), sep="\n", flush=True)
  with remote.mirrored(run) as place:
    same = result(pathlib.Path(place)) == result(soak.folder / "whole")
  print("weights and figures are", "equal, bit by bit" if same else "not the same", flush=True)
  nowhere = ended(soak.launch("none", f"--workdir={url.replace('://', '://no-')}/x"), "no bucket")
  return int(not same or nowhere != [2, 2])


if __name__ == "__main__":
  sys.exit(main())
