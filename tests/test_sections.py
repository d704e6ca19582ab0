"""Sections with qualified names: what they bind, what moves, and what is refused."""

import sys

import numpy as np
import pytest

from maskjax import bind, select
from maskjax.errors import BadInput
from maskjax.pace import Schedule
from maskjax.sections import Lengths, argument, bound, find

LENGTHS = Lengths(total_steps=100, steps_per_epoch=10)
HALF = dict(fn="schedule.linear", start=0.0, end=1.0)


def own(start: float) -> Schedule:
  """A schedule of a user's own."""
  return lambda u: start + u


def test_names_say_the_package_and_any_other_module():
  assert find("select.top") is select.top
  assert find("task.teacher.ema").__name__ == "ema"
  assert find("json:dumps")([1]) == "[1]"


@pytest.mark.parametrize(
  ("name", "says"),
  [
    ("top", "does not say where: write package.name; did you mean 'select.top'?"),
    ("select.tob", "unknown function of maskjax.select 'tob'; did you mean 'top'"),
    ("selct.top", "no package maskjax.selct, named by fn='selct.top'; did you mean 'select.top'?"),
    ("select._share", "unknown function of maskjax.select"),
    ("nowhere:f", "cannot import 'nowhere'"),
  ],
)
def test_a_name_of_nothing_is_refused_with_the_nearest(name, says):
  with pytest.raises(BadInput) as error:
    find(name)
  assert says in str(error.value)


def test_sections_inside_are_bound_first_in_tuples_and_mappings_too():
  inner = dict(fn="select.top", ratio=HALF)
  made = bound(dict(fn="score.hard_first", select=inner), LENGTHS)
  assert bind.at(made.keywords["select"], 50).keywords["ratio"] == 0.5
  several = argument((inner, dict(a=inner, b=3), "select.top"), LENGTHS)
  assert [several[0].func, several[1]["a"].func] == [select.top] * 2
  assert (several[1]["b"], several[2]) == (3, "select.top")


@pytest.mark.parametrize(
  ("more", "step", "value"),
  [
    ({}, 25, 0.25),
    (dict(begin=0.5), 25, 0.0),
    (dict(begin=0.5), 75, 0.5),
    (dict(stop=0.5), 25, 0.5),
    (dict(by="epoch"), 29, 0.2),
  ],
)
def test_a_schedule_moves_over_the_run(more, step, value):
  made = bound(dict(fn="select.top", ratio={**HALF, **more}), LENGTHS)
  assert bind.at(made, step).keywords["ratio"] == pytest.approx(value)


def test_a_schedule_of_a_users_own_is_known_by_what_it_returns(monkeypatch):
  monkeypatch.setitem(sys.modules, "mine", sys.modules[__name__])
  made = argument(dict(fn="mine:own", start=0.25), LENGTHS)
  assert made.value(50) == 0.75


@pytest.mark.parametrize(
  ("section", "says"),
  [
    (dict(fn="select.top", ration=0.5), "unknown argument of select.top 'ration'; did you mean"),
    (dict(ratio=0.5), "names its function as fn="),
    (dict(fn="select.top", ratio={**HALF, "by": "stp"}), "unknown pace of a schedule 'stp'"),
    (dict(fn="select.top", ratio=dict(fn="schedule.linear")), "needs start, end"),
    (dict(fn="select.top", ratio=dict(fn="schedule.lineer")), "did you mean 'linear'"),
    (dict(fn="select.top", ratio={**HALF, "begin": 0.5, "stop": 0.5}), "begin < stop"),
    (dict(fn="select.top", ratio={**HALF, "finish": 1.0}), "finish"),
  ],
)
def test_a_section_that_does_not_fit_is_refused(section, says):
  with pytest.raises(BadInput) as error:
    bound(section, LENGTHS)
  assert says in str(error.value)


def test_a_schedule_by_example_takes_a_number_for_each():
  found = argument({**HALF, "by": "example"}, LENGTHS)
  assert found.each
  np.testing.assert_allclose(found.value(np.array([0.25, 0.5], np.float32)), [0.25, 0.5])
  late = argument({**HALF, "by": "example", "begin": 0.5}, LENGTHS)
  np.testing.assert_allclose(late.value(np.array([0.25, 0.75], np.float32)), [0, 0.5])


def test_a_schedule_moves_over_something():
  with pytest.raises(BadInput, match="whole steps"):
    argument({**HALF, "by": "epoch"}, Lengths(100, 10.5))
  with pytest.raises(BadInput, match="moves over a run"):
    bound(dict(fn="select.top", ratio=HALF))
