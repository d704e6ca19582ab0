"""A task that compiles in no time: a matrix fills in hidden pixels."""

import jax
import jax.numpy as jnp

from maskjax import keys, reduce, score, select
from maskjax.keys import stream
from maskjax.task.base import Aux, Task

PIXELS = 64
BIASES = [f"bias{i}" for i in range(4)]


def linear(*, record):
  """Asks for the hidden pixels of images of eight by eight."""
  assert record.shape == (8, 8, 1)
  flat = lambda batch: batch["image"].reshape(-1, PIXELS)

  def draw(batch, key, step):
    drawn = keys(stream(key, "mask", step), batch["position"])
    return select.top(score.uniform(drawn, (PIXELS,)), ratio=0.75)

  def predict(variables, pixels):
    params = variables["params"]
    return pixels @ params["kernel"] + sum(params[name] for name in BIASES)

  def init(key, batch):
    kernel = 0.1 * jax.random.normal(stream(key, "init"), (PIXELS, PIXELS))
    return {"params": {"kernel": kernel, **{name: jnp.zeros(PIXELS) for name in BIASES}}}

  def loss(variables, batch, key, step):
    hidden, whole = draw(batch, key, step), flat(batch)
    error = jnp.square(predict(variables, jnp.where(hidden, 0, whole)) - whole)
    return {"recover": reduce.term(error, hidden)}, Aux()

  def features(variables, batch, hidden=None):
    return {"mean": predict(variables, flat(batch))}

  def views(variables, batch, key):
    seen = jnp.where(draw(batch, key, 0), jnp.nan, flat(batch))
    return {"input": batch["image"], "seen": seen.reshape(batch["image"].shape)}

  return Task(init=init, loss=loss, answers={"features": features, "views": views})
