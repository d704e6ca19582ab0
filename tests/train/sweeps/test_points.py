"""The points of a config file's sweep, before anything is trained."""

import pytest

from maskjax import cli, lab
from maskjax.errors import BadInput
from maskjax.train.sweeps import points

HEAD = "from maskjax import lab\n"
ARENA = """
def sweep():
  both = lab.grid(config=("mae:smoke", "crossmae:smoke"), seed=(0, 1))
  timed = [dict(config="mae:smoke", seconds=2.5)]
  return [*both, *timed, {"config": "mae:smoke", "select.ratio": 0.6, "over.patch": (2, 2)}]
"""
OWN = """
def get_config(arg=""):
  c = lab.common()
  c.batch_size = 4
  c.optimizer = dict(learning_rate=0.1)
  return lab.assigned(c, lab.split(arg))
def sweep():
  return lab.grid(optimizer__learning_rate=(0.1, 0.2), seed=(0, 1))
"""


@pytest.fixture
def written(tmp_path):
  """`written(text)`: the path of a config file of these lines."""

  def write(text):
    path = tmp_path / "mine.py"
    path.write_text(HEAD + text)
    return str(path)

  return write


def test_a_sweep_over_configs_is_listed_and_each_point_is_its_config(written, capsys):
  place = written(ARENA)
  assert cli.main(["maskjax", f"--config={place}", "--sweep", "--config.batch_size=2"]) == 0
  assert capsys.readouterr().out.splitlines() == [
    "0  --config=mae:smoke --config.batch_size=2 --config.seed=0",
    "1  --config=mae:smoke --config.batch_size=2 --config.seed=1",
    "2  --config=crossmae:smoke --config.batch_size=2 --config.seed=0",
    "3  --config=crossmae:smoke --config.batch_size=2 --config.seed=1",
    "4  --config=mae:smoke --config.batch_size=2 for 2.5 seconds",
    "5  --config=mae:smoke --config.batch_size=2 --config.select.ratio=0.6 "
    "'--config.over.patch=(2, 2)'",
  ]
  found = points.points(place, [("batch_size", "2")])
  config = lab.read("mae:smoke,batch_size=2,select.ratio=0.6,over.patch=(2,2)")
  assert found[5].config.to_dict() == config.to_dict()
  assert found[3].config.seed == 1


def test_a_file_sweeps_over_its_own_config(written):
  found = points.points(written(OWN) + ":batch_size=8")
  assert [point.config.optimizer.learning_rate for point in found] == [0.1, 0.1, 0.2, 0.2]
  assert {point.config.batch_size for point in found} == {8}
  assert points.chosen(found, "2") == [found[2]]
  assert points.chosen(found, "all") == found


def test_another_config_is_another_run_in_another_folder(written):
  place = written(OWN)
  one = points.points(place)[1]
  ways = [("loader.workers", "1"), ("checkpoint.every", "7"), ("mesh.preset", "fsdp")]
  same = points.points(place, ways)[1]
  assert same.folder("w/") == one.folder("w")
  assert one.folder("w").startswith("w/001-")
  for change in (("batch_size", "8"), ("ema", "0.5"), ("optimizer.learning_rate", "0.3")):
    text = OWN
    text += "def sweep():\n  return [{}, {'seed': 1}]\n" if "rate" in change[0] else ""
    assert points.points(written(text), [change])[1].folder("w") != one.folder("w")


@pytest.mark.parametrize(
  ("text", "changes", "says"),
  [
    ("def get_config(): ...", [], "has no function sweep"),
    (ARENA.replace("select.ratio", "select.rato"), [], "point 5 of .*'select.rato'; did you mean"),
    (ARENA.replace("0.6", "True"), [], "point 5 of .*select.ratio must be float, got True"),
    (OWN.replace("0.2", "0.1"), [], "points 0 and 2 of .* are the same run of seed 0"),
    (OWN, [("seeds", "2")], "points 0 and 1 of .* are the same run of seed 1"),
    (ARENA.replace("2.5", "-1"), [], "point 4 of .*: seconds is how long a point trains"),
    (OWN, [("seed", "5")], "--config.seed=5, but the sweep sets seed itself"),
    (OWN + "def sweep():\n  return [3]\n", [], "point 0 of .* is a mapping of fields to values"),
  ],
)  # fmt: skip
def test_points_that_cannot_be(written, text, changes, says):
  with pytest.raises(BadInput, match=says):
    points.points(written(text), changes)


@pytest.mark.parametrize(
  ("words", "says"),
  [
    ("--sweep=4 --workdir=w", "--sweep is all or the number of a point, 0 to 3, got '4'"),
    ("--sweep=first --workdir=w", "--sweep is all or the number of a point"),
    ("--sweep=0", "--workdir is needed"),
    ("--sweep=0 --plan=v5e:4x4", "--plan is of one config"),
    ("--results=r.json --workdir=w", "--results goes with --sweep"),
    ("--sweep=0 --workdir=memory://w", "rows go to a local file: give --results=FILE"),
  ],
)
def test_words_that_do_not_fit(written, words, says, capsys):
  assert cli.main(["maskjax", f"--config={written(OWN)}", *words.split()]) == 2
  assert capsys.readouterr().err.startswith(f"error: {says}")


def test_who_has_nothing_to_say_of_points_prints_nothing(written, monkeypatch, capsys):
  monkeypatch.setattr(cli, "work", lambda *given: "")  # as all processes but the first
  words = [f"--config={written(OWN)}", "--sweep=all", "--check"]
  assert cli.main(["maskjax", *words]) == 0
  assert capsys.readouterr().out == ""


def test_a_sweep_alone_is_no_config(written, capsys):
  assert cli.main(["maskjax", f"--config={written(ARENA)}", "--workdir=w"]) == 2
  assert "is a sweep over other configs: --sweep lists its points" in capsys.readouterr().err
