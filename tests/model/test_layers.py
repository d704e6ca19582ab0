"""Taps and gates of transformers: alike however blocks are run, and against numpy."""

import functools
import pathlib
import runpy
import sys

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params
from jax.tree_util import Partial
from toy_mae import masked_autoencoder

from maskjax import model
from maskjax.errors import BadInput
from maskjax.hide import Seen
from maskjax.model import layers
from maskjax.model.places import NOWHERE
from maskjax.model.vit import ViT
from maskjax.train.plan import flops

close = runpy.run_path(str(pathlib.Path(__file__).parents[1] / "closeness.py"))["close"]
TRANSFORMER = sys.modules["maskjax.model.transformer"]
ATTENTION = sys.modules["maskjax.model.attention"]
WAYS = {
  "plain": {},
  "scan": {"scan": True},
  "remat": {"remat": True},
  "both": {"scan": True, "remat": True},
}
DEPTH, WIDTH, HEADS, MLP, N = 3, 16, 2, 24, 7
# Three blocks of six products, and backward as many again.
SUMS = dict(depth=2 * DEPTH * 6, terms=2 * N * MLP, axis=None)


def network(**changes):
  return ViT(WIDTH, DEPTH, HEADS, MLP, patch=(2, 2), grid=(2, 3), **changes)


def draw(*shape, seed=0):
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


PATCHES = draw(2, 6, 12)


@functools.cache
def variables():
  shapes, rng = jax.eval_shape(network().init, jax.random.key(0), PATCHES), np.random.default_rng(1)
  return jax.tree.map(lambda leaf: (rng.normal(size=leaf.shape) / 4).astype(np.float32), shapes)


def by_input(scale, x):
  """A gate of all channels that is made from what comes into the layer."""
  return jax.nn.sigmoid(scale * x)


def by_first(scale, x):
  """A gate of an example's heads, from its first token."""
  return scale * jnp.square(x[:, 0, :HEADS])


def gates():
  """One of each shape, of all examples or each; blocks 1 and 2 can be one loop, 0 is another."""
  positive = lambda *shape: np.abs(draw(*shape, seed=len(shape)))
  pairs = positive(N, N)
  pairs[2, 3] = pairs[:, 5] = 0
  return {
    "*/hidden": positive(MLP),
    "0/input": positive(2, N),
    "0/attention": positive(2, 1, 1, N),
    "0/heads": Partial(by_first, np.float32(2)),
    "0/output": positive(1, 1, WIDTH),
    **{f"{i}/attention": i * pairs for i in (1, 2)},
    **{f"{i}/heads": positive(HEADS) for i in (1, 2)},
    **{f"{i}/output": Partial(by_input, np.float32(i)) for i in (1, 2)},
  }


TAPS = [f"*/{place}" for place in layers.PLACES] + ["*/output_gate", "*/attention_gate"]


def asked(net, v, gates):
  """What is told, and how a loss that reads it depends on weights and gates."""

  def loss(params, gates):
    told = layers.apply(net, {**v, "params": params}, PATCHES, taps=TAPS, gates=gates)
    far = sum(jnp.sum(jnp.sin(value)) for value in told.found.values())
    return jnp.sum(told.out**3) + far, told

  return jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)(v["params"], gates)


@pytest.fixture(scope="module")
def ways():
  """Everything of all ways to run the blocks, in one program."""
  # By a loop alone blocks are met below; here backward, where it and remat meet.
  some = ("plain", "remat", "both")
  every = lambda v, gates: {name: asked(network(**WAYS[name]), v, gates) for name in some}
  return jax.device_get(jax.jit(every)(variables(), gates()))


@pytest.mark.parametrize("way", ["remat", "both"])
def test_scan_and_remat_change_no_tap_no_gate_and_no_gradient(ways, way):
  (_, told), slopes = ways["plain"]
  (_, other), found = ways[way]
  assert sorted(other.found) == sorted(told.found)
  close((other.out, other.found), (told.out, told.found), **SUMS)
  close(found, slopes, **SUMS)


def test_a_loop_is_cut_where_layers_are_asked_different_things():
  scans = lambda **asked: str(
    jax.make_jaxpr(lambda v: layers.apply(network(scan=True), v, PATCHES, **asked).out)(variables())
  ).count("scan[")
  assert scans() == scans(taps=["*/heads"]) == scans(gates={"*/hidden": np.ones(MLP)}) == 1
  assert scans(taps=["1/heads"]) == 3
  assert scans(taps=TAPS, gates=gates()) == 2
  assert scans(gates={"0/output": np.float32(1)}) == scans(taps=["-1/input"]) == 2


def weights_of(v, block):
  return jax.tree.map(np.float64, v["params"][f"block_{block:02d}"])


def normed(x, norm):
  x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
  return x * norm["scale"] + norm["bias"]


def attended(v, block, x):
  """Weights and values of a block's attention, from what comes into it, gated."""
  own = weights_of(v, block)
  qkv = (
    normed(x, own["norm1"]) @ own["attention"]["qkv"]["kernel"] + own["attention"]["qkv"]["bias"]
  )
  split = lambda part: part.reshape(2, N, HEADS, -1).swapaxes(1, 2)
  q, k, values = map(split, np.split(qkv, 3, axis=-1))
  odds = np.exp(q @ k.swapaxes(-1, -2) / np.sqrt(WIDTH / HEADS))
  return odds / odds.sum(-1, keepdims=True), values


ONE = dict(depth=6, terms=N * MLP, axis=None)


@pytest.mark.parametrize("block", [0, 1, 2])
def test_taps_of_attention_and_heads_are_those_of_numpy(ways, block):
  (_, told), _ = ways["plain"]
  x = told.found[f"{block}/input"] * (gates()["0/input"][..., None] if block == 0 else 1)
  weights, values = attended(variables(), block, x)
  close(told.found[f"{block}/attention"], weights, **ONE)
  gated = weights * gates().get(f"{block}/attention", 1)
  heads = gated / gated.sum(-1, keepdims=True) @ values
  close(told.found[f"{block}/heads"], heads.swapaxes(1, 2), **ONE)


def test_a_tap_is_what_stands_there_before_the_gate(ways):
  (_, told), _ = ways["plain"]
  found, given = told.found, gates()
  opened = 1 / (1 + np.exp(-np.float64(found["1/input"])))
  close(found["1/output_gate"], opened, **ONE)
  close(found["2/input"], found["1/output"] * opened, **ONE)
  close(found["1/input"], found["0/output"] * given["0/output"], **ONE)
  np.testing.assert_array_equal(found["2/attention_gate"], given["2/attention"])
  own = weights_of(variables(), 0)
  apply = lambda dense, x: x @ dense["kernel"] + dense["bias"]
  # Of the input before its own gate.
  opened = 2 * np.square(found["0/input"][:, 0, :HEADS])
  heads = found["0/heads"] * opened[:, None, :, None]
  x = found["0/input"] * given["0/input"][..., None]
  x = x + apply(own["attention"]["out"], heads.reshape(2, N, WIDTH))
  x = x + apply(own["mlp"]["down"], found["0/hidden"] * given["*/hidden"])
  close(found["0/output"], x, **ONE)


def test_outputs_are_layers_with_their_grid(ways):
  (_, told), _ = ways["both"]
  assert [layer.grid for layer in told.layers[""]] == [(N,)] * DEPTH
  for i, layer in enumerate(told.layers[""]):
    np.testing.assert_array_equal(layer.tokens, told.found[f"{i}/output"])


def without(v, block, part, rows):
  """Variables in which these rows of a block's kernel are zeros."""
  changed = jax.tree.map(np.array, v)
  one, other = part.split("/")
  changed["params"][f"block_{block:02d}"][one][other]["kernel"][rows] = 0
  return changed


@pytest.fixture(scope="module")
def removed():
  """Networks of which a head or neurons are gated or taken out, and slopes of open gates."""
  apply = functools.partial(layers.apply, network())
  head, neurons = np.float32([1, 0]), np.float32(np.arange(MLP) % 3 > 0)
  opened = {"1/heads": np.ones(HEADS, np.float32), "2/hidden": np.ones(MLP, np.float32)}

  @jax.jit
  def program(v, v_head, v_neurons):
    loss = lambda v, gates: jnp.sum(apply(v, PATCHES, gates=gates).out ** 3)
    to_weights, to_gates = jax.grad(loss, (0, 1))(v, opened)
    each = lambda gate: apply(v, PATCHES, gates={"*/heads": gate}).out
    one = lambda i: layers.apply(
      network(scan=True), v, PATCHES, gates={"*/heads": jnp.eye(HEADS)[i]}
    )
    return {
      "head": apply(v, PATCHES, gates={"1/heads": head}).out,
      "no head": apply(v_head, PATCHES).out,
      "neurons": apply(v, PATCHES, gates={"2/hidden": neurons}).out,
      "no neurons": apply(v_neurons, PATCHES).out,
      "slopes": (to_weights["params"], to_gates),
      "mapped": jax.vmap(each)(jnp.eye(HEADS)),
      "one by one": jnp.stack([one(i).out for i in range(HEADS)]),
    }

  v_head = without(variables(), 1, "attention/out", slice(WIDTH // HEADS, None))
  v_neurons = without(variables(), 2, "mlp/down", neurons == 0)
  return jax.device_get(program(variables(), v_head, v_neurons))


@pytest.mark.parametrize("what", ["head", "neurons"])
def test_a_closed_gate_is_the_network_without(removed, what):
  close(removed[what], removed[f"no {what}"], **SUMS)


def test_the_slope_of_a_gate_is_the_importance_of_what_it_gates(removed):
  """A gate of a head or neuron scales rows of the kernel that reads it: w · dL/dw of these rows."""
  to_weights, to_gates = removed["slopes"]
  for block, part, name in ((1, "attention/out", "heads"), (2, "mlp/down", "hidden")):
    one, other = part.split("/")
    weights, slopes = (
      np.float64(tree[f"block_{block:02d}"][one][other]["kernel"])
      for tree in (variables()["params"], to_weights)
    )
    rows = (weights * slopes).sum(1)
    expected = rows.reshape(len(to_gates[f"{block}/{name}"]), -1).sum(1)
    close(to_gates[f"{block}/{name}"], expected, **SUMS)


def test_many_gates_at_once_by_vmap(removed):
  close(removed["mapped"], removed["one by one"], **SUMS)


def test_a_removed_token_is_as_if_it_were_not_there_nan_too():
  there = np.arange(6) != 4
  spoilt = np.where(there[:, None], PATCHES, np.nan).astype(np.float32)
  kept = np.float32([1, *there])
  closed = {"0/input": np.tile(kept, (2, 1)), "*/attention": np.tile(kept, (N, 1))}
  seen = np.array([True, *there])

  def value(v, x, **options):
    told = layers.apply(network(), v, x, **options)
    return jnp.sum(told.out[:, seen] ** 3), told.out[:, seen]

  @jax.jit
  def program(v):
    gated = jax.value_and_grad(functools.partial(value, gates=closed), (0, 1), has_aux=True)
    (_, out), (to_weights, to_patches) = gated(v, spoilt)
    valid = np.broadcast_to(there, (2, 6))
    return out, to_weights["params"], to_patches, value(v, PATCHES, valid=valid)[1]

  out, to_weights, to_patches, expected = jax.device_get(program(variables()))
  close(out, expected, **SUMS)
  assert all(
    np.isfinite(leaf).all() for leaf in jax.tree.leaves((to_weights["block_01"], to_patches))
  )
  assert not to_patches[:, ~there].any()
  assert to_patches[:, there].any()


def test_a_choice_of_the_layer_removes_tokens_from_there_on():
  """Each layer hides from the others the half of its tokens that are least."""

  def least(x):
    size = jnp.square(x).sum(-1)
    return (size >= jnp.median(size, axis=-1, keepdims=True)).astype(x.dtype)[..., None, :]

  run = lambda v: layers.apply(
    network(scan=True),
    v,
    PATCHES,
    gates={"*/attention": least},
    taps=["*/input", "*/attention_gate"],
  )
  found = jax.device_get(jax.jit(run)(variables())).found
  for i in range(DEPTH):
    size = np.square(found[f"{i}/input"]).sum(-1)
    kept = size >= np.median(size, axis=-1, keepdims=True)
    np.testing.assert_array_equal(found[f"{i}/attention_gate"][:, 0], kept)


class Tag(TRANSFORMER.Mlp):
  """An MLP that tells how much of it is active."""

  @nn.compact
  def __call__(self, x, at=NOWHERE):
    self.sow("intermediates", "active", (x > 0).mean())
    return super().__call__(x, at)


class Twice(nn.Module):
  """A network that looks twice."""

  def setup(self):
    self.encoder = network()

  def __call__(self, x):
    return self.encoder(x) + self.encoder(2 * x)


def test_what_modules_sow_is_told_by_name_in_loops_too(monkeypatch):
  monkeypatch.setattr(TRANSFORMER, "Mlp", Tag)
  names = ["block_02/mlp/active", "block_00/mlp/active"]
  run = lambda v: {
    name: layers.apply(network(**way), v, PATCHES, taps=[*names, "2/heads"]).found
    for name, way in WAYS.items()
  }
  found = jax.device_get(jax.jit(run)(variables()))
  assert sorted(found["plain"]) == sorted([*names, "2/heads"])
  assert 0 < found["plain"][names[0]] < 1
  for way in WAYS:
    close(found[way], found["plain"], **SUMS, what=way)


def test_other_collections_are_told_beside():
  net, image = model.resnet(record_shape=(8, 8, 1), classes=3, depth=8, width=4), draw(2, 8, 8, 1)
  v = jax.eval_shape(net.init, jax.random.key(0), image)
  run = lambda v: layers.apply(
    net, v, image, train=True, mutable=["batch_stats"], taps=["encoder/0/input"]
  )
  told = jax.eval_shape(run, v)
  assert set(told.state) == {"batch_stats"}
  assert jax.tree.structure(told.state["batch_stats"]) == jax.tree.structure(v["batch_stats"])


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_nothing_asked_leaves_the_program_as_it_is_without_places(monkeypatch, way):
  traced = lambda run: str(jax.make_jaxpr(jax.grad(lambda v: run(v).sum()))(variables()))
  asked = lambda v: layers.apply(network(**way), v, PATCHES).out
  with_places = traced(asked)
  monkeypatch.setattr(TRANSFORMER, "Places", lambda *_: NOWHERE)
  assert with_places == traced(lambda v: network(**way).apply(v, PATCHES))


def loops(jaxpr):
  """How many loops a program meets: those of what it calls, at each call."""
  inner = [sub for equation in jaxpr.eqns for sub in jaxprs_in_params(equation.params)]
  own = sum(equation.primitive.name == "scan" for equation in jaxpr.eqns)
  return own + sum(map(loops, inner))


def test_weights_are_computed_for_the_layers_that_are_asked_alone(monkeypatch):
  monkeypatch.setattr(ATTENTION, "BLOCK", 4)
  net = model.text_transformer(
    record_shape=(8,), vocabulary=5, width=24, depth=3, heads=2, causal=True
  )
  ids = np.zeros((1, 8), np.int32)
  v = jax.eval_shape(net.init, jax.random.key(0), ids)

  def cost(*taps):
    run = lambda v: layers.apply(net, v, ids, taps=taps)
    return flops.count(run, v), loops(jax.make_jaxpr(run)(v).jaxpr)

  (none, tiles), products = cost(), 2 * 2 * 8 * 8 * 12
  assert tiles > 0
  assert cost("*/heads") == (none, tiles)
  assert cost("1/attention") == (none + products, tiles)
  assert cost("*/attention") == (none + 3 * products, tiles)


def shapes(*sizes):
  return jax.ShapeDtypeStruct(sizes, jnp.float32)


def tokens(*sizes):
  return jax.ShapeDtypeStruct(sizes, jnp.int32)


def masks(*sizes):
  return jax.ShapeDtypeStruct(sizes, jnp.bool_)


TINY = dict(size="mu", patch=(4, 4))
DECODER = dict(decoder_width=16, decoder_depth=2, decoder_heads=2)
IMAGE = dict(record_shape=(8, 8, 1), **TINY)
KEEP = dict(keep=2)
NETWORKS = {
  "masked_autoencoder": (
    masked_autoencoder(**IMAGE, **DECODER, loss_depth=1),
    [shapes(2, 4, 16), masks(2, 4)],
    KEEP,
    {"encoder": 1, "decoder": 2, "decoder/losses": 1},
  ),
  "predictor": (
    model.predictor(encoder=model.vit(**IMAGE), width=16, depth=2),
    [shapes(2, 2, 192), tokens(2, 2), masks(2, 2), shapes(2, 1, 2, 16), masks(2, 1, 2)],
    dict(method="attend"),
    {"": 2},
  ),
  "code_autoencoder": (
    model.code_autoencoder(codes=5, grid=(2, 2), size="mu", **DECODER),
    [Seen(tokens(2, 4), None, None, masks(2, 4)), masks(2, 4)],
    dict(method=lambda net, seen, gone: net.recover(net.look(seen), gone, gone)),
    {"encoder": 1, "decoder": 2},
  ),
  "multimodal_autoencoder": (
    model.multimodal_autoencoder(
      shapes={"image": ((8, 8, 1), 0)}, cells={"image": (4, 4)}, size="mu", **DECODER
    ),
    [Seen(shapes(2, 2, 64), tokens(2, 2), None, masks(2, 4))],
    dict(method=lambda net, seen: net.decode(net.attend(seen), seen, seen.hidden)),
    {"encoder": 1, "decoder_image": 2},
  ),
  "dual_encoder": (
    model.dual_encoder(
      **IMAGE, vocabulary=5, caption=3, text_width=16, text_depth=2, text_heads=2, shared=4
    ),
    [shapes(2, 4, 16), tokens(2, 3)],
    {},
    {"encoder": 1, "text": 2},
  ),
  "vit_classifier": (
    model.vit_classifier(**IMAGE, classes=3),
    [shapes(2, 8, 8, 1)],
    {},
    {"encoder": 1},
  ),
  "text_transformer": (
    model.text_transformer(record_shape=(8,), vocabulary=5, width=16, depth=2, heads=2),
    [tokens(2, 8)],
    {},
    {"": 2},
  ),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_of_transformers_has_these_addresses(name):
  net, args, options, stacks = NETWORKS[name]

  def listed(*args):
    v = net.init(jax.random.key(0), *args, **options)
    return layers.addresses(net, v, *args, **options)

  found = []
  jax.eval_shape(lambda *args: found.append(listed(*args)), *args)
  expected = {
    f"{stack}/{i}/{place}".lstrip("/")
    for stack, depth in stacks.items()
    for i in range(depth)
    for place in layers.PLACES
  }
  assert set(found[0]) == expected


ONES = np.ones(HEADS, np.float32)


@pytest.mark.parametrize(
  ("options", "says"),
  [
    ({"taps": ["1/atention"]}, r"ViT has no '1/atention'; did you mean '1/attention'\?"),
    ({"taps": ["12/heads"]}, r"has no '12/heads'; did you mean '\d/heads'.*\*/heads, 3 layers"),
    ({"taps": ["-5/heads"]}, "has no '-5/heads'"),
    ({"taps": ["encoder/1/heads"]}, "has no 'encoder/1/heads'; did you mean '1/heads'"),
    ({"taps": ["encoder/share"]}, "has no 'encoder/share'"),
    ({"taps": ["1/heads_gate"]}, "has no '1/heads_gate'"),
    ({"gates": {"1/head": ONES}}, "has no '1/head'; did you mean '1/heads'"),
    ({"gates": {"1/heads_gate": ONES}}, "has no '1/heads_gate'"),
    ({"gates": {"1/heads": ONES, "*/heads": ONES}}, "two gates at '.*/heads'"),
    ({"gates": {"1/heads": ONES > 0}}, "a gate is of floats, 1 = kept, got bool at 'heads'"),
    (
      {"gates": {"1/heads": np.ones(3)}},
      r"\[\*b heads\] or broadcasts to .*\(2, 7, 2, 8\).*\(3,\)",
    ),
    ({"gates": {"1/attention": np.ones(N)}}, r"a gate at 'attention' is \[\*b n n\]"),
    ({"gates": {"1/input": lambda x: x[..., 0] > 0}}, "got bool at 'input'"),
  ],
)
@pytest.mark.parametrize("way", ["plain", "both"])
def test_what_is_not_there_is_refused(options, says, way):
  run = lambda v: layers.apply(network(**WAYS[way]), v, PATCHES, **options)
  with pytest.raises(BadInput, match=says):
    jax.eval_shape(run, variables())


def test_a_stack_that_does_not_run_has_no_taps():
  net = masked_autoencoder(**IMAGE, **DECODER)
  args = [shapes(2, 4, 16), masks(2, 4)]
  v = jax.eval_shape(functools.partial(net.init, keep=2), jax.random.key(0), *args)
  run = lambda v, x: layers.apply(net, v, x, method=net.encode, taps=["decoder/0/output"])
  with pytest.raises(BadInput, match=r"no 'decoder/0/output'; .*\(known: encoder/\*/attention, 1"):
    jax.eval_shape(run, v, args[0])


def test_blocks_that_run_twice_in_a_call_are_refused():
  shapes = jax.eval_shape(Twice().init, jax.random.key(0), PATCHES)
  for asked in ({"taps": ["encoder/1/heads"]}, {"gates": {"encoder/1/heads": ONES}}):
    with pytest.raises(BadInput, match="ran twice in one call"):
      jax.eval_shape(lambda v, asked=asked: layers.apply(Twice(), v, PATCHES, **asked), shapes)


def test_a_negative_layer_counts_from_the_end():
  run = lambda v: layers.apply(network(), v, PATCHES, taps=["-1/heads", "2/heads"]).found
  found = jax.jit(run)(variables())
  np.testing.assert_array_equal(found["-1/heads"], found["2/heads"])
