"""Sections of a config as bound functions, with arguments that move."""

import numpy as np
import pytest

from maskjax import bind, select
from maskjax.errors import BadInput
from maskjax.train.words import Lengths, moving, word

RUN = Lengths(total_steps=100, steps_per_epoch=10.0)
RISE = {"fn": "linear", "start": 0.0, "end": 1.0}


def values(section, steps, lengths=RUN):
  return [float(moving(section, lengths).value(step)) for step in steps]


def test_a_schedule_moves_over_the_run():
  np.testing.assert_allclose(values(RISE, [0, 25, 100, 200]), [0, 0.25, 1, 1])


def test_a_schedule_may_begin_late_and_stop_early():
  part = {**RISE, "begin": 0.2, "stop": 0.6}
  np.testing.assert_allclose(values(part, [0, 20, 40, 60, 90]), [0, 0, 0.5, 1, 1], atol=1e-6)


def test_a_schedule_by_epoch_rests_within_one():
  np.testing.assert_allclose(values({**RISE, "by": "epoch"}, [9, 10, 19, 20]), [0, 0.1, 0.1, 0.2])


def test_a_schedule_by_example_takes_a_number_for_each():
  found = moving({**RISE, "by": "example"}, RUN)
  assert found.each
  np.testing.assert_allclose(found.value(np.array([0.25, 0.5], np.float32)), [0.25, 0.5])
  late = moving({**RISE, "by": "example", "begin": 0.5}, RUN)
  np.testing.assert_allclose(late.value(np.array([0.25, 0.75], np.float32)), [0, 0.5])


def test_words_within_a_word_are_bound_and_others_move():
  section = {
    "fn": "decode",
    "score": {"fn": "confidence", "noise": RISE},
    "select": {"fn": "top"},
    "temperature": RISE,
    "steps": 8,
  }
  bound = word(section, "maskjax.generate", RUN)
  assert bound.keywords["steps"] == 8
  assert bound.keywords["select"].func is select.top
  assert bind.at(bound, 50).keywords["temperature"] == 0.5
  assert bind.at(bound.keywords["score"], 50).keywords["noise"] == 0.5


@pytest.mark.parametrize(
  ("section", "says"),
  [
    ({"fn": "lineer", "start": 0.0, "end": 1.0}, "linear"),
    ({**RISE, "by": "week"}, "week"),
    ({**RISE, "begin": 0.5, "stop": 0.5}, "begin < stop"),
    ({"fn": "linear", "start": 0.0}, "needs end"),
    ({**RISE, "finish": 1.0}, "finish"),
  ],
)
def test_bad_schedules_are_named(section, says):
  with pytest.raises(BadInput, match=says):
    moving(section, RUN)


def test_a_schedule_by_epoch_needs_whole_epochs():
  with pytest.raises(BadInput, match="whole steps"):
    moving({**RISE, "by": "epoch"}, Lengths(100, 10.5))
