"""Which rows of a batch a process reads."""

import jax
import pytest

from maskjax.errors import BadInput
from maskjax.train.mesh.mesh import make_mesh
from maskjax.train.pod.share import part, share


def test_one_process_reads_all():
  assert share(make_mesh({}).cut) == (0, 1)
  assert share(make_mesh({}).cut, jax.process_index()) == (0, 1)


def test_rows_need_not_be_neighbours_but_must_be_apart():
  assert part({0: {0, 2}, 1: {1, 3}}, 1) == (1, 2)
  assert [part({0: {0}, 1: {0}, 2: {1}, 3: {1}}, i) for i in range(4)] == [(0, 2)] * 2 + [
    (1, 2)
  ] * 2
  for rows in ({0: {0, 1}, 1: {1, 2}}, {0: {0}, 1: {1, 2}}):
    with pytest.raises(BadInput, match="overlap"):
      part(rows, 0)
