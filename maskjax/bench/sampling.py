"""Masked diffusion sampling: how often the network is evaluated, and how long that takes."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, Key

from maskjax import hide, schedule, score, select
from maskjax.bench import harness, steps
from maskjax.bench.harness import Contender, Line, Results, Row, Size, at_least
from maskjax.generate.decode import decode, draw
from maskjax.keys import keys, stream
from maskjax.model.text import text_transformer

BATCHES = (1, 16)
Predict = Callable[[Any, Any], Array]


def ours(size: Size) -> Mapping[str, Any]:
  """`generate.decode`, ancestral sampling.

  Each example leaves out the steps in which it reveals nothing: of 1,000 steps and 256 tokens about
  226 are left, and a batch goes on until the last of its examples is done.
  """
  sample = partial(
    decode,
    score=partial(score.uniform),
    select=partial(select.top),
    schedule=partial(schedule.linear),
    steps=size["steps"],
  )
  return _work(sample, size)


def every(size: Size) -> Mapping[str, Any]:
  """The same network at every step."""
  return _work(partial(every_step, steps=size["steps"]), size)


def every_step(
  predict: Predict,
  keys: Key[Array, "b"],
  tokens: Int[Array, "b n"],
  hidden: Bool[Array, "b n"],
  *,
  steps: int,
) -> Mapping[str, Array]:
  r"""Ancestral sampling as it is written down: each hidden position is revealed with probability
  $1 / (S - s + 1)$ at step s of S, by itself, that of a linear schedule.

  Source: Shi et al. 2024 (MD4), section 3.
  """

  def one(state: Any, step: Int[Array, ""]) -> tuple[Any, None]:
    tokens, hidden = state
    drawn = draw(keys, predict(tokens, hidden), 1.0, step)
    coin = lambda key: jax.random.uniform(stream(key, "coin", step), tokens.shape[1:])
    new = hidden & (jax.vmap(coin)(keys) * (steps - step + 1) < 1)
    return (jnp.where(new, drawn, tokens), hidden & ~new), None

  (tokens, _), _ = jax.lax.scan(one, (tokens, hidden), jnp.arange(1, steps + 1))
  return {"tokens": tokens}


def _work(sample: Callable[..., Any], size: Size) -> Mapping[str, Any]:
  shape = size["batch"], size["tokens"]
  sizes = {name: size[name] for name in ("vocabulary", "width", "depth", "heads", "mlp")}
  network = text_transformer(record_shape=shape[1:], **sizes)
  tokens, hidden = jnp.zeros(shape, jnp.int32), jnp.ones(shape, jnp.bool_)
  variables = jax.jit(network.init)(jax.random.key(0), tokens)
  read = lambda ids, hidden: hide.token(ids, hidden, size["vocabulary"])
  predict = lambda variables: lambda ids, hidden: network.apply(variables, read(ids, hidden))
  fill = lambda variables, keys: sample(predict(variables), keys, tokens, hidden)
  drawn = keys(jax.random.key(1), size["batch"])
  count = lambda keys: evaluations(lambda seen: sample(seen, keys, tokens, hidden), size)
  run = steps.calling(jax.jit(fill), variables, drawn)
  return {"run": run, "facts": {"evaluations": count(drawn)}}


def evaluations(sample: Callable[[Predict], Any], size: Size) -> int:
  """How many windows a network that knows nothing is shown."""
  seen = []

  def predict(tokens: Array, hidden: Array) -> Array:
    jax.debug.callback(lambda tokens: seen.append(len(tokens)), tokens)
    return jnp.zeros((*tokens.shape, size["vocabulary"]))

  jax.block_until_ready(jax.jit(lambda: sample(predict))())
  jax.effects_barrier()
  return sum(seen)


def report(size: Size, results: Results) -> tuple[Sequence[Line], Sequence[str]]:
  """Seconds for all windows of a batch."""
  lines, notes = [], []
  for batch in BATCHES:
    names = f"decode, {batch}", f"every step, {batch}"
    mine, plain = (harness.median(results, name) for name in names)
    lines.append(Line(f"s, batch {batch}", mine, plain, plain / mine, at_least(3)))
    ours, most = (results[name].facts["evaluations"] for name in names)
    notes.append(f"batch {batch}: {ours:,} windows through the network, of {most:,}")
  return lines, notes


ROW = Row(
  name="sampling",
  what="masked diffusion sampling, 256 tokens in 1,000 steps, against the network at every step",
  contenders=[
    Contender(f"{name}, {batch}", f"maskjax.bench.sampling:{target}", own={"batch": batch})
    for batch in BATCHES
    for name, target in (("decode", "ours"), ("every step", "every"))
  ],
  # The network of configs/masked_generative/md4.py:laptop.
  sizes={
    "full": dict(tokens=256, steps=1000, vocabulary=65, width=96, depth=4, heads=4, mlp=256),
    "smoke": dict(tokens=8, steps=6, vocabulary=5, width=8, depth=1, heads=2, mlp=16),
  },
  report=report,
  most=3,
)
