"""Names of machines: what they stand for, what cannot be had, how their chips are linked."""

import importlib.util

import jax
import pytest

from maskjax.errors import BadInput
from maskjax.train.plan.devices import coordinates, devices_of
from maskjax.train.plan.flops import _BF16
from maskjax.train.plan.topology import CHIPS, parse


@pytest.mark.parametrize(
  ("name", "chips"),
  [("v5e:1x1", 1), ("v5e:16x16", 256), ("v4:2x2x1", 4), ("v5p:8x8x16", 1024), ("v6e:2x4", 8)],
)
def test_a_topology_has_the_chips_of_its_sides(name, chips):
  assert parse(name).devices == chips


@pytest.mark.parametrize(
  ("name", "said"),
  [
    ("v5:16x16", "unknown family of topology 'v5'.*known: gpu, v4, v5e, v5p, v6e"),
    ("v5e", "unknown shape '' of v5e"),
    ("v5e:16", "known: 1x1, 2x2, 2x4"),
    ("v5e:32x32", "unknown shape '32x32' of v5e"),
    ("v5e:4x-4", "unknown shape"),
    ("v5p:16x16", "known: 2x2x1, .*multiples of 4, as 4x4x8, up to 6144 chips"),
    ("v5p:4x4x6", "unknown shape '4x4x6'"),
    ("v5p:16x8x8", "unknown shape"),
    ("v4:16x16x32", "unknown shape"),
    ("v4:0x0x0", "unknown shape"),
    ("gpu:3", "known: 1, 2, 4, 8"),
  ],
)
def test_what_cannot_be_had_is_refused_with_what_can(name, said):
  with pytest.raises(BadInput, match=said):
    parse(name)


@pytest.mark.parametrize(
  ("name", "links"),
  [("v5e:4x4", 2), ("v5e:16x16", 4), ("v5p:2x2x4", 3), ("v5p:4x4x4", 6), ("gpu:8", 1)],
)
def test_links_of_the_chip_that_has_fewest(name, links):
  topology = parse(name)
  assert topology.links(range(len(topology.shape))) == links


def test_peaks_are_those_that_runs_are_measured_against():
  kinds = {"v4": "TPU v4", "v5e": "TPU v5e", "v5p": "TPU v5", "v6e": "TPU v6", "gpu": "H100"}
  assert {name: chip.flops for name, chip in CHIPS.items()} == {
    name: dict(_BF16)[kind] for name, kind in kinds.items()
  }


def test_without_libtpu_one_is_told_what_to_install(monkeypatch):
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
  with pytest.raises(BadInput, match=r"needs libtpu.*pip install 'maskjax\[tpu\]'"):
    devices_of(parse("v5e:16x16"))


def test_too_few_simulated_devices_are_told():
  if jax.device_count() >= 8:
    pytest.skip("this process has eight devices")
  with pytest.raises(BadInput, match="plan in a process of its own"):
    devices_of(parse("gpu:8"))


def test_a_cpu_device_stands_at_its_number():
  assert coordinates(jax.devices("cpu")[0], 5) == (5,)
