"""The command line: words to flags, jobs to exit statuses."""

import io
import json
import logging
import os
import pathlib
import runpy
import signal
import subprocess
import sys
import time
import zipfile

import numpy as np
import pytest
from PIL import Image

import maskjax.train.run
from maskjax import cli, lab
from maskjax.errors import BadInput, Restart
from maskjax.train.setup.build import make_parts

ROOT = pathlib.Path(__file__).parents[1]
CONFIG = f"{ROOT / 'configs' / 'image_mim' / 'mae.py'}:smoke"


def test_flags_take_their_value_after_an_equals_sign_or_a_space():
  one = cli.parse(["--config=a.py:laptop,x=1", "--workdir=w", "--config.seed=-1", "--config.name="])
  words = ["--config", "a.py:laptop,x=1", "--workdir", "w", "--config.seed", "-1"]
  two = cli.parse([*words, "--config.name="])
  assert one == two
  assert (one.config, one.workdir) == ("a.py:laptop,x=1", "w")
  assert one.changes == [("seed", "-1"), ("name", "")]
  assert cli.parse(["--list", "--json"]) == cli.Flags(list="", json=True)


@pytest.mark.parametrize(
  ("words", "says"),
  [
    ("--wrokdir=w", "unknown flag --wrokdir; did you mean 'workdir'?"),
    ("--plna=v5e:16x16", "unknown flag --plna; did you mean 'plan'?"),
    ("run", "unexpected argument 'run': flags start with --"),
    ("-workdir=w", "unexpected argument '-workdir'"),
    ("--workdir", "--workdir needs a value"),
    ("--config --workdir=w", "--config needs a value"),
    ("--config.seed", "--config.seed needs a value"),
    ("--check=yes", "--check takes no value, got 'yes'"),
  ],
)
def test_words_that_are_no_flags(words, says):
  with pytest.raises(BadInput) as error:
    cli.parse(words.split())
  assert str(error.value).startswith(says)


def test_a_reader_that_has_left_ends_the_program_quietly(monkeypatch):
  read, write = os.pipe()
  os.close(read)
  with open(write, "w") as stream:
    monkeypatch.setattr(sys, "stdout", stream)
    assert cli.main(["launch.py", "--help"]) == 141
    stream.write("what is left goes nowhere")


@pytest.fixture
def launch(monkeypatch, capsys):
  """Launches with a stand-in for the jobs: `launch(job, *words) -> status, out, err`."""

  def call(job, *words):
    monkeypatch.setattr(logging.getLogger("maskjax"), "handlers", [])
    monkeypatch.setattr(maskjax.train.run, "run", job)
    status = cli.main(["launch.py", *words])
    return status, *capsys.readouterr()

  return call


def raising(error):
  def job(config, workdir):
    raise error

  return job


WORDS = (f"--config={CONFIG}", "--workdir=w")


def test_exit_statuses(launch):
  assert launch(lambda config, workdir: "table", *WORDS) == (0, "table\n", "")
  assert launch(raising(BadInput("a\n  b")), *WORDS) == (2, "", "error: a b\n")
  assert launch(raising(Restart("SIGTERM at step 3")), *WORDS)[::2] == (
    75,
    "stopped: SIGTERM at step 3\n",
  )
  status, _, err = launch(raising(KeyboardInterrupt()), *WORDS)
  assert (status, err.count("\n")) == (75, 1)
  with pytest.raises(ZeroDivisionError):
    launch(raising(ZeroDivisionError()), *WORDS)


def test_both_ways_to_change_a_config(launch):
  seen = []
  job = lambda config, workdir: seen.append((config.to_dict(), workdir)) or ""
  pairs = ["batch_size=32", "select.ratio=1", "model.encoder.width=48", "data.size=(64, 32)"]
  launch(job, f"--config={CONFIG},{','.join(pairs)}", "--workdir=~/w")
  launch(job, f"--config={CONFIG}", "--workdir=~/w", *(f"--config.{pair}" for pair in pairs))
  launch(job, f"--config={CONFIG},batch_size=8", "--workdir=~/w", *(f"--config.{p}" for p in pairs))
  assert seen[0] == seen[1] == seen[2]
  config, workdir = seen[0]
  assert workdir == os.path.expanduser("~/w")
  assert (config["batch_size"], config["select"]["ratio"]) == (32, 1.0)
  assert isinstance(config["select"]["ratio"], float)
  assert (config["model"]["encoder"]["width"], config["data"]["size"]) == (48, (64, 32))


@pytest.mark.parametrize(
  ("words", "says"),
  [
    (["--job=view"], "--config is needed, for example --config=mae:laptop --workdir=runs/mae, or"),
    ([WORDS[0]], "--workdir is needed, for example --config=mae:laptop --workdir=runs/mae, or"),
    (["--plan=v5e:4x4", WORDS[1]], "--config is needed"),
    (["--check"], "--config is needed"),
    ([*WORDS, "--json"], "--json goes with --list or --plan"),
    ([WORDS[0], "--workdir="], "--workdir is needed"),
  ],
)
def test_flags_that_are_missing(launch, words, says):
  status, out, err = launch(raising(AssertionError), *words)
  assert (status, out) == (2, "")
  assert err.startswith(f"error: {says}")


ALL = ("--coordinator=node0:80", "--num_processes=2", "--process_id=1")


@pytest.mark.parametrize(
  ("words", "says"),
  [
    (ALL[:1], "--coordinator given without --num_processes and --process_id: all three or none"),
    (("--coordinator=node0", *ALL[1:]), "the coordinator is HOST:PORT, got 'node0'"),
    ((*ALL[:2], "--process_id=2"), "process_id 2 is not among 2 process(es), 0 to 1"),
  ],
)
def test_places_among_processes_that_cannot_be(launch, words, says):
  assert launch(raising(AssertionError), *WORDS, *words) == (2, "", f"error: {says}\n")


def test_one_of_several_processes_becomes_the_parent_of_a_run(launch, monkeypatch):
  seen = []
  monkeypatch.setattr(cli.find, "become_parent", lambda *given: seen.append(given))
  launch(lambda config, workdir: "", *WORDS, *ALL, "--rendezvous_port=99")
  ((where, argv),) = seen
  assert (where.coordinator, where.count, where.index, where.port) == ("node0:80", 2, 1, 99)
  assert argv == ["launch.py", *WORDS, *ALL, "--rendezvous_port=99"]
  launch(lambda config, workdir: "", *WORDS)
  launch(lambda config, workdir: "", *WORDS, "--num_processes=1")
  assert len(seen) == 1


def test_a_plan_needs_no_workdir_and_gets_the_changed_config_and_the_note(launch, monkeypatch):
  seen = []
  monkeypatch.setattr("maskjax.train.plan.plan", lambda *given: seen.append(given) or "planned")
  words = (WORDS[0], "--plan=v5e:16x16", "--config.seed=7", "--json")
  assert launch(raising(AssertionError), *words) == (0, "planned\n", "")
  ((config, note, topology, as_json),) = seen
  assert (type(config), config["seed"], note["laptop"]["classes"]) == (dict, 7, 10)
  assert (topology, as_json) == ("v5e:16x16", True)


def test_the_compile_cache_is_the_users_and_of_this_processor(monkeypatch, tmp_path):
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
  assert cli.compile_cache().parent == tmp_path / "maskjax"
  monkeypatch.delenv("XDG_CACHE_HOME")
  monkeypatch.setenv("HOME", str(tmp_path))
  assert cli.compile_cache().parent == tmp_path / ".cache" / "maskjax"
  assert cli.compile_cache() == cli.compile_cache()


HEAVY = ("flax", "orbax", "grain", "tensorflow_datasets", "sklearn", "matplotlib", "optax")
# Lists the methods as the launch script does, and says on its last line what that imported.
LISTING = """
import runpy, sys
sys.argv = ["launch.py", "--list", "--json"]
try:
  runpy.run_path({launch!r}, run_name="__main__")
except SystemExit as end:
  print(end.code, sorted(set({heavy}) & set(sys.modules)))
"""


def test_the_catalogue_from_any_folder_imports_nothing_heavy(tmp_path):
  script = LISTING.format(launch=str(ROOT / "launch.py"), heavy=HEAVY)
  command = [sys.executable, "-c", script]
  done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
  assert done.stderr == ""
  *listed, imported = done.stdout.splitlines()
  mae = next(entry for entry in json.loads("\n".join(listed)) if entry["id"] == "mae")
  assert pathlib.Path(mae["config"]).is_file()
  assert imported == "0 []"


def test_the_launch_script_lists_lines_that_fit_and_helps(monkeypatch, capsys):
  monkeypatch.chdir(ROOT)

  def launched(flag):
    monkeypatch.setattr(sys, "argv", ["launch.py", flag])
    with pytest.raises(SystemExit) as end:
      runpy.run_path("launch.py", run_name="__main__")
    assert end.value.code == 0
    return capsys.readouterr().out

  out = launched("--list")
  assert "image_mim" in out
  assert all(len(line) <= 100 for line in out.splitlines())
  out = launched("--help")
  assert "--config=" in out
  assert "Exit status" in out


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("name", ["npz", "folder"])
def test_sizes_channels_and_classes_follow_from_the_data(name, channels, tmp_path):
  images = np.random.default_rng(0).integers(256, size=(24, 12, 8, channels), dtype=np.uint8)
  if name == "npz":
    np.savez(
      tmp_path / "a.npz", images=images[..., 0] if channels == 1 else images, y=[0, 1, 2] * 8
    )
  for i, image in enumerate(images):
    file = tmp_path / "abc"[i % 3] / f"{i}.png"
    file.parent.mkdir(exist_ok=True)
    Image.fromarray(image.squeeze()).save(file)
  path = tmp_path / "a.npz" if name == "npz" else tmp_path
  config = lab.read(f"{CONFIG},data.name={name},data.path={path},total_steps=1").to_dict()
  parts = make_parts(config)
  assert parts.data.record.shape == (12, 8, channels)
  assert parts.data.record.classes == 3
  decoder = parts.state.variables["params"]["decoder"]
  assert decoder["predict"]["kernel"].shape == (16, 2 * 2 * channels)
  assert parts.task.network.grid == (6, 4)


@pytest.fixture
def pictures(tmp_path):
  """A zip of 48 pictures of 12 x 8 pixels in two splits and two classes."""
  path, random = tmp_path / "pictures.zip", np.random.default_rng(0)
  with zipfile.ZipFile(path, "w") as archive:
    for i in range(48):
      pixels = random.integers(256, size=(12, 8, 3), dtype=np.uint8)
      split, kind = ("train", "test")[i % 2], "ab"[i // 24]
      with archive.open(f"{split}/{kind}/{i}.png", "w") as file:
        Image.fromarray(pixels).save(file, "PNG")
  return path


def test_a_zip_as_it_stands_and_a_signal(pictures, tmp_path):
  data = ("--config.data.name=zip", f"--config.data.path={pictures.name}")
  short = ["seeds=1", "total_steps=100000", "checkpoint.every=0", "log.every=1"]
  evaluators = "knn", "kshot", "linear", "finetune", "masked_reconstruction", "reconstruction"
  short += [f"evals.{name}=None" for name in evaluators]
  words = [f"--config={CONFIG}", "--workdir=W", *data]
  words += [f"--config.{change}" for change in short]
  command = [sys.executable, str(ROOT / "launch.py"), *words]
  pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
  run = subprocess.Popen(command, cwd=tmp_path, **pipes)
  rows = tmp_path / "W" / "metrics.jsonl"
  trains = lambda: rows.exists() and "train/loss" in rows.read_text()
  while run.poll() is None and not trains():
    time.sleep(0.1)
  run.send_signal(signal.SIGTERM)
  out, err = run.communicate(timeout=300)
  assert run.returncode == 75, err[-3000:]
  assert out == ""
  assert err.splitlines()[-1].startswith("stopped: SIGTERM at step ")
  assert "Traceback" not in err
  record = json.loads((tmp_path / "W" / "record.json").read_text())
  assert (record["shape"], record["class_names"]) == ([12, 8, 3], ["a", "b"])
  assert list((tmp_path / "W" / "checkpoints").glob("[0-9]*"))


def test_what_a_terminal_cannot_show_is_replaced(monkeypatch):
  out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
  monkeypatch.setattr(cli.sys, "stdout", out)
  monkeypatch.setattr(cli, "HELP", "4 ≥ 4 …")
  assert cli.main(["launch.py", "-h"]) == 0
  out.flush()
  assert out.buffer.getvalue() == b"4 ? 4 ?\n"


def test_a_folder_may_be_called_like_a_config(tmp_path):
  file = tmp_path / "a.py" / "mine.py"
  file.parent.mkdir()
  file.write_text("NOTE = {'title': 'mine'}\n\n\ndef get_config(arg=None): ...\n")
  assert lab.note(f"{file}:laptop,seed=1") == lab.note(str(file)) == {"title": "mine"}
