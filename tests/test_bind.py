"""Names in a config become functions, and what is wrong is said in one line."""

import functools
import os

import jax
import pytest

from maskjax import bind, units
from maskjax.data import kinds
from maskjax.errors import BadInput
from maskjax.keys import keys
from maskjax.select import top


def test_a_name_of_the_package_or_of_any_module():
  assert bind.resolve("top", "maskjax.select") is top
  assert bind.resolve("json:dumps", "maskjax.select")([1]) == "[1]"
  assert bind.resolve("blocks", "maskjax.units") is units.blocks  # it has no __all__
  assert bind.bind({"fn": "json:dumps", "indent": 1}, "maskjax.select").keywords == {"indent": 1}


@pytest.mark.parametrize(
  ("name", "says"),
  [
    ("tob", "unknown function of maskjax.select 'tob'; did you mean 'top'"),
    ("_share", "unknown function of maskjax.select '_share'"),
    ("Count", "unknown function of maskjax.select 'Count'"),
    ("maskjax.units:block", "unknown function of maskjax.units 'block'; did you mean 'blocks'"),
    ("json:dump_", "unknown function of json 'dump_'; did you mean 'dump'"),
    ("json:", "unknown function of json ''"),
    ("nowhere.at_all:f", "cannot import 'nowhere', named by fn='nowhere.at_all:f'"),
  ],
)
def test_a_function_that_is_not_there(name, says):
  with pytest.raises(BadInput) as error:
    bind.resolve(name, "maskjax.select")
  assert str(error.value).startswith(says)
  assert "\n" not in str(error.value)


@pytest.mark.parametrize(
  ("spec", "says"),
  [
    ({"fn": "top", "rato": 1}, "unknown argument of top 'rato'; did you mean 'ratio'"),
    ({"ratio": 0.5}, r"names its function as fn=…; it has \['ratio'\]"),
    ({"fn": 3}, "is a function's name, got 3"),
  ],
)
def test_a_section_that_cannot_be_bound(spec, says):
  before = dict(spec)
  with pytest.raises(BadInput, match=says):
    bind.bind(spec, "maskjax.select")
  assert spec == before


def test_a_section_is_left_as_it_was():
  spec = {"fn": "top", "ratio": 0.5}
  bind.bind(spec, "maskjax.select")
  assert spec == {"fn": "top", "ratio": 0.5}


def test_needs_are_what_is_not_bound():
  white = bind.bind({"fn": "uniform", "grid": (2, 2)}, "maskjax.score")
  assert bind.needs(white) == {"keys": True}
  assert bind.needs(lambda a, *, b=1, **rest: a) == {"a": True, "b": False}
  assert bind.needs(functools.partial(functools.partial(lambda a, b, c: a, b=1), c=2)) == {
    "a": True
  }


def test_what_is_needed_must_be_offered():
  white = bind.bind({"fn": "uniform"}, "maskjax.score")
  bind.check(white, ["keys", "grid", "step"], "the task")
  with pytest.raises(BadInput, match=r"^uniform needs grid; the task offers keys, step$"):
    bind.check(white, ["keys", "step"], "the task")
  bind.check(bind.bind({"fn": "uniform", "grid": (4,)}, "maskjax.score"), ["keys"], "the task")


def test_a_call_hands_over_what_is_named_and_no_more():
  white = bind.bind({"fn": "uniform"}, "maskjax.score")
  offers = {"keys": keys(jax.random.key(0), 2), "grid": (2, 3), "step": 7, "attention": None}
  assert bind.call(white, offers).shape == (2, 6)
  assert bind.call(functools.partial(lambda step, scale=2: step * scale), {"step": 7}) == 14


def test_only_trusted_packages_are_imported_by_name():
  with bind.trusting(("json",)):
    assert bind.resolve("json:dumps", "maskjax.select")([1]) == "[1]"
    assert bind.resolve("top", "maskjax.select") is top
    assert bind.resolve("maskjax.select:top", "") is top
    with pytest.raises(
      BadInput, match=r"would import 'os', which is not trusted: see trust=\('os',\)"
    ):
      bind.resolve("os.path:join", "maskjax.select")
    with pytest.raises(BadInput, match="not trusted"):
      kinds.find("clouds:cloud")
  assert bind.resolve("os.path:join", "maskjax.select") is os.path.join
