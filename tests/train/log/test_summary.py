"""The table of a run, from the rows of its seeds."""

import json

from maskjax.train.log.summary import read_metrics, summary


def write(folder, *rows, torn=""):
  """A workdir with these rows."""
  folder.mkdir(parents=True)
  (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + torn)
  return folder


START = {"step": 0, "eval/knn/accuracy": 0.25, "eval/knn/pixels/accuracy": 0.5}


def lines(said):
  """The words of each line of a table."""
  return [line.split() for line in said.splitlines() if line.strip()]


def test_rows_of_a_step_are_joined(tmp_path):
  folder = write(
    tmp_path / "a", {"step": 2, "train/loss": 1.0}, {"step": 2, "eval/knn/accuracy": 0.5}
  )
  assert read_metrics(folder / "metrics.jsonl") == {
    2: {"train/loss": 1.0, "eval/knn/accuracy": 0.5}
  }
  assert read_metrics(tmp_path / "none") == {}


def test_pixels_start_and_end_have_a_row_each(tmp_path):
  folder = write(tmp_path / "a", START, {"step": 9, "train/loss": 1.0, "eval/knn/accuracy": 0.75})
  head, *rows = lines(summary([folder]))
  assert head[:2] == ["knn", "accuracy"]
  assert [(row[0], row[-1]) for row in rows] == [
    ("raw", "0.500"), ("untrained", "0.250"), ("trained,", "0.750"),
  ]  # fmt: skip


def test_titles_stand_over_their_columns(tmp_path):
  folder = write(tmp_path / "a", START, {"step": 9, "eval/knn/accuracy": 0.75})
  head, *rows = [line for line in summary([folder]).splitlines() if line]
  assert {len(head)} == {len(row) for row in rows}


def test_seeds_are_averaged(tmp_path):
  folders = [
    write(tmp_path / str(i), START, {"step": 9, "eval/knn/accuracy": value})
    for i, value in enumerate((0.5, 0.7))
  ]
  (trained,) = [line for line in lines(summary(folders)) if line[0] == "trained,"]
  assert trained[3:] == ["0.600", "±", "0.141"]


def test_seeds_are_compared_each_with_its_own_beginning(tmp_path):
  """What a seed's draws do to both falls out: the deviation is that of the differences."""
  folders = [
    write(
      tmp_path / str(i),
      {"step": 0, "eval/knn/accuracy": value, "eval/knn/pixels/accuracy": 0.5},
      {"step": 9, "eval/knn/accuracy": value + gain, "eval/mean/x": 1.0},
    )
    for i, (value, gain) in enumerate([(0.25, 0.25), (0.55, 0.27)])
  ]
  (found,) = [line for line in lines(summary(folders)) if line[:2] == ["trained", "minus"]]
  assert found[3:] == ["0.260", "±", "0.014", "-"]
  assert "minus" not in summary(folders[:1])


def test_only_the_first_figure_of_an_evaluator_is_shown(tmp_path):
  row = {"step": 9, "eval/kshot/accuracy": 0.5, "eval/kshot/std": 0.1}
  assert "std" not in summary([write(tmp_path / "a", START, row)])


def test_the_newest_picture_is_named(tmp_path):
  folder = write(tmp_path / "a", START)
  (folder / "views").mkdir()
  for step in (0, 9):
    (folder / "views" / f"{step:08d}_reconstruction.png").touch()
  assert summary([folder]).endswith("00000009_reconstruction.png")


def test_a_run_without_evaluations_has_no_table(tmp_path):
  assert "trained" not in summary([write(tmp_path / "a", {"step": 1, "train/loss": 1.0})])
  assert isinstance(summary([tmp_path / "none"]), str)
