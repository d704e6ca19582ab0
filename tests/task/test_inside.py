"""Taps and gates inside any network, of branches and teachers too, written out and scanned."""

import functools
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from user_package.configs import ME, small

from maskjax.errors import BadInput
from maskjax.model import layers
from maskjax.record import Record
from maskjax.task.inside import Asking
from maskjax.train.setup.build import make_task

B, N, KEY = 4, 16, jax.random.key(0)
RECORD = Record("image", (8, 8, 1), {"train": B})
IMAGE = np.random.default_rng(0).normal(size=(B, 8, 8, 1)).astype(np.float32)
BATCH = {"image": jnp.asarray(IMAGE), "position": jnp.arange(B)}
HEADS = jnp.asarray([[1.0, 0.0]] * B)
TAPS = ("attention", "whole.attention", "outputs", "early", "taught", "whole.taught")
ALL = (*TAPS, "prediction", "gate", "out", "hidden", "features", "grid", "values")


def config(scan):
  """An autoencoder, a second network beside it and a teacher; the decoder has a gate."""
  c = small()
  vit = dict(fn="model.vit", size="mu", width=8, depth=2, heads=2, class_token=False, scan=scan)
  decoder = dict(fn="model.masked_decoder", width=8, depth=2, heads=2)
  c["model"] = dict(encoder=vit, decoder=decoder, guide=vit)
  c["teachers"] = dict(slow=dict(fn="task.ema", momentum=0.5))
  c["branches"] = dict(whole=dict(hidden="nothing"))
  c["let"] = dict(
    gate=dict(fn=ME + "first_head"),
    features=dict(fn="task.apply", of=dict(network="guide", x="values")),
    other=dict(fn="task.apply", of=dict(network="slow.guide", x="values")),
  )
  c["taps"] = dict(
    attention="decoder/1/attention",
    outputs="guide/*/output",
    early=dict(at="guide/0/input", value="features"),
    taught="slow.guide/1/output",
  )
  c["gates"] = dict(heads=dict(at="decoder/0/heads", by="gate"))
  c["losses"]["features"] = dict(fn=ME + "mean", of=dict(x="features"))
  return c


@functools.cache
def made(scan):
  """The networks, their variables, and values of the graph."""
  task = make_task(config(scan), RECORD)
  graph = task.loss.__self__

  @jax.jit
  def run():
    variables = task.init(KEY, BATCH)
    slow = jax.tree.map(lambda x: 1.5 * x, variables["teachers"]["slow"])
    variables = {**variables, "teachers": {"slow": slow}}
    values = graph.run(variables, BATCH, KEY, 0)[0].all(ALL)
    return variables, dict(zip(ALL, values, strict=True)), oracle(graph, variables, values)

  return jax.device_get(run())


def oracle(graph, variables, values):
  """What the networks tell by themselves."""
  got, modules = dict(zip(ALL, values, strict=True)), graph.parts.modules

  def tell(name, *args, params=variables["params"], **asked):
    own = {kind: tree[name] for kind, tree in variables.items() if name in tree}
    return layers.apply(modules[name], {**own, "params": params[name]}, *args, **asked)

  tokens = jnp.concatenate([t for t in (got["out"].extra, got["out"].tokens) if t is not None], -2)
  asked = dict(taps=["1/attention"], gates={"0/heads": HEADS})
  decoder = tell("decoder", tokens, got["out"].hidden, got["grid"], **asked)
  inside = dict(taps=["*/output", "0/input"])
  guide = tell("guide", got["values"], **inside).found
  slow = variables["teachers"]["slow"]["params"]
  return {
    "attention": decoder.found["1/attention"],
    "prediction": decoder.out.prediction,
    "outputs": (guide["0/output"], guide["1/output"]),
    "early": guide["0/input"],
    "taught": tell("guide", got["values"], params=slow, **inside).found["1/output"],
  }


close = functools.partial(np.testing.assert_allclose, rtol=2e-4, atol=1e-5)


@pytest.mark.parametrize("scan", [False, True])
def test_taps_and_gates_are_those_of_the_network_itself(scan):
  _, got, expected = made(scan)
  for name, value in expected.items():
    jax.tree.map(close, got[name], value)
  assert np.abs(got["taught"] - got["outputs"][1]).max() > 0.1


def test_scanned_networks_tell_the_same():
  one, two = made(False), made(True)
  jax.tree.map(np.testing.assert_array_equal, one[0], two[0])
  for name in (*TAPS, "prediction"):
    jax.tree.map(close, one[1][name], two[1][name])


def test_a_branch_has_taps_of_its_own_and_shares_what_does_not_change():
  got = made(False)[1]
  assert got["hidden"].any()
  assert np.abs(got["attention"] - got["whole.attention"]).max() > 1e-3
  np.testing.assert_array_equal(got["taught"], got["whole.taught"])


@pytest.mark.parametrize(
  ("more", "says"),
  [
    (dict(a="decodr/0/output"), "did you mean 'decoder'"),
    (dict(gate="decoder/0/output"), "there is a value of this name"),
    (dict(a="critic/0/output"), "say in which value 'critic' is called, value=one or two"),
    (dict(a=dict(at="decoder/0/output", value="two")), "value=decoded"),
    (dict(a="decoder/7/output"), "has no '7/output'"),
  ],
)
def test_a_place_that_is_not_there_is_refused(more, says):
  c = small()
  c["model"]["critic"] = dict(fn=ME + "critic")
  call = dict(fn="task.apply", of=dict(network="critic", x="values"))
  c["let"] = dict(gate=dict(fn=ME + "ones"), one=call, two=call)
  c["taps"] = more
  ask = lambda graph: graph.run(None, BATCH, KEY, 0, init=KEY, keep=4)[0].take("a")
  with pytest.raises(BadInput, match=says):
    jax.eval_shape(functools.partial(ask, make_task(c, RECORD).loss.__self__))


def test_a_tap_is_of_one_call():
  alone = SimpleNamespace(name="net", tell=lambda *args, **options: layers.Told(1, {}, {}, {}))
  network = Asking(alone, ("0/output",), {})
  assert network(0) == 1
  with pytest.raises(BadInput, match="'net' is called twice"):
    network(0)
