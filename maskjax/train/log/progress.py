"""How fast a run goes and when it ends: the accounting, the line, the terminal."""

import contextlib
import datetime
import math
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Literal, NamedTuple, SupportsFloat

import rich.console
import rich.progress

from maskjax.train.plan.flops import Peak

Phase = Literal["train", "data", "compile", "eval", "checkpoint"]
ASIDE: tuple[Phase, ...] = ("compile", "eval", "checkpoint")


class Pace(NamedTuple):
  """The speed since the last lap (nan where no time went by), and the seconds to the end."""

  steps_per_second: float
  examples_per_second: float
  eta: float


class Clock:
  """Accounts for a run's seconds by phase; all that is not in another phase is `train`.

  Speed and ETA count training and waiting for data, not compiling, evaluating or checkpointing.
  JAX returns before the work is done: wait for a step's result before a lap or another phase, or
  the training still under way is charged to what comes next. `seconds` are those of launches before
  this one, from which it counts on.

  >>> clock = Clock(total=10, batch_size=4, now=iter([0.0, 3.0, 8.0, 9.0]).__next__)
  >>> with clock.phase("eval"):  # from 3 s to 8 s
  ...   pass
  >>> clock.lap(step=2)  # at 9 s: 2 steps in 4 s of training
  Pace(steps_per_second=0.5, examples_per_second=2.0, eta=16.0)
  >>> dict(clock.seconds)
  {'train': 4.0, 'eval': 5.0}
  """

  def __init__(
    self,
    *,
    total: int,
    batch_size: int,
    step: int = 0,
    seconds: Mapping[str, float] = {},
    now: Callable[[], float] = time.perf_counter,
  ):
    self.seconds: defaultdict[str, float] = defaultdict(float, seconds)
    self._total, self._batch_size, self._now = total, batch_size, now
    self._phase: Phase = "train"
    self._since = now()
    self._steps, self._worked = 0, 0.0  # of all laps, for the ETA
    self._step, self._mark = step, self._worked_so_far()  # at the start of this lap

  @contextlib.contextmanager
  def phase(self, name: Phase) -> Iterator[None]:
    """Charges the time inside to `name`; an inner phase takes its time out of the outer one."""
    self._charge()
    outer, self._phase = self._phase, name
    try:
      yield
    finally:
      self._charge()
      self._phase = outer

  def restart(self, step: int) -> None:
    """Begins a lap at `step`, forgetting this one: after a first step that compiled."""
    self._step, self._mark = step, self._work()

  def lap(self, step: int) -> Pace:
    """The pace since the last lap, which ends at `step`."""
    work = self._work()
    steps, seconds = step - self._step, work - self._mark
    self._step, self._mark = step, work
    self._steps, self._worked = self._steps + steps, self._worked + seconds
    rate = steps / seconds if seconds else math.nan
    eta = (self._total - step) * self._worked / self._steps if self._steps else math.nan
    return Pace(rate, rate * self._batch_size, eta)

  def _charge(self) -> None:
    now = self._now()
    self.seconds[self._phase] += now - self._since
    self._since = now

  def _work(self) -> float:
    self._charge()
    return self._worked_so_far()

  def _worked_so_far(self) -> float:
    return sum(seconds for phase, seconds in self.seconds.items() if phase not in ASIDE)


def line(
  step: int,
  total: int,
  loss: SupportsFloat,
  pace: Pace,
  mfu: float | None = None,
  peak: Peak | None = None,
) -> str:
  """One line on where a run stands.

  >>> line(120, 1000, 0.52341, Pace(4.0, 1024.0, 220.0), 0.123, Peak(197e12, "TPU v5e, bf16"))
  'step 120/1000 · loss 0.5234 · 1024 examples/s · MFU 12.3% of 197 TFLOP/s · ETA 0:03:40'
  """
  parts = [
    f"step {step}/{total}",
    f"loss {float(loss):.4g}",
    f"{pace.examples_per_second:.4g} examples/s",
  ]
  if mfu is not None:
    parts.append(f"MFU {mfu:.1%}" + (f" of {peak.flops / 1e12:.3g} TFLOP/s" if peak else ""))
  if math.isfinite(pace.eta):
    parts.append(f"ETA {datetime.timedelta(seconds=round(pace.eta))}")
  return " · ".join(parts)


class Progress:
  """Shows lines: one that moves with a bar on a terminal, one after the other elsewhere.

  Writes to standard error unless given a stream; close it, by `contextlib.closing` for one.
  """

  def __init__(self, total: int, stream: IO[str] | None = None):
    self._stream = stream or sys.stderr
    console = rich.console.Console(file=self._stream, highlight=False)
    self._bar: rich.progress.Progress | None = None
    if console.is_terminal and not console.is_dumb_terminal:
      # No refresh thread: data workers may be forked while it holds a lock.
      self._bar = rich.progress.Progress(
        rich.progress.BarColumn(bar_width=20),
        rich.progress.TextColumn("{task.description}", markup=False),
        console=console,
        auto_refresh=False,
      )
      self._task = self._bar.add_task("starting", total=total)
      self._bar.start()

  def show(self, step: int, text: str) -> None:
    """Shows `text` as where the run stands at `step`."""
    if self._bar is None:
      print(text, file=self._stream, flush=True)
    else:
      self._bar.update(self._task, completed=step, description=text, refresh=True)

  def close(self) -> None:
    """Leaves the last line in place and gives the terminal back."""
    if self._bar is not None:
      self._bar.stop()
