"""Entries of a tree that compete together, and the search that finds where they are cut."""

import functools
import importlib
import pathlib
import runpy

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskjax.errors import BadInput
from maskjax.select import count_of, top

beside = runpy.run_path(str(pathlib.Path(__file__).with_name("test_top.py")))
values, oracle, few = (beside[name] for name in ("values", "oracle", "few"))
# A tree whose leaves differ in rank and size, one of them empty, one of a single number.
SHAPES = {"a": (2, 3), "b": {"c": (), "d": (4,)}, "e": (0, 2), "f": None, "g": (1, 2, 2)}
SIZES = [6, 1, 4, 0, 4]
total = sum(SIZES)
flat_scores = st.lists(values, min_size=total, max_size=total).map(lambda x: np.float32(x))
flat_masks = st.lists(st.booleans(), min_size=total, max_size=total).map(np.array)
of_all = jax.jit(lambda s, c, a: top(s, count=c, allowed=a, axis=None))
share_of_all = jax.jit(lambda s, a: top(s, ratio=0.3, allowed=a, axis=None))


def as_tree(flat):
  """The entries of `flat` in leaves of `SHAPES`, in tree order and row-major in each."""
  shapes, tree = jax.tree.flatten(SHAPES, is_leaf=lambda s: isinstance(s, tuple))
  parts = np.split(flat, np.cumsum(SIZES)[:-1])
  return tree.unflatten([p.reshape(s) for p, s in zip(parts, shapes, strict=True)])


def as_row(tree):
  return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])


@given(flat_scores, st.integers(0, total), flat_masks)
@few
def test_the_entries_of_a_tree_compete_as_those_of_one_row(scores, count, allowed):
  for where, mask in ((None, np.ones(total, bool)), (as_tree(allowed), allowed)):
    hidden = of_all(as_tree(scores), np.int32(count), where)
    assert jax.tree.structure(hidden) == jax.tree.structure(as_tree(scores))
    np.testing.assert_array_equal(as_row(hidden), oracle(scores[None], [count], mask[None])[0])


@given(flat_scores, flat_masks)
@settings(deadline=None, max_examples=20)
def test_a_ratio_of_a_tree_is_a_rounded_share_of_all_that_is_allowed(scores, allowed):
  assert as_row(share_of_all(as_tree(scores), None)).sum() == round(0.3 * total)
  hidden = as_row(share_of_all(as_tree(scores), as_tree(allowed)))
  assert hidden.sum() == round(0.3 * allowed.sum())
  assert not (hidden & ~allowed).any()


def test_a_leaf_of_a_tree_without_a_mask_is_allowed_whole():
  scores, allowed = {"a": jnp.ones((2, 2)), "b": jnp.ones(3)}, {"a": None, "b": jnp.zeros(3, bool)}
  hidden = jax.jit(lambda s: top(s, ratio=0.75, allowed=allowed, axis=None))(scores)
  assert as_row(hidden).tolist() == [True, True, True, False, False, False, False]


def test_counts_of_more_than_int32_holds_give_the_same_masks(monkeypatch):
  scores = as_tree(np.random.default_rng(0).integers(0, 4, total).astype(np.float32))
  allowed = jax.tree.map(jnp.asarray, as_tree(np.arange(total) % 3 > 0))

  def ways(scores, ratio):
    return [
      top(scores, count=7, axis=None),
      top(scores, ratio=0.5, allowed=allowed, axis=None),
      top(scores, ratio=ratio, axis=None),
    ]

  # Of other functions: what has been compiled would not be traced again.
  given = scores, np.float32(0.3)
  narrow = jax.jit(lambda *given: ways(*given))(*given)
  monkeypatch.setattr(importlib.import_module("maskjax.select.top"), "LARGEST", total - 1)
  compiled = jax.jit(lambda *given: ways(*given))
  assert "tensor<i64>" in compiled.lower(*given).as_text()
  for found, expected in zip(compiled(*given), narrow, strict=True):
    np.testing.assert_array_equal(as_row(found), as_row(expected))
  # Eager too, of an array alone: there every entry of a tree would cost programs of its own.
  eager = top(jnp.asarray(as_row(scores)), count=7, axis=None)
  np.testing.assert_array_equal(eager, as_row(narrow[0]))


@functools.cache
def whole():
  """Scores of a tree, and their masks of every count."""
  scores = as_tree(np.random.default_rng(0).integers(0, 4, total).astype(np.float32))
  hide = jax.jit(lambda s, count: top(s, count=count, axis=None))
  return scores, [as_row(hide(scores, np.int32(count))) for count in range(total + 1)]


@pytest.mark.parametrize("part", [1, 3, 4, 6])
def test_entries_counted_in_parts_give_the_same_masks(monkeypatch, part):
  scores, expected = whole()
  monkeypatch.setattr(importlib.import_module("maskjax.select.search"), "PART", part)
  compiled = jax.jit(lambda s, count: top(s, count=count, axis=None))
  for count, mask in enumerate(expected):
    assert mask.sum() == count
    np.testing.assert_array_equal(as_row(compiled(scores, np.int32(count))), mask)


@pytest.mark.parametrize("step", [1, 2, 7])
def test_a_sample_only_leads_the_search(monkeypatch, step):
  search = importlib.import_module("maskjax.select.search")
  monkeypatch.setattr(search, "MANY", 1)
  monkeypatch.setattr(search, "STEP", step)
  compiled = jax.jit(lambda s, count, allowed: top(s, count=count, allowed=allowed, axis=None))
  draw = np.random.default_rng(0)
  for scale in (1, 1e3, np.nan):  # many ties, hardly any, no numbers
    # One sample in seven of rows of seven sees a column of zeros only.
    scores = np.round(draw.normal(size=(40, 7)) * scale).astype(np.float32)
    scores[:, 0] = 0
    allowed = draw.random((40, 7)) < 0.8
    for count in (0, 1, 100, 223, 280):
      hidden = np.asarray(compiled(scores, np.int32(count), allowed))
      expected = oracle(scores.reshape(1, -1), [count], allowed.reshape(1, -1))
      np.testing.assert_array_equal(hidden.reshape(1, -1), expected)


def test_five_billion_entries_can_be_counted():
  scores = {"a": jax.ShapeDtypeStruct((5, 2**30), jnp.float32)}
  hide = jax.jit(lambda s, r: top(s, ratio=r, axis=None))
  lowered = hide.lower(scores, jax.ShapeDtypeStruct((), jnp.float32))
  assert "tensor<i64>" in lowered.as_text()
  assert lowered.out_info["a"].dtype == jnp.bool_
  assert count_of(5 * 2**30, ratio=0.9) == round(0.9 * 5 * 2**30)


@pytest.mark.parametrize(
  ("given", "says"),
  [
    ({"axis": 0}, "axis=-1, the last, or None, all entries together; got 0"),
    ({"scores": {"a": jnp.ones(4)}}, "compete together: give top axis=None"),
    ({"axis": None, "count": 5}, r"must lie in \[0, 4\], got 5"),
    ({"axis": None, "scores": {"a": jnp.ones(4)}, "allowed": {}}, "allowed is no tree like that"),
  ],
)
def test_what_cannot_compete_together_is_refused(given, says):
  with pytest.raises(BadInput, match=says):
    top(**{"scores": jnp.ones(4), "count": 1, **given})


def test_trees_without_entries_hide_nothing():
  assert top({}, ratio=0.5, axis=None) == {}
  hidden = jax.jit(lambda s: top(s, count=0, axis=None))({"a": np.ones((0, 3), np.float32)})
  assert hidden["a"].shape == (0, 3)
