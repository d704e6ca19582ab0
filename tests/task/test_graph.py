"""Graphs of named values: references, keys, branches, buckets, and what is refused."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maskjax import hide, recover, score, select
from maskjax.bind import Moving, now, paced
from maskjax.errors import BadInput
from maskjax.keys import stream
from maskjax.task.graph import Graph
from maskjax.task.node import Branch, Value
from maskjax.task.run import Run

N, B = 8, 3
X = np.arange(1, 1 + B * N, dtype=np.float32).reshape(B, N, 1)


def total(prediction):
  return jnp.sum(prediction, axis=(-2, -1))


def graph(branches=None, **more):
  """Hides some positions, drops them, doubles what is left and puts it back."""
  return Graph(
    {
      "values": Value(jnp.asarray, {"a": "batch"}),
      "scores": Value(functools.partial(score.uniform, grid=(N,)), stream="mask"),
      "hidden": Value(lambda scores, count: select.top(scores, count=count)),
      "seen": Value(hide.drop, {"x": "values"}, keeps=(2, 4, N)),
      "out": Value(lambda seen: 2 * seen.values),
      "prediction": Value(lambda out, hidden: hide.restore(out, hidden, jnp.zeros(1))),
      "losses.task": Value(total),
      **more,
    },
    given=["batch", "step", "position", "count"],
    branches=branches,
    outside=["losses.task"],
  )


def run(made, *references, count=6, **options):
  given = {"batch": X, "step": 0, "position": jnp.arange(B), "count": count}
  return Run(made, given, key=jax.random.key(0), **options).all(references)


def test_a_value_is_made_once_and_only_where_it_is_named():
  made = []

  def noted(name):
    def fn(batch):
      made.append(name)
      return batch

    return Value(fn)

  double = Value(lambda one: one + one)
  twice = Value(lambda one, double: one + double)
  whole = Graph({"one": noted("one"), "other": noted("other"), "double": double, "twice": twice},
                given=["batch"])  # fmt: skip
  assert Run(whole, {"batch": 1}).take("twice", "one") == (3, 1)
  assert made == ["one"]


def test_fields_and_keys_are_reached_by_name_and_other_names_stand_for_them():
  made = graph(known="seen.index", image=Value(lambda table: table["image"]),
               table=Value(lambda batch: {"image": {"left": batch}}))  # fmt: skip
  index, seen, left = run(made, "known", "seen", "image.left")
  np.testing.assert_array_equal(index, seen.index)
  np.testing.assert_array_equal(left, X)


@pytest.mark.parametrize(
  ("more", "says"),
  [
    (dict(a=Value(lambda predicton: 0)), "needs predicton='predicton': unknown value 'predicton';"),
    (dict(a=Value(total, {"prediction": "sene"})), "unknown value 'sene'; did you mean 'seen'?"),
    (dict(a=Value(total, {"predicted": "out"})), "unknown argument of "),
    (dict(a=Value(lambda b: b), b=Value(lambda a: a)), "depend on themselves: a → b → a"),
    (dict(a="b", b="a"), "stand for each other: a → b → a"),
    (dict(a=Value(lambda keys: 0), b=Value(lambda keys: 0, stream="a")), "draw the same keys"),
    (dict(keys=Value(lambda batch: 0)), "a value cannot be called 'keys'"),
  ],
)
def test_what_cannot_be_made_is_refused_when_the_graph_is(more, says):
  with pytest.raises(BadInput) as error:
    graph(**more)
  assert says in str(error.value)


@pytest.mark.parametrize(
  ("branch", "says"),
  [
    (Branch(), "changes nothing"),
    (Branch(draws=("score",)), "unknown value that the branch 'other' changes 'score'"),
    (Branch({"hiden": "hidden"}), "unknown value that the branch 'other' changes 'hiden'"),
    (Branch({"hidden": Value(lambda x: x)}), "needs x='x': unknown value 'x'"),
  ],
)
def test_what_a_branch_cannot_change_is_refused(branch, says):
  with pytest.raises(BadInput) as error:
    graph({"other": branch})
  assert says in str(error.value)


def test_only_what_is_offered_and_fits_fills_an_optional_argument():
  def softmax(out, grid=None, temperature=1.0):
    return (grid, temperature)

  made = graph(temperature=Value(lambda batch: 9.0), grid=Value(lambda batch: (N,)),
               a=Value(softmax), b=Value(softmax, {"temperature": "temperature"}))  # fmt: skip
  assert run(made, "a", "b", keep=N) == (((N,), 1.0), ((N,), 9.0))


def test_keys_follow_value_branch_step_and_position():
  drawn = lambda keys: jax.random.key_data(keys)
  branches = {"other": Branch(draws=("a",)), "copy": Branch({"count": 3})}
  made = graph(branches, a=Value(drawn), b=Value(drawn))
  a, b, other, shared = (np.asarray(x) for x in run(made, "a", "b", "other.a", "copy.a"))
  rows = [tuple(row) for part in (a, b, other) for row in part]
  assert len(set(rows)) == 3 * B
  np.testing.assert_array_equal(shared, a)
  given = {"batch": X, "step": 1, "position": jnp.array([2, 0]), "count": 0}
  later = Run(made, {**given, "step": 1}, key=jax.random.key(0)).take("a")
  again = Run(made, {**given, "step": 0}, key=jax.random.key(0)).take("a")
  assert (np.asarray(later) != a[[2, 0]]).any(axis=-1).all()
  np.testing.assert_array_equal(again, a[[2, 0]])


def test_what_all_examples_share_is_drawn_from_one_key_a_step():
  drawn = Value(lambda key: jax.random.key_data(key), stream="time")
  made = graph({"other": Branch(draws=("time",))}, time=drawn)
  first, other = run(made, "time", "other.time")
  key = jax.random.key(0)
  np.testing.assert_array_equal(first, jax.random.key_data(stream(key, "time", 0)))
  own = stream(stream(key, "other"), "time", 0)
  np.testing.assert_array_equal(other, jax.random.key_data(own))
  with pytest.raises(BadInput, match="draw the same keys"):
    graph(time=drawn, noise=Value(lambda keys: 0, stream="time"))


def test_a_branch_makes_anew_what_it_changes_and_shares_the_rest():
  branches = {
    "look": Branch(draws=("scores",)),
    "clean": Branch({"hidden": Value(lambda values: jnp.zeros(values.shape[:-1], bool))}),
    "flipped": Branch({"hidden": "shown"}),
  }
  made = graph(branches, shown=Value(lambda hidden: ~hidden))
  names = ("hidden", "look.hidden", "flipped.hidden", "clean.prediction", "look.values", "values")
  hidden, look, flipped, clean, values, own = jax.jit(lambda: run(made, *names))()
  np.testing.assert_array_equal(np.sum(look, -1), np.sum(hidden, -1))
  assert (look != hidden).any()
  np.testing.assert_array_equal(flipped, ~hidden)
  np.testing.assert_array_equal(clean, 2 * X)
  assert made.address("look.values") == made.address("values")
  np.testing.assert_array_equal(values, own)


@pytest.mark.parametrize("count", [7, 6, 5, 4, 3, 0])
def test_each_bucket_gives_what_the_whole_gives(count):
  names = ("losses.task", "prediction", "seen.valid", "hidden")
  of = lambda **options: run(graph(), *names, count=count, **options)
  (loss, prediction, valid, hidden), whole = jax.jit(lambda: (of(), of(keep=N)))()
  expected = np.where(hidden[..., None], 0, 2 * X)
  np.testing.assert_array_equal(prediction, expected)
  np.testing.assert_array_equal(loss, expected.sum((1, 2)))
  np.testing.assert_array_equal(whole[1], prediction)
  # Padded to the largest, whichever bucket it was.
  np.testing.assert_array_equal(valid, np.tile(np.arange(N) < N - count, (B, 1)))


def test_a_step_takes_the_smallest_bucket_that_holds_all_that_is_visible():
  widths = lambda count: Run(
    graph(size=Value(lambda seen: jnp.full((), seen.values.shape[-2]))),
    {"batch": X, "step": 0, "position": jnp.arange(B), "count": count},
    key=jax.random.key(0),
  ).take("size")
  found = jax.jit(jax.vmap(widths))(jnp.array([7, 6, 5, 4, 3, 0]))
  assert found.tolist() == [2, 2, 4, 4, N, N]


def test_what_depends_on_two_buckets_is_made_outside_of_both():
  gap = Value(lambda a, b: a - b, {"a": "prediction", "b": "look.prediction"})
  made = graph({"look": Branch(draws=("scores",))}, gap=gap)
  gap, one, two = jax.jit(lambda: run(made, "gap", "prediction", "look.prediction"))()
  assert ("main", "gap") not in made.local
  np.testing.assert_array_equal(gap, one - two)


def test_a_function_of_the_graph_takes_derivatives_by_any_value():
  slope = lambda graph, values: jax.grad(lambda x: graph("losses.task", values=x).sum())(values)
  hidden, found = jax.jit(lambda: run(graph(slope=Value(slope)), "hidden", "slope"))()
  np.testing.assert_array_equal(found[..., 0], np.where(hidden, 0, 2))


def test_arguments_move_with_the_step_and_from_example_to_example():
  half = Moving(lambda step: 0.5 * step)
  each = Moving(lambda u: u, each=True)
  scale = lambda values, by: by
  made = graph(
    a=Value(functools.partial(scale, by=half)), b=Value(functools.partial(scale, by=each))
  )
  given = {"batch": X, "step": 3, "position": jnp.arange(B), "count": 0}
  a, b = Run(made, given, key=jax.random.key(0)).take("a", "b")
  assert (a, b.shape) == (1.5, (B,))
  assert len(set(b.tolist())) == B


def test_what_is_drawn_or_moves_is_made_again_at_another_step():
  twice = Moving(lambda step: 2 * step)
  asked = Value(lambda graph: graph("scores", "scaled", step=5))
  made = graph(scaled=Value(functools.partial(lambda x: x, x=twice)), asked=asked)
  own, moved, (drawn, scaled) = run(made, "scores", "scaled", "asked")
  key = stream(jax.random.key(0), "mask", 5)
  other = score.uniform(jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(B)), (N,))
  np.testing.assert_array_equal(drawn, other)
  assert (drawn != own).all()
  assert (moved, scaled) == (0, 10)


def test_what_is_paced_moves_its_arguments_itself():
  twice = Moving(lambda step: 2 * step)
  fn = paced("steps")(lambda x, steps=3: [now(x, i) for i in range(steps)])
  assert run(graph(own=Value(functools.partial(fn, x=twice))), "own") == ([0, 2, 4],)


def test_a_state_is_told_and_what_it_becomes_is_kept_apart():
  def counted(batch, state):
    state = jnp.zeros(()) if state is None else state
    return state, state + len(batch)

  made = graph(seen_so_far=Value(counted))
  given = {"batch": X, "step": 0, "position": jnp.arange(B), "count": 0}
  first = Run(made, given)
  assert first.take("seen_so_far") == 0
  later = Run(made, given, states=first.changes)
  assert later.take("seen_so_far") == B
  assert later.changes["seen_so_far"] == 2 * B


def test_it_prints_a_line_for_each_value():
  lines = list(graph({"look": Branch(draws=("scores",))}).describe())
  assert "scores = score.uniform(grid=(8,))" in lines
  assert "seen = hide.drop(x=values, hidden, keep=2 | 4 | 8)" in lines
  assert "look.seen = hide.drop(x=values, hidden=look.hidden, keep=2 | 4 | 8)" in lines


@pytest.mark.parametrize("numbers", [1, 3])
def test_arguments_that_do_not_fit_are_refused_also_where_they_would_broadcast(numbers):
  target = Value(lambda batch: jnp.tile(batch, numbers + 1), {"batch": "batch"})
  of = {"target": "wide", "asked": "hidden"}
  wide = {"wide": target, "losses.wide": Value(recover.squared_error, of)}
  made = graph({"other": Branch({"count": 2})}, **wide)
  says = r"other.losses.wide: recover.squared_error takes prediction \[\*b n d\], target"
  with pytest.raises(BadInput, match=rf"{says}.* target \(3, 8, {numbers + 1}\)"):
    run(made, "other.losses.wide")
