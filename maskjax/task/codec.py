"""Codecs: networks that are given, not trained, between examples and what a task works on."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from maskjax.keys import stream
from maskjax.record import Record
from maskjax.task.base import FROZEN, Variables, network_of


class Codec(NamedTuple):
  """The way from examples to what a task works on, and back; pure functions of arrays.

  Attributes:
    shape: of one example's code.
    init: `key -> variables`, of the codec alone.
    encode: `(variables, examples) -> codes`.
    decode: `(variables, codes) -> examples`.
  """

  shape: tuple[int, ...]
  init: Callable[[Key[Array, ""]], Variables]
  encode: Callable[[Variables, Array], Array]
  decode: Callable[[Variables, Array], Array]


def codec_of(model: Callable[..., Any] | None, record: Record) -> Codec:
  """The codec of a bound autoencoder, the examples themselves without one.

  Its weights lie in the collection "frozen", which no optimiser moves; `config.init_from` takes
  them from a run of `autoencode`. A code is the mean of its Gaussian.
  """
  if model is None:
    plain = lambda variables, x: x
    return Codec(record.shape, lambda key: {}, plain, plain)
  network = network_of(model, record)

  def init(key: Key[Array, ""]) -> Variables:
    made = network.init(stream(key, "codec"), jnp.zeros((1, *record.shape)))
    return {FROZEN: made["params"]}

  def apply(variables: Variables, x: Array, method: str) -> Any:
    return network.apply({"params": variables[FROZEN]}, x, method=method)

  return Codec(
    network.latent_shape,
    init,
    lambda variables, x: jax.lax.stop_gradient(apply(variables, x, "encode").mean),
    lambda variables, x: apply(variables, x, "decode"),
  )
