"""Boxes around a random place, one within the other."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key


def box(keys: Key[Array, "*b"], grid: tuple[int, ...]) -> Float[Array, "*b n"]:
  r"""Scores whose top is a box of the grid's proportions around a random centre.

  $s_i = -\max_a |i_a - c_a| / g_a$ with every position as likely to be the centre c. A box that
  meets a border of the grid grows on its other sides, so that a count is met all the same; the last
  layer of a box may be cut.

  Source: the regions of Yun et al. 2019 (CutMix), section 3.1, which are cut at borders instead.

  >>> box(jax.random.key(0), (3, 4)).argmax().item() in range(12)
  True
  """
  sides = jnp.array(grid, jnp.int32)
  axes = jnp.meshgrid(*(jnp.arange(side, dtype=jnp.int32) for side in grid), indexing="ij")
  places = jnp.stack([axis.reshape(-1) for axis in axes])

  def draw(key: Key[Array, ""]) -> Float[Array, "n"]:
    centre = jax.random.randint(key, sides.shape, 0, sides)
    away = jnp.abs(places - centre[:, None]).astype(jnp.float32)
    return -jnp.max(away / sides[:, None], axis=0)

  return jax.vmap(draw)(keys.reshape(-1)).reshape(*keys.shape, -1)
