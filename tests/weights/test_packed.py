"""Packed masks: one bit a weight, any shape, and they survive being written."""

import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maskjax.weights.packed import count, pack, unpack


@pytest.mark.parametrize("shape", [(0,), (1,), (8,), (5, 0), (0, 3), (3, 7), (2, 3, 17)])
def test_unpack_gives_back_what_was_packed(shape):
  hidden = np.random.default_rng(0).random(shape) < 0.5
  packed, back, number = jax.jit(lambda h: (p := pack(h), unpack(p), count(p)))(hidden)
  np.testing.assert_array_equal(back, hidden)
  assert back.dtype == jnp.bool_
  assert packed.bits.shape == (*shape[:-1], -(-shape[-1] // 8))
  assert int(number) == hidden.sum()


def test_compiles_and_keeps_its_size_out_of_the_arrays():
  hidden = np.arange(22).reshape(2, 11) % 3 == 0
  packed = jax.jit(pack)(hidden)
  assert [leaf.dtype for leaf in jax.tree.leaves(packed)] == [jnp.uint8]
  np.testing.assert_array_equal(jax.jit(unpack)(packed), hidden)


def test_survives_flattening_and_msgpack_bitwise():
  hidden = np.arange(33) % 5 == 0
  packed, empty = map(jax.jit(pack), (hidden, np.zeros(33, bool)))
  leaves, tree = jax.tree.flatten(packed)
  again = jax.tree.unflatten(tree, [np.array(leaf) for leaf in leaves])
  written = flax.serialization.to_bytes(packed)
  read = flax.serialization.from_bytes(empty, written)
  for other in (again, read):
    np.testing.assert_array_equal(jax.jit(unpack)(other), hidden)
    np.testing.assert_array_equal(other.bits, packed.bits)


def test_what_is_no_mask_is_refused():
  with pytest.raises(TypeError, match="mask of bool"):
    pack(jnp.ones(4))
