"""Language modelling: its likelihood is a distribution's, and what each token is predicted from."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maskjax import recover
from maskjax.errors import BadInput
from maskjax.generate import autoregressive, decode
from maskjax.model import text_transformer
from maskjax.record import Record
from maskjax.task import next_token
from maskjax.task.base import total
from maskjax.task.next_token import shifted

KEY = jax.random.key(0)
MODEL = functools.partial(text_transformer, width=16, depth=2, heads=2, mlp=24, causal=True)


def build(n=6, vocabulary="abcd", model=MODEL, **words):
  """A tiny task, a batch of 4 windows, the last padded, and variables that are far from uniform."""
  record = Record("text", (n,), {"train": 4}, vocabulary=tuple(vocabulary))
  words = {"generate": functools.partial(autoregressive), **words}
  task = next_token(record=record, model=model, **words)
  tokens = jax.random.randint(jax.random.key(1), (4, n), 0, len(vocabulary))
  valid = jnp.arange(n) < jnp.array([[n], [n], [n], [n // 2]])
  batch = {"tokens": tokens, "valid": valid, "position": jnp.arange(4)}
  variables = jax.jit(task.init)(KEY, batch)
  return task, batch, jax.tree.map(lambda x: 4 * x, variables)


def nats(task, batch, variables):
  return np.asarray(jax.jit(task.nats, static_argnums=3)(variables, batch, KEY, 1))


def test_probabilities_of_all_windows_add_up_to_one():
  """They do only if no token is predicted from itself or a later one, and each counts once."""
  n, vocabulary = 3, "ab"
  task, _, variables = build(n, vocabulary)
  tokens = jnp.array(list(itertools.product(range(2), repeat=n)))
  batch = {"tokens": tokens, "valid": jnp.ones(tokens.shape, bool), "position": jnp.arange(8)}
  p = np.exp(-nats(task, batch, variables).astype(np.float64))
  assert p.max() > 2 * p.min()
  np.testing.assert_allclose(p.sum(), 1, rtol=1e-5)


def test_nats_are_what_the_network_gives_token_by_token():
  task, batch, variables = build()
  got = nats(task, batch, variables)
  apply = jax.jit(task.network.apply)
  begin, lost = jnp.full((4, 1), 4), np.zeros(4)
  for i in range(6):
    ids = jnp.concatenate([begin, batch["tokens"][:, :i]], axis=1)
    log_p = jax.nn.log_softmax(apply(variables, ids)[:, -1])
    true = np.asarray(log_p)[np.arange(4), np.asarray(batch["tokens"][:, i])]
    lost -= np.where(batch["valid"][:, i], true, 0)
  np.testing.assert_allclose(got, lost, rtol=1e-4)
  again = jax.jit(task.nats, static_argnums=3)(variables, batch, jax.random.key(9), 4)
  np.testing.assert_array_equal(again, got)


def test_the_loss_is_the_mean_of_all_valid_tokens():
  task, batch, variables = build()
  terms, aux = jax.jit(task.loss)(variables, batch, KEY, 3)
  assert set(terms) == {"next"}
  assert int(terms["next"].count) == 21
  assert not aux.variables
  mean = nats(task, batch, variables).sum() / 21
  np.testing.assert_allclose(total(terms, task.weights), mean, rtol=1e-5)
  smooth = functools.partial(recover.cross_entropy, smoothing=0.1)
  other = build(recover=smooth)[0].loss(variables, batch, KEY, 3)[0]["next"]
  assert float(other.sum) != float(terms["next"].sum)


def test_padding_changes_neither_loss_nor_gradient():
  task, batch, variables = build()
  spoilt = {**batch, "tokens": jnp.where(batch["valid"], batch["tokens"], 3)}
  other = {**batch, "tokens": jnp.where(batch["valid"], batch["tokens"], 0)}
  slope = jax.jit(jax.grad(lambda v, b: total(task.loss(v, b, KEY, 0)[0], {})))
  for a, b in zip(*(jax.tree.leaves(slope(variables, b)) for b in (spoilt, other)), strict=True):
    np.testing.assert_array_equal(a, b)
  np.testing.assert_array_equal(nats(task, spoilt, variables), nats(task, other, variables))


def test_packed_documents_cost_what_they_cost_alone():
  task, batch, variables = build()
  segments = jnp.array([[0, 0, 1, 1, 1, 2]] * 3 + [[0, 0, 1, 1, 1, 1]])
  packed = nats(task, {**batch, "segments": segments}, variables)
  for row in range(4):
    alone = 0.0
    for s in range(3):
      here = np.asarray((segments[row] == s) & batch["valid"][row])
      tokens = batch["tokens"][row : row + 1, here]
      if tokens.size:
        part = {"tokens": tokens, "valid": jnp.ones(tokens.shape, bool)}
        alone += nats(task, part, variables)[0]
    np.testing.assert_allclose(packed[row], alone, rtol=1e-4)


def test_what_is_read_begins_anew_with_every_document():
  batch = {
    "tokens": jnp.array([[0, 1, 2, 3], [0, 1, 2, 3]]),
    "valid": jnp.array([[True] * 4, [True, False, True, True]]),
    "segments": jnp.array([[0, 0, 1, 1], [0, 0, 0, 0]]),
  }
  ids, seen = shifted(batch, 9)
  assert ids.tolist() == [[9, 0, 9, 2], [9, 0, 1, 2]]
  assert seen.tolist() == [[True] * 4, [True, True, False, True]]


@pytest.mark.parametrize("packed", [False, True])
def test_features_know_every_valid_token_and_no_other(packed):
  task, batch, variables = build()
  if packed:
    batch = {**batch, "segments": jnp.array([[0, 0, 1, 1, 2, 2]] * 4)}
  mean = jax.jit(lambda b: task.features(variables, b)["mean"])
  before = np.asarray(mean(batch))
  assert before.shape == (4, 16)
  for i in range(6):
    tokens = batch["tokens"].at[:, i].set((batch["tokens"][:, i] + 1) % 4)
    changed = (np.asarray(mean({**batch, "tokens": tokens})) != before).any(-1)
    read = np.asarray(batch["valid"][:, i])
    # The last token of a document that another follows is read by none.
    np.testing.assert_array_equal(changed, read & (not packed or i in (0, 2, 4, 5)))


def test_views_show_the_best_guess_at_every_token():
  task, batch, variables = build()
  views = jax.jit(task.views)(variables, batch, KEY)
  np.testing.assert_array_equal(views["tokens"], batch["tokens"])
  np.testing.assert_array_equal(views["hidden"], batch["valid"])
  ids, _ = shifted(batch, 4)
  best = jnp.argmax(task.network.apply(variables, ids), axis=-1)
  np.testing.assert_array_equal(
    views["prediction"], jnp.where(batch["valid"], best, batch["tokens"])
  )


def test_what_is_written_is_the_likeliest_by_the_whole_pass():
  task, batch, variables = build(generate=functools.partial(autoregressive, temperature=0.0))
  hidden = jnp.arange(6) >= jnp.array([[0], [2], [5], [6]])
  tokens = batch["tokens"]
  out = jax.jit(task.generate)(variables, jax.random.split(KEY, 4), tokens, hidden)
  for i in range(6):
    ids, _ = shifted({"tokens": tokens, "valid": jnp.ones_like(hidden)}, 4)
    best = jnp.argmax(task.network.apply(variables, ids)[:, i], axis=-1)
    tokens = tokens.at[:, i].set(jnp.where(hidden[:, i], best, tokens[:, i]))
  np.testing.assert_array_equal(out["tokens"], tokens)
  assert out["step"].tolist()[1] == [0, 0, 1, 2, 3, 4]


def test_only_the_end_of_a_window_is_written():
  task, batch, variables = build()
  keys = jax.random.split(KEY, 4)
  hidden = jnp.zeros((4, 6), bool).at[1, 2].set(True)
  with pytest.raises(BadInput, match="hide a suffix"):
    task.generate(variables, keys, batch["tokens"], hidden)
  nothing = task.generate(variables, keys, batch["tokens"], jnp.zeros((4, 6), bool))
  np.testing.assert_array_equal(nothing["tokens"], batch["tokens"])
  assert build(generate=None)[0].generate is None


@pytest.mark.parametrize(
  ("words", "says"),
  [
    ({"model": functools.partial(MODEL, causal=False)}, "set model.causal=True"),
    ({"model": functools.partial(MODEL, extra=0)}, "set model.extra=1"),
    ({"generate": functools.partial(decode)}, "decode needs .*predict.*; next_token offers"),
  ],
)
def test_what_does_not_read_from_left_to_right_is_refused(words, says):
  with pytest.raises(BadInput, match=says):
    build(**words)


def test_data_that_are_no_text_are_refused():
  with pytest.raises(BadInput, match="takes text, the data set holds image"):
    next_token(record=Record("image", (4, 4, 1), {}), model=MODEL)
