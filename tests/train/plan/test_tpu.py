"""Plans for TPUs, where libtpu is installed to compile them."""

import importlib.util
import pathlib
import runpy
from types import SimpleNamespace

import jax
import pytest

from maskjax.model import flash
from maskjax.train.plan.devices import coordinates, devices_of
from maskjax.train.plan.program import TooBig, compile_step
from maskjax.train.plan.report import make_plan, table
from maskjax.train.plan.topology import parse

pytestmark = pytest.mark.skipif(
  importlib.util.find_spec("libtpu") is None, reason="libtpu, of the extra tpu, is not installed"
)

tiny_mae = runpy.run_path(str(pathlib.Path(__file__).with_name("tiny_mae.py")))["tiny_mae"]
CONFIG = tiny_mae(patch=8, width=128, decoder_width=128, batch_size=256, dtype="bfloat16")
NOTE = dict(scale=dict(shape=(64, 64, 3), examples=50_000))


@pytest.mark.parametrize("name", ["v4:2x2x1", "v5e:1x1", "v5e:4x8", "v5p:8x8x16", "v6e:16x16"])
def test_a_topology_is_as_large_as_libtpu_says(name):
  topology = parse(name)
  devices = devices_of(topology)
  assert len(devices) == topology.devices
  last = coordinates(devices[-1], 0)
  assert tuple(side + 1 for side in last[: len(topology.shape)]) == topology.shape


def test_a_small_step_is_planned_whole():
  made = make_plan({**CONFIG, "mesh": dict(preset="fsdp", least=1)}, NOTE, "v5e:2x2", fit=False)
  model, done = made["flops"]["model_per_chip"], made["flops"]["compiled_per_chip"]
  # Without the gradient of the pixels.
  assert 0.95 * model < done <= 1.02 * model
  memory = made["memory"]
  assert memory["total"] == sum(memory.values()) - memory["total"] - memory["limit"]
  assert memory["temporaries"] > 0
  assert made["verdict"].startswith("fits")
  assert "all-gather" in made["collectives"]
  assert made["verdict"] in table(made)


def test_long_attention_keeps_no_logits(monkeypatch):
  config = {**CONFIG, "batch_size": 32}
  note = dict(scale=dict(shape=(256, 256, 3), examples=50_000))
  plan = lambda: make_plan(config, note, "v5e:2x2", fit=False)
  kernel = plan()
  monkeypatch.setattr(flash, "LEAST", 2048)
  plain = plan()
  assert kernel["memory"]["temporaries"] < 0.75 * plain["memory"]["temporaries"]
  assert kernel["flops"]["model_per_chip"] == plain["flops"]["model_per_chip"]
  assert any("kernels" in note for note in kernel["notes"])


def test_what_does_not_fit_is_told_in_the_compilers_own_words():
  place = jax.sharding.SingleDeviceSharding(devices_of(parse("v5e:2x2"))[0])
  large = jax.ShapeDtypeStruct((2**16, 2**20), "float32", sharding=place)
  square = SimpleNamespace(run=jax.jit(lambda _, x: x @ x.T), state=(), batch=large)
  with pytest.raises(TooBig, match=r"15\.75G"):
    compile_step(square)
