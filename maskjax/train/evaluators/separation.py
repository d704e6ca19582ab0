"""How well mixtures are separated, beside what the true sources would make of them by masks."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from maskjax import hide, masks, select
from maskjax.errors import BadInput, unknown
from maskjax.recover import si_snr
from maskjax.spectrogram import istft, stft
from maskjax.task.answers import answer, needs
from maskjax.view.reconstruction import pick, spaced
from maskjax.view.separation import masks_mixture

GAINS = ("improvement", "binary", "ratio", "wiener")


@needs("views", kinds=("mixture",))
def separation(
  context: Any,
  *,
  split: str = "test",
  batch_size: int = 50,
  ideal: bool = True,
  size: float = 0.032,
  hop: float = 0.008,
  examples: int = 3,
) -> dict[str, float]:
  """Scale-invariant signal-to-noise ratios of all sources of a split, silent ones left out.

  Estimates are matched to sources by `recover.best_permutation`. "improvement" is what
  they gain over the mixture itself as the estimate of every source; it and the others are means
  over sources, in dB. "gate" is the mean distance of gates from 1/2, twice: 0 if they are all half
  open, 1 if all are open or closed.

  With `ideal`, "binary", "ratio" and "wiener" are improvements by masks made of the true sources,
  on short-time Fourier transforms with windows of `size` seconds every `hop` seconds, a Hann window
  each, with the phase of the mixture.

  The picture shows `examples` evenly spaced mixtures.

  Args:
    context: what the training loop hands over.
    split: that is separated.
    batch_size: mixtures at a time.
    ideal: whether ideal masks are measured too.
    size: seconds of a window of the ideal masks.
    hop: seconds from one window to the next.
    examples: mixtures that are drawn.

  Returns:
    "improvement", of ideal masks "binary", "ratio" and "wiener", then "si_snr", "mixture", "gate".

  Raises:
    BadInput: an unknown split, or the devices do not divide the batch.

  Source: Luo and Mesgarani 2019 (Conv-TasNet), section III.
  """
  if split not in context.record.sizes:
    raise unknown("split", split, context.record.sizes)
  if examples < 1:
    raise BadInput(f"separation.examples must be at least 1, got {examples}")
  context.mesh.check(batch_size, 1)
  rate = context.record.rate
  cut: dict[str, Any] = dict(size=int(rate * size), hop=int(rate * hop))
  views = jax.jit(partial(measured, context))
  oracle = jax.jit(partial(oracles, **cut))
  parts: list[dict[str, np.ndarray]] = []
  for batch in context.examples(split, batch_size):
    there = batch.pop("valid")[:, None] & (batch["sources"] != 0).any(-1)
    placed = context.mesh.put_whole(batch)
    found = context.mesh.get(views(context.variables, placed))
    if ideal:
      found |= context.mesh.get(oracle(placed["mixture"], placed["sources"]))
    parts.append({name: values[there] for name, values in found.items()})
  result = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
  result |= {name: result[name] - result["mixture"] for name in result.keys() & {*GAINS}}
  some = pick(context.examples(split, batch_size), spaced(context.record.sizes[split], examples))
  show = jax.jit(answer(context.task, "views", "separation"))
  made = context.mesh.get(show(context.variables, some, context.key))
  context.picture("separation", masks_mixture(made, context.record))
  names = [name for name in (*GAINS, "si_snr", "mixture", "gate") if name in result]
  return {name: float(result[name].mean(dtype=np.float64)) for name in names}


def measured(context: Any, variables: Any, batch: Any) -> dict[str, Float[Array, "b k"]]:
  """Ratios of the estimates, as "improvement", and of the mixture; how decided the gates are."""
  views = answer(context.task, "views", "separation")(variables, batch, context.key)
  mixture, sources, gate = (views[name] for name in ("mixture", "sources", "gate"))
  decided = jnp.abs(2 * gate - 1).mean((-2, -1))
  ratio = si_snr(views["estimates"], sources)
  return {
    "si_snr": ratio,
    "improvement": ratio,
    "mixture": si_snr(jnp.broadcast_to(mixture[:, None], sources.shape), sources),
    "gate": decided,
  }


def oracles(
  mixture: Float[Array, "b n"], sources: Float[Array, "b k n"], *, size: int, hop: int
) -> dict[str, Float[Array, "b k"]]:
  """The ratio of every source where the mixture passes through its ideal mask of each kind."""
  n = mixture.shape[-1]
  after = size + -(n + size) % hop
  room = lambda x: jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(size, after)])
  known: dict[str, Any] = dict(size=size, hop=hop, fft=size, centre=False, emphasis=0.0)
  whole, parts = (jnp.asarray(stft(room(x), **known)) for x in (mixture, sources))
  row = parts.reshape(*parts.shape[:2], -1)
  content = jnp.stack([whole.real, whole.imag], axis=-1).reshape(len(mixture), 1, -1, 2)
  gates = {
    "binary": masks.to_keep(select.ideal_binary(row)).astype(jnp.float32),
    "ratio": select.ideal_ratio(row),
    "wiener": select.ideal_ratio(row, power=2.0),
  }
  found = {}
  for name, gate in gates.items():
    kept = hide.gate(jnp.broadcast_to(content, (*gate.shape, 2)), gate).reshape(*parts.shape, 2)
    signal = istft(jax.lax.complex(kept[..., 0], kept[..., 1]), size=size, hop=hop)
    found[name] = si_snr(jnp.asarray(signal)[..., size : size + n], sources)
  return found
