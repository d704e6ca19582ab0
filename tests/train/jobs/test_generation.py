"""Requests in words, and the generate job on a run of its own."""

import dataclasses
import functools

import jax.numpy as jnp
import numpy as np
import pytest

from maskjax import lab
from maskjax.errors import BadInput
from maskjax.record import Record
from maskjax.task.answers import needed
from maskjax.task.base import Task
from maskjax.train import run
from maskjax.train.jobs.generation import request, sample, writer

RECORD = Record("text", (8,), {"train": 9}, vocabulary=tuple("ab "), unit="characters")


def fill(variables, keys, tokens, hidden):
  """Puts 1 in every gap, from left to right."""
  order = jnp.cumsum(hidden, axis=-1, dtype=jnp.int32)
  return {"tokens": jnp.where(hidden, 1, tokens), "step": jnp.where(hidden, order, 0)}


TASK = Task(init=lambda key, batch: {}, loss=lambda *args: ({}, None), answers={"generate": fill})
take = functools.partial(sample, TASK, {}, RECORD)


def test_a_prompt_is_continued_to_the_length_of_a_window():
  tokens, hidden = request("ab ", RECORD, 8)
  assert tokens.tolist() == [0, 1, 2, 0, 0, 0, 0, 0]
  assert hidden.tolist() == [False] * 3 + [True] * 5


def test_gaps_are_filled_where_they_stand():
  tokens, hidden = request("a[2] b[1]", RECORD, 8)
  assert tokens.tolist() == [0, 0, 0, 2, 1, 0]
  assert hidden.tolist() == [False, True, True, False, False, True]


def test_samples_hold_the_given_text_and_say_when_the_rest_came():
  made = take(prompt="a[2]a", count=3)
  assert made.tokens.tolist() == [[0, 1, 1, 0]] * 3
  assert made.step.tolist() == [[0, 1, 2, 0]] * 3
  assert "abba" in made.text
  assert made.picture.dtype == np.uint8


@pytest.mark.parametrize(
  ("words", "says"),
  [
    (dict(prompt="abababab"), "nothing to generate"),
    (dict(prompt="a[9]"), "10 tokens"),
    (dict(prompt="abc"), "'c'"),
    (dict(count=0), "count"),
    (dict(length=-1), "length"),
  ],
)
def test_bad_requests_are_named(words, says):
  with pytest.raises(BadInput, match=says):
    take(**words)


OFFERED = ("features", "views", "impute", "sample", "generate")


@pytest.mark.parametrize(
  ("kind", "answer"),
  [("text", "generate"), ("image", "sample"), ("table", "impute"), ("mixture", "views")],
)
def test_what_is_written_follows_from_the_answers_of_a_task(kind, answer):
  record = dataclasses.replace(RECORD, kind=kind)
  task = TASK._replace(answers=dict.fromkeys(OFFERED, len))
  assert needed(writer(task, record, "mine")).answers == (answer,)
  task = TASK._replace(answers=dict.fromkeys(set(OFFERED) - {answer}, len))
  says = f"the task mine generates nothing as configured: of {kind} data it offers .*features.*;"
  with pytest.raises(BadInput, match=f"{says} .* needs generate of texts, or sample of images"):
    writer(task, record, "mine")


def smoke(name, folder):
  """The smoke of a method, on short windows of a text."""
  text = folder / "text.txt"
  text.write_text("the quick brown fox jumps over the lazy dog. " * 40)
  config = lab.read(f"{name}:smoke")
  config.data.update(name="text", path=str(text), length=16)
  return config


def test_the_job_writes_transcript_and_picture(tmp_path):
  config = smoke("md4", tmp_path)
  run.run(config, tmp_path / "run")
  config.job = "generate"
  config.sample.update(prompt="the [6]fox", count=2)
  said = run.run(config, tmp_path / "run")
  (picture,) = (tmp_path / "run" / "views").glob("*_samples.png")
  assert str(picture) in said
  assert picture.with_suffix(".txt").read_text() in said
  assert said.count("fox") >= 2


def test_gaps_are_refused_from_left_to_right(tmp_path):
  config = smoke("causal_lm", tmp_path)
  run.run(config, tmp_path / "run")
  config.job = "generate"
  config.sample.update(prompt="the [6]fox", count=2)
  with pytest.raises(BadInput, match="hide a suffix"):
    run.run(config, tmp_path / "run")
  config.sample.prompt = "the "
  assert "the " in run.run(config, tmp_path / "run")


def test_a_run_that_was_not_trained_generates_nothing(tmp_path):
  config = smoke("md4", tmp_path)
  config.job = "generate"
  with pytest.raises(BadInput, match="train first"):
    run.run(config, tmp_path / "run")
