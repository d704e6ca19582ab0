"""The bench around its rows: turns, medians, absent and broken contenders, table, JSON."""

import json
import os
import pathlib
import sys
import time

import pytest

from maskjax.bench import __main__ as command
from maskjax.bench import harness, table, worker
from maskjax.bench.harness import Contender, Crash, Goal, Line, Result, Row, at_least, at_most
from maskjax.bench.lacking import lacking
from maskjax.errors import BadInput

FAKES = str(pathlib.Path(__file__).with_name("fakes.py"))
CORES = sorted(os.sched_getaffinity(0))[:1]


def fake(name, function, **own):
  return Contender(name, f"{FAKES}:{function}", own={"name": name, **own})


def peer(name, function):
  return Contender(name, f"{FAKES}:{function}", peer=True)


def figures(size, results):
  ours, other = (harness.median(results, name) for name in "ab")
  return [Line("s", ours, other, harness.over(other, ours), at_least(2))], ["limit: none"]


def row(contenders, log="", **rest):
  sizes = {"smoke": {"shared": 7, "log": str(log)}, "full": {}}
  return Row("fake", "nothing", contenders, sizes, figures, **rest)


def measure(made, repeats=3):
  return harness.measure(made, made.sizes["smoke"], repeats=repeats, cores=CORES)


def test_contenders_take_turns_and_medians_are_compared(tmp_path):
  log = tmp_path / "log"
  a = fake("a", "steady", seconds=[3.0, 1.0, 2.0])
  b = fake("b", "steady", seconds=[9.0, 5.0, 1.0])
  made = row([a, b], log)
  found = measure(made)
  assert log.read_text() == "ababab"
  assert found["a"].seconds == [3.0, 1.0, 2.0]
  assert found["b"].facts == {"seen": 7}
  (line,), _ = figures(made.sizes["smoke"], found)
  assert (line.ours, line.peer, line.ratio, line.reached()) == (2.0, 5.0, 2.5, True)


def test_a_row_may_limit_its_repeats_and_prepare_its_size(tmp_path):
  log = tmp_path / "log"
  more = lambda size, folder: {**size, "shared": folder.is_dir()}
  made = row([fake("a", "steady", seconds=[1.0] * 2)], log, most=2, prepare=more)
  found = measure(made, repeats=5)
  assert log.read_text() == "aa"
  assert found["a"].facts == {"seen": True}


def test_a_run_may_measure_several_things():
  found = measure(row([fake("a", "several")]))
  assert harness.median(found, "a").tolist() == [1.0, 7.0]


def test_what_does_not_measure_itself_is_timed_in_several_runs():
  work = worker.resolve(f"{FAKES}:timed")({})
  seconds = worker.measure(work)
  assert seconds >= 0
  assert work["facts"]["counts"] == {"before": 1, "run": 3}


def test_what_peers_lack_is_known_before_they_run(tmp_path):
  file = tmp_path / "peer.py"
  file.write_text("import json\ndef f(size):\n  import numpy.linalg\n  from no_such.x import y\n")
  made = row([Contender("b", f"{file}:f", peer=True), fake("a", "steady")])
  assert lacking([made], sys.executable) == {"fake": ["no_such"]}
  assert lacking([row([fake("a", "steady")])], "no_interpreter") == {}
  with pytest.raises(BadInput, match="there is no interpreter 'no_interpreter'"):
    lacking([made], "no_interpreter")


def test_a_missing_peer_is_absent_and_the_rest_goes_on():
  found = measure(row([fake("a", "several"), peer("b", "lacking"), peer("c", "unfit")]))
  assert found["b"].absent == "no_such_package is not installed"
  assert found["c"].absent == "not offered"
  assert harness.median(found, "b") is None
  assert harness.fastest(found, ["b", "c"]) is None
  assert len(found["a"].seconds) == 3


def test_an_interpreter_that_is_not_there_is_bad_input():
  made = row([peer("b", "unfit")])
  with pytest.raises(BadInput, match="no-python"):
    harness.measure(made, made.sizes["smoke"], repeats=1, cores=CORES, torch="no-python")


@pytest.mark.parametrize(
  ("function", "says"),
  [("broken", "ValueError: the reason"), ("lacking", "no_such_package")],
  ids=["in a run", "our own missing package"],
)
def test_a_crash_tells_who_and_why(function, says):
  with pytest.raises(Crash, match=rf"(?s)^a ended with status 1.*{says}"):
    measure(row([fake("a", function)]))


def test_what_a_contender_leaves_is_ended(tmp_path):
  log = tmp_path / "log"
  measure(row([fake("a", "parent")], log))
  stat = pathlib.Path("/proc", log.read_text(), "stat")
  # It dies when it is next scheduled; killed and not yet collected it is a zombie, Z.
  gone = lambda: not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] in "ZX"
  deadline = time.monotonic() + 30
  while not gone() and time.monotonic() < deadline:
    time.sleep(0.05)
  assert gone()


def test_memory_is_what_runs_add():
  found = measure(row([fake("a", "greedy")]), repeats=1)["a"]
  assert found.extra_bytes is None or 60 << 20 < found.extra_bytes < 80 << 20
  assert found.peak_bytes > 64 << 20


def test_processes_are_on_the_same_cores_with_as_many_threads():
  env = harness.environment(peer("b", "unfit"), 3)
  assert env["OMP_NUM_THREADS"] == env["MKL_NUM_THREADS"] == "3"
  assert harness.environment(fake("a", "steady"), 3)["PYTHONPATH"].startswith(str(harness.ROOT))


@pytest.mark.parametrize(
  ("goal", "ours", "ratio", "reached"),
  [
    (at_least(1.2), 5.0, 1.2, True),
    (at_least(1.2), 5.0, 1.1, False),
    (at_least(1.2), 5.0, None, None),
    (at_most(2, "%", of_ratio=False), 2.0, None, True),
    (at_most(2, "%", of_ratio=False), 2.1, 9.0, False),
    (Goal("1 ± 0.1", 0.9, 1.1, of_ratio=False), 0.8, None, False),
  ],
)
def test_goals(goal, ours, ratio, reached):
  assert Line("s", ours, None, ratio, goal).reached() is reached


RESULTS = {
  "a": Result(seconds=[1.0, 3.0, 2.0], versions={"jax": "1"}),
  "b": Result(seconds=[9.0], versions={"torch": "2"}),
  "c": Result(absent="torch is not installed"),
}


def test_the_table():
  made = row([])
  text = table.table([(made, *figures({}, RESULTS), RESULTS)], {"cpu": "one", "date": "today"})
  assert text.splitlines() == [
    "row   figure  ours  peer  ratio  goal   reached",
    "fake  s       2     9     4.5    ≥ 2 x  yes",
    "",
    "fake: limit: none",
    "fake: c: torch is not installed",
    "",
    "cpu: one",
    "date: today",
  ]


def test_json_holds_every_repeat():
  made = row([])
  done = [(made, *figures({}, RESULTS), RESULTS)]
  read = json.loads(json.dumps(table.record(done, table.machine(CORES, done))))
  (found,) = read["rows"]
  assert found["contenders"]["a"]["seconds"] == [1.0, 3.0, 2.0]
  assert found["contenders"]["c"]["absent"] == "torch is not installed"
  assert found["lines"][0]["ratio"] == 4.5
  assert found["lines"][0]["reached"] is True
  assert "torch 2" in read["machine"]["versions"]


@pytest.fixture
def one_row(monkeypatch):
  """The command line with one row, of fakes."""

  def use(*contenders, **rest):
    monkeypatch.setattr(command, "load", lambda name: row(contenders, **rest))

  return use


def test_the_command_line(one_row, tmp_path, capsys):
  log, file = tmp_path / "log", tmp_path / "out.json"
  pair = [fake(name, "steady", seconds=[float(i)] * 2) for i, name in enumerate("ab", 1)]
  one_row(*pair, log=log)
  flags = ["fake", "--size=smoke", "--repeats=2", "--threads=1", f"--json={file}"]
  assert command.main([*flags, f"--torch={sys.executable}"]) == 0
  assert "fake  s       1     2     2      ≥ 2 x  yes" in capsys.readouterr().out
  assert json.loads(file.read_text())["rows"][0]["contenders"]["b"]["seconds"] == [2.0, 2.0]


def test_a_crash_leaves_the_other_rows(one_row, capsys):
  one_row(fake("a", "broken"))
  assert command.main(["fake", "fake", "--size=smoke", "--threads=1"]) == 1
  printed = capsys.readouterr()
  assert printed.err.count("ValueError: the reason") == 2
  assert "cpu:" in printed.out


@pytest.mark.parametrize(
  ("flags", "says"),
  [
    (["mae_stepp"], "did you mean 'mae_step'"),
    (["--repeats=0"], "at least 1"),
    (["attention", "--threads=9999"], "cores"),
  ],
)
def test_bad_input_is_one_line(flags, says, capsys):
  assert command.main(flags) == 2
  error = capsys.readouterr().err
  assert says in error
  assert error.count("\n") == 1


def test_list(capsys):
  assert command.main(["--list"]) == 0
  assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(command.ROWS)
