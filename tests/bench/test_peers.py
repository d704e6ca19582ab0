"""Peers run where PyTorch is installed, and measure what we measure."""

import importlib.util

import pytest

from maskjax.bench import __main__ as command
from maskjax.bench import harness, mae_step, worker

PEERS = [(name, one) for name in command.ROWS for one in command.load(name).contenders if one.peer]


def needs(*packages):
  for package in packages:
    if importlib.util.find_spec(package) is None:
      pytest.skip(f"{package} is not installed: pip install 'maskjax[bench]'")


@pytest.mark.parametrize(("name", "one"), PEERS, ids=[f"{n}-{one.name}" for n, one in PEERS])
def test_a_peer_runs(name, one, tmp_path):
  needs("torch", "transformers")
  if one.own.get("compiled"):
    pytest.skip("compiling takes half a minute; the bench does it")
  row = command.load(name)
  size = row.prepare(row.sizes["smoke"], tmp_path)
  work = worker.resolve(str(harness.HERE / one.target))({**size, **one.own})
  worker.measure({**work, "times": 1})


def test_models_have_the_same_size():
  needs("torch", "transformers")
  size = {**mae_step.ROW.sizes["smoke"], "compiled": False}
  peer = worker.resolve(str(harness.HERE / "peers" / "mae_step.py:step"))(size)
  ours = mae_step.step(size)
  assert peer["facts"]["parameters"] == ours["facts"]["parameters"]
