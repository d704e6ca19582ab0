"""Optimisers from config: an update rule, its rate over time, its share for each parameter."""

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from maskjax import bind
from maskjax.errors import BadInput, unknown
from maskjax.schedule import Schedule, at_step, linear
from maskjax.sections import bound
from maskjax.train.optimizers.rules import Matched, PyTree, Rules, layerwise, match, names
from maskjax.train.optimizers.updates import RULES

Rate = Callable[[Any], Float[Array, ""]]

# Beside these, nothing with fewer than two axes decays.
UNDECAYED = r"(^|/)(bias|scale)$|position|token$"


class Optimizer(NamedTuple):
  """What moves the parameters.

  Attributes:
    tx: an optax transformation.
    rate: its learning rate as a function of the step.
    report: lines to log.
    held: `(average, parameters, state of tx) -> average`, which is the parameters themselves
      wherever `tx` holds them.
    decays: what multiplies the weight decay of each parameter, as a tree.
    rates: likewise its learning rate; one of 0 is not trained.
  """

  tx: optax.GradientTransformation
  rate: Rate
  report: tuple[str, ...]
  held: Callable[[PyTree, PyTree, Any], PyTree] = lambda average, params, state: average
  decays: PyTree = None
  rates: PyTree = None


def optimizer(
  params: PyTree,
  *,
  fn: str = "adamw",
  learning_rate: float | None = None,
  total_steps: int,
  batch_size: int,
  scale_by_batch: int = 256,
  warmup_steps: int = 0,
  schedule: str | Mapping[str, Any] | Schedule = "cosine",
  end: float = 0.0,
  weight_decay: float = 0.0,
  coupled: bool = False,
  decay_rules: Rules | None = None,
  rate_rules: Rules = (),
  layer_decay: float = 1.0,
  layers: str = r"block_(\d+)",
  embeddings: str | None = r"embed|position|token",
  clip: float = 0.0,
  **hyperparameters: Any,
) -> Optimizer:
  r"""An optimiser of `params` (arrays or their shapes), bound from one section of a config.

  $\theta \leftarrow \theta - \eta_t\, r\, (u_t + \lambda\, d\, \theta)$, where $u_t$ is the rule's
  step on the clipped gradient, $d$ and $r$ are the parameter's multipliers, and $\eta_t$ =
  `rate(t)`: a line from 0 to the peak, `learning_rate · batch_size / scale_by_batch`, then the
  schedule down to `end` times the peak.

  Args:
    params: the parameters, for their names and shapes.
    fn: "adamw", "adam", "adan", "sgd", "lamb", "lars", "lion", or "module:factory" like those of
      `optax`.
    learning_rate: the base rate, which has no default; the peak itself where `scale_by_batch` is 0.
    total_steps: steps until the schedule's end, the warm-up's included.
    batch_size: examples in the global batch.
    scale_by_batch: the batch size for which the base rate is meant.
    warmup_steps: steps of linear warm-up.
    schedule: a name in `maskjax.schedule` or "module:factory", called with `start=1` and `end`;
      a section `{"fn": name, …}` with further arguments; or a schedule, which multiplies the peak.
    end: last value of the schedule as a share of the peak.
    weight_decay: $\lambda$, decoupled: multiplied by the rate, never part of the moments.
    coupled: whether $\lambda\, d\, \theta$ is part of the gradient instead, after it was clipped:
      the moments see it, as in PyTorch's `SGD` and `Adam`.
    decay_rules: (pattern, $d$) pairs, see `rules.match`; None means 0 for biases, norm scales and
      all else with fewer than two axes, tokens and position tables.
    rate_rules: (pattern, $r$) pairs; 0 or None freezes: no update, no state, no part in clipping.
    layer_decay: further multiplier of the rate by depth, see `rules.layerwise`.
    layers: pattern whose group is the number of a block.
    embeddings: pattern of what lies before the first block; None for nothing.
    clip: largest global norm of the gradient; 0 for no clipping.
    **hyperparameters: of the rule: `b1`, `b2`, `eps`, `momentum`, `mu_dtype`, …

  Raises:
    BadInput: an unknown name, a rule that matches nothing, a number out of range.

  LAMB and LARS add the decay before their trust ratio, and leave out of it what does not decay
  (d = 0). LARS and SGD multiply by the rate after the momentum, as PyTorch and the code of MoCo v3
  and MAE do; in the paper of LARS the rate comes before. A foreign factory is given `rate` as its
  `learning_rate`, and 0 as its `weight_decay`: the decay is added to what it returns.

  >>> sizes = {"total_steps": 100, "warmup_steps": 10, "batch_size": 512}
  >>> tx, rate, *_ = optimizer({"kernel": jnp.ones((2, 2))}, learning_rate=1e-3, **sizes)
  >>> [round(rate(step).item(), 6) for step in (0, 5, 10, 55, 100)]
  [0.0, 0.001, 0.002, 0.001, 0.0]

  Loshchilov and Hutter, "Decoupled weight decay regularization", 2019; You et al., "LARS", 2017,
  and "LAMB", 2020; Chen et al., "Symbolic discovery of optimization algorithms" (Lion), 2023; Goyal
  et al., 2017 (scaling by batch).
  """
  _check(0 <= warmup_steps <= total_steps, "warmup_steps", warmup_steps, f"in 0 … {total_steps}")
  _check(total_steps > 0, "total_steps", total_steps, "positive")
  _check(batch_size > 0, "batch_size", batch_size, "positive")
  if learning_rate is None:
    raise BadInput("the optimizer needs a learning_rate")
  numbers = {"learning_rate": learning_rate, "scale_by_batch": scale_by_batch, "end": end}
  for name, value in {**numbers, "weight_decay": weight_decay, "clip": clip}.items():
    _check(value >= 0, name, value, "not negative")
  peak = learning_rate * (batch_size / scale_by_batch if scale_by_batch else 1)
  rate = _rate(peak, _schedule(schedule, end), warmup_steps, total_steps)

  decays, decay_report = _decays(params, decay_rules)
  rates, rate_report = _rates(params, rate_rules, layer_decay, layers, embeddings)
  trained = jax.tree.map(bool, rates)
  if not any(jax.tree.leaves(trained)):
    raise BadInput("rate_rules freeze every parameter")

  own = _where(trained, decays)
  step = _step(fn, rate, 0.0 if coupled else weight_decay, own, hyperparameters)
  scale = _multiply(_where(trained, rates))
  clipping = optax.clip_by_global_norm(clip) if clip else optax.identity()
  if coupled:
    clipping = optax.chain(clipping, _add_decay(weight_decay, own))
  tx = _freeze(optax.chain(clipping, step, scale), trained)
  scaled = f" (learning_rate {learning_rate:.4g} x batch {batch_size} / {scale_by_batch})"
  said = f"{peak:.4g}{scaled if scale_by_batch else ''}"
  head = f"{fn}: peak rate {said}, {warmup_steps} steps of warm-up, {total_steps} in all"
  report = (head, *decay_report, *rate_report)
  return Optimizer(tx, rate, report, decays=decays, rates=rates)


def _rate(peak: float, schedule: Schedule, warmup_steps: int, total_steps: int) -> Rate:
  # One program: eager, every operation of a schedule would be compiled by itself.
  up = at_step(linear(0.0, float(jax.jit(schedule)(0.0))), max(warmup_steps, 1))
  on = at_step(schedule, max(total_steps - warmup_steps, 1))
  return lambda step: peak * jnp.where(step < warmup_steps, up(step), on(step - warmup_steps))


def _schedule(spec: str | Mapping[str, Any] | Schedule, end: float) -> Schedule:
  if callable(spec):
    _check(end == 0, "end", end, "0 beside a schedule that is given as a function")
    return spec
  if isinstance(spec, str):
    spec = {"fn": f"schedule.{spec}" if spec.isidentifier() else spec}
  factory = bound(spec)
  needs = bind.needs(factory)
  if end and "end" not in needs:
    raise BadInput(f"schedule {spec['fn']!r} takes no end, got end={end}")
  offers = {"start": 1.0, "end": end, "value": 1.0}
  bind.check(factory, offers, "the optimizer")
  return bind.call(factory, offers)


def _decays(params: PyTree, rules: Rules | None) -> Matched:
  if rules is not None:
    return _multipliers("weight decay", params, rules)
  decays = lambda name, leaf: float(np.ndim(leaf) > 1 and not re.search(UNDECAYED, name))
  values = jax.tree.map(decays, names(params), params)
  leaves = jax.tree.leaves(values)
  line = f"{sum(map(bool, leaves))} of {len(leaves)} leaves, none of the vectors and {UNDECAYED!r}"
  return Matched(values, (f"weight decay: {line}",))


def _rates(
  params: PyTree, rules: Rules, layer_decay: float, layers: str, embeddings: str | None
) -> Matched:
  values, report = _multipliers("rate", params, rules)
  if layer_decay == 1:
    return Matched(values, report)
  if not 0 < layer_decay < 1:
    raise BadInput(f"layer_decay must lie in (0, 1], got {layer_decay}")
  depth = layerwise(params, layer_decay, layers=layers, embeddings=embeddings)
  values = jax.tree.map(lambda value, factor: value * factor, values, depth.values)
  return Matched(values, (*report, *(f"layer decay: {line}" for line in depth.report)))


def _multipliers(what: str, params: PyTree, rules: Rules) -> Matched:
  values, report = match(params, rules, default=1.0)
  for pattern, value in rules:
    holds = value is None or (isinstance(value, int | float) and value >= 0)
    _check(holds, f"{what} rule {pattern!r}", value, "None or a number that is not negative")
  values = jax.tree.map(lambda v: float(v or 0), values, is_leaf=lambda v: v is None)
  return Matched(values, tuple(f"{what}: {line}" for line in report) if rules else ())


def _check(holds: bool, name: str, value: Any, allowed: str) -> None:
  if not holds:
    raise BadInput(f"{name} must be {allowed}, got {value}")


def _check_names(fn: str, factory: Callable[..., Any], given: Iterable[str]) -> None:
  takes = inspect.signature(factory).parameters.values()
  if any(p.kind is p.VAR_KEYWORD for p in takes):
    return
  choices = {p.name for p in takes if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
  ours = inspect.signature(optimizer).parameters.values()
  choices |= {p.name for p in ours if p.kind is p.KEYWORD_ONLY}
  for name in sorted(given):
    if name not in choices:
      raise unknown(f"argument of optimizer {fn}", name, choices)


def _step(
  fn: str, rate: Rate, weight_decay: float, decays: PyTree, hyperparameters: Mapping[str, Any]
) -> optax.GradientTransformation:
  """What lies between the clipped gradient and the parameter's own multiplier of the rate."""
  if ":" in fn:
    return _foreign(fn, rate, weight_decay, decays, hyperparameters)
  if fn not in RULES:
    raise unknown("optimizer", fn, RULES)
  if fn == "adam" and weight_decay:
    raise BadInput(f"adam takes coupled=True beside weight decay, got {weight_decay}; or adamw")
  _check_names(fn, RULES[fn], hyperparameters)
  adapted = jax.tree.map(bool, decays)
  rule = RULES[fn](_add_decay(weight_decay, decays), adapted, **hyperparameters)
  return optax.chain(rule, optax.scale_by_learning_rate(rate))


def _foreign(
  fn: str, rate: Rate, weight_decay: float, decays: PyTree, hyperparameters: Mapping[str, Any]
) -> optax.GradientTransformation:
  factory = bind.resolve(fn, "optax")
  signature = inspect.signature(factory)
  _check_names(fn, factory, hyperparameters)
  arguments = {"learning_rate": rate, **hyperparameters}
  if "weight_decay" in signature.parameters:
    arguments["weight_decay"] = 0.0
  try:
    signature.bind(**arguments)
  except TypeError as error:
    raise BadInput(f"{fn} is no optimizer with a learning_rate: {error}") from error
  tx = factory(**arguments)
  if not isinstance(tx, optax.GradientTransformation):
    raise BadInput(f"{fn} gave a {type(tx).__name__}, not an optax transformation")
  strength = (lambda step: -weight_decay * rate(step)) if weight_decay else 0.0
  return optax.chain(tx, _add_decay(strength, decays))


def _add_decay(strength: float | Callable, multipliers: PyTree) -> optax.GradientTransformation:
  """Adds strength · multiplier · parameter, one transformation for each multiplier but 0."""
  if not strength:
    return optax.identity()
  times = lambda m: (lambda step: m * strength(step)) if callable(strength) else m * strength
  equal = lambda m: jax.tree.map(lambda value: value == m, multipliers)
  values = sorted({m for m in jax.tree.leaves(multipliers) if m})
  decays = [optax.add_decayed_weights(times(m), mask=equal(m)) for m in values]
  return optax.chain(optax.identity(), *decays)


def _multiply(multipliers: PyTree) -> optax.GradientTransformation:
  if all(m == 1 for m in jax.tree.leaves(multipliers)):
    return optax.identity()
  return optax.stateless(lambda updates, _: jax.tree.map(lambda u, m: u * m, updates, multipliers))


def _where(chosen: PyTree, tree: PyTree) -> PyTree:
  return jax.tree.map(lambda keep, leaf: leaf if keep else optax.MaskedNode(), chosen, tree)


def _freeze(tx: optax.GradientTransformation, trained: PyTree) -> optax.GradientTransformation:
  if all(jax.tree.leaves(trained)):
    return tx
  # Minus zero is the one number whose addition leaves every float as it is, minus zero included.
  still = optax.stateless(
    lambda updates, _: jax.tree.map(lambda u: jnp.full_like(u, -0.0), updates)
  )
  labels = jax.tree.map(lambda t: "trained" if t else "frozen", trained)
  return optax.partition({"trained": tx, "frozen": still}, labels)
