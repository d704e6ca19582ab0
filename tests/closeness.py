"""How close two computations are that are equal in exact arithmetic: other orders of sums alone.

Test files get at it by `runpy.run_path`, as tests are in no package.
"""

import jax
import numpy as np

EPS = 2.0**-23  # of float32
MARGIN = 4  # softmax and normalisation pass errors on enlarged


def close(got, expected, *, depth, terms, axis=-1, what=""):
  """Asserts that two trees of arrays differ by rounding alone, on any processor.

  A sum of n terms that is taken in another order is off by about `eps · √n` of what is summed, and
  what follows adds its own: `eps · √terms · depth` of a row's largest entry, and `MARGIN` of that.

  Args:
    got: a tree of arrays.
    expected: another of the same structure.
    depth: how many products, sums over many terms, follow one another.
    terms: how many terms the longest of these sums has.
    axis: along which the largest entry is that of a row; None for the largest of the array.
    what: names the case.
  """
  assert jax.tree.structure(got) == jax.tree.structure(expected), what
  room = MARGIN * EPS * depth * np.sqrt(terms)
  for (path, a), b in zip(
    jax.tree_util.tree_leaves_with_path(got), jax.tree.leaves(expected), strict=True
  ):
    a, b = (np.asarray(x, np.float64) for x in (a, b))
    assert a.shape == b.shape, (what, path)
    row = np.abs(b).max(axis=axis if b.ndim else None, keepdims=True, initial=0)
    far = np.abs(a - b) / np.where(row > 0, row, 1)
    worst = far.max(initial=0)
    where = f"{what}{jax.tree_util.keystr(path)}"
    assert worst <= room, f"{where} is off by {worst:.2g} of its row, more than {room:.2g}"
