"""Masks at one bit for each weight."""

import dataclasses
import importlib.util

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, UInt8

from maskjax import masks


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Packed:
  """A mask of one axis or more, eight entries in a byte along its last axis.

  Attributes:
    bits: `[…, ⌈size / 8⌉]`, the first entry in the highest bit, zeros behind the last.
    size: length of the last axis.
  """

  bits: UInt8[Array, "..."]
  size: int = dataclasses.field(metadata=dict(static=True))


if importlib.util.find_spec("flax"):  # whoever has it may write an optimiser's state with it
  from flax import serialization

  serialization.register_serialization_state(
    Packed,
    lambda packed: {"bits": serialization.to_state_dict(packed.bits)},
    lambda packed, state: dataclasses.replace(packed, bits=state["bits"]),
  )


def pack(hidden: Bool[Array, "*b n"]) -> Packed:
  """The mask in bits.

  >>> pack(jnp.array([True, False, False, False, False, False, False, False, True])).bits.tolist()
  [128, 128]
  """
  masks.check(hidden=hidden)
  return Packed(jnp.packbits(hidden, axis=-1), hidden.shape[-1])


def unpack(packed: Packed) -> Bool[Array, "*b n"]:
  """The mask that was packed.

  >>> unpack(pack(jnp.array([True, False, True]))).tolist()
  [True, False, True]
  """
  places = jnp.arange(7, -1, -1, dtype=jnp.uint8)
  *lead, width = packed.bits.shape  # spelt out: jnp.unpackbits takes no empty arrays
  entries = (packed.bits[..., None] >> places & 1).reshape(*lead, 8 * width)
  return entries[..., : packed.size].astype(jnp.bool_)


def count(packed: Packed) -> Int[Array, ""]:
  """How many entries are hidden, an exact int32."""
  return jnp.sum(jax.lax.population_count(packed.bits), dtype=jnp.int32)
