"""Sparse deltas: on top of the base they are the tuned network, bit for bit."""

import numpy as np
import pytest

from maskjax.errors import BadInput
from maskjax.train.checkpoints import delta
from maskjax.train.checkpoints.export import export


def trees():
  """A base and a tuned network: little of one leaf changed, all of another, nothing of a third."""
  rng = np.random.default_rng(0)
  draw = lambda *shape: rng.normal(size=shape).astype(np.float32)
  base = {
    "params": {"kernel": draw(20, 30), "head": draw(4, 3), "bias": draw(5), "half": draw(8)},
    "batch_stats": {"mean": draw(6)},
  }
  base["params"]["half"] = base["params"]["half"].astype(np.float16)
  base["params"]["bias"][0] = 0.0
  kernel, bias = base["params"]["kernel"].copy(), base["params"]["bias"].copy()
  kernel[3, 7], kernel[19, 29], bias[0] = 5.0, np.nan, -0.0
  tuned = {"kernel": kernel, "head": draw(4, 3), "bias": bias, "half": base["params"]["half"]}
  return base, {"params": tuned, "batch_stats": {"mean": draw(6)}}


def same(a, b):
  """Equal names, dtypes and bytes."""
  flat = lambda tree: {k: (v.dtype, v.shape, v.tobytes()) for k, v in delta._flat(tree).items()}
  assert flat(a) == flat(b)


def test_the_delta_on_the_base_is_the_tuned_network(tmp_path):
  base, tuned = trees()
  whole = tmp_path / "whole.safetensors"
  delta.save(tmp_path / "delta.safetensors", base, tuned)
  same(delta.load(tmp_path / "delta.safetensors", base), tuned)
  export(whole, tuned)
  assert (tmp_path / "delta.safetensors").stat().st_size < whole.stat().st_size / 2


def test_only_what_changed_is_in_it():
  base, tuned = trees()
  change = delta.delta(base, tuned)
  assert set(change["params"]) == {"kernel", "head", "bias"}
  kernel = change["params"]["kernel"]
  assert kernel["index"].tolist() == [97, 599]
  assert kernel["values"][0] == 5
  assert np.isnan(kernel["values"][1])
  assert change["params"]["bias"]["index"].tolist() == [0]  # -0.0 is another number of bits
  assert set(change["params"]["head"]) == {"values"}


def test_masks_are_a_bit_for_each_weight(tmp_path):
  rng = np.random.default_rng(1)
  base = {name: rng.normal(size=(9, 7)).astype(np.float32) for name in ("some", "few", "signs")}
  base["signs"][0] = 0.0
  hidden = rng.random((9, 7)) < 0.2
  few = base["few"].copy()
  few[4, 5] = 0.0
  signs = np.where(hidden, -np.float32(0), base["signs"])
  tuned = {"some": np.where(hidden, np.float32(0), base["some"]), "few": few, "signs": signs}
  change = delta.delta(base, tuned)
  assert {name: set(part) for name, part in change.items()} == {
    "some": {"hidden"},
    "few": {"index", "values"},  # 8 bytes, as many as a mask has
    "signs": {"index", "values"},  # of minus zero a mask knows nothing
  }
  assert (np.unpackbits(change["some"]["hidden"], count=63).reshape(9, 7) == hidden).all()
  assert change["some"]["hidden"].nbytes == 8
  delta.save(tmp_path / "delta.safetensors", base, tuned)
  same(delta.load(tmp_path / "delta.safetensors", base), tuned)
  with pytest.raises(BadInput, match="some does not fit"):
    delta.apply({**base, "some": base["some"][:5]}, change)


def test_equal_networks_have_none():
  base, _ = trees()
  assert delta.delta(base, base) == {}
  same(delta.apply(base, {}), base)
  with pytest.raises(BadInput, match="equal"):
    delta.save("nowhere", base, base)


def test_other_networks_are_refused():
  base, tuned = trees()
  with pytest.raises(BadInput, match="batch_stats/mean"):
    delta.delta({"params": base["params"]}, tuned)
  wide = {**tuned, "params": {**tuned["params"], "head": np.zeros((4, 5), np.float32)}}
  with pytest.raises(BadInput, match=r"head is float32 \(4, 3\) in the base and"):
    delta.delta(base, wide)
  change = delta.delta(base, tuned)
  small = {**base, "params": {**base["params"], "kernel": np.zeros((2, 3), np.float32)}}
  with pytest.raises(BadInput, match="kernel does not fit"):
    delta.apply(small, change)
  with pytest.raises(BadInput, match="the base lacks"):
    delta.apply({"batch_stats": base["batch_stats"]}, change)
