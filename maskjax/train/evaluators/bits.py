"""Bits per character: what it costs to write a text down with a model's probabilities."""

from typing import Any

import jax
import numpy as np

from maskjax.data.tokens import characters
from maskjax.keys import stream
from maskjax.task.answers import answer, needs


@needs("nats", kinds=("text",))
def bits(
  context: Any, *, split: str = "test", draws: int = 8, batch_size: int = 32
) -> dict[str, float]:
  r"""Bits per character of a split, window by window; a bound where the task gives a bound.

  $\sum_w -\log_2 p(x_w) / \sum_w |x_w|$ over all windows, each beginning without context; $|x_w|$
  counts characters, however many of them a token stands for; where a split says which tokens are
  "asked", of these alone. `draws` noise draws a window, the same at every step of a run; where the
  task's likelihood is exact one is enough.

  Args:
    context: what the training loop hands over.
    split: whose windows are measured.
    draws: noise draws a window, which are averaged.
    batch_size: windows at a time.

  Returns:
    "per character", and "per token" in bits too.

  Raises:
    BadInput: the task gives no likelihood, or the devices do not divide the batch size.
  """
  context.mesh.check(batch_size, 1)
  lengths = characters(context.record)
  nats = jax.jit(answer(context.task, "nats", "bits"), static_argnums=3)
  key, total, letters, tokens = stream(context.key, "nats"), 0.0, 0, 0
  for i, batch in enumerate(context.examples(split, batch_size)):
    position = i * batch_size + np.arange(batch_size, dtype=np.int32)
    placed = context.mesh.put_whole({**batch, "position": position})
    found = context.mesh.get(nats(context.variables, placed, key, draws))
    total += float(np.asarray(found, np.float64).sum())
    counted = batch["valid"] & batch.get("asked", True)
    letters += int(lengths[batch["tokens"][counted]].sum())
    tokens += int(counted.sum())
  in_bits = total / float(np.log(2))
  return {"per character": in_bits / letters, "per token": in_bits / tokens}
