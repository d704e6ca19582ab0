"""Keys are the same in every process, of every stream, and for every example."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maskjax.keys import keys, of_views, stream

KEY = jax.random.key(0)
# Pinned: the draws of a seed are API.
STREAMS = {
  ("mask", 0): [708268653, 309991956],
  ("mask", 1): [936656022, 3118253124],
  ("noise", 0): [254647629, 1041136640],
  ("", 2**31 - 1): [602790989, 3672834117],
}
POSITIONS = {
  0: [1797259609, 2579123966],
  1: [928981903, 3453687069],
  2**31 - 1: [3380239599, 3343201961],
}


def data(key):
  return jax.random.key_data(key).tolist()


@pytest.mark.parametrize(("name", "step"), STREAMS)
def test_streams_are_pinned(name, step):
  assert data(stream(KEY, name, step)) == STREAMS[name, step]
  traced = jax.jit(stream, static_argnums=1)(KEY, name, np.int32(step))
  assert data(traced) == STREAMS[name, step]


def test_positions_are_pinned():
  positions = np.array(list(POSITIONS))
  # Traced, and known, which are checked.
  assert data(jax.jit(lambda p: keys(KEY, p))(positions)) == list(POSITIONS.values())
  assert data(keys(KEY, positions)) == list(POSITIONS.values())


def test_no_two_draws_share_a_key():
  names = ("mask", "noise", "loss", "init", "variables")
  draw = lambda step: [keys(stream(KEY, name, step), 8) for name in names]
  every = jax.jit(lambda: [jax.random.key_data(k) for step in range(4) for k in draw(step)])()
  seen = {tuple(k) for k in np.concatenate(every).tolist()}
  assert len(seen) == 5 * 4 * 8


def test_a_part_of_the_batch_has_the_keys_that_the_whole_gives_it():
  ways = [jnp.arange(4, 8), jnp.arange(8).reshape(2, 4), jnp.array([7, 0])]

  @jax.jit
  def every():
    mapped = jax.vmap(lambda p: keys(KEY, p))(jnp.arange(8))
    given = [keys(KEY, 8), mapped, keys(KEY, 0), *(keys(KEY, way) for way in ways)]
    return [jax.random.key_data(k) for k in given]

  whole, mapped, none, *parts = (k.tolist() for k in every())
  assert mapped == whole
  assert none == []
  assert parts == [whole[4:], [whole[:4], whole[4:]], [whole[7], whole[0]]]


def test_views_have_keys_of_their_own():
  made = jax.jit(lambda: of_views(KEY, jnp.arange(8), views=2))()
  own = [data(keys(stream(KEY, "view", v), jnp.arange(8))) for v in range(2)]
  assert data(made) == own
  assert len({tuple(key) for view in own for key in view}) == 16


@pytest.mark.parametrize("positions", [np.array([-1]), np.array([0, 2**31]), np.array([2**32]), -1])
def test_positions_that_would_share_keys_are_refused(positions):
  with pytest.raises(ValueError, match=r"positions lie in \[0, 2³¹\)|must not be negative"):
    keys(KEY, positions)


def test_positions_that_are_no_integers_are_refused():
  for positions in (jnp.array([1.0]), np.array([0.5]), jnp.array([True])):
    with pytest.raises(TypeError, match="positions are integers"):
      keys(KEY, positions)


@pytest.mark.parametrize("key", [jax.random.PRNGKey(0), 0, np.zeros(2, np.uint32)], ids=str)
def test_keys_without_a_type_are_refused(key):
  with pytest.raises(TypeError, match="keys are typed"):
    keys(key, 4)
  with pytest.raises(TypeError, match="keys are typed"):
    stream(key, "mask")
