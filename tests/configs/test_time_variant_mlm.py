"""Yang et al. 2023: classes of words that are predicted badly are hidden more; the ratio falls."""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from built import Built

from maskjax import bind, lab, sections
from maskjax.score import accepted
from maskjax.sections import Lengths
from maskjax.task.class_losses import loss_weights, running_losses

GOLDEN = json.loads(
  (pathlib.Path(__file__).parents[1] / "golden/time_variant_mlm.json").read_text()
)
CLASSES, KINDS, BATCH, SHORT, WORDS = 17, 11, 2, 30, 24
ROWS, N, VOCABULARY, DRAWS = 8, 96, 1024, 300
rng = np.random.default_rng(0)


def given(update):
  """A batch of make_time_variant_mlm.py."""
  i = np.arange(BATCH * SHORT) + BATCH * SHORT * update
  logits = 2 * np.sin(i[:, None] * 0.7548777 + np.arange(KINDS) * 1.3247180)
  made = np.float32(logits), i * 7 % KINDS, i * 3 % 7 < 3, i * i % 13 + (i % 5 == 0) * 4
  return [x.reshape(BATCH, SHORT, *x.shape[1:]) for x in made]


def test_averages_and_weights_are_those_of_the_authors_code():
  update = jax.jit(lambda state, *batch: running_losses(*batch, state, decay=0.999))
  weigh = jax.jit(lambda state: loss_weights({"running": state}))
  state = jnp.zeros(CLASSES)
  for i, (average, weights) in enumerate(zip(GOLDEN["averages"], GOLDEN["weights"], strict=True)):
    before, state = update(state, *given(i))
    np.testing.assert_allclose(before, GOLDEN["averages"][i - 1] if i else np.zeros(CLASSES), 1e-4)
    np.testing.assert_allclose(state, average, rtol=1e-4)
    np.testing.assert_allclose(weigh(state), weights, rtol=1e-4)
  np.testing.assert_allclose(loss_weights({}, classes=3), 0.5)
  alike = lab.read("time_variant_mlm:alike").let.class_chances.slope
  np.testing.assert_allclose(loss_weights({"running": state}, slope=alike), 0.5)


def test_classes_are_as_many_wherever_they_are_counted():
  c = lab.base("text_mlm/time_variant_mlm").get_config("laptop,prepare.token_classes.classes=9")
  assert c.let.running.classes == c.let.class_chances.classes == 9


def test_words_are_accepted_that_the_authors_code_accepts():
  """By the coins of the golden in numpy, and by the coins of a key here."""
  sizes = 1 + np.arange(WORDS) % 3
  unit = np.repeat(np.arange(WORDS), sizes)
  chance = np.array(GOLDEN["weights"][-1])[np.arange(WORDS) % CLASSES]
  order = np.arange(WORDS) * 7 % WORDS
  coins = np.arange(1, WORDS + 1) * 0.618034 % 1
  take = np.zeros(WORDS, bool)
  take[order] = coins[order] <= chance[order]
  np.testing.assert_array_equal(take[unit], np.array(GOLDEN["accepted"], bool))
  key, n = jax.random.key(5), len(unit)
  scores = accepted(key, jnp.float32(chance)[unit], jnp.asarray(unit))
  own = jax.random.uniform(jax.random.split(key)[1], (n,))[:WORDS] < np.float32(chance)
  np.testing.assert_array_equal(scores >= 1, np.asarray(own)[unit])


TOKENS = rng.integers(0, VOCABULARY, (ROWS, N)).astype(np.int32)
UNIT = np.cumsum(rng.random((ROWS, N)) < 0.7, axis=1).astype(np.int32)
UNIT -= UNIT[:, :1]
CLASS_OF = (np.arange(VOCABULARY) % CLASSES).astype(np.int32)


def oracle(weights):
  """How often tokens of a class are hidden by the authors' loop, filled up and cut at the end."""
  hidden, count = np.zeros(CLASSES), np.zeros(CLASSES)
  for row in range(ROWS):
    words = [np.flatnonzero(UNIT[row] == u) for u in range(UNIT[row].max() + 1)]
    for _ in range(DRAWS):
      order = rng.permutation(len(words))
      took = rng.random(len(words)) < weights[CLASS_OF[TOKENS[row][[w[0] for w in words]]]]
      chosen = np.concatenate([words[i] for i in [*order[took[order]], *order[~took[order]]]])
      np.add.at(hidden, CLASS_OF[TOKENS[row][chosen[: round(0.15 * N)]]], 1)
      np.add.at(count, CLASS_OF[TOKENS[row]], 1)
  return hidden / count


def test_classes_of_large_losses_are_hidden_more_often():
  task = Built("time_variant_mlm", "laptop").task.loss.__self__
  batch = {"tokens": TOKENS, "unit": UNIT, "valid": np.ones((ROWS, N), bool)}
  losses = np.linspace(1, 6, CLASSES).astype(np.float32)
  variables = {"prepared": {"token_classes": CLASS_OF}, "state": {"running": losses}}
  batch, variables = jax.device_put(({**batch, "position": np.arange(ROWS)}, variables))

  def told(step):
    run, _ = task.run(variables, batch, jax.random.key(1), step)
    return run.take("class_chances", "hidden", "score")

  made = jax.jit(lambda: jax.lax.map(told, np.arange(DRAWS)))()
  weights, hidden, score = map(np.asarray, made)
  want = 1 / (1 + np.exp(-2 * (losses - losses.mean()) / losses.std(ddof=1)))
  np.testing.assert_allclose(weights[0], want, rtol=1e-5)
  assert (hidden.sum(-1) == round(0.15 * N)).all()
  found = np.array([hidden[:, 0][:, CLASS_OF[TOKENS] == c].mean() for c in range(CLASSES)])
  # Two samples of some 13,000 tokens of a class; uniform masks hide 0.15 of each.
  np.testing.assert_allclose(found, oracle(want), atol=0.02)
  assert found[-4:].mean() > 3 * found[:4].mean()
  whole = np.diff(score, axis=-1)[:, np.diff(UNIT, axis=-1) == 0]
  assert (whole == 0).all()


def test_averages_change_once_a_step_and_begin_at_zero(built):
  made = built("time_variant_mlm", "laptop")
  assert not np.asarray(made.variables["state"]["running"]).any()
  after = np.asarray(made.trained.state.variables["state"]["running"])
  # Of so small a text all tokens are of one class: its average follows the loss of what is asked.
  tokens = np.asarray(made.batch["tokens"])[: made.config["batch_size"]]
  (one,) = np.unique(np.asarray(made.variables["prepared"]["token_classes"])[tokens])
  first, second, third = made.trained.metrics["loss"]
  wanted = 0.1 * (0.9**2 * first + 0.9 * second + third) * (np.arange(CLASSES) == one)
  np.testing.assert_allclose(after, wanted, rtol=1e-4)


@pytest.mark.parametrize(("mode", "start", "end"), [("cosine", 0.32, 0.02), ("desc", 0.3, 0.0)])
def test_the_ratio_falls_as_in_the_authors_code(mode, start, end):
  c = lab.read("time_variant_mlm:decay").select.select.ratio
  if mode == "desc":
    c.fn, c.start, c.end = "schedule.linear", 0.3, 0.0
  assert (c.start, c.end) == (start, end)
  moved = sections.moving(c.to_dict(), Lengths(1000, 1.0))
  at = (0, 100, 500, 900, 999)
  # Their last step is that of 999 of 1,000; so is ours.
  np.testing.assert_allclose([bind.now(moved, t) for t in at], GOLDEN[mode], atol=1e-6)


def test_all_but_norms_decays_as_in_the_public_code(built, undecayed, decays_of_scales):
  made = built("time_variant_mlm")
  assert undecayed(made) == []
  scales = decays_of_scales(made)
  assert scales
  assert not any(scales)
