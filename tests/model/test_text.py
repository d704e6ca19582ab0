"""The text transformer: what its tokens see of each other, and decoding with a cache."""

import functools
import pathlib
import runpy

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maskjax.errors import BadInput
from maskjax.model import layers, text_transformer

close = runpy.run_path(str(pathlib.Path(__file__).parents[1] / "closeness.py"))["close"]
N, V = 9, 11
IDS = np.random.default_rng(1).integers(0, V, (2, N))
SEGMENTS = np.array([[0, 0, 0, 1, 1, 1, 2, 2, 2], [0] * 6 + [1] * 3])
# Documents of three tokens: rows and where they begin.
DOCUMENTS = [(0, 0), (0, 3), (0, 6), (1, 6)]
ALONE = np.stack([IDS[row, start : start + 3] for row, start in DOCUMENTS])
# A padded row is the first document; the other is whole.
VALID = np.arange(N) < np.array([[3], [N]])
TINY = dict(record_shape=(N,), vocabulary=V, width=16, depth=2, heads=2, mlp=24)
# A block's products follow one another: queries, logits, mixed, out, up and down; then the logits.
SUMS = dict(depth=2 * 6 + 1, terms=24)
SCAN_REMAT = {"scan": True, "remat": True}


@functools.cache
def build(**options):
  """A tiny network and its variables, with logits that differ a lot."""
  network = text_transformer(**TINY, **options)
  rng = np.random.default_rng(0)

  def draw(path, like):
    x = rng.normal(size=like.shape)
    return np.float32({"scale": 1 + x / 4, "embedding": x}.get(path[-1].key, x / 2))

  shapes = jax.eval_shape(network.init, jax.random.key(0), IDS)
  return network, jax.tree_util.tree_map_with_path(draw, shapes)


@functools.cache
def program(causal):
  """Everything that is asked of one network, in one program: `(variables, ids) -> results`."""
  apply = build(causal=causal)[0].apply
  return jax.jit(
    lambda variables, ids: {
      "whole": apply(variables, ids),
      "documents": apply(variables, ids, None, SEGMENTS),
      "padded": apply(variables, ids, VALID),
      "alone": apply(variables, ALONE),
      "features": apply(variables, ids, features=True),
    }
  )


@functools.cache
def found(causal):
  """The results of `program` for the ids as they are, in numpy."""
  return jax.device_get(program(causal)(build(causal=causal)[1], IDS))


def test_reading_from_left_to_right_changes_no_parameter():
  networks = [build(causal=causal)[0] for causal in (False, True)]
  one, other = jax.jit(lambda key: [net.init(key, IDS) for net in networks])(jax.random.key(0))
  jax.tree.map(np.testing.assert_array_equal, one, other)
  assert sorted(one["params"]) == ["block_00", "block_01", "embed", "norm", "predict"]
  assert {x.dtype for x in jax.tree.leaves(one)} == {jnp.dtype("float32")}
  assert (found(False)["whole"] != found(True)["whole"])[:, :-1].any()


@pytest.mark.parametrize("at", [0, 4, N - 1])
def test_a_causal_network_sees_nothing_that_comes_later(at):
  changed = IDS.copy()
  changed[:, at] = (IDS[:, at] + 1) % V
  _, variables = build()
  before, after = found(True)["whole"], np.asarray(program(True)(variables, changed)["whole"])
  np.testing.assert_array_equal(before[:, :at], after[:, :at])
  assert (before[:, at:] != after[:, at:]).any(-1).all()
  both_ways = np.asarray(program(False)(variables, changed)["whole"])
  assert (found(False)["whole"] != both_ways).any(-1).all()


@pytest.mark.parametrize("causal", [False, True])
def test_packed_documents_are_read_as_if_alone(causal):
  packed, alone, merged = (found(causal)[name] for name in ("documents", "alone", "whole"))
  cut = lambda x: np.stack([x[row, start : start + 3] for row, start in DOCUMENTS])
  close(cut(packed), alone, **SUMS)
  # Far above rounding is what documents do to each other where they meet.
  far = np.abs(cut(merged) - alone).max((1, 2)) / np.abs(alone).max((1, 2))
  assert (far > 0.01).tolist() == [not causal, True, True, True]


@pytest.mark.parametrize("causal", [False, True])
def test_padding_is_seen_by_none(causal):
  close(found(causal)["padded"][0, :3], found(causal)["alone"][0], **SUMS)
  close(found(causal)["padded"][1], found(causal)["whole"][1], **SUMS)


@pytest.mark.parametrize("changes", [{}, SCAN_REMAT], ids=str)
def test_token_by_token_equals_the_whole_pass_with_one_compile(changes):
  network, variables = build(causal=True, **changes)
  cases = {"window": None, "documents": SEGMENTS}
  traces = []

  @jax.jit
  def decode(caches, ids, start):
    traces.append(ids.shape)
    run = functools.partial(network.apply, mutable=["cache"])
    return {
      name: run({**variables, **caches.get(name, {})}, ids, None, segments, start=start)
      for name, segments in cases.items()
    }

  split = lambda both: [{name: pair[i] for name, pair in both.items()} for i in (0, 1)]
  logits, caches = split(decode({}, np.where(np.arange(N) < 4, IDS, 0), 0))
  parts = [jax.tree.map(lambda x: x[:, :4], logits)]
  shapes = jax.tree.map(jnp.shape, caches)
  for i in range(4, N):
    logits, caches = split(decode(caches, IDS[:, i : i + 1], i))
    parts.append(logits)
  for name, whole in (("window", "whole"), ("documents", "documents")):
    joined = np.concatenate([part[name] for part in parts], axis=1)
    close(joined, found(True)[whole], **SUMS, what=name)
    assert caches[name]["cache"]["block_01"]["attention"]["key"].shape == (2, 2, N, 8)
  assert jax.tree.map(jnp.shape, caches) == shapes
  assert traces == [(2, N), (2, 1)]


def test_features_are_the_tokens_that_the_logits_are_made_from():
  tokens = found(True)["features"]
  assert tokens.shape == (2, N, 16)
  kernel = build(causal=True)[1]["params"]["predict"]["kernel"]
  close(tokens @ kernel, found(True)["whole"], depth=1, terms=16)


def test_heads_that_share_keys_and_values_equal_heads_with_copies_of_them():
  few, variables = build(causal=True, kv_heads=1)
  spread = jax.tree.map(lambda x: x, variables)
  for name in ("block_00", "block_01"):
    q, k, v = np.split(variables["params"][name]["attention"]["qkv"]["kernel"], (16, 24), axis=1)
    kernel = np.concatenate([q, k, k, v, v], axis=1)
    spread["params"][name]["attention"]["qkv"] = {"kernel": kernel}
  shared = jax.jit(few.apply)(variables, IDS)
  close(shared, program(True)(spread, IDS)["whole"], **SUMS)
  decode = functools.partial(few.apply, mutable=["cache"])
  _, state = jax.eval_shape(lambda v: decode(v, IDS, start=0), variables)
  assert state["cache"]["block_00"]["attention"]["key"].shape == (2, 1, N, 8)


@pytest.mark.parametrize("causal", [False, True])
def test_tied_networks_predict_with_their_embeddings(causal):
  network, variables = build(causal=causal, tied=True)
  assert sorted(variables["params"]) == ["block_00", "block_01", "embed", "norm"]
  both = lambda v: (network.apply(v, IDS, features=True), network.apply(v, IDS))
  (tokens, logits), table = jax.jit(both)(variables), variables["params"]["embed"]["embedding"]
  assert table.shape == (V + 1, 16)
  close(logits, tokens @ table[:V].T, depth=1, terms=16)


def test_weights_of_attention_are_told_where_they_are_asked_for():
  networks = [build(causal=True, **c)[0] for c in ({}, {"scan": True}, {"remat": True})]
  _, variables = build(causal=True)
  ask = functools.partial(layers.apply, taps=["1/attention"])
  told = jax.jit(lambda v: [ask(net, v, IDS)[:2] for net in networks])
  for logits, taps in told(variables):
    close(logits, found(True)["whole"], **SUMS)
    weights = taps["1/attention"]
    assert weights.shape == (2, 2, N, N)
    np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-5)
    assert not np.triu(weights, 1).any()


def test_remat_and_scan_change_no_value_and_no_gradient():
  cases = [(True, {}), (True, {"remat": True}), (True, {"scan": True})]
  cases += [(False, {}), (False, SCAN_REMAT)]

  def value_and_slope(causal, changes):
    network, _ = build(causal=causal, **changes)
    loss = lambda v: jnp.sum(jnp.sin(network.apply(v, IDS, None, SEGMENTS)))
    return jax.value_and_grad(loss)

  every = jax.jit(lambda v: [value_and_slope(*case)(v) for case in cases])
  plain, remat, scan, *both_ways = every(build()[1])
  # Backward there are as many products again, and slopes are sums over all tokens.
  slopes = dict(depth=2 * SUMS["depth"], terms=2 * N * 24, axis=None)
  close(remat, plain, **slopes, what="remat")
  close(scan, plain, **slopes, what="scan")
  close(*both_ways[::-1], **slopes, what="both ways")


def test_logits_are_float32_under_bfloat16():
  network, variables = build(causal=True, dtype="bfloat16")
  logits = jax.jit(network.apply)(variables, IDS)
  assert logits.dtype == np.float32
  shapes = jax.eval_shape(network.init, jax.random.key(0), IDS)
  assert {x.dtype for x in jax.tree.leaves(shapes)} == {jnp.dtype("float32")}
  whole = found(True)["whole"]
  np.testing.assert_allclose(logits, whole, atol=0.3 * np.abs(whole).max())


@pytest.mark.parametrize(
  ("options", "says"),
  [
    ({"record_shape": (8, 8, 3)}, r"takes windows of tokens, got shape \(8, 8, 3\)"),
    ({"vocabulary": 0}, "takes windows of tokens"),
    ({"heads": 3}, "width 16 is not divisible by 3 heads"),
    ({"heads": 16}, "width 16 is not divisible by 16 heads of even width"),
    ({"heads": 4, "kv_heads": 3}, "4 heads are not divisible by 3 of keys and values"),
    ({"extra": -1}, "extra ids must not be negative in number, got -1"),
  ],
)
def test_what_cannot_be_built_is_refused(options, says):
  with pytest.raises(BadInput, match=says):
    text_transformer(**{**TINY, **options})


def test_a_network_that_reads_both_ways_does_not_decode():
  network, variables = build()
  decode = functools.partial(network.apply, start=0, mutable=["cache"])
  with pytest.raises(BadInput, match="set causal=True"):
    jax.eval_shape(decode, variables, IDS)
