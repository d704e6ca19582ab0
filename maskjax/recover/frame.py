"""Targets of clips that ask for one frame of each patch."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from maskjax.errors import BadInput
from maskjax.over import Over
from maskjax.recover.target import Target, pixels


def frame_pixels(*, over: Over, normalise: bool = True, eps: float = 1e-6) -> Target:
  r"""Pixels of one frame of each patch of a clip; with `normalise` by that frame's own deviation.

  Of T frames in t patches along time patch i is asked for frame $\lfloor i (T-1)/(t-1) \rfloor$ of
  the clip: of two frames the first, of the last patch the second. Decoding shows the predicted
  frame at all times of its patch. Networks then predict `over.width` over the frames of a patch.

  Args:
    over: patches of (time, *space).
    normalise: whether each frame of a patch is normalised by its own statistics.
    eps: added to the variance.

  Returns:
    How patches become targets of one frame, and predictions patches.

  Raises:
    BadInput: positions that are no patches of time and space.

  Source: the code of Feichtenhofer et al. 2022 (MAE as spatiotemporal learners), `forward_loss`.

  >>> from maskjax.over import patches
  >>> from maskjax.record import Record
  >>> over = patches(record=Record("video", (4, 1, 2, 1), {}), patch=(2, 1, 2))
  >>> target = frame_pixels(over=over, normalise=False)
  >>> target.encode(jnp.arange(8.0).reshape(1, 2, 4)).tolist()
  [[[0.0, 1.0], [6.0, 7.0]]]
  """
  if len(over.cell) < 2:
    raise BadInput(f"frames are asked of patches of (time, *space), got patches {over.cell}")
  times, side, n = over.grid[0], over.cell[0], int(np.prod(over.grid))
  asked = np.linspace(0, over.shape[0] - 1, times).astype(int) - side * np.arange(times)
  index = np.repeat(asked, n // times)[:, None, None]
  inner = pixels(normalise=normalise, eps=eps)

  def frame(patches: Float[Array, "*b n p"]) -> Float[Array, "*b n q"]:
    each = patches.reshape(*patches.shape[:-1], side, -1)
    at = jnp.asarray(index).reshape(*[1] * (each.ndim - 3), n, 1, 1)
    return jnp.take_along_axis(each, at, axis=-2)[..., 0, :]

  def decode(
    prediction: Float[Array, "*b n q"], patches: Float[Array, "*b n p"]
  ) -> Float[Array, "*b n p"]:
    shown = inner.decode(prediction, frame(patches))
    return jnp.tile(shown, side)

  return Target(lambda patches: inner.encode(frame(patches)), decode, told=inner.told)
