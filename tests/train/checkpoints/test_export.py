"""Exported weights: typed, named, whole."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from maskjax.errors import BadInput
from maskjax.train.checkpoints.export import export, read


def test_round_trip(tmp_path):
  tree = {
    "encoder": {"kernel": jnp.arange(6.0).reshape(2, 3).T, "bias": jnp.ones(3, jnp.bfloat16)},
    "blocks": [np.array(2**40), np.zeros((0, 2), bool)],
    "f8": jnp.ones(3, jnp.float8_e4m3fn),
    "key": jax.random.key(3),
  }
  export(tmp_path / "w.safetensors", tree)
  assert [p.name for p in tmp_path.iterdir()] == ["w.safetensors"]
  got = read(tmp_path / "w.safetensors")
  got["blocks"] = list(got["blocks"].values())
  assert jax.random.uniform(got.pop("key")) == jax.random.uniform(tree.pop("key"))
  assert jax.tree.structure(got) == jax.tree.structure(tree)
  for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(tree), strict=True):
    assert isinstance(a, np.ndarray)
    assert a.dtype == b.dtype
    np.testing.assert_array_equal(a, np.asarray(b))


def test_names_are_joined_by_slashes(tmp_path):
  export(tmp_path / "w", {"encoder": {"block_0": {"kernel": np.ones(2)}}})
  assert list(safetensors.numpy.load_file(tmp_path / "w")) == ["encoder/block_0/kernel"]


@pytest.mark.parametrize("keep", [0, 4, 40, -1])
def test_truncated_file_is_refused(tmp_path, keep):
  path = tmp_path / "w"
  export(path, {"a": np.ones(100)})
  path.write_bytes(path.read_bytes()[:keep])
  with pytest.raises(BadInput, match="cannot be read"):
    read(path)


def test_what_cannot_be_is_refused(tmp_path):
  with pytest.raises(BadInput, match="cannot be read"):
    read(tmp_path / "absent")
  with pytest.raises(BadInput, match="cannot be written"):
    export(tmp_path / "absent" / "w", {"a": np.ones(1)})
  export(tmp_path / "w", {"a": np.ones(1)})
  with pytest.raises(BadInput, match="cannot be written"):
    export(tmp_path / "w", {"a": jnp.ones(1, jnp.int4)})
  assert read(pathlib.Path(tmp_path / "w"))["a"].tolist() == [1.0]
  assert [p.name for p in tmp_path.iterdir()] == ["w"]


def test_leaves_below_a_leaf_are_refused(tmp_path):
  safetensors.numpy.save_file({"a": np.ones(1), "a/b": np.ones(1)}, tmp_path / "w")
  with pytest.raises(BadInput, match="cannot be read"):
    read(tmp_path / "w")
