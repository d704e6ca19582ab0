"""Classifiers as graphs: partners, statistics of a batch, and what callers hand to answers."""

import pathlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maskjax.errors import BadInput
from maskjax.keys import stream
from maskjax.record import Record
from maskjax.task.partner import partners
from maskjax.train.setup.build import make_task

sys.path.append(str(pathlib.Path(__file__).parents[1]))

B = 4
KEY = jax.random.key(3)
RECORD = Record("image", (2, 4, 1), {"train": B}, ("a", "b"))
BATCH = {
  "image": jnp.asarray(np.random.default_rng(0).normal(size=(B, 2, 4, 1)).astype(np.float32)),
  "label": jnp.array([0, 1, 1, 0]),
  "position": jnp.arange(B),
}


def config(*, mixed=False, twice=False, **network):
  """A classifier of images that are shown as they are, or mixed with a partner's pixels."""
  c = dict(task=dict(fn="task.masked"), batch_size=B, total_steps=10, data=dict(train="train"))
  c["over"], c["model"] = dict(fn="over.pixels"), dict(fn="user_package.parts:normed", **network)
  c["let"] = dict(
    image=dict(fn="task.to_field", of=dict(x="seen.values")),
    logits=dict(fn="task.logits"),
    examples=dict(fn="task.valid_examples"),
  )
  target = "batch.label"
  if mixed:
    c["score"], c["select"] = dict(fn="score.uniform"), dict(fn="select.top", ratio=0.25)
    c["hide"] = dict(fn="hide.mix", of=dict(other="partner.values"))
    c["branches"] = dict(partner=dict(batch="partners"))
    of = dict(label="batch.label", other="partners.label", classes="record.classes")
    c["let"]["target"], target = dict(fn="recover.mixed_labels", of=of), "target"
  of = dict(target=target, asked="examples")
  c["losses"] = dict(recover=dict(fn="recover.cross_entropy", of=of))
  if twice:
    c["branches"] = dict(second=dict(source=dict(fn="task.look", name="second")))
    of = dict(of, logits="second.logits")
    c["losses"]["second"] = dict(fn="recover.cross_entropy", of=of)
  of = dict(image="batch.image", hidden="hidden")
  predict = dict(fn="network.__call__", of=of, takes=("batch", "hidden"))
  c["answers"] = dict(predict=predict, image="image", target=target)
  return c


def made(**options):
  """The task, and its first variables."""
  task = make_task(config(**options), RECORD)
  return task, jax.jit(task.init)(jax.random.key(0), BATCH)


def test_a_value_about_partners_pairs_the_examples_of_a_batch():
  task, variables = made(mixed=True)
  met = task.pair(BATCH, KEY, 2)
  expected = partners(BATCH, stream(KEY, "partner", 2))["other"]
  jax.tree.map(np.testing.assert_array_equal, met["other"], expected)
  look = lambda name: jax.jit(task.answers[name])(variables, BATCH, KEY, 2)
  image, target = look("image"), look("target")
  here = np.asarray(image == BATCH["image"])
  there = np.asarray(image == met["other"]["image"])
  assert (here | there).all()
  alone = np.asarray(met["other"]["position"] == BATCH["position"])
  assert not alone.all()
  np.testing.assert_array_equal((~here[~alone]).sum(axis=(1, 2, 3)), 2)
  one_hot = lambda label: np.eye(2, dtype=np.float32)[np.asarray(label)]
  mixed = 0.75 * one_hot(BATCH["label"]) + 0.25 * one_hot(met["other"]["label"])
  np.testing.assert_allclose(target, mixed, rtol=1e-6)


def test_without_such_a_value_a_batch_stays_as_it_is():
  task, _ = made()
  assert task.pair(BATCH, KEY, 0) is BATCH


def test_statistics_follow_the_batch_of_a_loss_and_rest_in_answers():
  task, variables = made()
  assert task.coupled
  _, aux = jax.jit(lambda v, b: task.loss(v, b, KEY, 0))(variables, BATCH)
  mean = aux.variables["batch_stats"]["BatchNorm_0"]["mean"]
  expected = 0.01 * BATCH["image"].reshape(B, -1).mean(axis=0)
  np.testing.assert_allclose(mean, expected, rtol=1e-4, atol=1e-7)
  one = jax.jit(task.answers["predict"])(variables, {"image": BATCH["image"][:1]})
  whole = jax.jit(task.answers["predict"])(variables, {"image": BATCH["image"]})
  np.testing.assert_allclose(one, whole[:1], rtol=1e-5, atol=1e-6)


def test_another_look_goes_its_own_way_and_statistics_of_both_count():
  task, first = make_task(config(twice=True), RECORD), BATCH["image"]
  batch = {**BATCH, "second": 3 + 2 * first}
  variables = jax.jit(task.init)(jax.random.key(0), batch)
  run = jax.jit(lambda v, b: task.loss(v, b, KEY, 0))
  terms, aux = run(variables, batch)
  plain, _ = run(variables, {**batch, "image": batch["second"]})
  assert terms["second"].sum == plain["recover"].sum != terms["recover"].sum
  one, two = (np.asarray(batch[k]).reshape(B, -1).mean(axis=0) for k in ("image", "second"))
  expected = 0.99 * 0.01 * one + 0.01 * two
  mean = aux.variables["batch_stats"]["BatchNorm_0"]["mean"]
  np.testing.assert_allclose(mean, expected, rtol=1e-4, atol=1e-6)
  with pytest.raises(BadInput, match=r"no look 'second': name it in data\.looks"):
    jax.eval_shape(lambda: task.loss(variables, BATCH, KEY, 0))


def test_statistics_of_a_network_that_does_not_say_so_are_refused():
  task, variables = made(coupled=False)
  assert not task.coupled
  with pytest.raises(BadInput, match="coupled = True"):
    jax.eval_shape(lambda: task.loss(variables, BATCH, KEY, 0))


@pytest.mark.parametrize("mixed", [True, False])
def test_what_a_caller_hands_to_an_answer_takes_the_place_of_the_value(mixed):
  task, variables = made(mixed=mixed)
  predict = jax.jit(task.answers["predict"])
  hidden = jnp.zeros((B, 2, 4), bool).at[:, 0].set(True)
  spoilt = jnp.where(hidden[..., None], jnp.nan, BATCH["image"])
  zero = jnp.where(hidden[..., None], 0, BATCH["image"])
  np.testing.assert_array_equal(
    predict(variables, {"image": spoilt}, hidden), predict(variables, {"image": zero})
  )
  np.testing.assert_array_equal(
    predict(variables, {"image": spoilt}, hidden=hidden), predict(variables, {"image": zero})
  )


def test_an_answer_takes_values_that_there_are():
  c = config()
  c["answers"]["predict"]["takes"] = ("hiden",)
  with pytest.raises(BadInput, match="hidden"):
    make_task(c, RECORD)
