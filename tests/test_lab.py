"""What stands after the colon of --config: a preset, then pairs that keep their field's type."""

import pathlib

import pytest
from ml_collections import ConfigDict, config_dict

from maskjax import lab
from maskjax.errors import BadInput
from maskjax.smoke import smoke

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


CHAIN = {"hide": ({"fn": "hide.blur", "sigma": 1.0}, {"fn": "hide.drop", "keep": None})}


@pytest.mark.parametrize(
  ("arg", "where", "value"),
  [
    ("hide.0.sigma=2", 0, {"fn": "hide.blur", "sigma": 2.0}),
    ("hide.1.keep=(4,8)", 1, {"fn": "hide.drop", "keep": (4, 8)}),
    ("hide.1.exact=True", 1, {"fn": "hide.drop", "keep": None, "exact": True}),
  ],
)
def test_an_entry_of_a_chain_is_named_by_its_number(arg, where, value):
  chain = ConfigDict(CHAIN)
  assert lab.finish(chain, arg, {}).hide[where] == value
  assert CHAIN["hide"][where] != value  # the entry is a copy


def test_a_section_takes_every_argument_of_its_function():
  config = ConfigDict({"select": {"fn": "select.top", "ratio": 0.75}})
  assert lab.finish(config, "select.count=3", {}).select.count == 3
  for wrong in ("select.cont=3", "hide.0.sigma=1", "select.0=1"):
    with pytest.raises(BadInput, match="unknown config key"):
      lab.finish(config, wrong, {})
  with pytest.raises(BadInput, match="must be float, got 'wide'"):
    lab.finish(ConfigDict(CHAIN), "hide.0.sigma=wide", {})


def test_the_data_section_takes_every_argument_of_what_opens_it():
  config = ConfigDict({"data": {"name": "folder", "size": (4, 4)}})
  said = 'data.splits={"test": ["held"]},data.background=(0,0,0),data.limit=3,data.changed=accept'
  data = lab.finish(config, said, {}).data.to_dict()
  assert data["splits"] == {"test": ["held"]}
  assert (data["background"], data["limit"], data["changed"]) == ((0, 0, 0), 3, "accept")
  for wrong in ("data.split=()", "data.known=3", "data.axes=nchw", "split=()"):
    with pytest.raises(BadInput, match="unknown config key"):
      lab.finish(config, wrong, {})
  assert lab.finish(config, "data.name=npz,data.axes=nchw", {}).data.axes == "nchw"


ROOT = """
from maskjax import lab
def method(c):
  c.select = dict(fn="select.top", ratio=0.75)
  c.data = dict(name="large", test="validation")
  c.evals = dict(knn=dict(fn="knn"))
def paper(c):
  c.batch_size = 4096
@lab.preset
def laptop(c):
  c.data.update(name="digits", test="test")
  c.evals = dict(linear=dict(fn="linear"))
  c.batch_size = 64
@lab.preset("laptop")
def longer(c):
  c.batch_size = 128
"""
ABOVE = """
import pathlib
from maskjax import lab
BASE = lab.load(pathlib.Path({root!r}))
def method(c):
  c.select.ratio = dict(fn="schedule.linear", start=0.0, end=0.5)
  c.evals.loss = dict(fn="loss")
def paper(c):
  c.batch_size = 2048
@lab.preset
def laptop(c):
  c.seeds = 3
@lab.preset("laptop")
def plain(c):
  c.select.ratio = 0.75
"""


@pytest.fixture(scope="module")
def above(tmp_path_factory):
  folder = tmp_path_factory.mktemp("configs")
  (folder / "root.py").write_text(ROOT)
  (folder / "above.py").write_text(ABOVE.format(root=str(folder / "root.py")))
  return lab.load(folder / "above.py")


def test_a_preset_is_that_of_the_base_then_the_method_then_its_own_lines(above):
  assert above.PRESETS == ("laptop", "longer", "plain", "smoke")
  whole, laptop, longer = (above.get_config(name) for name in ("", "laptop", "longer"))
  assert (whole.batch_size, laptop.batch_size, longer.batch_size) == (2048, 64, 128)
  assert (whole.data.name, laptop.data.name) == ("large", "digits")
  # What the base's preset replaces, the method changes after that.
  assert sorted(laptop.evals) == ["linear", "loss"]
  for config in (whole, laptop, longer):
    assert config.select.ratio.end == 0.5
  assert (laptop.seeds, longer.seeds, above.get_config("laptop,seed=3").seed) == (3, 1, 3)
  # A number takes the place of a section, and the type is checked again from there on.
  assert above.get_config("plain").select.ratio == 0.75
  with pytest.raises(BadInput, match=r"select\.ratio must be float"):
    above.get_config("plain,select.ratio=half")


def test_a_preset_that_begins_nowhere_is_refused(above, tmp_path):
  with pytest.raises(BadInput, match=r"unknown preset 'lapto'; did you mean 'laptop'"):
    above.get_config("lapto")
  text = ABOVE.format(root=above.BASE.__file__) + "@lab.preset\ndef new(c): pass\n"
  (tmp_path / "new.py").write_text(text)
  with pytest.raises(BadInput, match="the base has no preset 'new': say what it begins as"):
    lab.load(tmp_path / "new.py").get_config("new")


def test_presets_of_the_base_may_be_left_out(above, tmp_path):
  begun = (
    ABOVE.format(root=above.BASE.__file__) + '@lab.preset("longer")\ndef shorter(c): c.seeds = 2\n'
  )
  (tmp_path / "less.py").write_text(begun + 'WITHOUT = ("longer",)\n')
  less = lab.load(tmp_path / "less.py")
  assert less.PRESETS == ("laptop", "plain", "shorter", "smoke")
  assert less.get_config("shorter").batch_size == 128
  with pytest.raises(BadInput, match="unknown preset 'longer'"):
    less.get_config("longer")
  (tmp_path / "less.py").write_text(begun + 'WITHOUT = ("long",)\n')
  with pytest.raises(BadInput, match="unknown preset of the base in WITHOUT, 'long'"):
    lab.load(tmp_path / "less.py")


def test_a_smoke_is_made_for_every_config_and_written_in_none(above, tmp_path):
  text = pathlib.Path(above.__file__).read_text()
  (tmp_path / "own.py").write_text(text + '@lab.preset("laptop")\ndef smoke(c): c.seeds = 1\n')
  with pytest.raises(BadInput, match="a preset smoke is made for every config"):
    lab.load(tmp_path / "own.py")
  # The fixture's NOTE is none.
  with pytest.raises(BadInput, match="a smoke needs laptop=dict"):
    above.get_config("smoke")


def test_a_smoke_keeps_the_layers_that_taps_and_gates_name():
  model = {name: dict(fn="model.vit", depth=12) for name in ("decoder", "encoder")}
  config = dict(model=model, batch_size=4, taps={}, gates={})
  depths = lambda **own: [n.depth for n in smoke(ConfigDict({**config, **own})).model.values()]
  assert depths() == [1, 1]
  assert depths(taps=dict(a="encoder/*/input", b="encoder/-3/output")) == [1, 3]
  assert depths(taps=dict(a="decoder/block_03/attention/projections")) == [4, 1]
  gate = dict(at="decoder/blocks/4/heads", by="hidden")
  assert depths(taps=dict(a="encoder/1/input"), gates=dict(b=gate)) == [5, 2]


def test_fields_of_a_smoke_that_refer_to_one_move_together():
  config = lab.base("text_mlm/mask15").get_config("smoke,select.times=2")
  assert (config.select.times, config.let.source.times) == (2, 2)
  with pytest.raises(BadInput, match=r"select\.times must be int"):
    lab.assign(config, "select.times", "often")


def test_all_evaluators_at_once_are_refused_with_how_one_is_switched_off():
  with pytest.raises(BadInput, match=r"--config\.evals\.NAME\.every=-1 switches one .* got {}$"):
    lab.assign(lab.read("mae:smoke"), "evals", "{}")
