"""Bad input: one line that says what is wrong, exit status 2, nothing written, nothing lost."""

import hashlib
import io
import logging
import os
import pathlib
import pickle
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from PIL import Image

from maskjax.cli import main
from maskjax.train.pod import threads

ROOT = pathlib.Path(__file__).parents[1]
# MAE's presets without evaluators: what is tested here lies before them.
SMALL = f"""
import pathlib
from maskjax import lab
mae = lab.load(pathlib.Path({str(ROOT / "configs" / "image_mim" / "mae.py")!r}))
def get_config(arg=None):
  c = mae.get_config(arg)
  c.evals, c.log.loggers.tensorboard = {{}}, None
  return c
"""
SCORES = "def greedy(keys, attention):\n  return attention\n"


def picture(size=(8, 6)):
  file = io.BytesIO()
  pixels = np.random.default_rng(0).integers(256, size=(*size, 3), dtype=np.uint8)
  Image.fromarray(pixels).save(file, "PNG")
  return file.getvalue()


def folder(path, odd=b""):
  """Sixteen pictures in two splits and two classes; `odd` replaces one of them."""
  for i in range(16):
    split, kind = ("train", "test")[i % 2], "ab"[i // 8]
    file = path / split / kind / f"{i}.png"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(odd if odd and i == 4 else picture())


@pytest.fixture(scope="module")
def there(tmp_path_factory):
  """A folder with data of every kind, good and bad, and a small config."""
  root = tmp_path_factory.mktemp("there")
  (root / "small.py").write_text(SMALL)
  (root / "scores_of_mine.py").write_text(SCORES)
  (root / "no_config.py").write_text("x = 1\n")
  (root / "broken.py").write_text("def get_config(arg=None):\n  return nowhere\n")
  random = np.random.default_rng(0)
  for name, size, labelled in (("good", (8, 6), 1), ("odd", (9, 6), 1), ("plain", (8, 6), 0)):
    labels = dict(train_labels=np.arange(16) % 2, test_labels=np.arange(16) % 2) if labelled else {}
    images = random.integers(256, size=(2, 16, *size, 3), dtype=np.uint8)
    np.savez(root / f"{name}.npz", train_images=images[0], test_images=images[1], **labels)
  np.savez(root / "objects.npz", images=np.array([{}, {}], dtype=object))
  folder(root / "images")
  folder(root / "broken", odd=b"no image")
  folder(root / "sizes", odd=picture((8, 8)))
  (root / "empty").mkdir()
  (root / "file").write_text("text")
  (root / "weights.pth").write_bytes(pickle.dumps({"weight": 1}))
  with zipfile.ZipFile(root / "outside.zip", "w") as archive:
    archive.writestr("../a.png", picture())
  return root


@pytest.fixture
def launch(there, tmp_path, capsys, monkeypatch):
  """Launches the small config in this process: `launch("key=value", …) -> status, stderr`."""
  monkeypatch.setattr(logging.getLogger("maskjax"), "handlers", [])
  monkeypatch.chdir(there)
  monkeypatch.syspath_prepend(str(there))

  def call(*changes, config="small.py:smoke,data.name=npz,data.path=good.npz", workdir="w"):
    place = [f"--config={config}", f"--workdir={tmp_path / workdir}"]
    status = main(["launch.py", *place, *(f"--config.{change}" for change in changes)])
    return status, capsys.readouterr().err

  return call


def said(status, err):
  """The one line of an error."""
  assert status == 2, err
  assert "Traceback" not in err
  line = err.splitlines()[-1]
  assert line.startswith("error: ")
  return line.removeprefix("error: ")


BAD = [
  # Keys, types, names.
  ("bach_size=3", "unknown config key 'bach_size'; did you mean 'batch_size'"),
  ("select.rato=0.5", "unknown config key 'select.rato'; did you mean 'select.ratio'"),
  ("batch_size=abc", "config key batch_size must be int, got 'abc'"),
  ("batch_size=2.5", "config key batch_size must be int, got 2.5"),
  ("select.ratio=half", "config key select.ratio must be float, got 'half'"),
  ("debug=maybe", "config key debug must be bool, got 'maybe'"),
  ("data.size=4", "config key data.size must be tuple, got 4"),
  ("job=trian", "unknown job 'trian'; did you mean 'train'"),
  (
    "task.fn=task.maskd",
    "unknown function of maskjax.task 'maskd'; did you mean 'masked'",
  ),
  ("model.decoder.fn=model.masked_decodr", "did you mean 'masked_decoder'"),
  ("over.fn=over.patchs", "unknown function of maskjax.over 'patchs'; did you mean 'patches'"),
  ("score.fn=score.unifor", "unknown function of maskjax.score 'unifor'; did you mean 'uniform'"),
  ("score.fn=uniform", "fn='uniform' does not say where: write package.name"),
  ("select.fn=select.topp", "unknown function of maskjax.select 'topp'; did you mean 'top'"),
  ("hide.fn=hide.drp", "unknown function of maskjax.hide 'drp'; did you mean 'drop'"),
  (
    "target.fn=recover.pixel",
    "unknown function of maskjax.recover 'pixel'; did you mean 'pixels'",
  ),
  ("losses.recover.fn=recover.square_error", "did you mean 'squared_error'"),
  ("optimizer.fn=adamww", "unknown optimizer 'adamww'; did you mean 'adamw'"),
  ("optimizer.schedule=cosin", "did you mean 'cosine'"),
  ("score.fn=nowhere:f", "cannot import 'nowhere'"),
  ("score.fn=scores_of_mine:gredy", "did you mean 'greedy'"),
  ("score.fn=scores_of_mine:greedy", "the value 'score', greedy, needs attention"),
  ("model.encoder.size=Huge", "unknown size 'Huge'"),
  ("model.encoder.dtype=float31", "unknown dtype of the model 'float31'; did you mean"),
  # Numbers that cannot be.
  ("select.ratio=1.5", "the ratio of hidden positions must lie in [0, 1], got 1.5"),
  ("select.ratio=-0.5", "the ratio of hidden positions must lie in [0, 1], got -0.5"),
  ("select.ratio=1", "0 of 12 patches would be left visible"),
  ("accumulate=3", "batch_size 4 is not divisible by 1 device(s)"),
  ("accumulate=0", "accumulate must be at least 1"),
  ("batch_size=0", "batch_size 0"),
  ("seeds=0", "seeds must be at least 1, got 0"),
  ("seed=-1", "seed -1"),
  ("ema=2.0", "ema must lie in [0, 1), got 2.0"),
  ("total_steps=0", "say how long to train"),
  ("total_steps=-3", "total_steps is -3"),
  ("optimizer.warmup_steps=50", "warm-up takes 50 steps, the whole run 2"),
  ("optimizer.learning_rate=-1", "learning_rate must be not negative"),
  ("loader.workers=-1", "workers=-1"),
  ("checkpoint.keep=0", "keep=0"),
  ("model.encoder.heads=3", "width 16 is not divisible by 3 heads"),
  # Patches and the data's shape.
  ("over.patch=(3, 3)", "size 8 of axis 0 in (8, 6) is not divisible by 3"),
  ("over.patch=(2,)", "patch (2,) has 1 axes"),
  ("data.path=odd.npz", "size 9 of axis 0 in (9, 6) is not divisible by 2"),
  # Data.
  ("data.name=digts", "unknown data set 'digts'; did you mean 'digits'"),
  ("data.name=mixture", "unknown data set 'mixture'; did you mean 'mixtures'"),
  ("data.path=nowhere.npz", "data.path='nowhere.npz' does not exist"),
  ("data.path=objects.npz", "holds arrays of Python objects, which are not loaded"),
  ("data.test=tset", "unknown split for data.test 'tset'; did you mean 'test'"),
  ("data.on_error=ignore", "data.on_error"),
  # Where to begin.
  ("init_from=weights.pth", "weights.pth"),
  ("init_from=nowhere", "nowhere"),
  ("resume=nowhere", "nowhere"),
  ("job=evaluate", "has no checkpoint yet"),
]


@pytest.mark.parametrize(("change", "says"), BAD, ids=[change for change, _ in BAD])
def test_a_key_that_cannot_be(launch, tmp_path, change, says):
  assert says in said(*launch(change))
  assert not (tmp_path / "w").exists()


DATA = [
  ("folder", "empty", "no images in 'empty'"),
  ("folder", "nowhere", "data.path='nowhere' does not exist"),
  ("folder", "broken", f"unreadable image {os.path.join('broken', 'train', 'a', '4.png')}"),
  ("folder", "sizes", f"{os.path.join('sizes', 'train', 'a', '4.png')} is 8x8"),
  ("zip", "outside.zip", "a member that points outside: '../a.png'"),
  ("zip", "file", "'file' is neither a folder nor a readable zip"),
  ("npz", "file", "'file'"),
]


@pytest.mark.parametrize(("name", "path", "says"), DATA)
def test_data_that_cannot_be(launch, tmp_path, name, path, says):
  assert says in said(*launch(f"data.name={name}", f"data.path={path}"))
  assert not (tmp_path / "w").exists()


@pytest.mark.parametrize(
  ("config", "says"),
  [
    ("smal.py:smoke", "there is no config file smal.py; did you mean 'small.py'?"),
    ("file", "the config file file is no Python file (.py)"),
    ("no_config.py", "the config file no_config.py has no function method, nor get_config"),
    ("small.py:smok", "unknown preset 'smok'; did you mean 'smoke'?"),
    ("small.py:smoke,data.path=good.npz", "data.name='tiny' reads no file: data.path='good.npz'"),
    ("small.py:smoke,laptop", "after the preset come key=value pairs, got 'laptop'"),
    ("small.py:laptop,bach_size=3", "unknown config key 'bach_size'; did you mean 'batch_size'?"),
    ("small.py:laptop,select.rato=3", "unknown config key 'select.rato'; did you mean 'select."),
    ("small.py:laptop,batch_size=2.5", "config key batch_size must be int, got 2.5"),
  ],
)
def test_a_config_that_cannot_be(launch, tmp_path, config, says):
  assert says in said(*launch(config=config))
  assert not (tmp_path / "w").exists()


def test_evaluators_that_cannot_be(launch, tmp_path):
  mae = f"{ROOT / 'configs' / 'image_mim' / 'mae.py'}:smoke,data.name=npz,data.path=plain.npz"
  assert "knn needs labels" in said(*launch("evals.knn.every=0", config=mae)).replace("'", "")
  says = said(*launch("evals.knn.every=0", "evals.knn.fn=train.evaluators.kn", config=mae))
  assert "unknown function of maskjax.train.evaluators 'kn'; did you mean 'knn'" in says
  assert not (tmp_path / "w").exists()


@pytest.mark.parametrize("workdir", ["file", "file/below"])
def test_a_workdir_that_cannot_be_written(launch, tmp_path, workdir):
  (tmp_path / "file").write_text("text")
  says = said(*launch(workdir=workdir))
  assert f"the workdir {tmp_path / workdir} cannot be written" in says
  assert (tmp_path / "file").read_text() == "text"


def test_a_folder_of_the_users_stays_as_empty_as_it_was(launch, tmp_path):
  (tmp_path / "w").mkdir()
  said(*launch("init_from=nowhere"))
  assert list((tmp_path / "w").iterdir()) == []


def test_what_lay_in_the_workdir_stays(launch, tmp_path):
  (tmp_path / "w").mkdir()
  (tmp_path / "w" / "notes.txt").write_text("mine")
  said(*launch("init_from=nowhere"))
  assert (tmp_path / "w" / "notes.txt").read_text() == "mine"


def test_unreadable_images_are_left_out_on_request(launch, tmp_path):
  status, _ = launch("data.name=folder", "data.path=broken", "data.on_error=skip", "job=view")
  assert status == 0
  assert list((tmp_path / "w" / "views").glob("*.png"))


def contents(path):
  """Every file below `path` but the lock, with a digest."""
  files = (p for p in sorted(path.rglob("*")) if p.is_file() and p.name != ".lock")
  return {p.relative_to(path).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def test_a_workdir_of_another_run_is_refused_and_stays(launch, tmp_path):
  assert launch("data.size=(6, 4)", "select.ratio=0.5")[0] == 0
  before = contents(tmp_path / "w")
  assert {"config.json", "metrics.jsonl"} <= set(before)
  says = said(*launch("data.size=(6, 4)", "select.ratio=0.25", "seed=3"))
  assert "select.ratio was 0.5, is now 0.25" in says
  assert "seed was 0, is now 3" in says
  assert "data.size was [6, 4], is now absent" in said(*launch("select.ratio=0.5"))
  said(*launch("data.size=(6, 4)", "select.ratio=0.5", "total_steps=9"))
  assert contents(tmp_path / "w") == before
  assert launch("data.size=(6, 4)", "select.ratio=0.5", "log.every=5")[0] == 0


def test_a_flag_that_there_is_not(capsys):
  assert main(["launch.py", "--config=small.py:smoke", "--wrokdir=w"]) == 2
  error = "error: unknown flag --wrokdir; did you mean 'workdir'?\n"
  assert tuple(capsys.readouterr()) == ("", error)


def test_as_a_process(there, tmp_path):
  data = "small.py:smoke,data.name=npz,data.path=good.npz"
  command = [sys.executable, str(ROOT / "launch.py"), f"--config={data}"]
  command += ["--config.batch_size=12", f"--workdir={tmp_path / 'w'}"]
  env = {name: value for name, value in os.environ.items() if name not in threads.VARIABLES}
  env["XLA_FLAGS"] += " --xla_force_host_platform_device_count=8"
  done = subprocess.run(command, cwd=there, env=env, capture_output=True, text=True, timeout=300)
  assert (done.returncode, done.stdout) == (2, "")
  simulated, error = done.stderr.splitlines()
  assert simulated == f"8 devices simulated with {threads.needed(8)} threads: PJRT_NPROC"
  assert error == "error: batch_size 12 is not divisible by 8 device(s)"
  assert not (tmp_path / "w").exists()
