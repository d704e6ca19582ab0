"""What a config says of a run: fields that are needed, keys that are known, None for a default."""

import pytest

import maskjax as mj
from maskjax.errors import BadInput
from maskjax.train.setup.sections import checked

LEAST = {
  "task": {"fn": "task.masked"},
  "data": {"name": "npz"},
  "optimizer": {},
  "batch_size": 2,
  "seed": 0,
}


@pytest.mark.parametrize(
  ("change", "says"),
  [
    ({"batch_sise": 2}, "unknown config field 'batch_sise'; did you mean 'batch_size'"),
    ({"seed": None}, "the config needs a field 'seed'"),
    ({"data": {"name": None}}, r"the config needs a field 'data\.name'"),
    ({"data": 3}, "data is a section of keys, got 3"),
    ({"loader": {"worker": 1}}, "unknown key of loader, 'worker'; did you mean 'workers'"),
    ({"loader": {"seed": 1}}, "unknown key of loader, 'seed'"),
    ({"checkpoint": {"kep": 1}}, "unknown key of checkpoint, 'kep'; did you mean 'keep'"),
    ({"log": {"evry": 1}}, "unknown key of log, 'evry'; did you mean 'every'"),
    ({"profile": {"step": 1}}, "unknown key of profile, 'step'; did you mean 'steps'"),
  ],
)
def test_what_cannot_be_is_said_at_once(change, says):
  with pytest.raises(BadInput, match=says):
    checked({**LEAST, **change})


def test_nothing_is_no_config(tmp_path):
  with pytest.raises(BadInput, match="the config needs a field 'task'"):
    mj.train({}, tmp_path / "run")
  assert not (tmp_path / "run").exists()


def test_none_stands_for_the_default():
  none = {
    "seeds": None,
    "loader": {"threads": None},
    "evals": {"knn": {"fn": "a.b", "every": None}},
  }
  data = {"data": {"name": "npz", "train": None}}
  found = checked({**LEAST, **none, **data})
  assert found == {**LEAST, "loader": {}, "evals": {"knn": {"fn": "a.b"}}}
