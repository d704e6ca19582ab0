"""The rules of the graph, each by a config of a user's package that edits nothing here."""

import copy
import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drawn import initial, traced
from user_package import configs

from maskjax.errors import BadInput
from maskjax.record import Record
from maskjax.train.setup.build import make_optimizer, make_task
from maskjax.train.state import State, init_opt_state
from maskjax.train.step import make_step

B, N = 4, 16
NAMES = [name for name, fn in inspect.getmembers(configs, inspect.isfunction) if name != "small"]


@functools.cache
def data(caption=False):
  """Four images, with captions of at most six words, and their record."""
  rng = np.random.default_rng(0)
  image = rng.normal(size=(B, 8, 8, 1)).astype(np.float32)
  batch = {"image": jnp.asarray(image), "position": jnp.arange(B)}
  if caption:
    words = rng.integers(0, 9, (B, 6)).astype(np.int32)
    batch["caption"] = jnp.asarray(np.where(np.arange(6) < [[6], [5], [4], [3]], words, -1))
  facts = dict(vocabulary=tuple("abcdefghi"), caption=6) if caption else {}
  return batch, Record("image", (8, 8, 1), {"train": B}, **facts)


class Ran:
  """Two steps of a config: the variables before and after each, and their metrics."""

  def __init__(self, name):
    self.config = getattr(configs, name)()
    self.batch, self.record = data(caption=name == "words_and_patches")
    self.task = make_task(self.config, self.record)
    begun = jax.random.key(0), self.batch
    init, shapes = traced(self.task.init, *begun)
    sizes = dict(batch_size=B, examples=B)
    tx = make_optimizer(self.config, shapes["params"], 10, **sizes).tx
    step = make_step(self.task, tx)

    def run(variables, key, batch):
      state = State(jnp.int32(0), key, variables, init_opt_state(tx, variables), {})

      def one(state, _):
        state, met = step(state, batch)
        return state, (state.variables, met)

      return jax.lax.scan(one, state, None, 2)[1]

    before = initial(init, shapes, begun, 0, self.task.learned)
    before, (after, met) = jax.device_get((before, jax.jit(run)(before, *begun)))
    at = lambda tree, i: jax.tree.map(lambda x: x[i], tree)
    self.variables = [before, at(after, 0), at(after, 1)]
    self.metrics = [at(met, 0), at(met, 1)]

  def moved(self, i, *path):
    """Whether parameters changed in step i."""
    a, b = (functools.reduce(lambda t, n: t[n], path, v) for v in self.variables[i - 1 : i + 1])
    return [bool((x != y).any()) for x, y in zip(*map(jax.tree.leaves, (a, b)), strict=True)]


@pytest.fixture(scope="module")
def ran():
  """What two steps of a config come to, once a file."""
  return functools.cache(Ran)


@pytest.mark.parametrize("name", NAMES)
def test_every_config_of_a_user_is_short_and_takes_two_finite_steps(ran, name):
  assert len(inspect.getsource(getattr(configs, name)).splitlines()) <= 30
  assert all(np.isfinite(value).all() for met in ran(name).metrics for value in met.values())


def values(made, *names, batch=None, **options):
  """Values of the graph behind a task, with the first variables."""

  def run(variables, batch):
    of = made.task.loss.__self__
    return of.run(variables, batch, jax.random.key(1), 0, train=True, **options)[0].all(names)

  return jax.device_get(jax.jit(run)(made.variables[0], made.batch if batch is None else batch))


def test_two_looks_hide_apart_and_one_teacher_follows(ran):
  made = ran("two_looks")
  one, two, whole = values(made, "hidden", "other.hidden", "whole.hidden")
  assert (one.sum(-1) == two.sum(-1)).all()
  assert (one != two).any(axis=-1).all()
  assert not whole.any()
  first, second = made.variables[:2]
  slow = jax.tree.map(lambda t, p: 0.75 * t + 0.25 * p, first["params"], second["params"])
  close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-7)
  jax.tree.map(close, second["teachers"]["slow"], {"params": slow})


def test_a_mask_is_carried_through_stages_whatever_stands_behind_it(ran):
  made = ran("carried_mask")
  hidden, stages = values(made, "hidden", "stages")
  behind = np.where(hidden.reshape(B, 8, 8, 1), np.nan, made.batch["image"])
  spoilt = values(made, "stages", batch={**made.batch, "image": jnp.asarray(behind)})[0]
  jax.tree.map(np.testing.assert_array_equal, stages, spoilt)
  coarse = hidden.reshape(B, 2, 4, 2, 4).all(axis=(2, 4))
  np.testing.assert_array_equal(stages[-1][1], coarse)
  assert coarse.any()


def test_a_critic_climbs_by_an_optimizer_of_its_own_each_second_step(ran):
  made = ran("critic")
  assert not any(made.moved(1, "params", "critic"))
  assert any(made.moved(2, "params", "critic"))
  assert all(any(made.moved(i, "params", "decoder")) for i in (1, 2))

  first = jax.tree.map(jnp.asarray, made.variables[1])

  def judged(critic):
    variables = {**first, "params": {**first["params"], "critic": critic}}
    return made.task.loss(variables, made.batch, jax.random.key(1), 1)[0]["judged"].sum

  before, after = (v["params"]["critic"] for v in made.variables[1:])
  low, high = jax.jit(lambda: (judged(before), judged(after)))()
  assert high > low


def test_the_head_that_matters_least_is_closed(ran):
  made = ran("gated_heads")
  importance, gate, loss, opened = values(
    made, "importance", "gate", "losses.recover.sum", "open.losses.recover.sum"
  )
  assert (importance > 0).all()
  np.testing.assert_array_equal(gate.argmin(-1), importance.argmin(-1))
  assert gate.sum() == 1
  assert loss != opened


def test_what_is_hidden_may_lie_on_another_grid_than_what_enters_the_encoder(ran):
  made = ran("another_input")
  hidden, shown, seen, patches, prediction, term = values(
    made, "hidden", "shown", "seen.values", "decoded.prediction", "prediction", "losses.recover"
  )
  image = np.asarray(made.batch["image"])
  np.testing.assert_array_equal(shown, np.where(hidden.reshape(B, 8, 8, 1), 0, image))
  cut = lambda x: x.reshape(B, 2, 4, 2, 4).swapaxes(2, 3).reshape(B, 4, 16)
  np.testing.assert_array_equal(seen, cut(shown))
  assert (hidden.sum(-1) == 48).all()
  # Predicted in patches, asked pixel by pixel.
  np.testing.assert_array_equal(patches, cut(prediction))
  gap = np.where(hidden, prediction[..., 0] - image.reshape(B, 64), 0)
  np.testing.assert_allclose(term.sum, (gap**2).sum(), rtol=1e-5)
  assert term.count == hidden.sum()
  assert all(made.moved(1, "params", "encoder"))


def test_an_encoder_with_an_input_of_its_own_sees_all_of_it():
  config = {**configs.another_input(), "hide": dict(fn="hide.drop")}
  with pytest.raises(BadInput, match="no hider may drop"):
    make_task(config, data()[1])


@pytest.mark.parametrize("name", ["queue", "only_a_state"])
def test_a_state_changes_once_a_step(ran, name):
  made = ran(name)
  states = [v["state"]["queue"] for v in made.variables]
  np.testing.assert_array_equal(states[2][:B], states[1][B:])
  assert (states[2][B:] != 0).any()
  assert made.task.coupled
  with pytest.raises(BadInput, match="couples"):
    make_step(made.task, None, accumulate=2)


def test_a_score_may_name_what_was_kept_after_the_step_before(ran):
  """Though what is kept follows from what the score hides."""
  made = ran("worst_first")
  before, first, second = (v["state"]["errors"] for v in made.variables)
  assert not before.any()
  assert first.any()
  later = copy.copy(made)
  later.variables = made.variables[1:]
  (hidden,) = values(later, "hidden")
  want = np.sort(np.argsort(-first, kind="stable")[:12])
  assert all(np.flatnonzero(row).tolist() == want.tolist() for row in hidden)
  assert (second != first).any()


def test_words_and_patches_in_a_row_have_losses_of_their_own(ran):
  made = ran("words_and_patches")
  hidden, words, image = values(made, "hidden", "gone_words", "gone_image")
  there = np.asarray(made.batch["caption"]) >= 0
  assert not (words & ~there).any()
  np.testing.assert_array_equal(hidden.sum(-1), np.round((N + there.sum(-1)) / 2))
  np.testing.assert_array_equal(hidden, np.concatenate([image, words], -1))
  met = made.metrics[0]
  np.testing.assert_allclose(met["loss"], met["terms/image"] + 0.5 * met["terms/words"], rtol=1e-6)


def test_each_layer_has_a_loss_against_a_frozen_network(ran):
  made = ran("frozen_features")
  np.testing.assert_array_equal(made.moved(2, "frozen"), False)
  outputs, features, raw = values(made, "out.layers", "features", "losses.layer")
  first = np.square(outputs[0].tokens - features).sum()
  np.testing.assert_allclose(raw[0].sum, first, rtol=1e-5)
  loss = jax.jit(lambda v, batch: made.task.loss(v, batch, jax.random.key(1), 0)[0])
  terms = loss(made.variables[0], made.batch)
  found = [terms[f"layer/{i}"].sum for i in range(2)]
  np.testing.assert_allclose(found, [0.25 * raw[0].sum, raw[1].sum], rtol=1e-5)


def test_each_example_learns_a_mask_of_its_own(ran):
  table = [v["params"]["gate"]["table"] for v in ran("own_mask").variables]
  assert (table[1][:B] != table[0][:B]).any(axis=-1).all()
  np.testing.assert_array_equal(table[2][B:], table[0][B:])


def test_an_answer_of_a_users_own_is_merged_over_disjoint_masks(ran):
  made = ran("merged_answer")
  found = jax.jit(made.task.answers["restored"])(made.variables[0], made.batch)
  place = np.arange(N) % 4
  for i in (0, 3):
    hidden = jnp.broadcast_to(jnp.asarray(place == i), (B, N))
    (one,) = values(made, "prediction", given={"hidden": hidden}, keep=N)
    np.testing.assert_allclose(found[:, place == i], one[:, place == i], rtol=2e-5, atol=1e-6)
