"""Durations: units, rounding, precedence, and what is refused."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ml_collections import ConfigDict, config_dict

from maskjax.errors import BadInput
from maskjax.train.setup.durations import UNITS, duration, steps

BASE = {"batch_size": 256, "examples": 50_000}


@settings(deadline=None)
@given(st.integers(0, 10**7), st.integers(1, 4096), st.integers(1, 10**7))
def test_epochs_equal_examples_and_round_to_nearest(epochs, batch_size, examples):
  base = {"batch_size": batch_size, "examples": examples}
  n = steps(epochs, "epochs", **base)
  assert n == steps(epochs * examples, "examples", **base)
  assert abs(n * batch_size - epochs * examples) <= (batch_size / 2 if n > 1 else batch_size)


def test_halves_go_up_and_a_positive_duration_lasts_a_step():
  assert steps(0.1, "epochs", batch_size=10, examples=150) == 2  # 1.5
  assert steps(0.3, "epochs", batch_size=2, examples=10) == 2  # 1.5, below it in binary
  assert steps(1, "examples", **BASE) == 1
  assert steps(0, "epochs", **BASE) == 0
  assert steps(0.01, "percent", **BASE, total_steps=50) == 1
  assert steps(100, "percent", **BASE, total_steps=50) == 50


def test_config_with_locked_types_and_placeholders():
  config = ConfigDict(
    {"total_epochs": 8.0, "total_steps": config_dict.placeholder(int), "warmup_percent": 5.0}
  ).lock()
  assert duration("total", config, **BASE) == 1563
  assert duration("warmup", config, **BASE, total_steps=1563) == 78
  config.total_steps = 100
  assert duration("total", config, **BASE) == 100


def test_zero_is_not_set_but_none_at_all_differs_from_zero():
  assert duration("warmup", {"warmup_steps": 0, "warmup_epochs": 1}, **BASE) == 195
  assert duration("warmup", {"warmup_steps": 0, "warmup_epochs": None}, **BASE) == 0
  assert duration("warmup", {"warmup_epochs": 0, "warmup_examples": 512}, **BASE) == 2
  assert duration("warmup", {}, **BASE) is None


@pytest.mark.parametrize(
  ("config", "says"),
  [
    ({"run_epochs": 1, "run_examples": 5}, "run_epochs=1 and run_examples=5 are both set"),
    ({"run_steps": 1.5}, "run_steps is 1.5; steps are whole"),
    ({"run_steps": -1}, "not negative"),
    ({"run_epochs": float("nan")}, "run_epochs is nan; a finite number"),
    ({"run_epochs": float("inf")}, "finite number"),
    ({"run_epochs": "ten"}, "'ten'"),
    ({"run_epochs": True}, "True"),
    ({"run_percent": 10}, "share of the run"),
  ],
)
def test_bad_fields_are_named(config, says):
  with pytest.raises(BadInput, match=says):
    duration("run", config, **BASE)


def test_bad_bases_and_units():
  with pytest.raises(BadInput, match="at most 100"):
    steps(101, "percent", **BASE, total_steps=10)
  with pytest.raises(BadInput, match="known size"):
    steps(1, "epochs", batch_size=4, examples=None)
  with pytest.raises(BadInput, match="batch_size is 0"):
    steps(1, "examples", batch_size=0, examples=None)
  with pytest.raises(BadInput, match="did you mean 'epochs'"):
    steps(1, "epoch", **BASE)
  assert UNITS[0] == "steps"
