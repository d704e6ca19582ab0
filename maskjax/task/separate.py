"""Separation: of a mixture, each source hides what is not its own, and is asked for as a signal."""

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from maskjax import bind, hide, masks
from maskjax.errors import BadInput
from maskjax.keys import stream
from maskjax.record import Record
from maskjax.recover import serving
from maskjax.reduce import Term
from maskjax.task.answers import offered
from maskjax.task.base import Aux, Batch, Task, Variables


class Separated(NamedTuple):
  """What becomes of a mixture.

  Attributes:
    gate: how much each source keeps of what stands at every time and filter.
    estimates: the sources as signals.
  """

  gate: Float[Array, "b k t f"]
  estimates: Float[Array, "b k n"]


def separate(
  *,
  record: Record,
  model: Callable[..., Any],
  select: functools.partial[Array],
  recover: functools.partial[Term] | Callable[..., Term],
) -> Task:
  """Scores for every source what it would hide of a mixture, and asks for the sources.

  The network encodes the mixture as content at times and filters, `encode(mixture) -> [b t f d]`,
  gives `scores(content) -> [b k t f]`, one map for each source, and turns what their gates leave
  back into signals, `decode(content, samples)`. A selection is called with the scores of all
  sources in one row, `[b k·t·f]`; it may name `grid` (k, t, f), and `segment` and `segments`: the
  place in the mixture that a position is about, the same for every source, by which `select.shares`
  divides the mixture among them. It gives gates, or a mask.

  `recover` is called with estimates, sources and which of these are asked: those that are not
  silent. It has one term, "sources". Views: "mixture", "sources", "estimates" and "gate", each in
  the order of the sources that they serve best, and "peaks", where each filter's spectrum is
  highest.

  Raises:
    BadInput: the data are no mixtures, or the model needs what is not offered.
  """
  if record.kind != "mixture":
    raise BadInput(f"separate takes mixtures, the data set holds {record.kind}")
  bind.check(model, ("record_shape",), "separate")
  network = model(record_shape=record.shape)

  def separated(variables: Variables, mixture: Float[Array, "b n"], step: Any) -> Separated:
    content = network.apply(variables, mixture, method="encode")
    scores = network.apply(variables, content, method="scores")
    grid, places = scores.shape[1:], math.prod(scores.shape[2:])
    segment = jnp.tile(jnp.arange(places), grid[0])
    offers = {"grid": grid, "segment": segment, "segments": places}
    row = scores.reshape(len(scores), -1)
    chosen = bind.call(bind.at(select, step), offers, row)
    gate = masks.to_keep(chosen).astype(row.dtype) if chosen.dtype == bool else chosen
    gate = gate.reshape(scores.shape)
    each = jnp.broadcast_to(content[:, None], (*gate.shape, content.shape[-1]))
    seen = hide.gate(each, gate)
    return Separated(gate, network.apply(variables, seen, mixture.shape[-1], method="decode"))

  def init(key: Key[Array, ""], batch: Batch) -> Variables:
    made: Variables = network.init(stream(key, "init"), batch["mixture"])
    return made

  def loss(
    variables: Variables, batch: Batch, key: Key[Array, ""], step: Any
  ) -> tuple[Mapping[str, Term], Aux]:
    made, sources = separated(variables, batch["mixture"], step), batch["sources"]
    asked: Bool[Array, "b k"] = jnp.any(sources != 0, axis=-1)
    ask = bind.at(recover, step) if isinstance(recover, functools.partial) else recover
    return {"sources": ask(made.estimates, sources, asked)}, Aux()

  def views(
    variables: Variables, batch: Batch, key: Key[Array, ""], step: Any = 0
  ) -> Mapping[str, Array]:
    made = separated(variables, batch["mixture"], step)
    given = {name: jnp.asarray(batch[name]) for name in ("mixture", "sources")}
    served = serving(made.estimates, given["sources"])
    gate = jnp.take_along_axis(made.gate, served[..., None, None], axis=1)
    estimates = jnp.take_along_axis(made.estimates, served[..., None], axis=1)
    peaks = network.apply(variables, method="peaks")
    return {**given, "estimates": estimates, "gate": gate, "peaks": peaks}

  return Task(init, loss, network=network, answers=offered(views=views))
