"""Weights that fit by their shapes and mean something else."""

import dataclasses
import inspect
import json
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from safetensors.numpy import save_file

from maskjax.errors import BadInput
from maskjax.record import Record
from maskjax.sections import find
from maskjax.task.token_statistics import TokenCounts
from maskjax.train.checkpoints.leaves import Spec
from maskjax.train.setup import initial, origins
from maskjax.train.workdirs.workdir import write_config, write_record

RECORD = Record("text", (4,), {"train": 2}, class_names=("a", "b"), vocabulary=("x", "y", "z"))
VIT = {"fn": "model.vit", "width": 8, "depth": 1, "heads": 4}
CONFIG = {"over": {"patch": (2, 4)}, "model": {"encoder": VIT}}


def variables(record):
  """What a network of three layers has."""
  zeros = lambda size: np.zeros(size, np.float32)
  layers = {"head": zeros(record.classes), "embed": zeros(len(record.vocabulary))}
  return {"params": {**layers, "encoder": {"body": zeros(3)}}}


def parts_of(config, record):
  """A run of a config on data of a record."""
  init = lambda key, example: jax.tree.map(jax.numpy.asarray, variables(record))
  state = SimpleNamespace(variables=variables(record))
  data = SimpleNamespace(record=record)
  learned = lambda variables: {"params": variables["params"]}
  task = SimpleNamespace(init=init, network=None, learned=learned)
  return SimpleNamespace(config=config, data=data, state=state, task=task, example={})


@pytest.fixture
def source(tmp_path, monkeypatch):
  """The workdir of a run, whose arrays are ones."""
  write_config(tmp_path, CONFIG)
  write_record(tmp_path, RECORD)
  monkeypatch.setattr(origins, "make_task", lambda *args: parts_of(*args).task)
  shapes = flatten_dict({"state": {"variables": variables(RECORD)}}, sep="/")
  specs = {name: Spec("float32", array.shape) for name, array in shapes.items()}
  ones = lambda asked: {name: np.ones(like.shape, like.dtype) for name, like in asked.items()}
  held = SimpleNamespace(take=lambda choose: (1, ones(choose(specs))))
  monkeypatch.setattr(initial, "Checkpoints", lambda place: held)
  return tmp_path


def began(source, config, record):
  """The sum of each layer of a run that begins from `source`."""
  found = initial.given(source, variables(record), parts_of(config, record))["params"]
  return {name: float(sum(map(np.sum, jax.tree.leaves(tree)))) for name, tree in found.items()}


def test_the_same_network_on_the_same_data_takes_all(source):
  assert began(source, CONFIG, RECORD) == {"head": 2, "embed": 3, "encoder": 3}
  origins.check_same(parts_of(CONFIG, RECORD), source)


def test_what_was_prepared_stays_to_be_measured_whatever_its_structure(source):
  """Counts by token are arrays by attribute; a head for other classes looks at all variables."""
  other = dataclasses.replace(RECORD, class_names=("b", "a"))
  counts = TokenCounts(np.zeros(3), np.zeros(3), np.zeros(()))
  ours, parts = {**variables(other), "prepared": {"counts": counts}}, parts_of(CONFIG, other)
  parts.state.variables = ours
  found = initial.given(source, ours, parts)
  assert found["prepared"]["counts"] is counts
  assert found["params"]["embed"].sum() == 3
  assert found["params"]["head"].sum() == 0


@pytest.mark.parametrize("classes", [("b", "a"), ("a", "b", "c")])
def test_a_head_for_other_classes_begins_anew_and_is_told(source, caplog, classes):
  other = dataclasses.replace(RECORD, class_names=classes)
  assert began(source, CONFIG, other) == {"head": 0, "embed": 3, "encoder": 3}
  assert "was trained on other classes: 1 variables begin anew, such as params/head" in caplog.text
  with pytest.raises(BadInput, match="resume cannot"):
    origins.check_same(parts_of(CONFIG, other), source)


def test_another_vocabulary_of_equal_size_is_refused_unless_left_out(source):
  other = dataclasses.replace(RECORD, vocabulary=("x", "z", "y"))
  with pytest.raises(BadInput, match=r"another vocabulary: vocabulary\[1\] was 'y', is now 'z'"):
    began(source, CONFIG, other)
  assert began(source, {**CONFIG, "init_except": "embed"}, other)["embed"] == 0


@pytest.mark.parametrize(
  ("change", "says"),
  [
    ({"model": {"encoder": {**VIT, "heads": 2}}}, r"model\.encoder\.heads was 4, is now 2"),
    ({"over": {"patch": (4, 2)}}, r"over\.patch was \[2, 4\], is now \[4, 2\]"),
  ],
)
def test_what_shapes_do_not_tell_is_compared(source, change, says):
  with pytest.raises(BadInput, match=says):
    began(source, {**CONFIG, **change}, RECORD)
  # The encoder is not taken then.
  assert "model" not in change or began(
    source, {**CONFIG, **change, "init_except": "encoder"}, RECORD
  )


@pytest.mark.parametrize(
  ("fn", "name", "was", "now"),
  [
    ("model.text_transformer", "kv_heads", 2, 1),
    ("model.text_transformer", "gated", True, False),
    ("model.text_transformer", "activation", "gelu", "silu"),
    ("model.resnet", "norm", "batch", "group"),
  ],
)
@pytest.mark.parametrize("told", [True, False])
def test_what_else_shapes_do_not_tell_is_compared(source, fn, name, was, now, told):
  """The default of a function counts where a config leaves it out."""
  takes = inspect.signature(find(fn)).parameters[name].default
  section = lambda value: {"encoder": {"fn": fn, **({name: value} if told else {})}}
  was = was if told else takes
  write_config(source, {"model": section(was)})
  ours = {"model": {"encoder": {"fn": fn, name: now}}}
  says = rf"of another network: model\.encoder\.{name} was {was!r}, is now {now!r}"
  for check in (
    lambda: began(source, ours, RECORD),
    lambda: origins.check_same(parts_of(ours, RECORD), source),
  ):
    with pytest.raises(BadInput, match=says):
      check()


def test_weights_of_a_config_of_another_format_are_taken_and_told(source, caplog):
  other = {"format": 1, "model": {"encoder": {**VIT, "heads": 2}}}
  (source / "config.json").write_text(json.dumps(other))
  assert began(source, CONFIG, RECORD) == {"head": 2, "embed": 3, "encoder": 3}
  assert "its config is of another format, networks are not compared" in caplog.text


def test_how_a_network_is_computed_may_change_and_other_changes_are_told(source, caplog):
  changed = {**VIT, "dtype": "bfloat16", "size": "Ti", "scan": True}
  began(source, {**CONFIG, "model": {"encoder": changed}}, RECORD)
  assert not caplog.messages
  began(source, {**CONFIG, "model": {"encoder": {**VIT, "norm_eps": 1e-5}}}, RECORD)
  assert "model.encoder.norm_eps was 1e-06, is now 1e-05" in caplog.text


def test_published_weights_that_lack_a_part_of_the_encoder(tmp_path):
  kernel = np.zeros((4, 3), np.float32)
  names = [f"params/encoder/block_0{i}/attention/out/kernel" for i in range(2)]
  block = lambda: {"attention": {"out": {"kernel": kernel}}}
  ours = {"params": {"encoder": {"block_00": block(), "block_01": block()}}}
  path = tmp_path / "w.safetensors"
  save_file({"blocks.0.attn.proj.weight": kernel.T + 1, "patch_embed.proj.weight": kernel}, path)
  with pytest.raises(BadInput, match=f"1 variables are missing, such as {names[1]}; init_missing"):
    initial.given(path, ours, parts_of(CONFIG, RECORD))
  found = initial.given(path, ours, parts_of({**CONFIG, "init_missing": "allow"}, RECORD))
  assert found["params"]["encoder"]["block_00"]["attention"]["out"]["kernel"].sum() == 12
