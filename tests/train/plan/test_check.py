"""Building all of a run and running nothing: every field set to None, splits, data of before."""

import numpy as np
import pytest

from maskjax import lab
from maskjax.data import tfds as data_sets
from maskjax.errors import BadInput
from maskjax.train.log.loggers import bind_loggers
from maskjax.train.plan.check import check
from maskjax.train.run import plain
from maskjax.train.setup.build import make_parts
from maskjax.train.setup.sections import checked
from maskjax.train.workdirs.workdir import write_config, write_record

FIELDS = list(lab.names(lab.read("mae:smoke")))
# What has no default, or cannot be told to be absent.
REFUSED = {
  "data.name": "the config needs a field 'data.name'",
  "data.scale": "no shape",
  "data.scale.shape": "no shape",
  "data.scale.examples": "no examples",
  "hide.fn": "hide is a section with fn",
  "losses.recover": "losses.recover is a section with fn, got None",
  "losses.recover.fn": "losses.recover is a section with fn",
  "model.decoder": "model.decoder is a section with fn, got None",
  "model.encoder": "model.encoder is a section with fn, got None",
  "model.encoder.dtype": "unknown dtype of the model None",
  "optimizer.learning_rate": "the optimizer needs a learning_rate",
  "over.patch": "patches needs patch",
  "score.fn": "a section with fn",
  "select.fn": "a section with fn",
  "select.ratio": "top hides no fixed number of patches",
}


def told(field):
  """What is said where a field is None; empty where that stands for its default."""
  whole = "" if "." in field else "must be"
  # Evaluators of a smoke are off and build nothing.
  default = field == "optimizer.fn" or field.startswith("evals.")
  return REFUSED.get(field, "as fn=" if field.endswith(".fn") and not default else whole)


def built(*fields):
  """Builds the config of which some fields are None; what is said where it cannot be built."""
  config = lab.read("mae:smoke")
  try:
    for field in fields:
      lab.assign(config, field, "None")
    made = checked(plain(config))
    make_parts(made)
    bind_loggers(made)
  except BadInput as error:
    return str(error)
  return ""


@pytest.mark.parametrize("field", [field for field in FIELDS if told(field)])
def test_a_field_that_cannot_be_none_is_refused_in_a_line(field):
  said = built(field)
  assert told(field) in said
  assert "\n" not in said


FREE = [field for field in FIELDS if not told(field)]


@pytest.mark.parametrize("which", ["outer", "inner"])
def test_all_other_fields_that_are_none_stand_for_their_defaults(which):
  # None takes a section away, and so what is inside it.
  inside = lambda field, other: (field.startswith(f"{other}.") if which == "outer" else
                                 other.startswith(f"{field}."))  # fmt: skip
  fields = [field for field in FREE if not any(inside(field, other) for other in FREE)]
  assert len(fields) > 50
  assert built(*fields) == ""


def images(folder, **arrays):
  x = np.random.default_rng(0).integers(0, 255, (8, 8, 8, 1), np.uint8)
  named = dict(train_images=x, val_images=x[:4], train_labels=np.arange(8) % 2)
  np.savez(folder / "x.npz", **{**named, "val_labels": np.arange(4) % 2, **arrays})
  config = lab.read("mae:smoke")
  for name, value in (("name", "npz"), ("path", str(folder / "x.npz")), ("test", "val")):
    lab.assign(config, f"data.{name}", value)
  return config


def test_the_name_of_the_test_split_is_enough_and_data_of_before_are_asked_for(tmp_path):
  config = images(tmp_path)
  for name, section in config.evals.items():
    config.evals[name].every = 0 if name != "finetune" else section.every
  said = check(config)
  assert "train 8, validation 4" in said
  assert "evals.knn                    first and last step" in said
  assert "warning                      'validation' has 4 examples: figures measured" in said
  assert "a batch of" not in said
  run = tmp_path / "run"
  run.mkdir()
  write_config(run, checked(plain(config)))
  write_record(run, make_parts(checked(plain(config))).data.record)
  assert check(config, str(run)) == said
  config = images(tmp_path, val_labels=np.arange(4) // 2)
  with pytest.raises(BadInput, match=r"have changed: labels\.validation was"):
    check(config, str(run))
  lab.assign(config, "data.changed", "accept")
  assert "train 8, validation 4" in check(config, str(run))
  config.optimiser = {}
  with pytest.raises(BadInput, match="unknown config field 'optimiser'"):
    check(config)


def test_it_downloads_nothing(monkeypatch):
  asked = []
  monkeypatch.setattr(
    data_sets, "_prepare", lambda *_: asked.append(data_sets._DOWNLOADS.get()) or 1 / 0
  )
  with pytest.raises(ZeroDivisionError):
    check(lab.read("mae:laptop"))
  assert asked == [False]
