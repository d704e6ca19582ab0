"""Answers of tasks: what is offered, how they are wrapped, and what who asks must declare."""

import functools
import inspect
import pathlib
import re
import sys

import pytest
from user_package.configs import small

from maskjax.errors import BadInput
from maskjax.record import Record
from maskjax.task.answers import around, lacks, needed, needs, require, wrapped
from maskjax.task.base import Task
from maskjax.train import evaluators
from maskjax.train.setup.build import make_task

EVALUATORS = [getattr(evaluators, name) for name in evaluators.__all__]
LABELLED = ("cat", "dog")


def task(*answers, **fields):
  """A task that offers these answers."""
  return Task(init=None, loss=None, answers=dict.fromkeys(answers, len), **fields)


def record(kind, labels=LABELLED):
  return Record(kind, (8,), {"train": 1, "test": 1}, labels)


def test_a_wrapped_answer_is_called_with_all_that_it_was_given_and_keeps_its_signature():
  def show(variables, batch, *, step=0, hidden=None):
    return variables, batch, step, hidden

  def tenfold(function, variables, *rest, **named):
    return function(10 * variables, *rest, **named)

  bound = functools.partial(show, hidden=5)
  both = wrapped(task()._replace(answers={"views": show, "invented": bound}), tenfold).answers
  assert both["views"](1, 2, step=3, hidden=4) == (10, 2, 3, 4)
  assert both["invented"](1, 2) == (10, 2, 0, 5)
  assert inspect.signature(both["views"]) == inspect.signature(show)
  assert inspect.signature(both["invented"]) == inspect.signature(bound)
  twice = around(both["views"], tenfold)
  assert twice(1, 2)[0] == 100
  assert inspect.signature(twice) == inspect.signature(show)


@pytest.mark.parametrize(
  ("declared", "kind", "says"),
  [
    (dict(kinds=("image", "video")), "text", "looks at images and videos, the data set holds text"),
    (dict(labels=True), "graph", "needs labels, and this data set has none"),
    (dict(fields=("scalars",)), "text", "needs scalars, and the task has none"),
  ],
)
def test_what_a_run_lacks_is_named(declared, kind, says):
  ask = needs(**declared)(lambda context: {})
  assert lacks(ask, task(), record(kind, labels=())) == says
  with pytest.raises(BadInput, match=f"^evals.mine {says}$"):
    require(ask, "evals.mine", task(), record(kind, labels=()))


def test_an_answer_that_is_not_there_is_named_with_those_that_are_and_the_nearest():
  ask = needs("views", "featurs")(lambda context: {})
  says = lacks(ask, task("nats", "features", "views"), record("text"))
  assert says == "needs featurs, the task offers features, nats, views; did you mean 'features'?"
  assert (
    lacks(ask, task(), record("text")) == "needs views, the task offers nothing beside its loss"
  )
  require(ask, "mine", task("featurs", "views"), record("text"))
  require(len, "what declares nothing", task(), record("text"))


@pytest.mark.parametrize("evaluator", [f for f in EVALUATORS if needed(f) != needed(len)])
def test_an_evaluator_is_refused_without_any_of_its_needs_and_taken_with_all(evaluator):
  wanted = needed(evaluator)
  here = record(wanted.kinds[0] if wanted.kinds else "image")
  fields = dict.fromkeys(wanted.fields, len)
  assert lacks(evaluator, task(*wanted.answers, **fields), here) == ""
  for missing in wanted.answers:
    left = [name for name in wanted.answers if name != missing]
    assert f"needs {missing}," in lacks(evaluator, task(*left, **fields), here)


@pytest.mark.parametrize("module", sorted({f.__module__ for f in EVALUATORS}))
def test_what_an_evaluator_asks_for_it_has_declared(module):
  source = pathlib.Path(sys.modules[module].__file__).read_text()
  mine = {f.__name__: needed(f) for f in EVALUATORS if f.__module__ == module}
  calls = re.findall(r'\banswer\(context\.task, "(\w+)", "(\w+)"\)', source)
  assert len(calls) == source.count("answer(")
  assert "task.answers[" not in source
  asked = {(who, name) for name, who in calls}
  if re.search(r"\bfeatures\(context,|context\.(features|encode)\(", source):
    asked |= {(who, "features") for who in mine}
  assert all(name in mine[who].answers for who, name in asked)
  classes = set(re.findall(r'labelled\(context, "(\w+)"\)', source))
  assert classes == {who for who, wanted in mine.items() if wanted.labels}


@pytest.mark.parametrize(
  ("normalise", "views", "flattered"),
  [
    (False, None, False),
    (True, None, True),
    (True, dict(fn="task.extended", of=dict(named="pictures")), True),
    (True, dict(fn="task.together", of=dict(input="batch.image")), False),
  ],
  ids=["plain pixels", "normalised pixels", "within views of one's own", "never shown"],
)
def test_a_task_says_what_its_pictures_take_from_the_truth(normalise, views, flattered):
  answers = {} if views is None else {"views": views}
  config = small(target=dict(fn="recover.pixels", normalise=normalise), answers=answers)
  task = make_task(config, Record("image", (8, 8, 1), {"train": 4}))
  assert task.told == ("each patch's true mean and deviation" if flattered else "")
