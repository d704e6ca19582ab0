"""The graph of a config is printed as it will be run."""

import pytest
from built import FILES
from user_package import configs

from maskjax import lab
from maskjax.errors import BadInput
from maskjax.train.plan.describe import describe
from maskjax.train.run import plain

NOTE = dict(scale=dict(shape=(8, 8, 1), examples=4))


def test_each_value_has_a_line_with_its_function_arguments_shape_and_keys():
  lines = describe(configs.two_looks(), NOTE).splitlines()
  said = dict(zip(lines[0:-1:2], lines[1::2], strict=True))
  assert said["score = score.uniform(grid)"] == "    float32[1, 16]  keys: mask"
  assert said["hidden = select.top(scores, allowed=positions.allowed, ratio=0.75)"] == (
    "    bool[1, 16]"
  )
  seen = "whole.seen = hide.drop(x=positions.values, hidden=nothing, allowed=positions.allowed,"
  assert f"{seen} keep=16)" in said
  assert "other.score = score.uniform(grid)" in said
  assert lines[-1] == "loss = 1.0 · one + 1.0 · two"


def test_what_only_branches_would_make_is_left_out():
  assert "other.losses" not in describe(configs.two_looks(), NOTE)


def test_what_only_a_caller_can_hand_over_has_no_shape_and_a_function_none():
  curve = dict(fn="schedule.linear", start=1.0, end=0.0)
  prompted = dict(fn="task.together", of=dict(a="prompt", b="curve"), takes=("prompt",))
  c = configs.small(let=dict(curve=curve), answers=dict(prompted=prompted))
  lines = describe(c, NOTE).splitlines()
  assert lines[lines.index("curve = schedule.linear(start=1.0, end=0.0)") + 1] == "    a function"
  at = lines.index("answers.prompted = task.together(a=prompt, b=curve)")
  assert lines[at + 1] == "    of what a caller hands over"


def test_a_mask_of_the_callers_own_has_no_shape_though_the_graph_has_one_of_its_name():
  mine = dict(fn="task.together", of=dict(a="hidden"), takes=("batch", "hidden"))
  lines = describe(configs.small(answers=dict(mine=mine)), NOTE).splitlines()
  at = lines.index("answers.mine = task.together(a=hidden)")
  assert lines[at + 1] == "    of what a caller hands over"


def test_a_task_that_is_no_graph_is_refused():
  with pytest.raises(BadInput, match="few is no graph"):
    describe(dict(task=dict(fn="user_package.parts:few")), NOTE)


def test_what_an_answer_alone_makes_of_a_callers_mask_may_have_any_shape():
  """The mask of the graph has an axis of views, that of who asks has none."""
  lines = describe(plain(lab.read(f"{FILES['mask15']}:laptop")), lab.load(FILES["mask15"]).NOTE)
  lines = lines.splitlines()
  at = next(i for i, line in enumerate(lines) if "told.masked = hide.token(" in line)
  assert lines[at + 1] == "    of what a caller hands over"
  at = next(i for i, line in enumerate(lines) if line.startswith("hidden = "))
  assert lines[at + 1].startswith("    bool[1, 1, 64]")
