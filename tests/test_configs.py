"""Every config: presets load, its smoke does what it did, and the paper's scale is the paper's."""

import functools
import json
import math
import pathlib
import re

import jax
import numpy as np
import pytest
from restated import Assignments
from safetensors.numpy import load_file

from maskjax import lab
from maskjax.data import kinds, pipeline, tiny
from maskjax.errors import BadInput
from maskjax.train.evaluators.evaluation import on
from maskjax.train.mesh.mesh import PRESETS, bytes_per_device, make_mesh
from maskjax.train.plan.program import abstract_data, make
from maskjax.train.run import plain
from maskjax.train.setup import stages
from maskjax.train.setup.build import build, make_optimizer, make_task, run_lengths
from maskjax.train.setup.durations import duration
from maskjax.train.state import init_opt_state, parameter_count

ROOT = pathlib.Path(__file__).parents[1]
GOLDEN = ROOT / "tests" / "golden" / "configs"
FILES = [p for p in sorted((ROOT / "configs").rglob("*.py")) if not p.name.startswith("_")]
bytes_of = lambda tree: sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree))
RESTATING = """
import pathlib
from maskjax import lab
{base}
def method(c):
  {method}
"""
every_config = pytest.mark.parametrize("file", FILES, ids=lambda p: p.stem)


@every_config
def test_presets_keep_the_fields_of_the_default(file):
  module = lab.load(file)
  assert {"laptop", "smoke"} <= set(module.PRESETS)
  fields = set(module.get_config())
  for preset in module.PRESETS:
    assert set(module.get_config(preset)) == fields
    assert module.get_config(f"{preset},seed=7").seed == 7


@every_config
def test_every_stage_is_needed_by_the_run_that_has_it(file):
  """One that nothing names would never be trained, and the run begin without it."""
  module = lab.load(file)
  for preset in ("", *module.PRESETS):
    config = plain(module.get_config(preset))
    needed = stages.needed(config, pathlib.Path("run"))
    assert {path.name for path in needed} == set(config.get("stages", {})), preset


@every_config
def test_every_preset_names_what_is_there(file):
  """Its graph is built, with the data that its note tells; default and laptop are built below."""
  module = lab.load(file)
  for preset in set(module.PRESETS) - {"laptop", "smoke"}:
    assert task_of(module, module.get_config(preset)).answers


def task_of(module, config):
  """The task of a config, with data such as its note tells of its laptop."""
  scale, config = module.NOTE.get("laptop", module.NOTE["scale"]), plain(config)
  record = tiny.record(tiny.fitted(scale, config["data"]), config["data"].get("train", "train"))
  return make_task(config, record)


FLAG = re.compile(r"--config\.([\w.]+)=('[^']*'|[^\s,;|)`]*[^\s,;|)`.:])")
HEAD = re.compile(r"--config=(\w+)(?::([\w,]+))?\s+(?:--workdir=\S+\s+)?")
TOGETHER = re.compile(rf"(?:{HEAD.pattern})?{FLAG.pattern}(?:\s+{FLAG.pattern})*")


@every_config
def test_what_its_note_says_to_set_can_be_set(file):
  """Flags that stand side by side are set together, in one of the presets, or where they say."""
  own = lab.load(file)
  for found in TOGETHER.finditer(own.__doc__):
    flags = [(key, value.strip("'")) for key, value in FLAG.findall(found[0])]
    if any("…" in value for _, value in flags):
      continue
    head = HEAD.match(found[0])
    other = next((f for f in FILES if head and f.stem == head[1]), None)
    module, presets = own, ("laptop", *own.PRESETS, "")
    if other:
      module, presets = lab.load(other), (head[2] or "",)
    told = [refused(module, preset, flags) for preset in presets]
    assert None in told, (found[0], told[0])


def refused(module, preset, flags):
  """Why a config cannot be built with some fields set; None if it can."""
  config = module.get_config(preset)
  try:
    for key, value in flags:
      lab.assign(config, key, value)
    if {key.split(".")[0] for key, _ in flags} & {*TRAINED, "hold"}:
      task_of(module, config)
  except BadInput as error:
    return error
  return None


def test_no_config_restates_a_field_of_its_base():
  """Every assignment changes something, in the default or in a preset; see restated.py."""
  found = Assignments(ROOT / "configs")
  with found.recorded():
    for file in FILES:
      experiment = lab.load(file).experiment
      for preset in ("", *experiment.presets):
        experiment.config(preset)
  assert found.restated() == []
  assert len(found) > 1000


@every_config
def test_no_note_restates_the_data_of_its_base(file):
  module = lab.load(file)
  base = module.BASE.NOTE if hasattr(module, "BASE") else {}
  for name in ("scale", "laptop"):
    own, above = module.NOTE.get(name), base.get(name)
    assert own is above or own != above, name


def test_what_is_restated_is_found(tmp_path):
  (tmp_path / "base.py").write_text(
    RESTATING.format(base="", method="c.a = dict(fn='f', b=1, d=2)")
  )
  base = f"BASE = lab.load(pathlib.Path({str(tmp_path / 'base.py')!r}))"
  wrong = {
    "c.a.b = 1": ["b"],
    "c.a = dict(fn='f', b=1, d=3)": ["a"],  # for c.a.d = 3
    "c.a.update(fn='g', b=1)": ["b"],
    "c.a = c.a.copy_and_resolve_references()": ["a"],
    "c.a = dict(fn='g', b=1, d=2)": [],  # another function
    "c.a = dict(fn='f', b=1)": [],  # and no d
    "c.a.b = 1.0": [],
    "c.e = c.a.get_ref('b')": [],
  }
  for method, keys in wrong.items():
    (tmp_path / "above.py").write_text(RESTATING.format(base=base, method=method))
    found = Assignments(tmp_path)
    with found.recorded():
      lab.load(tmp_path / "above.py").get_config()
    assert [place.split(": ")[1] for place in found.restated()] == keys, method


@every_config
def test_the_mesh_is_chosen_on_the_command_line(file):
  config = lab.read(f"{file}:smoke")
  assert make_mesh(plain(config)["mesh"]).preset == "data"
  for key, value in (("preset", "fsdp"), ("shape.fsdp", "1"), ("rules", "(('x$', (None,)),)")):
    lab.assign(config, f"mesh.{key}", value)
  mesh = make_mesh(plain(config)["mesh"])
  assert (mesh.preset, mesh.rules) == ("fsdp", (("x$", (None,)),))


@every_config
def test_it_does_what_it_did(file, built, behaviour):
  """Masks, terms and what is trained; `python tests/golden/make_configs.py ID` writes them anew."""
  stored = json.loads((GOLDEN / f"{file.stem}.json").read_text())
  now = behaviour.behaviour(built(file.stem), built(file.stem, "laptop"))
  assert not list(behaviour.differences(stored, now))


@every_config
def test_the_smoke_trains(file, built):
  made = built(file.stem, "laptop")
  state, metrics = made.trained.state, made.trained.metrics
  kind = lambda tree: jax.tree.map(lambda x: (x.shape, x.dtype), tree)
  assert kind(state.variables) == kind(made.shapes)
  assert all(np.isfinite(value).all() for value in metrics.values())
  begun, ended = (jax.tree.leaves(v["params"]) for v in (made.variables, state.variables))
  assert any((np.asarray(a) != b).any() for a, b in zip(begun, ended, strict=True))


# What is trained, beside what a smoke says of the run, its data and its evaluators.
TRAINED = ("over", "model", "let", "score", "select", "hide", "target", "losses", "branches")
TRAINED += ("teachers", "answers", "prepare", "reparametrize", "batch_size")


@every_config
def test_its_smoke_is_what_these_tests_build_for_two_steps_on_tiny_data(file, built):
  made, config = built(file.stem, "laptop"), plain(lab.read(f"{file}:smoke"))
  assert {k: config.get(k) for k in TRAINED} == {k: made.config.get(k) for k in TRAINED}
  assert (config["job"], config["total_steps"], config.get("stages", {})) == ("train", 2, {})
  assert not any(map(on, config["evals"].values()))
  data = pipeline.load(**{k: v for k, v in config["data"].items() if v is not None})
  size = config["batch_size"]
  batch = next(pipeline.batches(data, batch_size=size, seed=0, threads=1, prefetch=1))
  kind = lambda batch: {k: (v[:size].shape, v.dtype) for k, v in batch.items()}
  assert kind(batch) == kind(made.batch)
  assert run_lengths(config, data.record).total_steps == 2
  make_optimizer(config, made.shapes["params"], 2, batch_size=size, examples=32)


@every_config
def test_its_plan_counts_the_state_of_its_run(file, built):
  """Shapes of what a plan would compile, with the state cut, against arrays of training."""
  made = built(file.stem, "laptop")
  config = {**made.config, "mesh": {"preset": "fsdp_tensor", "least": 1}}
  step = make(config, {"scale": made.scale}, absent(config["batch_size"]))
  state, size = made.trained.state, step.batch_size
  # Trained as a few vectors, see vectors.py; a run has the leaves.
  leaves = jax.eval_shape(functools.partial(init_opt_state, made.optimizer.tx), made.shapes)
  average = made.task.learned(made.shapes) if config.get("ema") else {}
  state = state._replace(opt_state=leaves, ema=average)
  spec = lambda tree: jax.tree.map(lambda x: (x.shape, x.dtype), tree)
  assert spec(step.state) == spec(state)
  assert spec(dict(step.batch)) == spec({k: v[:size] for k, v in made.batch.items()})
  assert step.flops > 0
  check_presets(step.state, size)


def absent(batch_size):
  """As many devices as can share a batch, at most eight: of shapes one may stand for all."""
  return jax.devices()[:1] * math.gcd(8, batch_size)


def check_presets(state, batch_size):
  """Every preset of the mesh keeps the bytes of a state, whole on each device or cut."""
  devices, whole = absent(batch_size), bytes_of(state)
  for preset in PRESETS:
    mesh = make_mesh({"preset": preset, "least": 1}, devices)
    part = bytes_per_device(mesh.state(state))
    cut = preset.startswith("fsdp") and len(devices) > 1
    assert whole / len(devices) <= part < 0.9 * whole if cut else part == whole


@every_config
def test_its_views_can_be_drawn(file, built):
  """Of zeros beside the batch: what is drawn is for tests/view, this is about names and shapes."""
  made = built(file.stem, "laptop")
  if "views" not in made.task.answers:
    assert "predict" in made.task.answers  # of a classifier there is nothing to see
    return
  shapes = jax.eval_shape(made.task.answers["views"], made.shapes, made.batch, jax.random.key(0))
  views = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), dict(shapes))
  views |= {k: v for k, v in made.batch.items() if k in views}
  picture = kinds.linked(made.record, "masks")(views, made.record)
  assert min(np.asarray(picture).shape[:2]) > 8


def counted(module):
  """The number of parameters where NOTE, or its base's, says that it is from: "SOURCE: WHERE".

  The source is the public code, by a golden value (FILE NAME, and what we have more or less), or a
  script beside it that reads NOTE and is run by hand; or "by hand", the sum written out.
  """
  while "counted" not in module.NOTE:
    module = module.BASE
  source, _, where = module.NOTE["counted"].partition(": ")
  if source == "by hand":
    return eval(where, {"__builtins__": {}})
  assert source == "public code"
  file, *rest = where.split()
  path = pathlib.Path(__file__).with_name("golden") / file
  if not rest:
    assert "parameters" in path.read_text()
    return module.NOTE["scale"]["parameters"]
  stored = load_file(path) if path.suffix == ".safetensors" else json.loads(path.read_text())
  return np.sum(stored[rest[0]]) + int("".join(rest[1:]) or 0)


@every_config
def test_the_paper_scale_has_the_papers_parameters(file):
  module = lab.load(file)
  config, scale = plain(module.get_config()), module.NOTE["scale"]
  batch_size = config["batch_size"]
  # As a plan counts it.
  state = build(config, *abstract_data(config, module.NOTE), make_mesh()).state
  assert parameter_count(state.variables) == scale["parameters"] == counted(module)
  check_presets(state, batch_size)
  if config["total_epochs"]:
    lengths = dict(batch_size=batch_size, examples=scale["examples"])
    epochs = config["total_epochs"] * scale["examples"] / batch_size
    assert duration("total", config, **lengths) == math.floor(epochs + 0.5)
