"""Text as graphs of named values: what is read, what is asked, and what is refused."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maskjax.errors import BadInput
from maskjax.record import Record
from maskjax.train.setup.build import make_task

KEY, N, ROWS = jax.random.key(0), 6, 4
SIZES = dict(width=16, depth=1, heads=2, mlp=24)
RECORD = Record("text", (N,), {"train": ROWS}, vocabulary=tuple("abcd"))
READ = dict(fn="task.read_from_left", of=dict(begin="vocabulary"))


def config(**more):
  """A language model from left to right, as the others begin."""
  c = dict(task=dict(fn="task.masked"), batch_size=ROWS, total_steps=2, data={})
  c["over"] = dict(fn="over.tokens")
  c["model"] = dict(fn="model.text_transformer", causal=True, **SIZES)
  c["let"] = dict(told=READ, asked=dict(fn="task.asked_of"))
  of = dict(logits="told.out", target="values")
  c["losses"] = dict(next=dict(fn="recover.cross_entropy", of=of))
  return {**c, **more}


@functools.cache
def batch(*fields):
  """Four windows, the last padded, with fields that tell of each token which it belongs to."""
  rng, at = np.random.default_rng(1), np.arange(N)
  made = {"tokens": rng.integers(0, 4, (ROWS, N), np.int32), "position": np.arange(ROWS)}
  made["valid"] = at < np.array([[N], [N], [N], [4]])
  more = {"asked": made["valid"] & (at > 2), "blocks": np.tile(at // 2, (ROWS, 1))}
  more["segments"] = np.tile(at // 3, (ROWS, 1))
  return {**made, **{name: more[name] for name in fields}}


@pytest.mark.parametrize(
  ("model", "let", "says"),
  [
    (dict(causal=False), {}, "set model.causal=True"),
    (dict(extra=0), {}, "set model.extra=1"),
    ({}, dict(pairs=dict(fn="hide.window", radius=1)), "shows an answer what comes after"),
    ({}, dict(pairs=dict(fn="hide.blocks")), "no blocks in packed documents"),
  ],
)
def test_what_would_show_the_answer_is_refused(model, let, says):
  c = config()
  c["model"] = {**c["model"], **model}
  of = dict(begin="vocabulary", **{name: name for name in let})
  c["let"] = {**c["let"], **let, "told": dict(READ, of=of)}
  task = make_task(c, RECORD)
  with pytest.raises(BadInput, match=says):
    jax.eval_shape(task.init, KEY, batch("segments"))


def test_a_window_is_seen_several_times_each_with_other_tokens_hidden():
  """As many as the first time where there are enough, each asked once."""
  c = config(
    score=dict(fn="score.uniform"), hide=dict(fn="hide.token", of=dict(mask_id="vocabulary"))
  )
  pick = dict(fn="select.top", ratio=0.5)
  c["select"] = dict(fn="select.again", select=pick, times=2, of=dict(allowed="batch.valid"))
  c["model"] = dict(c["model"], causal=False)
  views = dict(fn="task.repeated", times=2)
  c["let"] = dict(source=views, logits=dict(fn="task.read_tokens"))
  c["losses"] = dict(masked=dict(fn="recover.cross_entropy", of=dict(target="values")))
  task, whole = make_task(c, RECORD), batch()

  @jax.jit
  def made(batch):
    variables = task.init(KEY, batch)
    run = task.loss.__self__.run(variables, batch, KEY, 0)[0]
    return run.all(["hidden", "seen.values", "losses.masked"])

  hidden, seen, term = made(whole)
  assert hidden.shape == (2, ROWS, N)
  np.testing.assert_array_equal(hidden.sum(0), whole["valid"])
  np.testing.assert_array_equal(seen == 4, hidden)
  assert term.count == whole["valid"].sum()
  assert jnp.isfinite(term.sum)


def test_an_answer_takes_what_its_section_names():
  """A mask of the caller's own in the third place, where others have a key."""
  c = config(hide=dict(fn="hide.token", of=dict(mask_id="vocabulary")))
  c |= dict(score=dict(fn="score.uniform"), select=dict(fn="select.top", ratio=0.5))
  c["model"] = dict(c["model"], causal=False)
  c["let"] = dict(logits=dict(fn="task.read_tokens"))
  c["losses"] = dict(masked=dict(fn="recover.cross_entropy", of=dict(target="values")))
  c["answers"] = dict(infill=dict(value="logits", takes=("batch", "hidden")))
  task, hidden = make_task(c, RECORD), np.arange(N) % 2 == 0

  @jax.jit
  def made(batch, hidden):
    variables = task.init(KEY, batch)
    changed = {**batch, "tokens": jnp.where(hidden, 3 - batch["tokens"], batch["tokens"])}
    infill = lambda batch: task.answers["infill"](variables, batch, hidden)
    other = {**batch, "tokens": (batch["tokens"] + 1) % 4}
    return infill(batch), infill(changed), infill(other)

  first, second, whole = made(batch(), np.broadcast_to(hidden, (ROWS, N)))
  np.testing.assert_array_equal(first, second)
  assert (first != whole).any()
  with pytest.raises(BadInput, match="did you mean 'hidden'"):
    make_task({**c, "answers": dict(infill=dict(value="logits", takes=("batch", "hiden")))}, RECORD)
