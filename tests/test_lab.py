"""What stands after the colon of --config: a preset, then pairs that keep their field's type."""

import pytest
from ml_collections import ConfigDict, config_dict

from maskjax import lab
from maskjax.errors import BadInput

PRESETS = {"laptop": lambda c: c.update(batch=8), "smoke": lambda c: c.update(batch=1)}


def config():
  fields = {"batch": 64, "rate": 0.5, "name": "x", "flag": True, "patch": (4, 4), "layers": [1]}
  c = ConfigDict({**fields, "select": {"fn": "top", "ratio": 0.75}})
  c.width, c.size = config_dict.placeholder(int), config_dict.placeholder(tuple)
  return c


@pytest.mark.parametrize(
  ("arg", "changes"),
  [
    (None, {}),
    ("", {}),
    ("smoke", {"batch": 1}),
    ("batch=2", {"batch": 2}),
    ("smoke,rate=1,", {"batch": 1, "rate": 1.0}),
    ("laptop,batch=2", {"batch": 2}),
    ("patch=(2,3),batch=2", {"patch": (2, 3), "batch": 2}),
    ("size=(2,(3,4)),layers=[1,2]", {"size": (2, (3, 4)), "layers": [1, 2]}),
    ("width=3,flag=False", {"width": 3, "flag": False}),
    ("name=a=b", {"name": "a=b"}),
    ("name=", {"name": ""}),
    ("name=2024", {"name": "2024"}),
    ("flag=false", {"flag": False}),
    ("size=[2,3]", {"size": (2, 3)}),
    ("select.ratio=None", {"select": {"fn": "top", "ratio": None}}),
    ("select.ratio=0.5", {"select": {"fn": "top", "ratio": 0.5}}),
  ],
)
def test_presets_and_pairs(arg, changes):
  got = lab.finish(config(), arg, PRESETS).to_dict()
  assert got == {**config().to_dict(), **changes}
  assert {k: type(v) for k, v in got.items() if k in changes} == {
    k: type(v) for k, v in changes.items()
  }


@pytest.mark.parametrize(
  ("arg", "says"),
  [
    ("latpop", r"^unknown preset 'latpop'; did you mean 'laptop'\? \(known: laptop, smoke\)$"),
    ("bach=3", "^unknown config key 'bach'; did you mean 'batch'"),
    ("select.rato=3", "^unknown config key 'select.rato'; did you mean 'select.ratio'"),
    ("selec.ratio=3", "^unknown config key 'selec.ratio'; did you mean 'select.ratio'"),
    ("ratio=3", "^unknown config key 'ratio'; did you mean 'select.ratio'"),
    ("batch.size=3", "^unknown config key 'batch.size'"),
    ("=3", "^unknown config key ''"),
    ("batch=1,smoke", "^after the preset come key=value pairs, got 'smoke'$"),
    ("smoke,laptop", "^after the preset come key=value pairs, got 'laptop'$"),
    ("batch=many", "^config key batch must be int, got 'many'$"),
    ("batch=1.5", "^config key batch must be int, got 1.5$"),
    ("batch=True", "^config key batch must be int, got True$"),
    ("batch=None", "^config key batch must be int, got None$"),
    ("rate=False", "^config key rate must be float, got False$"),
    ("flag=1", "^config key flag must be bool, got 1$"),
    ("patch={[]:1}", "^config key patch must be tuple"),
    ("size=4", "^config key size must be tuple, got 4$"),
    ("width=wide", "^config key width must be int, got 'wide'$"),
    ("select=5", "^config key select must be a section, of which single fields can be set, got 5$"),
  ],
)
def test_what_is_wrong_is_named(arg, says):
  with pytest.raises(BadInput, match=says):
    lab.finish(config(), arg, PRESETS)


def test_a_config_is_read_from_its_file(tmp_path):
  file = tmp_path / "a.b.py"
  file.write_text("def get_config(arg='none'):\n  return arg\n")
  assert lab.read(str(file)) == "none"
  assert lab.read(f"{file}:") == ""
  assert lab.read(f"{file}:laptop,a=b.py:c") == "laptop,a=b.py:c"


def test_what_goes_wrong_in_a_config_file_is_raised_as_it_is(tmp_path):
  (tmp_path / "a.py").write_text("def get_config(arg=None):\n  return {}['x']\n")
  with pytest.raises(KeyError):
    lab.read(str(tmp_path / "a.py"))
