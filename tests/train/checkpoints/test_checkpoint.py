"""Checkpoints: exact, durable, never silently wrong."""

import pathlib
import random
import shutil
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest

from maskjax.errors import BadInput
from maskjax.train.checkpoints.checkpoint import Checkpoints, preserved
from maskjax.train.checkpoints.leaves import spec


class State(NamedTuple):
  params: Any
  moments: Any
  key: jax.Array
  position: Any
  average: Any


def state(seed: int) -> State:
  a, b = jax.random.split(jax.random.key(seed))
  params = {
    "encoder": {"kernel": jax.random.normal(a, (5, 7)), "bias": jnp.ones(7, jnp.bfloat16) * seed},
    "head": [jax.random.normal(b, (3,)), jnp.zeros((0, 2))],
  }
  average = jax.tree.map(lambda p: p * 2, params)
  return State(
    params, optax.adamw(1e-3).init(params), a, np.array([2**40 + seed, -1]), (average, None)
  )


def same(a: Any, b: Any) -> bool:
  plain = lambda x: jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x
  x, y = jax.tree.leaves(a), jax.tree.leaves(b)
  return str(jax.tree.structure(a)) == str(jax.tree.structure(b)) and all(
    type(p) is type(q)
    and p.dtype == q.dtype
    and np.array_equal(np.asarray(plain(p)), np.asarray(plain(q)))
    for p, q in zip(x, y, strict=True)
  )


def filled(directory: pathlib.Path, *steps: int, **kwargs: Any) -> pathlib.Path:
  with Checkpoints(directory, keep=len(steps), **kwargs) as checkpoints:
    for step in steps:
      checkpoints.save(step, state(step))
  return directory


# Round trips


@pytest.mark.parametrize("abstract", [False, True])
def test_round_trip(tmp_path, abstract):
  filled(tmp_path, 3)
  like = state(0)
  if abstract:
    shape = lambda x: x if isinstance(x, np.ndarray) else jax.ShapeDtypeStruct(x.shape, x.dtype)
    like = jax.tree.map(shape, like)
  step, tree = Checkpoints(tmp_path).restore(like)
  assert step == 3
  assert same(tree, state(3))
  assert jax.random.uniform(tree.key) == jax.random.uniform(state(3).key)


def test_every_kind_of_leaf_comes_back_as_it_went(tmp_path):
  leaves = {
    "int": 3,
    "float": 0.1,
    "bool": True,
    "complex": 1j,
    "np scalar": np.int64(2**62),
    "np f64": np.float64(0.1),
    "np bool": np.zeros((), bool),
    "big endian": np.arange(3, dtype=">i4"),
    "transposed": np.arange(6).reshape(2, 3).T,
    "rbg": jax.random.key(3, impl="rbg"),
    "keys": jax.random.split(jax.random.key(1), (2, 2)),
    "empty": np.zeros((0, 3), np.int16),
    **{n: jnp.ones((2, 3), n) for n in ("float16", "uint8", "float8_e4m3fn", "int4", "complex64")},
  }
  with Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(0, leaves)
    _, tree = checkpoints.restore(leaves)
  for name, leaf in leaves.items():
    assert type(tree[name]) is type(leaf), name
    assert spec(name, tree[name]) == spec(name, leaf)
    if name not in ("rbg", "keys"):
      np.testing.assert_array_equal(tree[name], leaf)
  for name in ("rbg", "keys"):
    draw = jax.random.key_data
    np.testing.assert_array_equal(draw(tree[name]), draw(leaves[name]))


def test_int64_struct_comes_back_unnarrowed(tmp_path):
  filled(tmp_path, 1)
  like = state(0)._replace(position=jax.ShapeDtypeStruct((2,), np.int64))
  _, tree = Checkpoints(tmp_path).restore(like)
  assert tree.position.tolist() == [2**40 + 1, -1]


@pytest.mark.parametrize("tree", [{}, (), {"a": np.zeros((2, 0))}, np.arange(3)])
def test_odd_trees(tmp_path, tree):
  with Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(0, tree)
    step, got = checkpoints.restore(tree)
  assert step == 0
  assert jax.tree.structure(got) == jax.tree.structure(tree)
  assert all(
    np.array_equal(a, b) for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(tree), strict=True)
  )


def test_nothing_there_is_none_and_writes_nothing(tmp_path):
  with Checkpoints(tmp_path / "new") as checkpoints:
    assert checkpoints.restore(state(0)) is None
    assert checkpoints.steps() == []
  assert list(tmp_path.iterdir()) == []


def test_donated_and_overwritten_leaves_do_not_change_what_is_saved(tmp_path):
  grow = jax.jit(lambda x: x * -1 + 7, donate_argnums=0)
  for step in range(5):
    x, host = jnp.arange(400_000, dtype=jnp.float32) + step, np.full(1000, step)
    with Checkpoints(tmp_path) as checkpoints:
      checkpoints.save(step, {"x": x, "host": host})
      y = grow(x)
      host[:] = -1
      jax.block_until_ready(y)
      for _ in range(3):
        y = grow(y)
    _, tree = Checkpoints(tmp_path).restore({"x": y, "host": host})
    assert x.is_deleted()
    np.testing.assert_array_equal(tree["x"], np.arange(400_000, dtype=np.float32) + step)
    np.testing.assert_array_equal(tree["host"], np.full(1000, step))


def test_orbax_itself_reads_the_steps(tmp_path):
  filled(tmp_path, 1, 2)
  with ocp.CheckpointManager(tmp_path / "checkpoints") as manager:
    assert manager.latest_step() == 2
    read = manager.restore(2, args=ocp.args.Composite(state=ocp.args.PyTreeRestore()))
  np.testing.assert_array_equal(
    read["state"]["params/encoder/kernel"], state(2).params["encoder"]["kernel"]
  )


# What `like` must match


def test_another_state_is_named_leaf_by_leaf(tmp_path):
  with Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(1, {"a": np.zeros(3), "b": np.zeros(2, np.float32), "c": jax.random.key(0)})
    for like, text in (
      ({"a": np.zeros(4)}, "a is float64[3], expected float64[4]"),
      ({"b": np.zeros(2, np.int32)}, "b is float32[2], expected int32[2]"),
      ({"c": jax.random.key(0, impl="rbg")}, "c is key<fry>[], expected key<rbg>[]"),
      ({"d": np.zeros(3)}, "d is absent, expected float64[3]"),
    ):
      whole = {"a": np.zeros(3), "b": np.zeros(2, np.float32), "c": jax.random.key(0), **like}
      with pytest.raises(BadInput) as raised:
        checkpoints.restore(whole)
      assert text in str(raised.value)
      assert "\n" not in str(raised.value)
    with pytest.raises(BadInput, match=r"c is key<fry>\[\], expected absent"):
      checkpoints.restore({"a": np.zeros(3), "b": np.zeros(2, np.float32)})


@pytest.mark.parametrize("leaf", ["text", object(), np.array(["a"])])
def test_leaves_that_are_no_numbers_are_refused(tmp_path, leaf):
  with Checkpoints(tmp_path) as checkpoints, pytest.raises(BadInput, match="leaf 'a/b' holds"):
    checkpoints.save(0, {"a": {"b": leaf}})
  assert list(tmp_path.iterdir()) == []


def test_two_leaves_of_one_name_are_refused(tmp_path):
  with Checkpoints(tmp_path) as checkpoints, pytest.raises(BadInput, match="called 'a/b'"):
    checkpoints.save(0, {"a": {"b": 1}, "a/b": 2})


def test_arguments_are_checked(tmp_path):
  for bad in ({"keep": 0}, {"keep_every": -1}, {"best": "x", "best_mode": "most"}):
    with pytest.raises(BadInput, match="checkpoints: "):
      Checkpoints(tmp_path, **bad)
  with Checkpoints(tmp_path) as checkpoints, pytest.raises(BadInput, match="start at 0, got -1"):
    checkpoints.save(-1, state(0))


# Retention


def test_preserved_against_its_definition():
  rng = random.Random(0)
  for _ in range(100):
    steps = rng.sample(range(60), rng.randrange(1, 12))
    keep, every, best = rng.randrange(1, 4), rng.randrange(0, 8), rng.choice([None, *steps])
    kept = preserved(steps, keep=keep, keep_every=every, best=best)
    assert kept == [
      s
      for s in sorted(steps)
      if sum(t > s for t in steps) < keep or (every and s % every == 0) or s == best
    ]


def test_newest_and_every_kth_stay(tmp_path):
  with Checkpoints(tmp_path, keep=2, keep_every=20) as checkpoints:
    for step in range(10, 80, 10):
      checkpoints.save(step, state(step))
      checkpoints.wait()
      assert checkpoints.steps() == [s for s in range(20, step, 20) if s < step - 10] + [
        s for s in (step - 10, step) if s
      ]
  names = sorted(p.name for p in (tmp_path / "checkpoints").iterdir())
  assert names == ["20", "40", "60", "70"]


@pytest.mark.parametrize(("mode", "kept"), [("max", [2, 5]), ("min", [3, 5])])
def test_best_by_metric_stays_over_relaunches(tmp_path, mode, kept):
  values = {1: 0.5, 2: 0.9, 3: 0.1, 4: float("nan"), 5: None}
  for step, value in values.items():
    with Checkpoints(tmp_path, best="acc", best_mode=mode) as checkpoints:
      checkpoints.save(step, state(step), metrics={} if value is None else {"acc": value})
  assert checkpoints.steps() == kept


def test_a_metric_that_is_not_measured_is_said(tmp_path, caplog):
  with Checkpoints(tmp_path, best="acc") as checkpoints:
    checkpoints.save(1, state(1), metrics={"loss": 1.0})
  assert [r.getMessage() for r in caplog.records] == ["step 1 has no metric 'acc' to be best by"]


def test_a_bad_step_is_set_aside_when_its_number_comes_again(tmp_path, caplog):
  filled(tmp_path, 1, 2, 3)
  for step in (2, 3):
    shutil.rmtree(tmp_path / "checkpoints" / str(step) / "state")
  with Checkpoints(tmp_path, keep=2) as checkpoints:
    assert checkpoints.restore(state(0))[0] == 1
    checkpoints.save(2, state(2))
  caplog.clear()
  names = sorted(p.name for p in (tmp_path / "checkpoints").iterdir())
  assert names == ["1", "2", "2.bad", "3.bad"]
  step, tree = Checkpoints(tmp_path).restore(state(0))
  assert (step, same(tree, state(2))) == (2, True)
  assert caplog.records == []
  with ocp.CheckpointManager(tmp_path / "checkpoints") as manager:
    assert manager.all_steps() == [1, 2]


def test_good_steps_are_never_overwritten(tmp_path):
  filled(tmp_path, 1, 2)
  with Checkpoints(tmp_path, keep=9) as checkpoints:
    checkpoints.save(2, state(2))
    for step, tree in ((2, state(5)), (1, state(5)), (0, state(0))):
      with pytest.raises(BadInput, match=f"step {step} cannot be saved"):
        checkpoints.save(step, tree)
    assert checkpoints.steps() == [1, 2]
    step, tree = checkpoints.restore(state(0))
    assert (step, same(tree, state(2))) == (2, True)


def test_an_error_of_ours_is_not_hidden(tmp_path, monkeypatch):
  from maskjax.train.checkpoints import verified

  def broken(*_: Any) -> None:
    raise RuntimeError("a bug")

  monkeypatch.setattr(verified, "write", broken)
  checkpoints = Checkpoints(tmp_path)
  checkpoints.save(1, state(1))
  with pytest.raises(RuntimeError, match="a bug"):
    checkpoints.wait()
  checkpoints.wait()
  with pytest.raises(RuntimeError, match="a bug"), Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(1, state(1))
  with pytest.raises(KeyError):
    fail_after_save(tmp_path)


def fail_after_save(path: pathlib.Path) -> None:
  with Checkpoints(path) as checkpoints:
    checkpoints.save(1, state(1))
    raise KeyError


def test_a_state_of_before_comes_back_by_the_names_of_now(tmp_path):
  a, b = np.arange(3.0), np.arange(2.0)
  with Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(1, {"state": {"moments": {"mu": a}, "average": {"w": b}}, "position": 4})
    like = {"state": {"opt_state": {"mu": a * 0}, "ema": {"params": {"w": b * 0}}}, "position": 0}
    _, found = checkpoints.restore(like)
  np.testing.assert_array_equal(found["state"]["opt_state"]["mu"], a)
  np.testing.assert_array_equal(found["state"]["ema"]["params"]["w"], b)
