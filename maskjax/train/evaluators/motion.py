"""Where in a clip a task looks: what moves, or what stands still."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from maskjax.errors import BadInput
from maskjax.keys import stream
from maskjax.recover import patchify
from maskjax.task.answers import answer, needs


@needs("views", kinds=("video",))
def motion(
  context: Any, *, test: str = "test", batch_size: int = 256, above: float = 0.25
) -> dict[str, float]:
  r"""How often what moves is left visible, against what stands still.

  A patch moves if a pixel in it differs by more than `above` deviations from the same pixel one
  frame before or after. Of patches that do not move, those are detailed whose deviation over all
  their pixels is at least that of the median patch that moves. Every clip of `test` gets one of the
  task's own masks, the same at every step of a run; masks that do not look give equal rates.

  Returns:
    "ratio" of the first rate to the second; "moving" and "still", shares of the patches of either
    kind that are visible; "detailed", the same of still ones with detail (0 where there are none);
    "share" of all patches that move.

  Raises:
    BadInput: the task has no views, or nothing in the split moves, or nothing stands still.
  """
  context.mesh.check(batch_size, 1)
  views = answer(context.task, "views", "motion")
  space, grid = context.record.shape[:-1], context.task.network.grid
  patch = tuple(side // n for side, n in zip(space, grid, strict=True))

  @jax.jit
  def looks(variables, batch, key):
    seen, video = views(variables, batch, key)["seen"], batch["video"]
    visible, moving = ~jnp.isnan(seen), moves(video, above)
    cut = lambda x: patchify(x, patch)
    return cut(visible).all(-1), cut(moving).any(-1), cut(video).std(-1)

  parts = []
  with jax.debug_nans(False):
    for i, batch in enumerate(context.examples(test, batch_size)):
      placed = {**batch, "position": np.arange(batch_size, dtype=np.int32)}
      key = stream(context.key, "batch", i)
      found = looks(context.variables, context.mesh.put_whole(placed), key)
      parts.append([x[batch["valid"]] for x in context.mesh.get(found)])
  visible, moving, detail = (np.concatenate(part) for part in zip(*parts, strict=True))
  if moving.all() or not moving.any():
    raise BadInput(f"motion: {'all' if moving.all() else 'nothing'} in split {test!r} moves")
  detailed = ~moving & (detail >= np.median(detail[moving]))
  rate = lambda chosen: float(visible[chosen].mean()) if chosen.any() else 0.0
  rates = {"moving": rate(moving), "still": rate(~moving), "detailed": rate(detailed)}
  ratio = rates["moving"] / max(rates["still"], 1 / visible.size)
  return {"ratio": ratio, **rates, "share": float(moving.mean())}


def moves(video: Float[Array, "b t h w c"], above: float) -> Bool[Array, "b t h w c"]:
  """Which pixels differ by more than `above` from those one frame before or after them.

  >>> moves(jnp.array([0.0, 0, 1, 1, 1]).reshape(1, 5, 1, 1, 1), 0.5).ravel().tolist()
  [False, True, True, False, False]
  """
  change = jnp.abs(jnp.diff(video, axis=1)) > above
  none = jnp.zeros_like(change[:, :1])
  return jnp.concatenate([change, none], axis=1) | jnp.concatenate([none, change], axis=1)
