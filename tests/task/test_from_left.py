"""Language modelling: its likelihood is a distribution's, and what each token is predicted from."""

import functools
import itertools
import pathlib
import runpy

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy_text as toy

from maskjax.errors import BadInput
from maskjax.record import Record
from maskjax.task import shifted
from maskjax.task.base import total

KEY, N, ROWS = jax.random.key(0), 6, 4
RECORD = Record("text", (N,), {"train": 4}, vocabulary=tuple("abcd"))
filled = runpy.run_path(str(pathlib.Path(__file__).with_name("toy_weights.py")))["filled"]
SEGMENTS = np.array([[0, 0, 1, 1, 1, 2]] * 3 + [[0, 0, 1, 1, 1, 1]])


def make(smoothing=0.0):
  """A tiny task, of four tokens."""
  fields = dict(answers__generate__temperature=0.0, losses__next__smoothing=smoothing)
  return toy.task_of("causal_lm", RECORD, dict(width=16, depth=2, heads=2, mlp=24), **fields)


def windows():
  """A batch of 4 windows, the last padded."""
  tokens = np.random.default_rng(1).integers(0, 4, (ROWS, N), np.int32)
  valid = np.arange(N) < np.array([[N], [N], [N], [N // 2]])
  return jax.device_put({"tokens": tokens, "valid": valid, "position": np.arange(ROWS)})


def alone(batch):
  """Every document of every window by itself, at the beginning of a window that is padded."""
  tokens, valid = np.zeros((ROWS, 3, N), np.int32), np.zeros((ROWS, 3, N), bool)
  for row, s in np.ndindex(ROWS, 3):
    own = np.asarray(batch["tokens"])[row, (SEGMENTS[row] == s) & np.asarray(batch["valid"][row])]
    tokens[row, s, : len(own)], valid[row, s, : len(own)] = own, True
  flat = lambda x: x.reshape(-1, N)
  made = {"tokens": flat(tokens), "valid": flat(valid), "position": np.arange(ROWS * 3)}
  return jax.device_put(made)


def every(n):
  """All windows of so many tokens."""
  tokens = np.array(list(itertools.product(range(4), repeat=n)), np.int32)
  made = {"tokens": tokens, "valid": tokens >= 0, "position": np.arange(len(tokens))}
  return jax.device_put(made)


def changed(batch):
  """The tokens as they are, then with each place of the window changed."""
  tokens = batch["tokens"]
  return jnp.stack([tokens, *(tokens.at[:, i].set((tokens[:, i] + 1) % 4) for i in range(N))])


@functools.cache
def found():
  """What the task makes of its batch and of others, in one program."""
  task, batch = make(), windows()
  smooth = make(smoothing=0.1)
  variables = filled(jax.eval_shape(task.init, KEY, batch), 0.4)
  hidden = jax.device_put(np.arange(N) >= np.array([[0], [2], [5], [6]]))
  parts, all_of_three = alone(batch), every(3)

  split = jax.random.split

  @jax.jit
  def run(variables, batch, parts, all_of_three):
    nats = lambda batch, key=KEY, draws=1: task.answers["nats"](variables, batch, key, draws)
    cost = lambda v, b: total(task.loss(v, b, KEY, 0)[0], {})
    padded = jnp.stack([jnp.where(batch["valid"], batch["tokens"], x) for x in (3, 0)])
    spoilt = lambda tokens: {**batch, "tokens": tokens}
    mean = lambda tokens, **more: task.answers["features"](variables, {**spoilt(tokens), **more})[
      "mean"
    ]
    ids, _ = shifted(batch, 4)
    # Before place i as it is, from there on anything.
    before = jax.vmap(lambda i: jnp.where(jnp.arange(N) <= i, ids, 3 - ids % 4))(jnp.arange(N))
    write = lambda hidden: task.answers["generate"](
      variables, split(KEY, 4), batch["tokens"], hidden
    )
    written = jax.lax.map(write, jnp.stack([hidden, hidden & False]))
    reread, _ = shifted({**batch, "tokens": written["tokens"][0]}, 4)
    packed = jnp.asarray([[0, 0, 1, 1, 2, 2]] * ROWS)
    return {
      "nats": nats(batch),
      "again": nats(batch, jax.random.key(9), 4),
      "loss": task.loss(variables, batch, KEY, 3),
      "smooth": smooth.loss(variables, batch, KEY, 3)[0],
      "padded": jax.lax.map(
        lambda tokens: (nats(spoilt(tokens)), jax.grad(cost)(variables, spoilt(tokens))), padded
      ),
      "packed": nats({**batch, "segments": jnp.asarray(SEGMENTS)}),
      "alone": nats(parts),
      "every": nats(all_of_three),
      "by token": jax.lax.map(lambda ids: task.network.apply(variables, ids), before),
      "views": task.answers["views"](variables, batch, KEY),
      "features": jax.lax.map(mean, changed(batch)),
      "packed features": jax.lax.map(lambda tokens: mean(tokens, segments=packed), changed(batch)),
      "written": written,
      "reread": task.network.apply(variables, reread).argmax(-1),
    }

  got = run(variables, batch, parts, all_of_three)
  return jax.tree.map(np.asarray, (batch, hidden, got))


def test_probabilities_of_all_windows_add_up_to_one():
  """They do only if no token is predicted from itself or a later one, and each counts once."""
  p = np.exp(-found()[2]["every"].astype(np.float64))
  assert p.shape == (64,)
  assert p.max() > 2 * p.min()
  np.testing.assert_allclose(p.sum(), 1, rtol=1e-5)


def test_nats_are_what_the_network_gives_token_by_token():
  batch, _, got = found()
  lost = np.zeros(ROWS)
  for i in range(N):
    log_p = np.asarray(got["by token"][i, :, i], np.float64)
    log_p -= np.log(np.exp(log_p).sum(-1, keepdims=True))
    true = log_p[np.arange(ROWS), batch["tokens"][:, i]]
    lost -= np.where(batch["valid"][:, i], true, 0)
  np.testing.assert_allclose(got["nats"], lost, rtol=1e-4)
  np.testing.assert_array_equal(got["again"], got["nats"])


def test_the_loss_is_the_mean_of_all_valid_tokens():
  _, _, got = found()
  terms, aux = got["loss"]
  assert set(terms) == {"next"}
  assert int(terms["next"].count) == 21
  assert not aux.variables
  np.testing.assert_allclose(total(terms, make().weights), got["nats"].sum() / 21, rtol=1e-5)
  assert float(got["smooth"]["next"].sum) != float(terms["next"].sum)


def test_padding_changes_neither_loss_nor_gradient():
  nats, slopes = found()[2]["padded"]
  np.testing.assert_array_equal(nats[0], nats[1])
  for leaf in jax.tree.leaves(slopes):
    np.testing.assert_array_equal(leaf[0], leaf[1])
  assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(slopes)) > 0


def test_packed_documents_cost_what_they_cost_alone():
  _, _, got = found()
  np.testing.assert_allclose(got["packed"], got["alone"].reshape(ROWS, 3).sum(-1), rtol=1e-4)
  assert (np.abs(got["packed"] - got["nats"]) > 1e-3).all()


def test_what_is_read_begins_anew_with_every_document():
  batch = {
    "tokens": np.array([[0, 1, 2, 3], [0, 1, 2, 3]]),
    "valid": np.array([[True] * 4, [True, False, True, True]]),
    "segments": np.array([[0, 0, 1, 1], [0, 0, 0, 0]]),
  }
  ids, seen = jax.jit(shifted)(batch, 9)
  assert ids.tolist() == [[9, 0, 9, 2], [9, 0, 1, 2]]
  assert seen.tolist() == [[True] * 4, [True, True, False, True]]


@pytest.mark.parametrize("packed", [False, True])
def test_features_know_every_valid_token_and_no_other(packed):
  batch, _, got = found()
  before, *others = got["packed features" if packed else "features"]
  assert before.shape == (4, 16)
  for i, after in enumerate(others):
    read = batch["valid"][:, i]
    # The last token of a document that another follows is read by none.
    expected = read & (not packed or i in (0, 2, 4, 5))
    np.testing.assert_array_equal((after != before).any(-1), expected)


def test_views_show_the_best_guess_at_every_token():
  batch, _, got = found()
  views, logits = got["views"], got["by token"]
  np.testing.assert_array_equal(views["tokens"], batch["tokens"])
  np.testing.assert_array_equal(views["hidden"], batch["valid"])
  best = np.stack([logits[i, :, i].argmax(-1) for i in range(N)], axis=1)
  expected = np.where(batch["valid"], best, batch["tokens"])
  np.testing.assert_array_equal(views["prediction"], expected)


def test_what_is_written_is_the_likeliest_by_the_whole_pass():
  batch, hidden, got = found()
  tokens, nothing = got["written"]["tokens"]
  np.testing.assert_array_equal(nothing, batch["tokens"])
  np.testing.assert_array_equal(tokens, np.where(hidden, got["reread"], batch["tokens"]))
  assert got["written"]["step"][0].tolist()[1] == [0, 0, 1, 2, 3, 4]
  assert len(np.unique(tokens[hidden])) > 1


def test_only_the_end_of_a_window_is_written():
  task, batch = make(), windows()
  hidden = np.zeros((4, 6), bool)
  hidden[1, 2] = True
  with pytest.raises(BadInput, match="hide a suffix"):
    task.answers["generate"]({"params": {}}, jax.random.split(KEY, 4), batch["tokens"], hidden)
