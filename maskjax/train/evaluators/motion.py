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
  context: Any, *, test: str = "test", batch_size: int = 256, above: float = 0.25, bins: int = 5
) -> dict[str, float]:
  r"""How often what moves is left visible, against what stands still.

  A patch moves if a pixel in it differs by more than `above` deviations from the same pixel one
  frame before or after. What moves is often what has contrast: so the rate of still patches is also
  taken among those as detailed as moving ones, by detail, the deviation over a patch's pixels. With
  `bins` of as many moving patches each, by their detail, it is the mean of the rates of still
  patches in each bin. Every clip of `test` gets one of the task's own masks, the same at every step
  of a run; masks that do not look give equal rates.

  Args:
    context: of the run.
    test: split of the data.
    batch_size: clips at a time.
    above: least change of a pixel that moves, in deviations of the data.
    bins: of detail.

  Returns:
    "moving" and "still", shares of the patches of either kind that are visible; "ratio" of the
    first to the second; "matched", the share of still ones as detailed as moving ones, and
    "matched_ratio" of moving ones to these, in bins where there are both (0 where there are none):
    1 of masks that follow contrast alone; "share" of all patches that move.

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
  rates = {"moving": float(visible[moving].mean()), "still": float(visible[~moving].mean())}
  one, other = matched(visible, moving, detail, bins)
  over = lambda a, b: a / max(b, 1 / visible.size)
  ratios = {"ratio": over(*rates.values()), "matched": other, "matched_ratio": over(one, other)}
  return {**ratios, **rates, "share": float(moving.mean())}


def matched(
  visible: Bool[np.ndarray, "b n"],
  moving: Bool[np.ndarray, "b n"],
  detail: Float[np.ndarray, "b n"],
  bins: int,
) -> tuple[float, float]:
  """Rates of visible patches that move and that do not, of equal detail: the means over bins.

  A bin holds as many moving patches as any other, of the same detail; those without still patches
  are left out.

  >>> visible, moving = np.array([[True, True, False]]), np.array([[True, False, False]])
  >>> matched(visible, moving, np.array([[1.0, 1.0, 0.0]]), 1)
  (1.0, 1.0)
  """
  edges = np.quantile(detail[moving], np.linspace(0, 1, bins + 1))
  place = np.clip(np.searchsorted(edges, detail, side="right") - 1, 0, bins - 1)
  place = np.where((detail < edges[0]) | (detail > edges[-1]), -1, place)
  both = [
    (visible[moving & (place == i)].mean(), visible[~moving & (place == i)].mean())
    for i in range(bins)
    if (moving & (place == i)).any() and (~moving & (place == i)).any()
  ]
  return tuple(np.mean(both, axis=0).tolist()) if both else (0.0, 0.0)


def moves(video: Float[Array, "b t h w c"], above: float) -> Bool[Array, "b t h w c"]:
  """Which pixels differ by more than `above` from those one frame before or after them.

  >>> moves(jnp.array([0.0, 0, 1, 1, 1]).reshape(1, 5, 1, 1, 1), 0.5).ravel().tolist()
  [False, True, True, False, False]
  """
  change = jnp.abs(jnp.diff(video, axis=1)) > above
  none = jnp.zeros_like(change[:, :1])
  return jnp.concatenate([change, none], axis=1) | jnp.concatenate([none, change], axis=1)
