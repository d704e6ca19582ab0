"""Runs side by side, read back from what the writers wrote."""

import json

import numpy as np
import pytest
from PIL import Image

from maskjax.errors import BadInput
from maskjax.train.log.compare import compare, main, table

X, Y = "eval/sparsity/total", "eval/accuracy/accuracy"


def write(folder, rows):
  """A metrics.jsonl; figures of one step may stand on several lines."""
  folder.mkdir(parents=True)
  (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def runs(tmp_path):
  """Two series of two runs, two seeds each, and the accuracies written."""
  for series, base in (("gradual", 0.8), ("random", 0.5)):
    for sparsity in (0.5, 0.9):
      for seed, folder in ((0, "."), (1, "seeds/1")):
        end = [{"step": 20, X: sparsity}, {"step": 20, Y: base - sparsity / 10 + seed / 100}]
        rows = [{"step": 0, X: 0.0, Y: 0.9}, {"step": 10, "train/loss": 1.0}, *end]
        write(tmp_path / series / str(sparsity) / folder, rows)
  return [tmp_path / s / r for s in ("gradual", "random") for r in ("0.5", "0.9")]


def test_the_last_figures_of_every_seed_make_a_point(runs):
  series = compare(runs, x=X, y=Y)
  assert list(series) == ["gradual", "random"]
  (half, values), (most, _) = series["gradual"]
  assert (half, most) == (0.5, 0.9)
  np.testing.assert_allclose(values, [0.75, 0.76])


def test_steps_make_curves(runs):
  series = compare(runs[:1], y=Y)
  assert list(series) == ["gradual/0.5"]
  assert [step for step, _ in series["gradual/0.5"]] == [0, 20]


def test_the_table_has_a_row_for_each_run(runs):
  lines = table(runs, [Y]).splitlines()
  assert [line.split()[0] for line in lines[1:5]] == [
    "gradual/0.5",
    "gradual/0.9",
    "random/0.5",
    "random/0.9",
  ]
  assert "0.755 ± 0.007" in lines[1]


def test_the_command_prints_and_draws(runs, tmp_path, capsys):
  picture = tmp_path / "plots" / "sparsity.png"
  assert main([*map(str, runs), f"--x={X}", f"--y={Y}", f"--png={picture}"]) == 0
  assert "gradual/0.9" in capsys.readouterr().out
  assert np.asarray(Image.open(picture)).std() > 0


def test_what_is_not_there_is_named(runs, tmp_path, capsys):
  with pytest.raises(BadInput, match="accuracy/accuracy"):
    compare(runs, y="eval/accuracy/acuracy")
  with pytest.raises(BadInput, match=r"no metrics\.jsonl"):
    table([tmp_path], [Y])
  with pytest.raises(BadInput, match="no step together"):
    compare(runs, x="train/loss", y=Y)
  assert main([str(tmp_path), f"--y={Y}"]) == 2
  assert "error:" in capsys.readouterr().err
