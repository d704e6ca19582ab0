"""Dynamic masking rates beside the authors' code: rates, counts, loss, gradient, two steps, decay.

The code is github.com/mosaicml/examples at 84188ff6: `build_mlm_scheduler_callback` of
examples/benchmarks/bert/src/mlm_scheduling.py, on the schedulers of github.com/mosaicml/composer
(4.0, cut out of composer/optim/scheduler.py, as are those of the learning rate), whose
`DecoupledAdamW` trains. Tokens are hidden by a coin each there: here the number is the rounded
share, and what is hidden and seen is ours. The network is transformers' Llama reading both ways,
tied, in the place of BERT: an oracle of ours.
Run: python tests/golden/beside_dynamic_masking_rate.py CHECKOUT COMPOSER
"""

import logging
import math
import pathlib
import sys
import typing
from types import SimpleNamespace

import beside
import numpy as np
import torch

BATCH, LENGTH, WORDS, STEPS, FIRST = 3, 60, 11, 40, 13
SIZES = dict(hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=40)
TIMES, TOTAL, AT = 50, 70_000, (0, 1000, 4200, 40_000, 69_999)


class Time(float):
  """A number of steps, or a share of them, as Composer's `Time`."""

  unit, value = "ba", property(float)

  def __truediv__(self, other):
    return Time(float(self) / float(other))

  def __sub__(self, other):
    return Time(float(self) - float(other))


def state(step, total):
  """Composer's state at the end of so many steps."""
  stamp = type("Stamp", (Time,), {"get": lambda self, unit: Time(self)})
  return SimpleNamespace(timestamp=stamp(step), max_duration=Time(total), total=total)


def public(folder, composer):
  """The authors' schedules of the masking rate, Composer's of the learning rate, its optimizer."""
  times = lambda time, state, ssr=1.0: Time(float(str(time).removesuffix("dur")) * state.total)
  given = dict(ComposerScheduler=object, State=object, Union=typing.Union, _convert_time=times)
  given |= dict(Time=Time, textwrap=None, warnings=None, math=math)
  for name in ("_raise_if_warmup_and_max_incompatible", "_raise_if_max_duration_exceeds_t_max"):
    given[name] = lambda *_: None
  Time.from_timestring = staticmethod(lambda text: text)
  names = ("ConstantScheduler", "LinearScheduler", "CosineAnnealingScheduler")
  names += ("_cosine_anneal", "LinearWithWarmupScheduler")
  place = pathlib.Path(composer) / "composer/optim"
  code = dict(zip(names, beside.cut(place / "scheduler.py", *names, **given), strict=True))
  more = dict(AdamW=torch.optim.AdamW, torch=torch, math=math, log=logging.getLogger())
  more |= dict(Union=typing.Union, Iterable=typing.Iterable, Optional=typing.Optional)
  (adam,) = beside.cut(place / "decoupled_weight_decay.py", "DecoupledAdamW", **more)
  event = SimpleNamespace(BATCH_END="end")
  core = dict(Callback=object, State=object, Logger=object, Event=event, Time=Time)
  schedulers = {**code, "ComposerScheduler": object, "_convert_time": times}
  where = f"{folder}/examples/benchmarks/bert/src"
  stand = dict(composer=core, composer__optim={}, composer__optim__scheduler=schedulers)
  with beside.standing_in(where, **stand, omegaconf={"DictConfig": object}):
    import mlm_scheduling
  return mlm_scheduling, code, adam


def main(folder, composer):
  """Runs both."""
  code, schedulers, adam = public(folder, composer)
  from maskjax import lab
  from maskjax.data import tiny

  shared = SimpleNamespace(value=None)
  said = SimpleNamespace(name="linear", initial_masking_rate=0.3, final_masking_rate=0.15)
  setter = code.build_mlm_scheduler_callback(said, shared)
  logger, shares = SimpleNamespace(log_metrics=lambda _: None), []
  for step in range(STEPS):
    setter.run_event("end", state(step, STEPS), logger)
    shares.append(shared.value)
  warm = schedulers["LinearWithWarmupScheduler"]("0.06dur", alpha_f=0.02)
  rates = [5e-4 * warm(state(step, TOTAL)) for step in AT]

  scale = dict(kind="text", shape=(LENGTH,), vocabulary=WORDS, examples=BATCH * STEPS)
  batch = {**tiny.batch(scale, BATCH), "valid": np.ones((BATCH, LENGTH), bool)}
  settings = lab.read("dynamic_masking_rate").optimizer

  def change(c):
    c.batch_size, c.total_steps = BATCH, STEPS
    c.model.update(width=24, depth=2, heads=3, mlp=40, dtype="float32", scan=False, norm_eps=1e-5)
    c.optimizer.update(beside.CONSTANT, weight_decay=settings.weight_decay * TIMES)

  ours = beside.Method("dynamic_masking_rate", change, tiny.record(scale, "train"), batch)
  torch.manual_seed(1)
  network, begin = beside.small_llama(WORDS + 1, **SIZES)
  variables = ours.read(begin, layout="llama")
  shape = (BATCH, LENGTH)
  drawn = [ours.values(variables, "hidden", "seen", step=s) for s in (FIRST, FIRST + 1)]
  counts = [int(ours.values(variables, "hidden", step=s)[0].sum()) for s in (0, FIRST, STEPS - 1)]
  want = [BATCH * round(shares[s] * LENGTH) for s in (0, FIRST, STEPS - 1)]
  turn, every = iter(drawn), torch.zeros(BATCH, 1, LENGTH, LENGTH)
  tokens = torch.tensor(np.asarray(batch["tokens"]).astype(int))

  def loss():
    hidden, seen = next(turn)
    read = torch.tensor(seen.values.reshape(shape).astype(int))
    asked = torch.where(torch.tensor(hidden.reshape(shape)), tokens, -1).reshape(-1)
    logits = network(read, attention_mask=every).logits[..., :WORDS].reshape(-1, WORDS)
    return torch.nn.functional.cross_entropy(logits, asked, ignore_index=-1)

  numbers = dict(lr=beside.RATE, betas=(0.9, 0.98), eps=1e-6)
  # A decay of 1e-5 a step at the peak, so many times stronger on both sides that it is seen.
  tx = adam(network.parameters(), **numbers, weight_decay=1e-5 * TIMES * beside.RATE / 5e-4)
  losses, slopes, after = beside.steps(network, tx, loss)

  def real(c):
    c.total_steps, c.batch_size, c.optimizer = TOTAL, 4096, settings

  rate = beside.Method("dynamic_masking_rate", real, tiny.record(scale, "train"), batch)
  params = lambda tensors: ours.read(tensors, layout="llama")["params"]
  costs, norms, moved = ours.steps(variables, first=FIRST)
  one, two, left = beside.moves(
    variables["params"], moved, [params(a) for a in after], params(slopes[0])
  )
  decays = {n: torch.ones_like(p) for n, p in network.named_parameters()}
  beside.row(
    "dynamic_masking_rate",
    "mosaicml/examples@84188ff6, network an oracle",
    [
      ("counts", beside.far(np.array(counts), np.array(want)), beside.EXACT),
      ("losses", beside.far(np.array(costs), np.array(losses)), beside.LOSS),
      ("gradient norm", abs(norms[0] / beside.norm(slopes[0]) - 1), beside.STEP),
      ("step", one, beside.STEP),
      ("two steps", two, beside.SECOND),
      ("decay", beside.far(beside.of_decays(ours), params(decays)), 1e-9),
      ("rates", beside.far([rate.optimizer.rate(i) for i in AT], rates), 1e-5),
    ],
    left,
  )


if __name__ == "__main__":
  main(*sys.argv[1:])
